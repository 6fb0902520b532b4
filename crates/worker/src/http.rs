//! What a worker tells over HTTP, to people, load balancers and Kubernetes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use protocol::client::{self, node_state};
use scheduler::NodeState;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::monitoring;
use crate::node::NodeEvent;
use crate::status::NodeStatus;

/// What the handlers know.
#[derive(Clone)]
pub(crate) struct HttpState {
    /// What the node tells of itself.
    pub(crate) status: Arc<NodeStatus>,
    /// Where requests for another state go.
    pub(crate) events: mpsc::Sender<NodeEvent>,
}

/// The routes of a worker.
pub(crate) fn router(state: HttpState) -> Router {
    Router::new()
        .route("/v1/info", get(info))
        .route("/v1/info/state", get(node_state).put(set_node_state))
        .route("/v1/info/coordinator", get(|| async { StatusCode::NOT_FOUND }))
        .route("/v1/status", get(node_status))
        .route("/metrics", get(metrics_page))
        .with_state(state)
}

async fn info(State(state): State<HttpState>) -> Json<client::ServerInfo> {
    Json(state.status.info(Instant::now()))
}

async fn node_state(State(state): State<HttpState>) -> Json<&'static str> {
    Json(state.status.state_name())
}

async fn node_status(State(state): State<HttpState>) -> Json<client::NodeStatus> {
    Json(state.status.status(Instant::now()))
}

async fn metrics_page(State(state): State<HttpState>) -> Response {
    let text = monitoring::page(&state.status, Instant::now());
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn set_node_state(State(state): State<HttpState>, body: String) -> Response {
    let Ok(wanted) = serde_json::from_str::<String>(&body) else {
        return bad_request("The body must be a state as a JSON string, like \"SHUTTING_DOWN\"".to_owned());
    };
    let is_accepted = match node_state::parse(&wanted) {
        Some(wanted) => request_state(&state.events, wanted).await,
        None => false,
    };
    if is_accepted {
        StatusCode::OK.into_response()
    } else {
        bad_request(format!("Invalid state transition to {wanted}"))
    }
}

/// Asks the node, whose state it is, to be in another. Whether it is going to be.
pub(crate) async fn request_state(events: &mpsc::Sender<NodeEvent>, state: NodeState) -> bool {
    let (answer, answered) = oneshot::channel();
    let asked = events.send(NodeEvent::StateRequested { state, answer }).await;
    match asked {
        Ok(()) => answered.await.unwrap_or(state == NodeState::ShuttingDown),
        // If it is gone already, it has shut down.
        Err(_) => state == NodeState::ShuttingDown,
    }
}

fn bad_request(text: String) -> Response {
    (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "text/plain")], text).into_response()
}
