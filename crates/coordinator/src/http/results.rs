//! The documents of the statement protocol.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use protocol::client::{Column, HeaderPrefix, QueryError, QueryResults, SessionUpdate, StatementStats};
use serde_json::value::RawValue;

use super::base_uri::BaseUri;
use crate::query::{Page, Query, QueryState, QueryStatus};

/// The document that tells that a statement was accepted, however far it is by now.
pub fn respond_accepted(base: &BaseUri, query: &Query, next_uri: String) -> Response {
    let stats = StatementStats {
        state: QueryState::Queued.as_str().into(),
        queued: true,
        ..StatementStats::default()
    };
    let results = QueryResults {
        id: query.id.to_string(),
        info_uri: info_uri(base, query),
        partial_cancel_uri: None,
        next_uri: Some(next_uri),
        columns: None,
        data: None,
        stats,
        error: None,
        warnings: Vec::new(),
        update_type: None,
        update_count: None,
    };
    Json(results).into_response()
}

fn info_uri(base: &BaseUri, query: &Query) -> String {
    format!("{}/ui#/queries/{}", base.0, query.id)
}

/// The document of a page, with the headers that tell the client what to change in its session.
pub fn respond(base: &BaseUri, query: &Query, page: &Page, next_uri: Option<String>) -> Response {
    let status = query.status();
    let results = QueryResults {
        id: query.id.to_string(),
        info_uri: info_uri(base, query),
        partial_cancel_uri: None,
        next_uri,
        columns: columns(query, &status),
        data: page.data.as_deref().and_then(|data| RawValue::from_string(data.to_string()).ok()),
        stats: query.statement_stats(),
        error: status.error.as_ref().map(QueryError::from),
        warnings: Vec::new(),
        update_type: status.update_type.map(str::to_string),
        update_count: None,
    };
    (session_headers(&status.session_update, &query.client.prefix), Json(results)).into_response()
}

fn columns(query: &Query, status: &QueryStatus) -> Option<Vec<Column>> {
    let columns = status.columns.as_ref()?;
    Some(
        columns
            .iter()
            .map(|column| Column::new(&column.name, &column.column_type, query.client.capabilities))
            .collect(),
    )
}

fn session_headers(update: &SessionUpdate, prefix: &HeaderPrefix) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in update.to_headers(prefix) {
        // Names are constants, and every value is encoded so that it fits a header.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            map.append(name, value);
        }
    }
    map
}
