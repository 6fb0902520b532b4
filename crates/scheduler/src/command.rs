//! What the core decides: the closed list of things the shell must do.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use base::{AttemptId, Epoch, Error, Incarnation, NodeId, OutputId, QueryId, StageId};

use crate::record::Record;

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Tell a worker everything it should hold. Whatever is not named is to be dropped.
    SetDesired {
        /// The worker.
        node: NodeId,
        /// The life of the worker that is meant.
        incarnation: Incarnation,
        /// The life of this coordinator.
        epoch: Epoch,
        /// Grows with each message of one epoch to one worker.
        sequence: u64,
        /// Everything the worker should hold.
        attempts: Vec<AttemptSpec>,
    },
    /// Ask the connector for more splits of a scan, and tell them by [`crate::Event::SplitsArrived`].
    RequestSplits {
        /// The query.
        query: QueryId,
        /// The stage.
        stage: StageId,
        /// The scan within the stage.
        scan: u32,
        /// How many at most.
        count_max: u32,
    },
    /// Create a record, and tell by [`crate::Event::RecordPersisted`] what is under its key then. To be repeated
    /// until that is known. It is asked for once per key.
    Persist {
        /// The query.
        query: QueryId,
        /// The record.
        record: Record,
    },
    /// Committed outputs do not count any more: forget their commit records. When they are recomputed, an
    /// [`Command::OutputSelected`] names the new generation.
    OutputsRolledBack {
        /// The query.
        query: QueryId,
        /// The outputs, with the generations that are void.
        outputs: Vec<OutputId>,
    },
    /// A newer life of the coordinator was heard of. This one commands nothing more.
    Superseded {
        /// The newer life.
        by: Epoch,
    },
    /// All attempts of a region are placed, and [`Command::SetDesired`] names them from now on. They read from each
    /// other. It takes the place of what was told of an earlier try.
    RegionStarted {
        /// The query.
        query: QueryId,
        /// Where each attempt runs.
        attempts: Vec<(AttemptId, NodeId, Incarnation)>,
    },
    /// Everything that was decided of the query is on record: see [`crate::Event::DurabilityRequested`].
    QueryDurable {
        /// The query.
        query: QueryId,
    },
    /// The output of a task is decided. Consumers may read it, and of the root stage the client.
    OutputSelected {
        /// The output.
        output: OutputId,
        /// The attempt that wrote it.
        winner: AttemptId,
    },
    /// The number of tasks of a stage is final.
    StageSealed {
        /// The query.
        query: QueryId,
        /// The stage.
        stage: StageId,
        /// How many tasks it has.
        tasks: u32,
    },
    /// The query ended: all output of the root stage is selected, or it failed.
    QueryFinished {
        /// The query.
        query: QueryId,
        /// What the user is told if it failed.
        outcome: Result<(), Error>,
    },
    /// No worker that is known holds anything of the query any more, and nobody wants its result:
    /// what it left in the exchange can be deleted. The core has forgotten it.
    QueryReleased {
        /// The query.
        query: QueryId,
    },
}

/// An attempt that a worker should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AttemptSpec {
    /// The attempt.
    pub attempt: AttemptId,
    /// The memory promised to it, in bytes.
    pub memory_bytes: u64,
    /// What it reads. Shared by all attempts of the task.
    pub input: Arc<TaskInput>,
    /// It exchanges rows with attempts that run at the same time: it starts at once, whatever else runs, and has
    /// no lease of its own.
    pub is_pipelined: bool,
}

/// What a task reads. Of [`crate::Edge::Single`] and [`crate::Edge::Broadcast`] inputs it reads everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TaskInput {
    /// For each scan of the stage, the numbers of the splits to read.
    pub splits: Vec<Vec<u32>>,
    /// The hash partitions to read of every [`crate::Edge::Hash`] input.
    pub partitions: Range<u32>,
    /// For each input of the stage, the producer tasks to read of an [`crate::Edge::Arbitrary`] one:
    /// for each of its producers, which tasks. Empty for other edges.
    pub sources: Vec<Vec<Range<u32>>>,
}
