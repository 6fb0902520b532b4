//! `/v1/info`, `/v1/status`, `/v1/node`: the node and the cluster.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use base::NodeId;
use protocol::client::server_info::TRINO_VERSION;
use serde_json::{Value, json};

use super::{HttpState, Refusal};
use crate::node::NodeDescription;
use crate::services::Services;

/// The resources.
pub fn routes() -> Router<HttpState> {
    Router::new()
        .route("/v1/info", get(info))
        .route("/v1/info/state", get(state).put(change_state))
        .route("/v1/info/coordinator", get(|| async { StatusCode::OK }))
        .route("/v1/status", get(status))
        .route("/v1/node", get(nodes))
}

/// The resources of a coordinator that does not lead, or not yet: it is there, and does nothing else.
pub fn standby_router(node: NodeDescription) -> Router {
    Router::new()
        .route("/v1/info", get(move || async move { Json(describe(&node, true)) }))
        .route("/v1/info/state", get(state))
        .route("/v1/info/coordinator", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .fallback(async || {
            let text = "Coordinator is starting, or another one leads".into();
            // The next try is to open a connection of its own, which a service leads to whoever leads.
            ([(axum::http::header::CONNECTION, "close")], Refusal(StatusCode::SERVICE_UNAVAILABLE, text))
        })
}

async fn info(State(state): State<HttpState>) -> Json<Value> {
    Json(describe(&state.node, false))
}

fn describe(node: &NodeDescription, starting: bool) -> Value {
    json!({
        "nodeId": node.node_id.as_str(),
        "state": "ACTIVE",
        "nodeVersion": { "version": TRINO_VERSION },
        "environment": node.environment,
        "coordinator": true,
        "coordinatorId": node.coordinator_id,
        "starting": starting,
        "uptime": node.uptime(),
    })
}

async fn state() -> Json<&'static str> {
    Json("ACTIVE")
}

async fn change_state(Json(wanted): Json<String>) -> Result<StatusCode, Refusal> {
    match wanted.as_str() {
        "ACTIVE" => Ok(StatusCode::OK),
        "SHUTTING_DOWN" | "DRAINING" => Err(Refusal::bad_request("A coordinator cannot be drained")),
        other => Err(Refusal::bad_request(format!("Invalid state transition to {other}"))),
    }
}

async fn status(State(state): State<HttpState>) -> Json<Value> {
    let node = &state.node;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Json(json!({
        "nodeId": node.node_id.as_str(),
        "nodeVersion": { "version": TRINO_VERSION },
        "environment": node.environment,
        "coordinator": true,
        "uptime": node.uptime(),
        "externalAddress": node.http_uri,
        "internalAddress": node.http_uri,
        "memoryInfo": {
            "availableProcessors": processors,
            "pool": {
                "maxBytes": 0,
                "reservedBytes": 0,
                "freeBytes": 0,
                "queryMemoryReservations": {},
            },
        },
        "processors": processors,
        "processCpuLoad": 0.0,
        "systemCpuLoad": 0.0,
        "heapUsed": 0,
        "heapAvailable": 0,
        "nonHeapUsed": 0,
    }))
}

/// The workers that are connected and have told what they can carry, and how slow they are compared with others.
async fn nodes(State(services): State<Arc<Services>>) -> Result<Json<Value>, Refusal> {
    let nodes = services
        .dispatcher
        .inspect(|state| {
            let known = |node: &NodeId| state.core().node(node).filter(|known| known.state.is_some());
            let ready = state.nodes().filter_map(|(node, connected)| {
                let known = known(node)?;
                Some(json!({
                    "nodeId": node.as_str(),
                    "uri": connected.description.http_uri,
                    "slowness": known.slowness,
                    "slow": known.is_slow,
                }))
            });
            ready.collect::<Vec<_>>()
        })
        .await
        .map_err(|error| Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(Json(Value::Array(nodes)))
}
