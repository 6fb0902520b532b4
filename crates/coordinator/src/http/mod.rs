//! The coordinator's HTTP surface.

mod authentication;
mod base_uri;
mod leading;
mod monitoring;
mod node;
mod pace;
mod query;
mod query_stats;
mod results;
mod serve;
mod statement;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate, SizeAbove};

pub use node::standby_router;
pub use serve::serve;

use pace::Pace;

use crate::node::NodeDescription;
use crate::services::Services;

/// An answer of so many bytes fits one packet: to compress it costs time and gains nothing.
const COMPRESSED_BYTES_MIN: u16 = 1300;

/// What the resources share.
#[derive(Clone)]
pub struct HttpState {
    /// The parts of the coordinator.
    pub services: Arc<Services>,
    /// What the node tells of itself.
    pub node: Arc<NodeDescription>,
}

impl FromRef<HttpState> for Arc<Services> {
    fn from_ref(state: &HttpState) -> Self {
        Arc::clone(&state.services)
    }
}

/// All resources.
pub fn router(state: HttpState) -> Router {
    let of_leader = statement::routes().merge(query::routes());
    let when_leading = from_fn_with_state(Arc::clone(&state.services), leading::when_leading);
    Router::new()
        .merge(of_leader.route_layer(when_leading))
        .merge(node::routes())
        .merge(monitoring::routes())
        .fallback(async || Refusal::not_found("Resource not found"))
        .method_not_allowed_fallback(async || {
            Refusal(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed".into())
        })
        .layer(CompressionLayer::new().gzip(true).compress_when(compressible()))
        .layer(from_fn(async |request: Request, next: Next| Pace::default().keep(request, next).await))
        .with_state(state)
}

/// What is compressed if the client takes that.
fn compressible() -> impl Predicate {
    DefaultPredicate::new().and(SizeAbove::new(COMPRESSED_BYTES_MIN))
}

/// An answer that is not the one that was asked for: a status and a sentence.
#[derive(Debug)]
pub struct Refusal(pub StatusCode, pub String);

impl Refusal {
    /// 400
    pub fn bad_request(text: impl Into<String>) -> Self {
        Refusal(StatusCode::BAD_REQUEST, text.into())
    }

    /// 401
    pub fn unauthorized(text: impl Into<String>) -> Self {
        Refusal(StatusCode::UNAUTHORIZED, text.into())
    }

    /// 404
    pub fn not_found(text: impl Into<String>) -> Self {
        Refusal(StatusCode::NOT_FOUND, text.into())
    }

    /// 410
    pub fn gone(text: impl Into<String>) -> Self {
        Refusal(StatusCode::GONE, text.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.0, self.1).into_response();
        if self.0 == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Trino\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
