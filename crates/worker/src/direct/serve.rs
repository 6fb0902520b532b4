//! An HTTP server for other nodes' long requests beside everybody's short ones.

use axum::Router;
use base::{Error, Result};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Serves routes over HTTP/1.1 and HTTP/2 on one socket until `stop` is done and the requests are answered.
///
/// Nothing is held back to fill packets, and as many requests as there are consumers may wait on one connection: the
/// usual limit of 200 would make those beyond it wait for long polls that have nothing to do with them.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    stop: impl Future<Output = ()> + Send,
) -> Result<()> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(None)
        .add_routes(Routes::from(routes))
        .serve_with_incoming_shutdown(incoming, stop)
        .await
        .map_err(|error| Error::internal("The HTTP server failed").caused_by(error))
}
