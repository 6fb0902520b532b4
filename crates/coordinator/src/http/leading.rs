//! Requests to a coordinator that may lead no more without knowing it: its process may have stood still.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::Refusal;
use crate::services::Services;

/// How long a request waits until it is seen that this coordinator still leads.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers a request if this coordinator leads, as far as can be seen.
///
/// While the store is away that cannot be seen. What is known of a query can be told all the same, because whoever leads
/// agrees; that there is no such query cannot.
pub async fn when_leading(State(services): State<Arc<Services>>, request: Request, next: Next) -> Response {
    let leadership = services.state.leadership();
    if let Ok(Err(error)) = timeout(PATIENCE, leadership.confirm()).await {
        return unavailable(error.message());
    }
    let response = next.run(request).await;
    let is_denial = matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE);
    match is_denial && !leadership.is_confirmed() {
        true => unavailable("It cannot be seen whether another coordinator leads"),
        false => response,
    }
}

fn unavailable(text: &str) -> Response {
    Refusal(StatusCode::SERVICE_UNAVAILABLE, text.to_owned()).into_response()
}
