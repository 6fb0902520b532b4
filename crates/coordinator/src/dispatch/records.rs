//! Decisions that outlive this coordinator, and queries that outlived another one.

use base::{Error, ErrorCode, Millis, OutputId, QueryId, Result, StageId};
use exchange::CommitRecord;
use protocol::node::wire;
use protocol::state::{KnownSplit, TasksContent};
use scheduler::{Event, OutputSize, Record, RecoveredCommit, TaskInput};

use super::Submission;
use super::execution::{Execution, ExecutionScan};
use super::state::DispatchState;
use crate::query::ReadConsent;

/// A planned query of a former life of the coordinator that is to go on.
pub struct Recovery {
    /// What was planned.
    pub submission: Submission,
    /// What was decided.
    pub records: Vec<Record>,
    /// The splits that recorded tasks read.
    pub splits: Vec<(StageId, KnownSplit)>,
    /// What was committed.
    pub commits: Vec<CommitRecord>,
}

impl ExecutionScan {
    /// Takes note of a split that a record of tasks or the connector tells. Says whether it is what was known
    /// before.
    fn learn(&mut self, number: u32, split: connector::Split) -> bool {
        match self.splits.get(&number) {
            Some(known) => known.payload == split.payload,
            None => {
                self.splits.insert(number, split);
                true
            }
        }
    }

    /// Takes note of the next splits that the connector enumerates. Says whether those that were known before are
    /// the same.
    pub(super) fn arrive(&mut self, splits: Vec<connector::Split>) -> bool {
        let mut are_same = true;
        for split in splits {
            are_same &= self.learn(self.arrived, split);
            self.arrived += 1;
        }
        are_same
    }
}

impl Execution {
    /// Takes note of the splits that a record of tasks tells. Says whether those that were known before are the
    /// same.
    fn learn_splits(&mut self, stage: StageId, splits: TasksContent) -> bool {
        splits.into_iter().all(|KnownSplit { scan, number, split }| {
            let split = connector::Split { payload: split.payload, size_bytes: split.size_bytes };
            self.scan_mut(stage, scan).is_some_and(|scan| scan.learn(number, split))
        })
    }

    /// The splits that tasks read.
    fn splits_of<'a>(&self, stage: StageId, tasks: impl IntoIterator<Item = &'a TaskInput>) -> TasksContent {
        let scans = self.stage(stage).map_or(&[][..], |stage| &stage.scans);
        let mut content = Vec::new();
        for task in tasks {
            for ((scan, known), numbers) in (0..).zip(scans).zip(&task.splits) {
                content.extend(numbers.iter().filter_map(|number| {
                    let split = known.splits.get(number)?;
                    let split = wire::Split { payload: split.payload.clone(), size_bytes: split.size_bytes };
                    Some(KnownSplit { scan, number: *number, split })
                }));
            }
        }
        content
    }
}

impl DispatchState {
    /// Creates a record: those of one query one after the other.
    pub(super) fn persist(&mut self, query: QueryId, record: Record) {
        let Some(execution) = self.executions.get_mut(&query) else {
            return;
        };
        execution.unpersisted.push_back(record);
        if execution.unpersisted.len() == 1 {
            self.persist_next(query);
        }
    }

    fn persist_next(&self, query: QueryId) {
        let Some(execution) = self.executions.get(&query) else {
            return;
        };
        let Some(record) = execution.unpersisted.front() else {
            return;
        };
        let splits = match record {
            Record::Tasks { stage, tasks, .. } => {
                execution.splits_of(*stage, tasks.iter().map(AsRef::as_ref))
            }
            Record::Rollback { .. } | Record::Done { .. } => Vec::new(),
        };
        self.persister.start(query, record.clone(), splits);
    }

    /// It is known what is under the key of a record.
    pub(super) fn persisted(&mut self, now: Millis, query: QueryId, created: Result<(Record, TasksContent)>) {
        let ours = self.executions.get_mut(&query).and_then(|execution| execution.unpersisted.pop_front());
        self.persist_next(query);
        let (record, splits) = match (created, ours) {
            (Ok(created), _) => created,
            // What cannot be read says at least that the query has ended.
            (Err(error), Some(Record::Done { .. })) => (Record::Done { outcome: Err(error) }, Vec::new()),
            (Err(error), _) => return self.step(now, Event::QueryCancelled { query, error }),
        };
        if let Record::Tasks { stage, .. } = &record
            && let Some(execution) = self.executions.get_mut(&query)
            && !execution.learn_splits(*stage, splits)
        {
            return self.step(now, Event::QueryCancelled { query, error: splits_changed(*stage) });
        }
        self.step(now, Event::RecordPersisted { query, record });
    }

    /// Goes on with a query of a former life.
    pub(super) fn recover(&mut self, now: Millis, recovery: Recovery) {
        let Recovery { submission, records, splits, commits } = recovery;
        let (query, options) = (submission.query, submission.options.clone());
        let (shape, mut execution) = Execution::new(submission);
        for (stage, split) in splits {
            // Records were written by those who agreed.
            execution.learn_splits(stage, vec![split]);
        }
        let recovered =
            |record: &CommitRecord| RecoveredCommit { winner: record.attempt(), output: output_size(record) };
        let known = commits.iter().map(recovered).collect();
        execution.reported_records = commits.into_iter().map(|record| (record.attempt(), record)).collect();
        self.executions.insert(query, execution);
        self.step(now, Event::QueryRecovered { query, shape, options, records, commits: known });
    }

    /// The connector enumerated the next splits of a scan.
    pub(super) fn splits_arrived(
        &mut self,
        now: Millis,
        query: QueryId,
        stage: StageId,
        scan: u32,
        splits: Vec<connector::Split>,
        last: bool,
    ) {
        let sizes = splits.iter().map(|split| split.size_bytes).collect();
        let Some(known) = self.executions.get_mut(&query).and_then(|it| it.scan_mut(stage, scan)) else {
            return;
        };
        if known.arrive(splits) {
            self.step(now, Event::SplitsArrived { query, stage, scan, sizes, last });
        } else {
            self.step(now, Event::QueryCancelled { query, error: splits_changed(stage) });
        }
    }

    /// The client is about to get rows of a root task.
    pub(super) fn result_read(
        &mut self,
        now: Millis,
        query: QueryId,
        partition: u32,
        generation: Option<u32>,
    ) -> ReadConsent {
        let Some(execution) = self.executions.get(&query) else {
            // Nothing of it is computed any more.
            return ReadConsent::Given;
        };
        let current = execution.root.generation(partition);
        if generation.is_some() && current != generation {
            return ReadConsent::Void;
        }
        self.step(now, Event::ResultRead { query, partition });
        ReadConsent::Given
    }

    /// An output of a root task could not be read. Fails with the error if it will not be computed again.
    pub(super) fn output_lost(&mut self, now: Millis, output: OutputId, error: Error) -> Result<()> {
        let Some(execution) = self.executions.get(&output.task.query) else {
            return Err(error);
        };
        let root = execution.root.clone();
        if root.outcome().is_some() {
            return Err(error);
        }
        self.step(now, Event::OutputLost { output, error });
        Ok(())
    }
}

/// What the core is told of an output.
pub(super) fn output_size(record: &CommitRecord) -> OutputSize {
    OutputSize { rows: record.rows(), partition_bytes: record.partition_bytes(), checksum: record.checksum() }
}

/// The error of a query whose tables are not any more what its tasks were formed of.
fn splits_changed(stage: StageId) -> Error {
    let text =
        format!("A table that stage {stage} scans changed while the query was between two coordinators");
    Error::new(ErrorCode::GENERIC_INTERNAL_ERROR, text)
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
