//! A task and its attempts.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use base::{AttemptId, Epoch, Millis, NodeId};

use crate::command::TaskInput;
use crate::retry::Trouble;

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TaskState {
    /// It waits for a node, or for its inputs to be complete again.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AttemptState {
    /// A worker is to run it.
    Running,
    /// Its output was selected.
    Committed,
    /// It was of no use any more: a rival committed first, what it read or wrote was lost, its worker handed it
    /// back, or the query ended.
    Aborted,
    /// It failed.
    Failed,
    /// Its worker vanished.
    Lost,
}

/// One try of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Attempt {
    /// The version of the output it tries to commit.
    pub generation: u32,
    /// The life of the coordinator that placed it.
    pub epoch: Epoch,
    /// Its number within the generation and epoch.
    pub number: u32,
    /// Where it was placed.
    pub node: NodeId,
    /// How it stands.
    pub state: AttemptState,
    /// The memory promised to it, in bytes.
    pub memory_bytes: u64,
    /// The most memory it used as far as was reported when it ended, in bytes.
    pub peak_memory_bytes: u64,
    /// When it was placed, or taken over.
    pub started_at: Millis,
    /// When it was known to have ended.
    pub ended_at: Option<Millis>,
    /// Whether its node is slow, as far as is known; as long as it runs.
    pub on_slow_node: bool,
}

impl Attempt {
    fn is(&self, id: &AttemptId) -> bool {
        (self.generation, self.epoch, self.number) == (id.generation, id.epoch, id.number)
    }
}

/// What a task wrote, as far as two runs of it can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Written {
    pub rows: u64,
    pub checksum: u64,
    /// It read what the next run will read.
    pub is_comparable: bool,
    /// Its size counts in the stage.
    pub is_counted: bool,
}

/// What the core keeps for each task. There may be very many, so it is compact.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Task {
    pub input: Arc<TaskInput>,
    pub generation: u32,
    pub state: TaskState,
    /// The attempt whose output counts, by epoch and number.
    pub winner: Option<(Epoch, u32)>,
    /// What was committed last, even if it is lost. Another run is to write the same.
    pub written: Option<Written>,
    pub attempts: Vec<Attempt>,
    pub trouble: Option<Box<Trouble>>,
}

impl Task {
    pub(crate) fn new(input: Arc<TaskInput>, generation: u32) -> Self {
        Task {
            input,
            generation,
            state: TaskState::Queued,
            winner: None,
            written: None,
            attempts: Vec::new(),
            trouble: None,
        }
    }

    /// The number of the next attempt of this generation in this life of the coordinator.
    pub(crate) fn next_number(&self, epoch: Epoch) -> u32 {
        let of_this = |attempt: &&Attempt| attempt.generation == self.generation && attempt.epoch == epoch;
        self.attempts.iter().filter(of_this).count() as u32
    }

    /// The attempts that are on workers. There are two of them if one has a rival.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.state == AttemptState::Running)
    }

    /// The only attempt that is on a worker.
    pub(crate) fn running_alone(&self) -> Option<&Attempt> {
        let mut running = self.running();
        running.next().filter(|_| running.next().is_none())
    }

    /// What is known of an attempt.
    pub(crate) fn attempt(&self, id: &AttemptId) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.is(id))
    }

    /// What is known of an attempt.
    pub(crate) fn attempt_mut(&mut self, id: &AttemptId) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.is(id))
    }

    /// Whether it waits for a node, now or later.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, TaskState::Queued | TaskState::Delayed { .. })
    }

    pub(crate) fn trouble_mut(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    pub(crate) fn lease_bytes_min(&self) -> u64 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.lease_bytes_min)
    }
}
