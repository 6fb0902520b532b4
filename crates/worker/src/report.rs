//! The full state of the node in the form in which it travels.

use base::AttemptId;
use bytes::Bytes;
use protocol::node::wire;
use scheduler::{AttemptReport, AttemptStatus, NodeState, WorkerReport};

/// Commit records in one report may have so many bytes together: half of what a message may have.
const RECORDS_BYTES_MAX: usize = protocol::node::MESSAGE_BYTES_MAX / 2;

/// What a report tells of an attempt and the scheduler does not look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReportPayload {
    pub(crate) stats: wire::AttemptStats,
    /// The encoded record of the commit, if the attempt ended with one.
    pub(crate) commit_record: Option<Bytes>,
}

/// The report as it travels.
///
/// An attempt whose commit record does not fit any more is reported as running: what does fit is acknowledged and
/// leaves the report, and then its turn comes.
pub(crate) fn wire_report(
    report: WorkerReport,
    usage: wire::NodeUsage,
    mut payload_of: impl FnMut(&AttemptId) -> ReportPayload,
) -> wire::WorkerReport {
    let mut records_bytes = 0;
    let attempts = report
        .attempts
        .into_iter()
        .map(|attempt| {
            let payload = payload_of(&attempt.attempt);
            let length = payload.commit_record.as_ref().map_or(0, Bytes::len);
            let fits = records_bytes == 0 || records_bytes + length <= RECORDS_BYTES_MAX;
            if fits {
                records_bytes += length;
            }
            wire_attempt(attempt, payload, fits)
        })
        .collect();
    let (desired_epoch, desired_sequence) =
        report.desired_seen.map_or((0, 0), |(epoch, sequence)| (epoch.0, sequence));
    wire::WorkerReport {
        sequence: report.sequence,
        has_desired_seen: report.desired_seen.is_some(),
        desired_epoch,
        desired_sequence,
        memory_bytes: report.capacity.memory_bytes,
        slots: report.capacity.slots,
        shutting_down: report.state == NodeState::ShuttingDown,
        attempts,
        usage: Some(usage),
    }
}

fn wire_attempt(report: AttemptReport, payload: ReportPayload, fits: bool) -> wire::AttemptReport {
    use wire::attempt_report::Status;
    let status = match report.status {
        AttemptStatus::Committed { winner, output } if fits => Status::Committed(wire::Committed {
            winner: Some(winner.into()),
            rows: output.rows,
            partition_bytes: output.partition_bytes.to_vec(),
            commit_record: payload.commit_record.unwrap_or_default(),
        }),
        AttemptStatus::Running | AttemptStatus::Committed { .. } => Status::Running(wire::Running {}),
        AttemptStatus::Failed(failure) => {
            Status::Failed(wire::Failed { error: Some((&failure.error).into()) })
        }
    };
    wire::AttemptReport {
        attempt: Some(report.attempt.into()),
        peak_memory_bytes: report.peak_memory_bytes,
        stats: Some(payload.stats),
        status: Some(status),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{Epoch, Error, Failure, Incarnation, StageId, TaskId};
    use scheduler::{Capacity, OutputSize};

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
                })
                .collect(),
        }
    }

    fn committed() -> AttemptStatus {
        let output = OutputSize { rows: 3, partition_bytes: Arc::new([7, 8]) };
        AttemptStatus::Committed { winner: attempt(0), output }
    }

    #[test]
    fn says_all_there_is_to_say() {
        let failed = AttemptStatus::Failed(Failure::of(Error::internal("it broke")));
        let report = report(vec![AttemptStatus::Running, committed(), failed]);
        let report = wire_report(report, wire::NodeUsage::default(), |_| ReportPayload {
            stats: wire::AttemptStats { output_rows: 3, ..wire::AttemptStats::default() },
            commit_record: Some(Bytes::from_static(b"record")),
        });
        assert_eq!((report.sequence, report.desired_epoch, report.desired_sequence), (9, 1, 4));
        assert_eq!((report.memory_bytes, report.slots, report.shutting_down), (100, 2, false));
        let statuses: Vec<_> = report.attempts.iter().map(|each| each.status.as_ref().unwrap()).collect();
        use wire::attempt_report::Status;
        let [Status::Running(_), Status::Committed(committed), Status::Failed(failed)] = statuses[..] else {
            unreachable!("{statuses:?}")
        };
        assert_eq!((&committed.commit_record[..], &committed.partition_bytes[..]), (&b"record"[..], &[7, 8][..]));
        assert_eq!(failed.error.as_ref().unwrap().message, "it broke");
        assert_eq!(report.attempts[1].stats.as_ref().unwrap().output_rows, 3);
    }

    #[test]
    fn records_that_do_not_fit_wait_for_those_before_them() {
        let record = Bytes::from(vec![0; RECORDS_BYTES_MAX / 2]);
        let report = wire_report(report(vec![committed(); 4]), wire::NodeUsage::default(), |_| ReportPayload {
            commit_record: Some(record.clone()),
            ..ReportPayload::default()
        });
        let is_committed = |each: &wire::AttemptReport| {
            matches!(each.status, Some(wire::attempt_report::Status::Committed(_)))
        };
        let committed: Vec<bool> = report.attempts.iter().map(is_committed).collect();
        assert_eq!(committed, [true, true, false, false]);
    }
}
