//! The documents of the statement protocol.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use protocol::client::{Column, QueryError, QueryResults, headers};
use serde_json::value::RawValue;

use super::base_uri::BaseUri;
use crate::query::{Page, Query, QueryStatus, SessionChange};

/// The document of a page, with the headers that tell the client what to change in its session.
pub fn respond(base: &BaseUri, query: &Query, page: &Page, next_uri: Option<String>) -> Response {
    let status = query.status();
    let results = QueryResults {
        id: query.id.to_string(),
        info_uri: format!("{}/ui#/queries/{}", base.0, query.id),
        partial_cancel_uri: None,
        next_uri,
        columns: columns(query, &status),
        data: page.data.as_deref().and_then(|data| RawValue::from_string(data.to_string()).ok()),
        stats: query.progress().statement_stats(query),
        error: status.error.as_ref().map(QueryError::of),
        warnings: Vec::new(),
        update_type: status.update_type.map(str::to_string),
        update_count: None,
    };
    (session_headers(&status.session_changes), Json(results)).into_response()
}

fn columns(query: &Query, status: &QueryStatus) -> Option<Vec<Column>> {
    let columns = status.columns.as_ref()?;
    Some(
        columns
            .iter()
            .map(|column| Column::new(&column.name, &column.column_type, &query.client.capabilities))
            .collect(),
    )
}

fn session_headers(changes: &[SessionChange]) -> HeaderMap {
    let mut map = HeaderMap::new();
    let mut add = |name: &str, value: String| {
        // Names are constants, and every value is encoded so that it fits a header.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            map.append(name, value);
        }
    };
    for change in changes {
        match change {
            SessionChange::Catalog(catalog) => add(headers::SET_CATALOG, catalog.clone()),
            SessionChange::Schema(schema) => add(headers::SET_SCHEMA, schema.clone()),
            SessionChange::Set(name, value) => add(headers::SET_SESSION, headers::set_session(name, value)),
            SessionChange::Reset(name) => add(headers::CLEAR_SESSION, name.clone()),
            SessionChange::AddPrepared(name, text) => {
                add(headers::ADDED_PREPARE, headers::added_prepare(name, text));
            }
            SessionChange::DropPrepared(name) => {
                add(headers::DEALLOCATED_PREPARE, headers::deallocated_prepare(name));
            }
            SessionChange::StartTransaction(id) => add(headers::STARTED_TRANSACTION_ID, id.clone()),
            SessionChange::EndTransaction => add(headers::CLEAR_TRANSACTION_ID, "true".to_string()),
        }
    }
    map
}
