//! Records: the decisions that must outlive the coordinator.
//!
//! A record is created once under its key and never changed. The core asks for it by
//! [`crate::Command::Persist`] and acts on it only when it is told, by [`crate::Event::RecordPersisted`], what
//! is under the key now. If somebody else was first, his record counts: two coordinators can only agree.

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::{AttemptId, Error, OutputId, StageId};

use crate::command::TaskInput;
use crate::event::OutputSize;

/// A decision that must outlive the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Record {
    /// The next tasks of a stage. No attempt of a task is started before its record is there. The task of a
    /// stage of [`crate::Distribution::Single`] has none: it reads everything.
    Tasks {
        /// The stage.
        stage: StageId,
        /// The number of the record within the stage, counted from 0.
        number: u32,
        /// What the tasks read. Their partitions go on from those of the records before.
        tasks: Vec<Arc<TaskInput>>,
        /// Whether these are the last tasks of the stage.
        sealed: bool,
    },
    /// Committed outputs that do not count any more. One record is one atomic change.
    Rollback {
        /// The number of the record within the query, counted from 0.
        number: u32,
        /// The outputs that are void, each with its generation.
        outputs: Vec<OutputId>,
    },
    /// The query ended.
    Done {
        /// How. The error is what the user is told.
        outcome: Result<(), Error>,
    },
}

/// Where a record of a query is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RecordKey {
    /// Of [`Record::Tasks`].
    Tasks {
        /// The stage.
        stage: StageId,
        /// The number of the record within the stage.
        number: u32,
    },
    /// Of [`Record::Rollback`].
    Rollback {
        /// The number of the record within the query.
        number: u32,
    },
    /// Of [`Record::Done`].
    Done,
}

impl Record {
    /// Where the record is kept.
    pub fn key(&self) -> RecordKey {
        match self {
            Record::Tasks { stage, number, .. } => RecordKey::Tasks { stage: *stage, number: *number },
            Record::Rollback { number, .. } => RecordKey::Rollback { number: *number },
            Record::Done { .. } => RecordKey::Done,
        }
    }
}

/// A commit record that was found in the exchange when a query was recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RecoveredCommit {
    /// The attempt that wrote the output. It says which output.
    pub winner: AttemptId,
    /// How large the output is.
    pub output: OutputSize,
}
