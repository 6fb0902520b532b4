//! A listener that accepts a limited number of connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::accepted::Accepted;
use crate::connections::Connections;

/// How long to wait when the process has no descriptor for a connection.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// How many connections are being refused at a time. More are closed without a word.
const REFUSAL_COUNT_MAX: usize = 8;
/// How long a refusal may take to be read.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is logged that connections are refused.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n\
    Content-Type: text/plain\r\nContent-Length: 26\r\n\r\nToo many open connections\n";

/// A listener that accepts a limited number of connections.
#[derive(Debug)]
pub struct BoundedListener {
    listener: TcpListener,
    connections: Arc<Connections>,
    refusals: Arc<Semaphore>,
    warned_at: Option<Instant>,
}

impl BoundedListener {
    /// Of all connections to this listener, at most `connection_count_max` are open at a time, and at least one.
    pub fn new(listener: TcpListener, connection_count_max: usize) -> Self {
        BoundedListener {
            listener,
            connections: Connections::new(connection_count_max),
            refusals: Arc::new(Semaphore::new(REFUSAL_COUNT_MAX)),
            warned_at: None,
        }
    }

    /// Tells, not too often, what stands in the way of connections.
    fn warn(&mut self, text: &str) {
        if self.warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            self.warned_at = Some(Instant::now());
            tracing::warn!("{text}");
        }
    }

    fn refuse(&self, stream: TcpStream) {
        if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
            tokio::spawn(async move {
                // Whoever does not listen is not told.
                let _ = timeout(REFUSAL_TIMEOUT, tell_refusal(stream)).await;
                drop(permit);
            });
        }
    }
}

impl axum::serve::Listener for BoundedListener {
    type Io = Accepted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Accepted, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    if self.connections.make_room().await {
                        // Nothing is held back to fill packets. Where that cannot be had it is only slower.
                        let _ = stream.set_nodelay(true);
                        return (Accepted::new(stream, self.connections.open()), address);
                    }
                    self.warn("too many connections with requests under way: new ones are refused");
                    self.refuse(stream);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.warn(&format!("connections cannot be accepted: {error}"));
                    // It may be descriptors that are wanting.
                    self.connections.close_idle();
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whether it is only the connection that was to be accepted that is gone.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Refuses in a way that the other side can read: to close while it still sends would take the answer back.
async fn tell_refusal(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(REFUSAL).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}
