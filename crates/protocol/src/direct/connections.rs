//! Connections to nodes whose outputs are read: one to each, shared by all readers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// Connections to nodes, by address. They are made when first used, and again when they broke. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DirectConnections {
    credentials: Credentials,
    runtime: Handle,
    channels: Arc<Mutex<HashMap<String, Channel>>>,
}

impl DirectConnections {
    /// No connections yet. They will be served on that runtime.
    pub fn new(credentials: Credentials, runtime: Handle) -> Self {
        DirectConnections { credentials, runtime, channels: Arc::default() }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client of the node at `http://host:port`. Does not connect.
    ///
    /// Fails where that is no address.
    pub fn client(&self, uri: &str) -> Result<DirectClient> {
        let mut channels = self.channels();
        if let Some(channel) = channels.get(uri) {
            return Ok(DirectClient::new(channel.clone(), self.credentials.clone()));
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
        channels.insert(uri.to_owned(), channel.clone());
        Ok(DirectClient::new(channel, self.credentials.clone()))
    }

    /// Forgets the connections to nodes that are gone. Clients of them that are in use go on.
    pub fn retain(&self, mut is_there: impl FnMut(&str) -> bool) {
        self.channels().retain(|uri, _| is_there(uri));
    }

    /// To how many nodes there are connections.
    pub fn len(&self) -> usize {
        self.channels().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.channels().is_empty()
    }
}
