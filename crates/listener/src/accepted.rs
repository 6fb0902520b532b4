//! A connection that was accepted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::ConnectInfo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::connections::ConnectionHandle;

/// A connection that was accepted. When it has to make room, its reader finds its end.
#[derive(Debug)]
pub struct Accepted {
    stream: TcpStream,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    connection: ConnectionHandle,
}

impl Accepted {
    pub(crate) fn new(stream: TcpStream, connection: ConnectionHandle) -> Self {
        let closing = connection.connections.close_token(connection.id).cancelled_owned();
        Accepted { stream, closing: Box::pin(closing), connection }
    }

    /// What every request on it is to have among its extensions, so that it is counted: see
    /// [`count_requests`](crate::count_requests).
    pub fn connect_info(&self) -> ConnectInfo<ConnectionHandle> {
        ConnectInfo(self.connection.clone())
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.connection.connections.remove(self.connection.id);
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.closing.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => Pin::new(&mut self.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
