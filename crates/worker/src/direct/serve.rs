//! An HTTP server for other nodes' long requests beside everybody's short ones.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use base::{Error, Result};
use futures::{Stream, stream};
use listener::{Accepted, BoundedListener, ConnectionHandle, count_requests};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

/// Serves routes over HTTP/1.1 and HTTP/2 on one socket until `stop` is done and the requests are answered.
///
/// As many requests as there are consumers may wait on one connection: the usual limit of 200 would make those beyond
/// it wait for long polls that have nothing to do with them.
pub async fn serve(
    listener: BoundedListener,
    routes: Router,
    stop: impl Future<Output = ()> + Send,
) -> Result<()> {
    Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(None)
        .add_routes(Routes::from(count_requests(routes)))
        .serve_with_incoming_shutdown(incoming(listener), stop)
        .await
        .map_err(|error| Error::internal("The HTTP server failed").caused_by(error))
}

fn incoming(listener: BoundedListener) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold(listener, |mut listener| async {
        let (accepted, _) = listener.accept().await;
        Some((Ok(Connection(accepted)), listener))
    })
}

/// A connection whose requests are counted.
struct Connection(Accepted);

impl Connected for Connection {
    type ConnectInfo = ConnectInfo<ConnectionHandle>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.0.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
