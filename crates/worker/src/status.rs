//! What a node tells of itself: the documents of `/v1/info` and `/v1/status`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base::NodeId;
use protocol::client::{self, node_state};
use scheduler::{Capacity, NodeState};
use tokio::time::Instant;

use crate::memory::ProcessUsage;
use crate::work::{Ended, Work};

/// What a node tells of itself. The node writes it, HTTP handlers read it.
#[derive(Debug)]
pub(crate) struct NodeStatus {
    node_id: NodeId,
    environment: String,
    http_uri: String,
    capacity: Capacity,
    started: Instant,
    state: Mutex<NodeState>,
    reserved_bytes: AtomicU64,
    resident_bytes: AtomicU64,
    /// Bits of an `f64`.
    cpu_load: AtomicU64,
    numbers: Mutex<Numbers>,
}

/// What the attempts of the node have done since it started, and what they have now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) work: Work,
    pub(crate) running: u64,
    pub(crate) leased_bytes: u64,
    pub(crate) started: u64,
    pub(crate) committed: u64,
    pub(crate) failed: u64,
    pub(crate) aborted: u64,
}

impl NodeStatus {
    /// The status of a node that starts now.
    pub(crate) fn new(node_id: NodeId, environment: String, http_uri: String, capacity: Capacity) -> Self {
        NodeStatus {
            node_id,
            environment,
            http_uri,
            capacity,
            started: Instant::now(),
            state: Mutex::new(NodeState::Active),
            reserved_bytes: AtomicU64::new(0),
            resident_bytes: AtomicU64::new(0),
            cpu_load: AtomicU64::new(0),
            numbers: Mutex::default(),
        }
    }

    /// The node is in this state now. Says whether it was in another.
    pub(crate) fn set_state(&self, state: NodeState) -> bool {
        let before =
            std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state);
        before != state
    }

    /// What attempts have reserved, and what the process uses.
    pub(crate) fn used(&self, reserved_bytes: u64, usage: ProcessUsage) {
        self.reserved_bytes.store(reserved_bytes, Ordering::Relaxed);
        self.resident_bytes.store(usage.resident_bytes, Ordering::Relaxed);
        self.cpu_load.store(usage.cpu_load.to_bits(), Ordering::Relaxed);
    }

    /// What all attempts have done, and what those have that run.
    pub(crate) fn worked(&self, work: Work, running: u64, leased_bytes: u64) {
        self.change(|numbers| *numbers = Numbers { work, running, leased_bytes, ..*numbers });
    }

    pub(crate) fn attempt_started(&self) {
        self.change(|numbers| numbers.started += 1);
    }

    pub(crate) fn attempt_ended(&self, how: Ended) {
        self.change(|numbers| match how {
            Ended::Committed => numbers.committed += 1,
            Ended::Failed => numbers.failed += 1,
            Ended::Aborted => numbers.aborted += 1,
        });
    }

    fn change(&self, change: impl FnOnce(&mut Numbers)) {
        change(&mut self.numbers.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn numbers(&self) -> Numbers {
        *self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn capacity(&self) -> Capacity {
        self.capacity
    }

    pub(crate) fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.started)
    }

    /// The state as Trino names it.
    pub(crate) fn state_name(&self) -> &'static str {
        node_state::as_str(*self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The document of `/v1/info`. HTTP is served only once everything else is ready.
    pub(crate) fn info(&self, now: Instant) -> client::ServerInfo {
        client::ServerInfo {
            node_id: self.node_id.as_str().to_owned(),
            state: self.state_name().to_owned(),
            node_version: client::NodeVersion::trino(),
            environment: self.environment.clone(),
            coordinator: false,
            coordinator_id: None,
            starting: false,
            uptime: Some(self.uptime(now)),
        }
    }

    /// The document of `/v1/status`.
    pub(crate) fn status(&self, now: Instant) -> client::NodeStatus {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let processors = u32::try_from(processors).unwrap_or(u32::MAX);
        let max_bytes = self.capacity.memory_bytes;
        let reserved_bytes = self.reserved_bytes();
        let cpu_load = f64::from_bits(self.cpu_load.load(Ordering::Relaxed));
        let pool = client::MemoryPoolInfo {
            max_bytes,
            reserved_bytes,
            free_bytes: max_bytes.saturating_sub(reserved_bytes),
            ..client::MemoryPoolInfo::default()
        };
        client::NodeStatus {
            node_id: self.node_id.as_str().to_owned(),
            node_version: client::NodeVersion::trino(),
            environment: self.environment.clone(),
            coordinator: false,
            uptime: self.uptime(now),
            external_address: self.http_uri.clone(),
            internal_address: self.http_uri.clone(),
            memory_info: client::MemoryInfo { available_processors: processors, pool },
            processors,
            process_cpu_load: cpu_load,
            system_cpu_load: cpu_load,
            heap_used: self.resident_bytes(),
            heap_available: max_bytes,
            non_heap_used: 0,
        }
    }

    fn uptime(&self, now: Instant) -> String {
        let nanos = self.age(now).as_nanos();
        client::succinct::succinct_duration(base::Duration(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    fn status() -> NodeStatus {
        let capacity = Capacity { memory_bytes: 1000, slots: 2 };
        NodeStatus::new(NodeId::new("one"), "test".to_owned(), "http://here:1".to_owned(), capacity)
    }

    #[test]
    fn info_is_what_health_checks_look_for() {
        let status = status();
        let info = status.info(status.started + Duration::from_millis(192_600));
        let expected = json!({
            "nodeId": "one", "state": "ACTIVE", "nodeVersion": {"version": "483"}, "environment": "test",
            "coordinator": false, "starting": false, "uptime": "3.21m",
        });
        assert_eq!(to_value(info).unwrap(), expected);
        assert!(status.set_state(NodeState::ShuttingDown) && !status.set_state(NodeState::ShuttingDown));
        assert_eq!(status.info(status.started).state, "SHUTTING_DOWN");
    }

    #[test]
    fn status_tells_free_memory() {
        let status = status();
        status.used(1200, ProcessUsage { resident_bytes: 5, cpu_load: 0.25 });
        let document = status.status(status.started);
        assert_eq!(document.memory_info.pool.free_bytes, 0);
        assert_eq!((document.heap_used, document.process_cpu_load), (5, 0.25));
    }
}
