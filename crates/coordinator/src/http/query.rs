//! `/v1/query`: looking at queries, and ending them.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use base::{Error, ErrorCode};
use protocol::client::QueryError;
use scheduler::AttemptState;
use serde::Deserialize;
use serde_json::{Value, json};

use super::query_stats::query_stats;
use super::{HttpState, Refusal};
use crate::query::{AttemptProgress, Query, QueryProgress};
use crate::services::Services;

/// The resources.
pub fn routes() -> Router<HttpState> {
    Router::new()
        .route("/v1/query", get(list))
        .route("/v1/query/{query}", get(one).delete(cancel))
        .route("/v1/query/{query}/killed", put(kill))
        .route("/v1/query/{query}/preempted", put(preempt))
}

#[derive(Deserialize)]
struct Wanted {
    state: Option<String>,
}

async fn list(State(services): State<Arc<Services>>, Parameters(wanted): Parameters<Wanted>) -> Json<Value> {
    let state = wanted.state.map(|state| state.to_uppercase());
    let queries = services.queries.all();
    let matching =
        queries.iter().filter(|query| state.as_deref().is_none_or(|state| query.state().as_str() == state));
    Json(Value::Array(matching.map(|query| summary(query)).collect()))
}

async fn one(State(services): State<Arc<Services>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let query = find(&services, &id)?;
    QueryProgress::refresh_with_attempts(&services, &query).await;
    let mut document = summary(&query);
    let error = query.error();
    document["failureInfo"] =
        error.as_ref().map_or(Value::Null, |error| json!(QueryError::from(error).failure_info));
    document["stages"] = json!(query.statement_stats().root_stage);
    document["attempts"] = query.progress().attempts.iter().map(attempt).collect();
    document["finalQueryInfo"] = json!(query.state().is_final());
    Ok(Json(document))
}

fn summary(query: &Query) -> Value {
    let status = query.status();
    let client = &query.client;
    json!({
        "queryId": query.id.to_string(),
        "session": {
            "queryId": query.id.to_string(),
            "user": client.user,
            "source": client.source,
            "catalog": client.catalog,
            "schema": client.schema,
        },
        "resourceGroupId": ["global"],
        "state": status.state.as_str(),
        "scheduled": query.statement_stats().scheduled,
        "self": format!("/v1/query/{}", query.id),
        "query": query.text,
        "updateType": status.update_type,
        "queryStats": query_stats(query),
        "errorType": status.error.as_ref().map(|error| error.code().error_type.as_str()),
        "errorCode": status.error.as_ref().map(|error| {
            let code = error.code();
            json!({ "code": code.code, "name": code.name, "type": code.error_type.as_str(), "fatal": false })
        }),
        "retryPolicy": query.retry_policy.as_str(),
    })
}

fn attempt(attempt: &AttemptProgress) -> Value {
    let id = attempt.id;
    json!({
        "taskId": id.to_string(),
        "stage": id.task.stage.0,
        "partition": id.task.partition,
        "generation": id.generation,
        "epoch": id.epoch.0,
        "number": id.number,
        "nodeId": attempt.node.as_str(),
        "state": match attempt.state {
            AttemptState::Running => "RUNNING",
            AttemptState::Committed => "FINISHED",
            AttemptState::Aborted => "ABORTED",
            AttemptState::Failed => "FAILED",
            AttemptState::Lost => "LOST",
        },
        "startedUnixMillis": unix_millis(attempt.started),
        "endedUnixMillis": attempt.ended.map(unix_millis),
    })
}

fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn cancel(
    State(services): State<Arc<Services>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    // Cancelling a query that is forgotten is no error.
    if let Some(query) = services.query(&id) {
        services.end(&query, Query::canceled()).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn kill(state: State<Arc<Services>>, id: Path<String>, message: Bytes) -> Result<StatusCode, Refusal> {
    end(state, id, ErrorCode::ADMINISTRATIVELY_KILLED, "Query killed.", &message).await
}

async fn preempt(
    state: State<Arc<Services>>,
    id: Path<String>,
    message: Bytes,
) -> Result<StatusCode, Refusal> {
    end(state, id, ErrorCode::ADMINISTRATIVELY_PREEMPTED, "Query preempted.", &message).await
}

async fn end(
    State(services): State<Arc<Services>>,
    Path(id): Path<String>,
    code: ErrorCode,
    what: &str,
    message: &[u8],
) -> Result<StatusCode, Refusal> {
    let query = find(&services, &id)?;
    if query.state().is_final() {
        return Err(Refusal(StatusCode::CONFLICT, "Query is already finished".into()));
    }
    let text = match String::from_utf8_lossy(message).trim() {
        "" => format!("{what} No message provided."),
        message => format!("{what} Message: {message}"),
    };
    services.end(&query, Error::new(code, text)).await;
    Ok(StatusCode::ACCEPTED)
}

fn find(services: &Services, id: &str) -> Result<Arc<Query>, Refusal> {
    services.query(id).ok_or_else(|| Refusal::gone("Query not found"))
}
