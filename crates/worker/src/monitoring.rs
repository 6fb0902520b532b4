//! `/metrics`: the numbers of a worker.

use metrics::{Page, table};
use tokio::time::Instant;

use crate::status::NodeStatus;

/// The text.
pub(crate) fn page(status: &NodeStatus, now: Instant) -> String {
    let numbers = status.numbers();
    let mut page = Page::new();
    page.add(&table::LEASED_MEMORY, numbers.leased_bytes);
    page.add(&table::MEMORY_CAPACITY, status.capacity().memory_bytes);
    page.add(&table::RESERVED_MEMORY, status.reserved_bytes());
    page.add(&table::RESIDENT_MEMORY, status.resident_bytes());
    page.add(&table::ATTEMPTS, numbers.running);
    page.add(&table::WORKER_ATTEMPTS_STARTED, numbers.started);
    page.add_each(&table::WORKER_ATTEMPTS_ENDED, |how| match how {
        "committed" => numbers.committed,
        "failed" => numbers.failed,
        _ => numbers.aborted,
    });
    page.add(&table::EXCHANGE_WRITTEN, numbers.work.exchange_written_bytes);
    page.add(&table::EXCHANGE_READ, numbers.work.exchange_read_bytes);
    page.add(&table::SPILLED, numbers.work.spilled_bytes);
    let state = status.state_name();
    page.add_each(&table::NODE_STATE, |name| u8::from(state.eq_ignore_ascii_case(name)));
    page.add(&table::UPTIME, status.age(now).as_secs_f64());
    page.finish()
}

#[cfg(test)]
mod tests {
    use base::NodeId;
    use metrics::METRICS;
    use scheduler::Capacity;

    use super::*;
    use crate::work::{Ended, Work};

    #[test]
    fn every_metric_of_a_worker_is_told() {
        let capacity = Capacity { memory_bytes: 1000, slots: 2 };
        let status =
            NodeStatus::new(NodeId::new("one"), "test".to_owned(), "http://here:1".to_owned(), capacity);
        status.attempt_started();
        status.attempt_ended(Ended::Aborted);
        status.worked(Work { spilled_bytes: 7, ..Work::default() }, 3, 90);
        let text = page(&status, Instant::now());
        for metric in METRICS {
            let head = format!("# TYPE {} ", metric.name);
            assert_eq!(text.contains(&head), metric.worker, "{}", metric.name);
        }
        for line in [
            "steadfast_worker_attempts_started_total 1",
            "steadfast_worker_attempts_ended_total{state=\"aborted\"} 1",
            "steadfast_worker_attempts_ended_total{state=\"failed\"} 0",
            "steadfast_attempts 3",
            "steadfast_leased_memory_bytes 90",
            "steadfast_spilled_bytes_total 7",
            "steadfast_node_state{state=\"active\"} 1",
            "steadfast_node_state{state=\"drained\"} 0",
        ] {
            assert!(text.lines().any(|each| each == line), "no {line} in\n{text}");
        }
    }
}
