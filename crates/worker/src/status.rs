//! What a node tells of itself: the documents of `/v1/info` and `/v1/status`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base::NodeId;
use scheduler::Capacity;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::memory::ProcessUsage;

/// The version of Trino that we speak as.
const TRINO_VERSION: &str = "483";

/// What a node tells of itself. The node writes it, HTTP handlers read it.
#[derive(Debug)]
pub(crate) struct NodeStatus {
    node_id: NodeId,
    environment: String,
    http_uri: String,
    capacity: Capacity,
    started: Instant,
    shutting_down: AtomicBool,
    reserved_bytes: AtomicU64,
    resident_bytes: AtomicU64,
    /// Bits of an `f64`.
    cpu_load: AtomicU64,
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
            shutting_down: AtomicBool::new(false),
            reserved_bytes: AtomicU64::new(0),
            resident_bytes: AtomicU64::new(0),
            cpu_load: AtomicU64::new(0),
        }
    }

    /// From now on the node takes no new attempts.
    pub(crate) fn shutting_down(&self) {
        self.shutting_down.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Relaxed)
    }

    /// What attempts have reserved, and what the process uses.
    pub(crate) fn used(&self, reserved_bytes: u64, usage: ProcessUsage) {
        self.reserved_bytes.store(reserved_bytes, Ordering::Relaxed);
        self.resident_bytes.store(usage.resident_bytes, Ordering::Relaxed);
        self.cpu_load.store(usage.cpu_load.to_bits(), Ordering::Relaxed);
    }

    /// The state as Trino names it.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.is_shutting_down() { "SHUTTING_DOWN" } else { "ACTIVE" }
    }

    /// The document of `/v1/info`. HTTP is served only once everything else is ready.
    pub(crate) fn info(&self, now: Instant) -> Value {
        json!({
            "nodeId": self.node_id.as_str(),
            "state": self.state_name(),
            "nodeVersion": { "version": TRINO_VERSION },
            "environment": self.environment,
            "coordinator": false,
            "starting": false,
            "uptime": succinct(now.duration_since(self.started)),
        })
    }

    /// The document of `/v1/status`.
    pub(crate) fn status(&self, now: Instant) -> Value {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let reserved_bytes = self.reserved_bytes.load(Ordering::Relaxed);
        let resident_bytes = self.resident_bytes.load(Ordering::Relaxed);
        let cpu_load = f64::from_bits(self.cpu_load.load(Ordering::Relaxed));
        json!({
            "nodeId": self.node_id.as_str(),
            "nodeVersion": { "version": TRINO_VERSION },
            "environment": self.environment,
            "coordinator": false,
            "uptime": succinct(now.duration_since(self.started)),
            "externalAddress": self.http_uri,
            "internalAddress": self.http_uri,
            "memoryInfo": {
                "availableProcessors": processors,
                "pool": {
                    "maxBytes": self.capacity.memory_bytes,
                    "reservedBytes": reserved_bytes,
                    "freeBytes": self.capacity.memory_bytes.saturating_sub(reserved_bytes),
                    "reservedRevocableBytes": 0,
                    "queryMemoryReservations": {},
                    "queryMemoryAllocations": {},
                    "queryMemoryRevocableReservations": {},
                },
            },
            "processors": processors,
            "processCpuLoad": cpu_load,
            "systemCpuLoad": cpu_load,
            "heapUsed": resident_bytes,
            "heapAvailable": self.capacity.memory_bytes,
            "nonHeapUsed": 0,
        })
    }
}

/// A length of time in its largest unit, with two digits, as in `3.21m`.
fn succinct(length: Duration) -> String {
    let seconds = length.as_secs_f64();
    let units = [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0)];
    let (unit, size) =
        units.into_iter().find(|(_, size)| seconds >= *size).unwrap_or(("ms", 0.001));
    format!("{:.2}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(info, expected);
        status.shutting_down();
        assert_eq!(status.info(status.started)["state"], "SHUTTING_DOWN");
    }

    #[test]
    fn status_tells_free_memory() {
        let status = status();
        status.used(1200, ProcessUsage { resident_bytes: 5, cpu_load: 0.25 });
        let document = status.status(status.started);
        assert_eq!(document["memoryInfo"]["pool"]["freeBytes"], 0);
        assert_eq!((document["heapUsed"].as_u64(), document["processCpuLoad"].as_f64()), (Some(5), Some(0.25)));
    }

    #[test]
    fn times_are_shown_in_their_largest_unit() {
        for (millis, shown) in
            [(5, "5.00ms"), (1_000, "1.00s"), (90_000, "1.50m"), (5_400_000, "1.50h"), (129_600_000, "1.50d")]
        {
            assert_eq!(succinct(Duration::from_millis(millis)), shown);
        }
    }
}
