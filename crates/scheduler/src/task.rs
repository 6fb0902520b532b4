//! A task and its attempts.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use base::{AttemptId, Epoch, Millis, NodeId};

use crate::command::TaskInput;
use crate::retry::Trouble;

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It waits for a node.
    Queued,
    /// It waits for its backoff to pass.
    Delayed {
        /// When that is.
        until: Millis,
    },
    /// An attempt is on a worker.
    Running,
    /// Its output is committed.
    Committed,
    /// The query ended before it did.
    Abandoned,
}

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptState {
    /// A worker is to run it.
    Running,
    /// Its output was selected.
    Committed,
    /// A rival committed first, or the query ended.
    Aborted,
    /// It failed.
    Failed,
    /// Its worker vanished.
    Lost,
}

/// One try of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The version of the output it tries to commit.
    pub generation: u32,
    /// Its number within the generation.
    pub number: u32,
    /// Where it was placed.
    pub node: NodeId,
    /// How it stands.
    pub state: AttemptState,
    /// The memory promised to it, in bytes.
    pub memory_bytes: u64,
    /// The most memory it used as far as was reported when it ended, in bytes.
    pub peak_memory_bytes: u64,
    /// When it was placed.
    pub started_at: Millis,
    /// When it was known to have ended.
    pub ended_at: Option<Millis>,
}

/// What the core keeps for each task. There may be very many, so it is compact.
#[derive(Debug)]
pub(crate) struct Task {
    pub input: Arc<TaskInput>,
    pub generation: u32,
    pub state: TaskState,
    /// The attempt whose output counts, by epoch and number.
    pub winner: Option<(Epoch, u32)>,
    pub attempts: Vec<Attempt>,
    pub trouble: Option<Box<Trouble>>,
}

impl Task {
    pub(crate) fn new(input: Arc<TaskInput>) -> Self {
        Task {
            input,
            generation: 0,
            state: TaskState::Queued,
            winner: None,
            attempts: Vec::new(),
            trouble: None,
        }
    }

    /// The number of the next attempt of this generation.
    pub(crate) fn next_number(&self) -> u32 {
        self.attempts.iter().filter(|attempt| attempt.generation == self.generation).count() as u32
    }

    /// The attempt that is on a worker.
    pub(crate) fn running(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.state == AttemptState::Running)
    }

    /// The record of an attempt of this coordinator's life.
    pub(crate) fn attempt_mut(&mut self, id: &AttemptId) -> Option<&mut Attempt> {
        self.attempts
            .iter_mut()
            .find(|attempt| attempt.generation == id.generation && attempt.number == id.number)
    }

    pub(crate) fn trouble_mut(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    pub(crate) fn lease_bytes_min(&self) -> u64 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.lease_bytes_min)
    }
}
