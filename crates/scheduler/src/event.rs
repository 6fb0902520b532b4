//! What can happen: the closed list of facts the core is told.

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::{AttemptId, Epoch, Error, Failure, Incarnation, NodeId, OutputId, QueryId, StageId};

use crate::options::QueryOptions;
use crate::record::{Record, RecoveredCommit};
use crate::shape::QueryShape;

/// A fact.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// Time has passed; see [`crate::Core::next_deadline`].
    Tick,
    /// The coordinator itself stood still for a while, until now. That no worker was heard of in that time says
    /// nothing about workers.
    Resumed,
    /// A planned query wants to run.
    QuerySubmitted {
        /// The query.
        query: QueryId,
        /// Its shape.
        shape: QueryShape,
        /// Its limits and sizes.
        options: QueryOptions,
    },
    /// A query of a former life of the coordinator goes on, from what it left in the store.
    QueryRecovered {
        /// The query.
        query: QueryId,
        /// Its shape.
        shape: QueryShape,
        /// Its limits and sizes.
        options: QueryOptions,
        /// Its records, in any order. One that is missing before others of its kind ends them.
        records: Vec<Record>,
        /// The commit records that are there, of whatever generations.
        commits: Vec<RecoveredCommit>,
    },
    /// What is under the key of a record now: what [`crate::Command::Persist`] asked for, or what somebody else
    /// had put there.
    RecordPersisted {
        /// The query.
        query: QueryId,
        /// The record that is there.
        record: Record,
    },
    /// A query that runs without records is to have them from now on: what was decided is recorded, and what is
    /// decided from now on is recorded before it takes effect. [`crate::Command::QueryDurable`] tells when all that
    /// was decided before is there. Of no effect on one that has them, and on pipelined queries.
    DurabilityRequested {
        /// The query.
        query: QueryId,
    },
    /// More splits of a scan are known. They are numbered per scan in the order they arrive, from 0. After a
    /// recovery they are enumerated from the start again and have the numbers they had.
    SplitsArrived {
        /// The query.
        query: QueryId,
        /// The stage that scans.
        stage: StageId,
        /// The scan within the stage.
        scan: u32,
        /// The size of each new split in bytes, as the connector estimates it.
        sizes: Vec<u64>,
        /// Whether these are the last.
        last: bool,
    },
    /// Somebody ends the query: the user, a time limit, a client that vanished, an error outside of any task.
    QueryCancelled {
        /// The query.
        query: QueryId,
        /// What the user is told.
        error: Error,
    },
    /// A committed output cannot be read by who reads the result, or is not what its readers were given.
    OutputLost {
        /// The output.
        output: OutputId,
        /// What the user is told if it cannot be recomputed.
        error: Error,
    },
    /// The client has begun to get the rows of a task of the root stage: that task can never be recomputed.
    ResultRead {
        /// The query.
        query: QueryId,
        /// The task's partition.
        partition: u32,
    },
    /// The result was delivered, or nobody wants it any more. The query is forgotten once no worker holds any of it.
    QueryClosed {
        /// The query.
        query: QueryId,
    },
    /// A worker told its full state.
    WorkerReported {
        /// The worker.
        node: NodeId,
        /// Its state.
        report: WorkerReport,
    },
    /// The stream of a worker broke.
    WorkerDisconnected {
        /// The worker.
        node: NodeId,
        /// The life of the worker whose stream it was.
        incarnation: Incarnation,
    },
}

/// The full state of a worker.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WorkerReport {
    /// The life of the worker.
    pub incarnation: Incarnation,
    /// Grows with each report of one life.
    pub sequence: u64,
    /// The newest [`crate::Command::SetDesired`] this state takes account of.
    pub desired_seen: Option<(Epoch, u64)>,
    /// What it can carry. Fixed for the life of the worker: only the first report of a life counts.
    pub capacity: Capacity,
    /// Whether it takes new attempts.
    pub state: NodeState,
    /// Every attempt it holds, running or ended. An ended one stays until it is no longer desired.
    pub attempts: Vec<AttemptReport>,
}

/// What a worker can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Capacity {
    /// Memory for attempts, in bytes.
    pub memory_bytes: u64,
    /// How many attempts may run at once.
    pub slots: u32,
}

/// Whether a worker takes new attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum NodeState {
    /// It does.
    Active,
    /// It ends what it runs, or hands it back, and takes nothing new.
    Draining,
    /// It has drained, holds nothing, and stays until it is told otherwise.
    Drained,
    /// It drains, and its process ends when it holds nothing.
    ShuttingDown,
}

/// One attempt in a [`WorkerReport`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AttemptReport {
    /// The attempt.
    pub attempt: AttemptId,
    /// How it stands.
    pub status: AttemptStatus,
    /// The most memory it has used so far, in bytes.
    pub peak_memory_bytes: u64,
    /// The memory promised to it, in bytes: another life of the coordinator takes it over with this.
    pub memory_bytes: u64,
}

/// How an attempt stands.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AttemptStatus {
    /// It runs, or waits on the worker for its turn.
    Running,
    /// The output of its task is committed, by this attempt or by a rival.
    Committed {
        /// The attempt whose output counts.
        winner: AttemptId,
        /// How large that output is.
        output: OutputSize,
    },
    /// It failed.
    Failed(Failure),
    /// A draining worker gives it back. It did not fail; it is to be run elsewhere.
    HandedBack,
}

/// How large a committed output is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OutputSize {
    /// The rows in all partitions.
    pub rows: u64,
    /// The bytes of each output partition before compression. As many as the stage has output partitions.
    pub partition_bytes: Arc<[u64]>,
    /// Over all rows and their partitions, whatever their order within a partition. Two runs of a task that wrote
    /// the same have the same.
    pub checksum: u64,
}
