//! The metrics.

use crate::definition::{Metric, Unit};

/// Queries that have not ended.
pub const QUERIES: Metric = Metric::gauge("steadfast_queries", Unit::None, "Queries that have not ended.")
    .by("state", &["queued", "planning", "starting", "running", "finishing"])
    .of_coordinator();

/// Queries that have ended.
pub const QUERIES_ENDED: Metric =
    Metric::counter("steadfast_queries_ended", Unit::None, "Queries that have ended.")
        .by("state", &["finished", "failed"])
        .of_coordinator();

/// Tasks of running queries.
pub const TASKS: Metric = Metric::gauge(
    "steadfast_tasks",
    Unit::None,
    "Tasks of running queries: those that wait for a worker or for a backoff to pass, and those with an attempt on \
     a worker.",
)
.by("state", &["queued", "running"])
.of_coordinator();

/// Attempts that were placed on a worker.
pub const ATTEMPTS_STARTED: Metric =
    Metric::counter("steadfast_attempts_started", Unit::None, "Attempts that were placed on a worker.")
        .of_coordinator();

/// Attempts that have ended without a committed output.
pub const ATTEMPTS_ENDED: Metric = Metric::counter(
    "steadfast_attempts_ended",
    Unit::None,
    "Attempts that ended without an output that counts: they failed, their worker vanished, or nobody wanted them \
     any more because a rival was first, their worker was drained or their query ended.",
)
.by("state", &["failed", "lost", "aborted"])
.of_coordinator();

/// Workers by state.
pub const WORKERS: Metric =
    Metric::gauge("steadfast_workers", Unit::None, "Workers that are there, by what they may be given.")
        .by("state", &["active", "draining", "drained", "shutting_down"])
        .of_coordinator();

/// Workers that take attempts.
pub const ACTIVE_WORKERS: Metric =
    Metric::gauge("steadfast_active_workers", Unit::None, "Workers that take attempts.").of_coordinator();

/// Workers that are slow.
pub const SLOW_WORKERS: Metric = Metric::gauge(
    "steadfast_slow_workers",
    Unit::None,
    "Workers that take attempts and on which these take much longer than elsewhere. They are used last.",
)
.of_coordinator();

/// Workers that would run everything at once.
pub const WANTED_WORKERS: Metric = Metric::gauge(
    "steadfast_wanted_workers",
    Unit::None,
    "How many workers of the largest size would run at once all that waits or runs now. An autoscaler may follow it \
     between its bounds; a worker that it removes is drained.",
)
.of_coordinator();

/// Memory promised to attempts.
pub const LEASED_MEMORY: Metric = Metric::gauge(
    "steadfast_leased_memory_bytes",
    Unit::Bytes,
    "Memory that is promised to attempts: on all workers together as the coordinator knows it, on a worker its own.",
);

/// Memory there is for attempts.
pub const MEMORY_CAPACITY: Metric = Metric::gauge(
    "steadfast_memory_capacity_bytes",
    Unit::Bytes,
    "Memory there is for attempts: of all workers together as the coordinator knows it, of a worker its own.",
);

/// Memory that attempts use.
pub const RESERVED_MEMORY: Metric =
    Metric::gauge("steadfast_reserved_memory_bytes", Unit::Bytes, "Memory that attempts of this worker use.")
        .of_worker();

/// Memory of the process.
pub const RESIDENT_MEMORY: Metric =
    Metric::gauge("steadfast_resident_memory_bytes", Unit::Bytes, "Memory of this worker's process.")
        .of_worker();

/// Attempts a worker holds.
pub const ATTEMPTS: Metric =
    Metric::gauge("steadfast_attempts", Unit::None, "Attempts that run on this worker.").of_worker();

/// Attempts a worker has started.
pub const WORKER_ATTEMPTS_STARTED: Metric = Metric::counter(
    "steadfast_worker_attempts_started",
    Unit::None,
    "Attempts that this worker has started.",
)
.of_worker();

/// Attempts of a worker that have ended.
pub const WORKER_ATTEMPTS_ENDED: Metric = Metric::counter(
    "steadfast_worker_attempts_ended",
    Unit::None,
    "Attempts that have ended on this worker. Those that were told to end are aborted.",
)
.by("state", &["committed", "failed", "aborted"])
.of_worker();

/// Bytes written to the exchange.
pub const EXCHANGE_WRITTEN: Metric = Metric::counter(
    "steadfast_exchange_written_bytes",
    Unit::Bytes,
    "Output that attempts of this worker have written to the exchange, as it is stored.",
)
.of_worker();

/// Bytes read from the exchange.
pub const EXCHANGE_READ: Metric = Metric::counter(
    "steadfast_exchange_read_bytes",
    Unit::Bytes,
    "Rows that attempts of this worker have read from the exchange, in memory.",
)
.of_worker();

/// Bytes spilled to disk.
pub const SPILLED: Metric = Metric::counter(
    "steadfast_spilled_bytes",
    Unit::Bytes,
    "What attempts of this worker have written to local disk because their memory was short.",
)
.of_worker();

/// Whether a worker takes attempts.
pub const NODE_STATE: Metric = Metric::gauge(
    "steadfast_node_state",
    Unit::None,
    "1 for the state that this worker is in, 0 for the others.",
)
.by("state", &["active", "draining", "drained", "shutting_down"])
.of_worker();

/// Time since the start.
pub const UPTIME: Metric =
    Metric::gauge("steadfast_uptime_seconds", Unit::Seconds, "The time since this node started.");

/// All metrics, in the order in which they are shown.
pub const METRICS: &[&Metric] = &[
    &QUERIES,
    &QUERIES_ENDED,
    &TASKS,
    &ATTEMPTS_STARTED,
    &ATTEMPTS_ENDED,
    &WORKERS,
    &ACTIVE_WORKERS,
    &SLOW_WORKERS,
    &WANTED_WORKERS,
    &LEASED_MEMORY,
    &MEMORY_CAPACITY,
    &RESERVED_MEMORY,
    &RESIDENT_MEMORY,
    &ATTEMPTS,
    &WORKER_ATTEMPTS_STARTED,
    &WORKER_ATTEMPTS_ENDED,
    &EXCHANGE_WRITTEN,
    &EXCHANGE_READ,
    &SPILLED,
    &NODE_STATE,
    &UPTIME,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::definition::Kind;

    #[test]
    fn names_are_those_of_openmetrics() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len(), "a name stands twice");
        for metric in METRICS {
            let name = metric.name;
            assert!(name.starts_with("steadfast_"), "{name}");
            assert!(name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{name}");
            assert!(!name.ends_with("_total"), "{name}");
            if let Some(unit) = metric.unit.as_str() {
                assert!(name.ends_with(&format!("_{unit}")), "{name}");
            }
            assert!(metric.help.ends_with('.') && !metric.help.contains(['|', '\n', '\\', '"']), "{name}");
            assert!(metric.coordinator || metric.worker, "{name}");
            assert!(metric.label.is_none_or(|label| label.values.len() > 1), "{name}");
            assert!(metric.kind == Kind::Counter || !name.contains("_ended"), "{name}");
        }
    }
}
