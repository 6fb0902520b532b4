//! The document that answers every request for a statement.

use base::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use types::{ClientCapabilities, JsonRows, Type, TypeSignature};

use super::error::QueryError;
use super::stats::StatementStats;

/// A page of a query's result, or of its progress. What is absent is omitted, and `columns` precede `data`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryResults {
    /// The query id.
    pub id: String,
    /// Where people read about the query.
    pub info_uri: String,
    /// Where to cancel the leaf-most running stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_cancel_uri: Option<String>,
    /// Where the next page is. None: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_uri: Option<String>,
    /// The columns, once they are known. Empty for statements without a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<Column>>,
    /// The rows, an array of arrays. Never an empty one; see [`rows_as_data`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// How far the query is.
    pub stats: StatementStats,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<QueryError>,
    /// Warnings, always present.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// The kind of statement, if it is not a query: `INSERT`, `CREATE TABLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_type: Option<String>,
    /// How many rows the statement changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_count: Option<i64>,
}

/// The member `data` of a page: none if there are no rows.
///
/// # Errors
///
/// An internal error if the rows are not JSON, which the encoder rules out.
pub fn rows_as_data(rows: JsonRows) -> Result<Option<Box<RawValue>>> {
    if rows.is_empty() {
        return Ok(None);
    }
    RawValue::from_string(rows.finish())
        .map(Some)
        .map_err(|error| Error::internal("rows were not written as JSON").caused_by(error))
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as text.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its type, as a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_signature: Option<TypeSignature>,
}

impl Column {
    /// A column, for a client with these capabilities.
    pub fn new(name: impl Into<String>, column_type: &Type, capabilities: ClientCapabilities) -> Self {
        Column {
            name: name.into(),
            type_name: column_type.wire_name(capabilities),
            type_signature: Some(column_type.signature(capabilities)),
        }
    }
}

/// A warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// Its code.
    pub warning_code: WarningCode,
    /// Its text.
    pub message: String,
}

/// The code of a [`Warning`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarningCode {
    /// The number.
    pub code: u32,
    /// The name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page() -> QueryResults {
        QueryResults {
            id: "20261120_061411_00007_abcde".into(),
            info_uri: "http://host:8080/ui#/queries/20261120_061411_00007_abcde".into(),
            partial_cancel_uri: None,
            next_uri: None,
            columns: None,
            data: None,
            stats: StatementStats::default(),
            error: None,
            warnings: vec![],
            update_type: None,
            update_count: None,
        }
    }

    #[test]
    fn what_is_absent_is_omitted() {
        let document = serde_json::to_value(page()).unwrap();
        let mut members: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["id", "infoUri", "stats", "warnings"]);
        assert_eq!(document["warnings"], json!([]));
    }

    #[test]
    fn columns_precede_data_and_data_is_written_as_it_is() {
        let mut page = page();
        page.columns = Some(vec![Column::new("_col0", &Type::Double, ClientCapabilities::ALL)]);
        page.data = Some(RawValue::from_string("[[1.0E10],[1.0]]".into()).unwrap());
        page.update_type = Some("INSERT".into());
        page.update_count = Some(3);
        let text = serde_json::to_string(&page).unwrap();
        let columns = r#""columns":[{"name":"_col0","type":"double","typeSignature":{"rawType":"double","arguments":[]}}],"data":[[1.0E10],[1.0]],"stats":"#;
        assert!(text.contains(columns), "{text}");
        assert!(text.ends_with(r#""warnings":[],"updateType":"INSERT","updateCount":3}"#), "{text}");
        let read: QueryResults = serde_json::from_str(&text).unwrap();
        assert_eq!(read.data.unwrap().get(), "[[1.0E10],[1.0]]");
        assert_eq!(read.columns, page.columns);
    }

    #[test]
    fn statements_without_result_have_no_columns_rather_than_none() {
        let mut page = page();
        page.columns = Some(vec![]);
        assert!(serde_json::to_string(&page).unwrap().contains(r#""columns":[]"#));
    }

    #[test]
    fn a_page_without_rows_has_no_data() {
        assert!(rows_as_data(JsonRows::new()).unwrap().is_none());
    }

    #[test]
    fn documents_of_other_servers_are_read() {
        let text = r#"{"id":"q","infoUri":"u","stats":{"state":"RUNNING","somethingNew":1},"data":null,"unknown":[]}"#;
        let read: QueryResults = serde_json::from_str(text).unwrap();
        assert_eq!(read.stats.state, "RUNNING");
        assert!(read.data.is_none() && read.warnings.is_empty());
    }
}
