//! What attempts have done, added up.

use base::{AttemptId, QueryId, TaskId};
use exchange::CommitRecord;
use protocol::node::wire;
use scheduler::{AttemptState, StageView};

use crate::dispatch::Execution;

/// What attempts have done, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Rows read from tables.
    pub scanned_rows: u64,
    /// Bytes read from tables.
    pub scanned_bytes: u64,
    /// Bytes read from the exchange.
    pub exchange_input_bytes: u64,
    /// Bytes in the exchange that were written, compressed.
    pub stored_bytes: u64,
    /// Objects in the exchange that were written, without commit records.
    pub stored_objects: u64,
    /// Bytes spilled to disk.
    pub spilled_bytes: u64,
    /// Time on processors.
    pub cpu_nanos: u64,
    /// Time from start to end.
    pub wall_nanos: u64,
    /// Splits that were read.
    pub completed_splits: u64,
}

impl Work {
    /// An attempt did that, too.
    pub fn add(&mut self, stats: &wire::AttemptStats) {
        self.scanned_rows += stats.input_rows.saturating_sub(stats.exchange_input_rows);
        self.scanned_bytes += stats.physical_input_bytes;
        self.exchange_input_bytes += stats.exchange_input_bytes;
        self.stored_bytes += stats.output_stored_bytes;
        self.stored_objects += stats.output_objects;
        self.spilled_bytes += stats.spilled_bytes;
        self.cpu_nanos += stats.cpu_nanos;
        self.wall_nanos += stats.wall_nanos;
        self.completed_splits += stats.completed_splits;
    }

    /// Adds what others did.
    pub fn add_all(&mut self, other: &Work) {
        self.scanned_rows += other.scanned_rows;
        self.scanned_bytes += other.scanned_bytes;
        self.exchange_input_bytes += other.exchange_input_bytes;
        self.stored_bytes += other.stored_bytes;
        self.stored_objects += other.stored_objects;
        self.spilled_bytes += other.spilled_bytes;
        self.cpu_nanos += other.cpu_nanos;
        self.wall_nanos += other.wall_nanos;
        self.completed_splits += other.completed_splits;
    }
}

impl Work {
    /// An attempt that another coordinator placed has written that; nothing else is known of it.
    pub fn add_inherited(&mut self, output: &CommitRecord) {
        self.stored_bytes += output.stored_bytes();
        self.stored_objects += output.object_count();
    }
}

/// What attempts of a stage did that failed or whose worker vanished.
pub fn failed_work(execution: &Execution, query: QueryId, stage: &StageView<'_>) -> Work {
    let mut work = Work::default();
    if stage.counts.failed_attempts + stage.counts.lost_attempts == 0 {
        return work;
    }
    for task in stage.tasks() {
        let failed = task
            .attempts
            .iter()
            .filter(|attempt| matches!(attempt.state, AttemptState::Failed | AttemptState::Lost));
        for attempt in failed {
            let id = AttemptId {
                task: TaskId { query, stage: stage.id, partition: task.partition },
                generation: attempt.generation,
                epoch: attempt.epoch,
                number: attempt.number,
            };
            if let Some(record) = execution.attempts.get(&id) {
                work.add(&record.stats);
            }
        }
    }
    work
}
