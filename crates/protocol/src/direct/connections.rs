//! Connections to nodes whose outputs are read: one to each, shared by all readers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base::{Error, Result};
use tokio::runtime::Handle;
use tonic::transport::{Channel, Endpoint};

use super::client::DirectClient;
use super::credentials::Credentials;

/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that does not answer a ping sent after so long, within so long, is out of reach. Pings wait behind the data
/// of a busy connection, so the time is generous; the coordinator notices a dead worker sooner, and ends its readers.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE: Duration = Duration::from_secs(10);

/// How much of one answer, and of all on a connection, may be under way, in bytes. The second is so much larger that
/// answers that nobody reads just now do not hold up the others.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// How large a piece of an answer may be, in bytes. The default of HTTP/2, 16 kB, costs a lot of bookkeeping.
const FRAME_BYTES_MAX: u32 = 256 << 10;

/// A connection that nobody asked for during so long is forgotten when another is made: its node may be gone.
const IDLE_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Connection {
    channel: Channel,
    asked_for: Instant,
}

/// Connections to nodes, by address. They are made when first used, and again when they broke. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DirectConnections {
    credentials: Credentials,
    runtime: Handle,
    connections: Arc<Mutex<HashMap<String, Connection>>>,
}

impl DirectConnections {
    /// No connections yet. They will be served on that runtime.
    pub fn new(credentials: Credentials, runtime: Handle) -> Self {
        DirectConnections { credentials, runtime, connections: Arc::default() }
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<String, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client of the node at `http://host:port`. Does not connect.
    ///
    /// Fails where that is no address.
    pub fn client(&self, uri: &str) -> Result<DirectClient> {
        let mut connections = self.connections();
        let now = Instant::now();
        if let Some(known) = connections.get_mut(uri) {
            known.asked_for = now;
            return Ok(DirectClient::new(known.channel.clone(), self.credentials.clone()));
        }
        let endpoint = Endpoint::from_shared(uri.to_owned())
            .map_err(|error| {
                Error::internal(format!("'{uri}' is not the address of a node")).caused_by(error)
            })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX);
        let entered = self.runtime.enter();
        let channel = endpoint.connect_lazy();
        drop(entered);
        forget_idle(&mut connections, now);
        connections.insert(uri.to_owned(), Connection { channel: channel.clone(), asked_for: now });
        Ok(DirectClient::new(channel, self.credentials.clone()))
    }

    /// Forgets the connections to nodes that are gone. Clients of them that are in use go on.
    pub fn retain(&self, mut is_there: impl FnMut(&str) -> bool) {
        self.connections().retain(|uri, _| is_there(uri));
    }

    /// To how many nodes there are connections.
    pub fn len(&self) -> usize {
        self.connections().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.connections().is_empty()
    }
}

/// Clients of what is forgotten go on.
fn forget_idle(connections: &mut HashMap<String, Connection>, now: Instant) {
    connections.retain(|_, known| now.saturating_duration_since(known.asked_for) < IDLE_MAX);
}

#[cfg(test)]
mod tests {
    use base::{Incarnation, NodeId};

    use super::*;

    #[tokio::test]
    async fn a_connection_that_nobody_asks_for_is_forgotten() {
        let credentials = Credentials::new(None, &NodeId::new("node"), Incarnation(1));
        let connections = DirectConnections::new(credentials, Handle::current());
        connections.client("http://127.0.0.1:1").unwrap();
        connections.client("http://127.0.0.1:2").unwrap();
        let later = Instant::now() + IDLE_MAX;
        if let Some(known) = connections.connections().get_mut("http://127.0.0.1:2") {
            known.asked_for = later;
        }
        forget_idle(&mut connections.connections(), later);
        assert_eq!(connections.len(), 1);
        assert!(connections.client("not an address").is_err());
    }
}
