//! The core's records as they are stored.

use std::ops::Range;
use std::sync::Arc;

use base::{Error, OutputId, QueryId, Result, StageId, TaskId};
use bytes::Bytes;
use scheduler::{Record, RecordKey, TaskInput};

use super::{decode, encode, senseless, wire};
use crate::node::{InvalidMessage, wire as node};

/// A split of a scan, by its number.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownSplit {
    /// The scan within the stage.
    pub scan: u32,
    /// The number within the scan.
    pub number: u32,
    /// The split.
    pub split: node::Split,
}

/// What a record of tasks says beside the tasks.
pub type TasksContent = Vec<KnownSplit>;

/// A record as it is stored. `splits` are those that the tasks of a [`Record::Tasks`] read.
pub fn record_to_content(record: &Record, splits: TasksContent) -> Bytes {
    match record {
        Record::Tasks { tasks, sealed, .. } => encode(&wire::TasksRecord {
            tasks: tasks.iter().map(|task| task_to_wire(task)).collect(),
            sealed: *sealed,
            splits: splits
                .into_iter()
                .map(|KnownSplit { scan, number, split }| wire::KnownSplit {
                    scan,
                    number,
                    split: Some(split),
                })
                .collect(),
        }),
        Record::Rollback { outputs, .. } => {
            let output = |output: &OutputId| wire::Output {
                stage: output.task.stage.0,
                partition: output.task.partition,
                generation: output.generation,
            };
            encode(&wire::RollbackRecord { outputs: outputs.iter().map(output).collect() })
        }
        Record::Done { outcome } => {
            encode(&wire::DoneRecord { error: outcome.as_ref().err().map(node::Error::from) })
        }
    }
}

/// Reads a record of a query. `text` names it for people.
///
/// # Errors
///
/// `EXCHANGE_DATA_LOST` if it is damaged.
pub fn record_from_content(
    query: QueryId,
    key: RecordKey,
    text: &str,
    stored: &[u8],
) -> Result<(Record, TasksContent)> {
    let senseless = |error: InvalidMessage| senseless(text, &error);
    Ok(match key {
        RecordKey::Tasks { stage, number } => {
            let message: wire::TasksRecord = decode(text, stored)?;
            let tasks = message.tasks.iter().map(|task| task_from_wire(task).map(Arc::new));
            let tasks = tasks.collect::<Result<_, _>>().map_err(senseless)?;
            let splits = message.splits.into_iter().map(split_from_wire).collect::<Result<_, _>>();
            let record = Record::Tasks { stage, number, tasks, sealed: message.sealed };
            (record, splits.map_err(senseless)?)
        }
        RecordKey::Rollback { number } => {
            let message: wire::RollbackRecord = decode(text, stored)?;
            let output = |output: &wire::Output| OutputId {
                task: TaskId { query, stage: StageId(output.stage), partition: output.partition },
                generation: output.generation,
            };
            let outputs = message.outputs.iter().map(output).collect();
            (Record::Rollback { number, outputs }, Vec::new())
        }
        RecordKey::Done => {
            let message: wire::DoneRecord = decode(text, stored)?;
            let error = message.error.map(Error::try_from).transpose().map_err(senseless)?;
            (Record::Done { outcome: error.map_or(Ok(()), Err) }, Vec::new())
        }
    })
}

fn range_to_wire(range: &Range<u32>) -> wire::Range {
    wire::Range { start: range.start, end: range.end }
}

fn task_to_wire(task: &TaskInput) -> wire::TaskInput {
    wire::TaskInput {
        splits: task.splits.iter().map(|numbers| wire::Numbers { numbers: numbers.clone() }).collect(),
        partitions: Some(range_to_wire(&task.partitions)),
        sources: task
            .sources
            .iter()
            .map(|of_input| wire::Sources { tasks: of_input.iter().map(range_to_wire).collect() })
            .collect(),
    }
}

fn task_from_wire(task: &wire::TaskInput) -> Result<TaskInput, InvalidMessage> {
    let partitions = task.partitions.as_ref().ok_or(InvalidMessage("a task without partitions"))?;
    Ok(TaskInput {
        splits: task.splits.iter().map(|of_scan| of_scan.numbers.clone()).collect(),
        partitions: partitions.start..partitions.end,
        sources: task
            .sources
            .iter()
            .map(|of_input| of_input.tasks.iter().map(|range| range.start..range.end).collect())
            .collect(),
    })
}

fn split_from_wire(split: wire::KnownSplit) -> Result<KnownSplit, InvalidMessage> {
    let wire::KnownSplit { scan, number, split } = split;
    Ok(KnownSplit { scan, number, split: split.ok_or(InvalidMessage("a split without content"))? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{ErrorCode, ErrorLocation};

    fn query() -> QueryId {
        "20261120_061411_00007_abcde".parse().unwrap()
    }

    fn stored_and_read(record: &Record, splits: TasksContent) -> (Record, TasksContent) {
        let stored = record_to_content(record, splits);
        record_from_content(query(), record.key(), "a record", &stored).unwrap()
    }

    #[test]
    fn tasks_come_back_with_their_splits() {
        let tasks =
            [(0..2, vec![vec![1, 5], vec![]]), (2..9, vec![vec![], vec![3]])].map(|(partitions, splits)| {
                Arc::new(TaskInput { splits, partitions, sources: vec![vec![0..3, 7..8], vec![]] })
            });
        let record = Record::Tasks { stage: StageId(3), number: 2, tasks: tasks.to_vec(), sealed: true };
        let split = node::Split { payload: Bytes::from_static(b"split"), size_bytes: 77 };
        let splits = vec![KnownSplit { scan: 1, number: 3, split }];
        assert_eq!(stored_and_read(&record, splits.clone()), (record, splits));
    }

    #[test]
    fn rollbacks_and_outcomes_come_back() {
        let task = TaskId { query: query(), stage: StageId(3), partition: 6 };
        let rollback = Record::Rollback { number: 4, outputs: vec![OutputId { task, generation: 2 }] };
        let error = Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero")
            .at(ErrorLocation { line: 1, column: 8 })
            .caused_by("deeper");
        let lost = Error::lost(OutputId { task, generation: 2 }, "lost");
        let done = |outcome| Record::Done { outcome };
        for record in [rollback, done(Ok(())), done(Err(error)), done(Err(lost))] {
            assert_eq!(stored_and_read(&record, Vec::new()), (record, Vec::new()));
        }
    }
}
