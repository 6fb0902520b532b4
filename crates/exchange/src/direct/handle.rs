//! What the one who runs an attempt holds of its output.

use std::sync::Arc;
use std::time::Duration;

use base::{AttemptId, Failure};

use super::output::Output;
use super::registry::Registration;

/// What an output has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectSinkMetrics {
    /// The memory that it holds now, in bytes.
    pub memory_bytes: u64,
    /// The most memory that it held, in bytes.
    pub memory_bytes_peak: u64,
    /// The rows that were pushed.
    pub rows: u64,
    /// The frames that were made.
    pub frames: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// How often the producer found the buffer full.
    pub waits: u64,
    /// For how long it waited then.
    pub wait_time: Duration,
}

/// An output that can be read. It cannot any more when this is dropped: whoever runs the attempt keeps it until the
/// coordinator does not want the attempt any more.
#[derive(Debug)]
pub struct OutputHandle {
    pub(super) output: Arc<Output>,
    pub(super) registration: Registration,
}

impl OutputHandle {
    /// Whose output it is.
    pub fn attempt(&self) -> AttemptId {
        self.registration.attempt()
    }

    /// Tells how many consumers read an output that all of them read. Until then, none of its frames can be dropped.
    pub fn set_consumer_count(&self, count: u32) {
        self.output.set_consumer_count(count);
    }

    /// Waits until every consumer has closed its part: all have all they want, and the attempt may end.
    pub async fn satisfied(&self) {
        self.output.satisfied().await;
    }

    /// Tells the consumers that the producer failed. Its frames are dropped.
    pub fn fail(&self, failure: Failure) {
        self.output.fail(failure);
    }

    /// The bytes of the values that were pushed to each partition.
    pub fn partition_bytes(&self) -> Arc<[u64]> {
        self.output.partition_bytes()
    }

    /// What it has done so far.
    pub fn metrics(&self) -> DirectSinkMetrics {
        self.output.metrics()
    }
}
