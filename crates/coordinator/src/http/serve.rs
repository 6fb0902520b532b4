//! Serving connections, as [`axum::serve`] does, with limits of our own.

use axum::Router;
use axum::body::Body;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tonic::codegen::Service;

/// How many headers a request may have. Some clients send one for each prepared statement. To a request with more of
/// them, or with more than some 400 kB of them, the HTTP library answers 431 by itself, without a body.
const HEADER_COUNT_MAX: usize = 2_000;

/// Accepts connections for ever. `routes` is asked once for each of them what is served on it.
pub async fn serve<L: Listener>(mut listener: L, routes: impl Fn(&L::Io) -> Router) {
    loop {
        let (connection, _) = listener.accept().await;
        let routes = routes(&connection);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut routes = routes.clone();
            async move { routes.call(request.map(Body::new)).await }
        });
        tokio::spawn(async move {
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().max_headers(HEADER_COUNT_MAX);
            let served = builder.serve_connection_with_upgrades(TokioIo::new(connection), service).await;
            if let Err(error) = served {
                tracing::trace!(%error, "a connection has ended");
            }
        });
    }
}
