//! What the server tells of queries: `/v1/query` and `/v1/query/{id}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{ErrorInfo, FailureInfo};
use super::results::Warning;
use super::stats::StageStats;

/// A query in the list of `/v1/query`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BasicQueryInfo {
    /// The query.
    pub query_id: String,
    /// The session it runs in.
    pub session: SessionInfo,
    /// The resource group, from the root.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_group_id: Vec<String>,
    /// Its state, as in [`super::StatementStats::state`].
    pub state: String,
    /// Whether all stages are scheduled.
    pub scheduled: bool,
    /// Where its document is.
    #[serde(rename = "self")]
    pub self_uri: String,
    /// The statement.
    pub query: String,
    /// The kind of statement, if it is not a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_type: Option<String>,
    /// What it used so far.
    pub query_stats: BasicQueryStats,
    /// Who was at fault if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// The code if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<ErrorInfo>,
    /// `SELECT`, `INSERT`, `DATA_DEFINITION` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_type: Option<String>,
    /// `NONE`, `QUERY` or `TASK`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<String>,
}

/// The session of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are those of the request headers")]
pub struct SessionInfo {
    pub query_id: String,
    pub user: String,
    pub original_user: String,
    pub principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    pub time_zone_key: String,
    pub client_tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_token: Option<String>,
    pub system_properties: BTreeMap<String, String>,
    pub catalog_properties: BTreeMap<String, BTreeMap<String, String>>,
}

/// What a query used. Times are texts as of [`super::succinct::succinct_duration`], sizes as of
/// [`super::succinct::succinct_data_size`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are those of the protocol")]
pub struct BasicQueryStats {
    /// As in ISO 8601, in UTC.
    pub create_time: String,
    /// As in ISO 8601, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    pub queued_time: String,
    pub elapsed_time: String,
    pub execution_time: String,
    pub failed_tasks: u64,
    pub total_drivers: u64,
    pub queued_drivers: u64,
    pub running_drivers: u64,
    pub completed_drivers: u64,
    pub blocked_drivers: u64,
    pub raw_input_data_size: String,
    pub raw_input_positions: u64,
    pub processed_input_positions: u64,
    pub physical_input_data_size: String,
    pub physical_written_data_size: String,
    pub internal_network_input_data_size: String,
    pub spilled_data_size: String,
    pub cumulative_user_memory: f64,
    pub failed_cumulative_user_memory: f64,
    pub user_memory_reservation: String,
    pub total_memory_reservation: String,
    pub peak_user_memory_reservation: String,
    pub peak_total_memory_reservation: String,
    pub planning_time: String,
    pub analysis_time: String,
    pub total_cpu_time: String,
    pub failed_cpu_time: String,
    pub total_scheduled_time: String,
    pub failed_scheduled_time: String,
    pub finishing_time: String,
    pub fully_blocked: bool,
    pub blocked_reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_percentage: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_percentage: Option<f64>,
}

/// The document of one query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryInfo {
    /// What the list has, too.
    #[serde(flatten)]
    pub basic: BasicQueryInfo,
    /// The names of the result's columns.
    pub field_names: Vec<String>,
    /// Whether nothing will change any more.
    pub final_query_info: bool,
    /// Warnings.
    pub warnings: Vec<Warning>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_info: Option<FailureInfo>,
    /// The stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_stage: Option<StageStats>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_comes_back_from_its_document() {
        let info = QueryInfo {
            basic: BasicQueryInfo {
                query_id: "20261120_061411_00007_abcde".into(),
                state: "FAILED".into(),
                self_uri: "http://host/v1/query/20261120_061411_00007_abcde".into(),
                error_code: Some(base::ErrorCode::DIVISION_BY_ZERO.into()),
                ..Default::default()
            },
            root_stage: Some(StageStats::default()),
            ..Default::default()
        };
        let document = serde_json::to_value(&info).unwrap();
        assert_eq!(document["self"], "http://host/v1/query/20261120_061411_00007_abcde");
        assert_eq!(document["errorCode"]["name"], "DIVISION_BY_ZERO");
        assert!(document["queryStats"].get("progressPercentage").is_none());
        assert_eq!(serde_json::from_value::<QueryInfo>(document).unwrap(), info);
    }
}
