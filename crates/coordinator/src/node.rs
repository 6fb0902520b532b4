//! What the coordinator tells of itself as a node.

use std::time::Instant;

use base::NodeId;

use protocol::client::succinct::succinct_duration;

/// What the coordinator tells of itself as a node.
#[derive(Clone, Debug)]
pub struct NodeDescription {
    /// `node.id`
    pub node_id: NodeId,
    /// `node.environment`
    pub environment: String,
    /// The name of this coordinator life.
    pub coordinator_id: String,
    /// The address at which nodes and clients reach it.
    pub http_uri: String,
    /// `http-server.process-forwarded`
    pub process_forwarded: bool,
    /// When it started.
    pub started: Instant,
}

impl NodeDescription {
    /// How long it has been running, as Trino writes it.
    pub fn uptime(&self) -> String {
        let nanos = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        succinct_duration(base::Duration(nanos))
    }
}
