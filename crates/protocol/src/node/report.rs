//! The report of a worker: what the core sees of it, and what it does not.

use std::collections::BTreeMap;

use base::{AttemptId, Epoch, Failure, Incarnation};
use bytes::Bytes;
use scheduler::{AttemptReport, AttemptStatus, Capacity, NodeState, OutputSize, WorkerReport};

use super::id::required_attempt;
use super::{InvalidMessage, wire};

/// The full state of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeReport {
    /// What the core sees.
    pub report: WorkerReport,
    /// What goes past the core, by attempt.
    pub details: BTreeMap<AttemptId, AttemptDetails>,
    /// What the node uses.
    pub usage: wire::NodeUsage,
}

/// What goes past the core of an attempt's report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttemptDetails {
    /// What the attempt did so far.
    pub stats: wire::AttemptStats,
    /// The commit record, if the output is committed. Encoded by the exchange.
    pub commit_record: Bytes,
    /// The commit record is not in the store: the output is in it and nowhere else.
    pub is_inline: bool,
}

impl From<NodeReport> for wire::WorkerReport {
    /// The incarnation is not told again: the stream belongs to one.
    fn from(NodeReport { report, mut details, usage }: NodeReport) -> Self {
        let attempts = report.attempts.into_iter().map(|attempt| {
            let details = details.remove(&attempt.attempt).unwrap_or_default();
            attempt_to_wire(attempt, details)
        });
        let (desired_epoch, desired_sequence) = report.desired_seen.unwrap_or_default();
        wire::WorkerReport {
            sequence: report.sequence,
            has_desired_seen: report.desired_seen.is_some(),
            desired_epoch: desired_epoch.0,
            desired_sequence,
            memory_bytes: report.capacity.memory_bytes,
            slots: report.capacity.slots,
            state: state_to_wire(report.state).into(),
            attempts: attempts.collect(),
            usage: Some(usage),
        }
    }
}

fn state_to_wire(state: NodeState) -> wire::NodeState {
    match state {
        NodeState::Active => wire::NodeState::Active,
        NodeState::Draining => wire::NodeState::Draining,
        NodeState::Drained => wire::NodeState::Drained,
        NodeState::ShuttingDown => wire::NodeState::ShuttingDown,
    }
}

fn state_from_wire(state: i32) -> Result<NodeState, InvalidMessage> {
    Ok(
        match wire::NodeState::try_from(state)
            .map_err(|_| InvalidMessage("a state of a node that is none"))?
        {
            wire::NodeState::Active => NodeState::Active,
            wire::NodeState::Draining => NodeState::Draining,
            wire::NodeState::Drained => NodeState::Drained,
            wire::NodeState::ShuttingDown => NodeState::ShuttingDown,
        },
    )
}

fn attempt_to_wire(report: AttemptReport, details: AttemptDetails) -> wire::AttemptReport {
    use wire::attempt_report::Status;
    let status = match report.status {
        AttemptStatus::Running => Status::Running(wire::Running {}),
        AttemptStatus::Committed { winner, output } => Status::Committed(wire::Committed {
            winner: Some(winner.into()),
            rows: output.rows,
            partition_bytes: output.partition_bytes.to_vec(),
            commit_record: details.commit_record,
            checksum: output.checksum,
            is_inline: details.is_inline,
        }),
        AttemptStatus::Failed(failure) => Status::Failed((&failure).into()),
        AttemptStatus::HandedBack => Status::HandedBack(wire::HandedBack {}),
    };
    wire::AttemptReport {
        attempt: Some(report.attempt.into()),
        peak_memory_bytes: report.peak_memory_bytes,
        memory_bytes: report.memory_bytes,
        stats: Some(details.stats),
        status: Some(status),
    }
}

impl NodeReport {
    /// Reads the report of a worker whose stream belongs to that incarnation.
    ///
    /// # Errors
    ///
    /// If the message means nothing.
    pub fn from_wire(message: wire::WorkerReport, incarnation: Incarnation) -> Result<Self, InvalidMessage> {
        let mut attempts = Vec::with_capacity(message.attempts.len());
        let mut details = BTreeMap::new();
        for attempt in message.attempts {
            let (report, detail) = attempt_from_wire(attempt)?;
            details.insert(report.attempt, detail);
            attempts.push(report);
        }
        let desired = (Epoch(message.desired_epoch), message.desired_sequence);
        Ok(NodeReport {
            report: WorkerReport {
                incarnation,
                sequence: message.sequence,
                desired_seen: message.has_desired_seen.then_some(desired),
                capacity: Capacity { memory_bytes: message.memory_bytes, slots: message.slots },
                state: state_from_wire(message.state)?,
                attempts,
            },
            details,
            usage: message.usage.unwrap_or_default(),
        })
    }
}

fn attempt_from_wire(
    message: wire::AttemptReport,
) -> Result<(AttemptReport, AttemptDetails), InvalidMessage> {
    use wire::attempt_report::Status;
    let attempt = required_attempt(&message.attempt)?;
    let mut details =
        AttemptDetails { stats: message.stats.unwrap_or_default(), ..AttemptDetails::default() };
    let status = match message.status.ok_or(InvalidMessage("an attempt without status"))? {
        Status::Running(wire::Running {}) => AttemptStatus::Running,
        Status::Committed(committed) => {
            details.commit_record = committed.commit_record;
            details.is_inline = committed.is_inline;
            AttemptStatus::Committed {
                winner: required_attempt(&committed.winner)?,
                output: OutputSize {
                    rows: committed.rows,
                    partition_bytes: committed.partition_bytes.into(),
                    checksum: committed.checksum,
                },
            }
        }
        Status::Failed(failed) => AttemptStatus::Failed(Failure::try_from(failed)?),
        Status::HandedBack(wire::HandedBack {}) => AttemptStatus::HandedBack,
    };
    let report = AttemptReport {
        attempt,
        status,
        peak_memory_bytes: message.peak_memory_bytes,
        memory_bytes: message.memory_bytes,
    };
    Ok((report, details))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Error, StageId, TaskId};
    use prost::Message;

    fn attempt(partition: u32, number: u32) -> AttemptId {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(1), partition };
        AttemptId { task, generation: 1, epoch: Epoch(2), number }
    }

    fn report() -> NodeReport {
        let committed = AttemptStatus::Committed {
            winner: attempt(1, 0),
            output: OutputSize { rows: 7, partition_bytes: [1, 0, u64::MAX].into(), checksum: u64::MAX - 1 },
        };
        let statuses = [
            AttemptStatus::Running,
            committed,
            AttemptStatus::Failed(Error::internal("x").into()),
            AttemptStatus::HandedBack,
        ];
        let attempts = (0..).zip(statuses).map(|(partition, status)| AttemptReport {
            attempt: attempt(partition, 1),
            status,
            peak_memory_bytes: u64::from(partition) << 30,
            memory_bytes: 5 << 30,
        });
        let attempts: Vec<_> = attempts.collect();
        let mut details: BTreeMap<_, _> =
            attempts.iter().map(|report| (report.attempt, AttemptDetails::default())).collect();
        let stats = wire::AttemptStats { input_rows: 9, ..Default::default() };
        details.insert(
            attempt(1, 1),
            AttemptDetails { stats, commit_record: Bytes::from_static(b"record"), is_inline: true },
        );
        NodeReport {
            report: WorkerReport {
                incarnation: Incarnation(5),
                sequence: 6,
                desired_seen: Some((Epoch(2), 8)),
                capacity: Capacity { memory_bytes: 4 << 30, slots: 2 },
                state: NodeState::ShuttingDown,
                attempts,
            },
            details,
            usage: wire::NodeUsage { resident_bytes: 1, ..Default::default() },
        }
    }

    fn over_the_wire(report: NodeReport) -> NodeReport {
        let bytes = wire::WorkerReport::from(report).encode_to_vec();
        NodeReport::from_wire(wire::WorkerReport::decode(bytes.as_slice()).unwrap(), Incarnation(5)).unwrap()
    }

    #[test]
    fn a_report_arrives_as_it_was() {
        assert_eq!(over_the_wire(report()), report());
        let mut fresh = report();
        fresh.report.desired_seen = None;
        for state in [NodeState::Active, NodeState::Draining, NodeState::Drained] {
            fresh.report.state = state;
            assert_eq!(over_the_wire(fresh.clone()), fresh);
        }
    }

    #[test]
    fn broken_reports_are_refused() {
        type Break = fn(&mut wire::AttemptReport);
        let breaks: [Break; 3] = [
            |attempt| attempt.attempt = None,
            |attempt| attempt.status = None,
            |attempt| attempt.attempt = Some(wire::AttemptId { query: "x".into(), ..Default::default() }),
        ];
        for break_it in breaks {
            let mut message = wire::WorkerReport::from(report());
            break_it(&mut message.attempts[0]);
            assert!(NodeReport::from_wire(message, Incarnation(5)).is_err());
        }
    }
}
