//! The exchange store, as far as the scheduler can tell: the first writer of a commit wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{AttemptId, OutputId};
use scheduler::OutputSize;

#[derive(Default)]
pub struct Store {
    /// By attempt, its rows by output partition.
    data: BTreeMap<AttemptId, Vec<Vec<u64>>>,
    commits: BTreeMap<OutputId, AttemptId>,
}

impl Store {
    pub fn write(&mut self, attempt: AttemptId, partitions: Vec<Vec<u64>>) {
        self.data.insert(attempt, partitions);
    }

    pub fn read(&self, attempt: &AttemptId) -> Option<&Vec<Vec<u64>>> {
        self.data.get(attempt)
    }

    /// Commits the output of an attempt, or finds who did before.
    pub fn commit(&mut self, attempt: AttemptId, unconditional: bool) -> (AttemptId, OutputSize) {
        if unconditional {
            self.commits.insert(attempt.output(), attempt);
        }
        let winner = *self.commits.entry(attempt.output()).or_insert(attempt);
        let data = &self.data[&winner];
        let partition_bytes: Arc<[u64]> = data.iter().map(|rows| rows.len() as u64 * 10).collect();
        (
            winner,
            OutputSize {
                rows: data.iter().map(|rows| rows.len() as u64).sum(),
                partition_bytes,
                checksum: 0,
            },
        )
    }

    pub fn winner(&self, output: &OutputId) -> Option<AttemptId> {
        self.commits.get(output).copied()
    }
}
