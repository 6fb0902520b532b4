//! What a node tells of itself: `/v1/info` and `/v1/status`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of Trino that the server speaks as.
pub const TRINO_VERSION: &str = "483";

/// The document of `/v1/info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// The node.
    #[serde(default)]
    pub node_id: String,
    /// `ACTIVE`, `SHUTTING_DOWN` and so on.
    #[serde(default)]
    pub state: String,
    /// Its version.
    pub node_version: NodeVersion,
    /// `node.environment`
    pub environment: String,
    /// Whether it is a coordinator.
    pub coordinator: bool,
    /// The name of the coordinator's life, the last part of its query ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator_id: Option<String>,
    /// Whether it is not yet ready.
    pub starting: bool,
    /// Since when it runs; see [`super::succinct::succinct_duration`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<String>,
}

/// A version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeVersion {
    /// The text.
    pub version: String,
}

impl NodeVersion {
    /// The version that the server speaks as.
    pub fn trino() -> Self {
        NodeVersion { version: TRINO_VERSION.into() }
    }
}

/// The document of `/v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// The node.
    pub node_id: String,
    /// Its version.
    pub node_version: NodeVersion,
    /// `node.environment`
    pub environment: String,
    /// Whether it is a coordinator.
    pub coordinator: bool,
    /// Since when it runs; see [`super::succinct::succinct_duration`].
    pub uptime: String,
    /// The address that clients use.
    pub external_address: String,
    /// The address that other nodes use.
    pub internal_address: String,
    /// Its memory.
    pub memory_info: MemoryInfo,
    /// How many processors it may use.
    pub processors: u32,
    /// The share of the machine that this process uses, 0 to 1.
    pub process_cpu_load: f64,
    /// The share of the machine that is used, 0 to 1.
    pub system_cpu_load: f64,
    /// The memory of the process, in bytes.
    pub heap_used: u64,
    /// The memory the process may have, in bytes.
    pub heap_available: u64,
    /// Memory of the process outside of the heap, in bytes. There is no such memory here.
    pub non_heap_used: u64,
}

/// The memory of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryInfo {
    /// How many processors it may use.
    pub available_processors: u32,
    /// The pool that attempts take their memory from.
    pub pool: MemoryPoolInfo,
}

/// A memory pool. Amounts are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryPoolInfo {
    /// Its size.
    pub max_bytes: u64,
    /// What is taken.
    pub reserved_bytes: u64,
    /// What of it can be had back.
    pub reserved_revocable_bytes: u64,
    /// What is left.
    pub free_bytes: u64,
    /// What is taken, by query.
    pub query_memory_reservations: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn info_is_the_document_that_health_checks_read() {
        let info = ServerInfo {
            node_id: "node".into(),
            state: "ACTIVE".into(),
            node_version: NodeVersion::trino(),
            environment: "docker".into(),
            coordinator: true,
            coordinator_id: Some("abcde".into()),
            starting: false,
            uptime: Some("3.21m".into()),
        };
        let document = serde_json::to_value(&info).unwrap();
        assert_eq!(
            document,
            json!({"nodeId": "node", "state": "ACTIVE", "nodeVersion": {"version": "483"}, "environment": "docker",
                "coordinator": true, "coordinatorId": "abcde", "starting": false, "uptime": "3.21m"})
        );
        assert_eq!(serde_json::from_value::<ServerInfo>(document).unwrap(), info);
    }
}
