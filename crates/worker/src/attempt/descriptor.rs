//! What an attempt is told to do.

use std::ops::Range;

use base::{AttemptId, Incarnation};
use bytes::Bytes;
use connector::Split;

/// What an attempt is to do.
#[derive(Clone, Debug)]
pub(crate) struct Descriptor {
    pub(crate) attempt: AttemptId,
    pub(crate) memory: MemoryGrant,
    /// The fragment, encoded.
    pub(crate) fragment: Bytes,
    /// For each scan of the fragment, the splits to read.
    pub(crate) scans: Vec<Vec<Split>>,
    /// For each input of the fragment, what to read.
    pub(crate) inputs: Vec<Input>,
    pub(crate) output: OutputKind,
}

/// The memory that an attempt may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryGrant {
    /// So many bytes of its own.
    Lease(u64),
    /// All attempts of its query that run here share so many bytes, and so many of them do.
    Query { bytes: u64, attempts: u64 },
}

impl MemoryGrant {
    /// The bytes that are promised to the attempt alone.
    pub(crate) fn lease_bytes(self) -> u64 {
        match self {
            MemoryGrant::Lease(bytes) => bytes,
            MemoryGrant::Query { .. } => 0,
        }
    }
}

/// What an input of a fragment reads, in the order to read where the order matters.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// Committed outputs: encoded source handles.
    Committed(Vec<Bytes>),
    /// The outputs of attempts that run at the same time.
    Direct(Vec<Producer>),
}

/// An attempt that runs at the same time, and what is read of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) attempt: AttemptId,
    /// The life of the worker that runs it, and where that serves outputs.
    pub(crate) incarnation: Incarnation,
    pub(crate) uri: String,
    pub(crate) partitions: Range<u32>,
}

/// Where the rows of an attempt go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// They are committed. A record of so many bytes, with the rows in it, stays out of the store.
    Committed { unstored_bytes_max: u64 },
    /// Consumers that run at the same time read them. So many read everything; if 0, each partition is read by one.
    Direct { broadcast_consumers: u32 },
}
