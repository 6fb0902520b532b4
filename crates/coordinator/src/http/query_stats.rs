//! What a query has used so far, in the documents of `/v1/query`.
//!
//! The names are Trino's. What Trino does not count has names of its own: what was written to the exchange, and the
//! attempts that were lost or aborted. Tasks here are attempts, as in Trino.

use base::Duration;
use chrono::{DateTime, SecondsFormat, Utc};
use protocol::client::succinct::succinct_duration;
use serde_json::{Value, json};

use crate::query::Query;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// `queryStats`
pub fn query_stats(query: &Query) -> Value {
    let times = query.status().times;
    let progress = query.progress();
    let stats = progress.statement_stats(query);
    let (attempts, work, failed) = (progress.attempt_counts(), progress.work(), progress.failed_work());
    let at = |time| json!(DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true));
    let millis = |count: u64| json!(succinct_duration(Duration::millis(count)));
    let bytes = |count: u64| json!(format!("{count}B"));
    let entries = [
        ("createTime", at(times.created)),
        ("endTime", json!(times.ended.map(at))),
        ("queuedTime", millis(stats.queued_time_millis)),
        ("elapsedTime", millis(stats.elapsed_time_millis)),
        ("executionTime", millis(stats.elapsed_time_millis.saturating_sub(stats.queued_time_millis))),
        ("planningTime", millis(stats.planning_time_millis)),
        ("totalTasks", json!(attempts.started)),
        ("runningTasks", json!(stats.running_splits)),
        ("completedTasks", json!(stats.completed_splits)),
        ("failedTasks", json!(attempts.failed + attempts.lost)),
        ("retries", json!(progress.retries)),
        ("lostTasks", json!(attempts.lost)),
        ("abortedTasks", json!(attempts.aborted)),
        ("retries", json!(progress.retries)),
        ("totalDrivers", json!(stats.total_splits)),
        ("queuedDrivers", json!(stats.queued_splits)),
        ("runningDrivers", json!(stats.running_splits)),
        ("completedDrivers", json!(stats.completed_splits)),
        ("physicalInputDataSize", bytes(stats.physical_input_bytes)),
        ("rawInputDataSize", bytes(stats.processed_bytes)),
        ("rawInputPositions", json!(stats.processed_rows)),
        ("internalNetworkInputDataSize", bytes(stats.internal_network_input_bytes)),
        ("physicalWrittenDataSize", bytes(stats.physical_written_bytes)),
        ("exchangeWrittenDataSize", bytes(work.stored_bytes)),
        ("exchangeWrittenObjects", json!(work.stored_objects)),
        ("spilledDataSize", bytes(stats.spilled_bytes)),
        ("peakUserMemoryReservation", bytes(stats.peak_memory_bytes)),
        ("peakTotalMemoryReservation", bytes(stats.peak_memory_bytes)),
        ("totalCpuTime", millis(stats.cpu_time_millis)),
        ("failedCpuTime", millis(failed.cpu_nanos / NANOS_PER_MILLI)),
        ("totalScheduledTime", millis(stats.wall_time_millis)),
        ("failedScheduledTime", millis(failed.wall_nanos / NANOS_PER_MILLI)),
        ("fullyBlocked", json!(false)),
        ("blockedReasons", json!([])),
        ("progressPercentage", json!(stats.progress_percentage)),
        ("runningPercentage", json!(stats.running_percentage)),
    ];
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
