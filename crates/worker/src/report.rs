//! The full state of the node in the form in which it travels.

use std::collections::BTreeMap;

use base::AttemptId;
use protocol::node::{AttemptDetails, NodeReport, wire};
use scheduler::{AttemptStatus, WorkerReport};

/// Commit records in one report may have so many bytes together: half of what a message may have.
const RECORDS_BYTES_MAX: usize = protocol::node::MESSAGE_BYTES_MAX / 2;

/// The report as it travels.
///
/// An attempt whose commit record does not fit any more is reported as running: what does fit is acknowledged and
/// leaves the report, and then its turn comes.
pub(crate) fn wire_report(
    mut report: WorkerReport,
    usage: wire::NodeUsage,
    details_of: impl Fn(&AttemptId) -> AttemptDetails,
) -> wire::WorkerReport {
    let mut records_bytes = 0;
    let mut details = BTreeMap::new();
    for attempt in &mut report.attempts {
        let mut detail = details_of(&attempt.attempt);
        let length = detail.commit_record.len();
        if records_bytes == 0 || records_bytes + length <= RECORDS_BYTES_MAX {
            records_bytes += length;
        } else {
            detail.commit_record.clear();
            attempt.status = AttemptStatus::Running;
        }
        details.insert(attempt.attempt, detail);
    }
    NodeReport { report, details, usage }.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{Epoch, Incarnation, StageId, TaskId};
    use bytes::Bytes;
    use scheduler::{AttemptReport, Capacity, NodeState, OutputSize};

    use super::*;

    fn attempt(partition: u32) -> AttemptId {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(2), partition };
        AttemptId { task, generation: 0, epoch: Epoch(1), number: 1 }
    }

    fn report(statuses: Vec<AttemptStatus>) -> WorkerReport {
        let attempts = statuses.into_iter().enumerate();
        WorkerReport {
            incarnation: Incarnation(1),
            sequence: 9,
            desired_seen: Some((Epoch(1), 4)),
            capacity: Capacity { memory_bytes: 100, slots: 2 },
            state: NodeState::Active,
            attempts: attempts
                .map(|(partition, status)| AttemptReport {
                    attempt: attempt(partition as u32),
                    status,
                    peak_memory_bytes: 5,
                    memory_bytes: 9,
                })
                .collect(),
        }
    }

    fn committed() -> AttemptStatus {
        let output = OutputSize { rows: 3, partition_bytes: Arc::new([7, 8]), checksum: 0 };
        AttemptStatus::Committed { winner: attempt(0), output }
    }

    #[test]
    fn records_that_do_not_fit_wait_for_those_before_them() {
        let record = Bytes::from(vec![0; RECORDS_BYTES_MAX / 2]);
        let report = wire_report(report(vec![committed(); 4]), wire::NodeUsage::default(), |_| {
            AttemptDetails { commit_record: record.clone(), ..AttemptDetails::default() }
        });
        let is_committed = |each: &wire::AttemptReport| {
            matches!(each.status, Some(wire::attempt_report::Status::Committed(_)))
        };
        let committed: Vec<bool> = report.attempts.iter().map(is_committed).collect();
        assert_eq!(committed, [true, true, false, false]);
    }
}
