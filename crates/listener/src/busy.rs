//! Counting the requests that are under way on each connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};

use crate::connections::{self, ConnectionHandle};

/// The same routes, with their requests counted. Whoever serves them puts the
/// [connection](crate::Accepted::connect_info) into the extensions of every request.
pub fn count_requests(routes: Router) -> Router {
    routes.layer(from_fn(count))
}

async fn count(request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<ConnectInfo<ConnectionHandle>>();
    let Some(under_way) = connection.and_then(|ConnectInfo(connection)| connection.begin()) else {
        // It is about to be closed for want of room.
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::CONNECTION, "close")]).into_response();
    };
    next.run(request).await.map(|body| Body::new(Counted { body, _under_way: under_way }))
}

/// The body of an answer: the request is under way until it was sent.
struct Counted {
    body: Body,
    _under_way: connections::Request,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
