//! The frames of an output and how far each consumer is. No waiting and no clock: only what is there.

mod broadcast;
mod partitioned;

use std::fmt;
use std::sync::Arc;

use base::{Error, Result};
use bytes::Bytes;
use tokio::sync::Notify;

use self::broadcast::BroadcastQueue;
use self::partitioned::PartitionedQueues;
use super::fetch::OutputSlice;
use crate::buffer::frame_held_bytes;

/// Who reads what of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputLayout {
    /// One consumer reads everything.
    Single,
    /// Each partition is read by one consumer. A consumer may read several that are next to each other.
    Partitioned {
        /// How many partitions there are.
        partitions: u32,
    },
    /// Every consumer reads everything. How many there are is told by
    /// [`OutputHandle::set_consumer_count`](super::OutputHandle::set_consumer_count), at any time.
    Broadcast,
}

impl OutputLayout {
    /// How many partitions the sink takes.
    pub fn partitions(self) -> u32 {
        match self {
            OutputLayout::Single | OutputLayout::Broadcast => 1,
            OutputLayout::Partitioned { partitions } => partitions,
        }
    }
}

/// Frames for a consumer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) frames: Vec<Bytes>,
    /// Whether nothing follows that is there already.
    pub(super) is_all: bool,
    /// Whether the consumer said that it wants no more.
    pub(super) is_closed: bool,
    /// The length of the frame that follows, or 0.
    pub(super) next_frame_bytes: u64,
    /// The memory of the frames that the request acknowledged.
    pub(super) released_bytes: u64,
}

/// The frames of an output.
pub(super) trait FrameQueues: fmt::Debug + Send {
    /// Adds a frame and wakes who waits for it. False if nobody wants it.
    fn enqueue(&mut self, partition: u32, frame: Bytes) -> bool;

    /// Makes a consumer known, if it is not. What wakes it comes back.
    fn attach(&mut self, slice: &OutputSlice) -> Result<Arc<Notify>>;

    /// Acknowledges what is below the token, and gives frames from it on: the same ones as before where it was asked
    /// for before.
    fn answer(&mut self, slice: &OutputSlice, token: u64, bytes_max: u64) -> Result<Answer>;

    /// The consumer has waited long enough for full frames: whatever comes next should come at once.
    fn starve(&mut self, slice: &OutputSlice);

    /// Whether a consumer of that partition waits for whatever there is.
    fn is_starving(&self, partition: u32) -> bool;

    /// The consumer wants no more. The memory of the frames that nobody needs any more comes back.
    fn close(&mut self, slice: &OutputSlice) -> Result<u64>;

    /// Whether nobody wants more of that partition.
    fn is_closed(&self, partition: u32) -> bool;

    /// Whether nobody wants anything any more.
    fn is_all_closed(&self) -> bool;

    /// There will be so many consumers. The memory of frames that nobody needs any more comes back.
    fn set_consumer_count(&mut self, count: u32) -> u64;

    /// Drops all frames. Consumers stay.
    fn clear(&mut self);

    fn wake_all(&self);
}

pub(super) fn frame_queues(layout: OutputLayout) -> Box<dyn FrameQueues> {
    match layout {
        OutputLayout::Broadcast => Box::new(BroadcastQueue::default()),
        layout => Box::new(PartitionedQueues::new(layout.partitions())),
    }
}

fn refused(slice: &OutputSlice, why: &str) -> Error {
    Error::internal(format!("Consumer {} cannot read {slice}: {why}", slice.consumer.0))
}

/// Checks that a consumer asks for what was or is to be given, which is `acknowledged..=given`.
fn check_token(slice: &OutputSlice, token: u64, acknowledged: u64, given: u64) -> Result<()> {
    if token < acknowledged {
        return Err(refused(slice, &format!("frame {token} was acknowledged already")));
    }
    if token > given {
        return Err(refused(slice, &format!("frame {token} comes after {given}, which was not given yet")));
    }
    Ok(())
}

/// Collects frames up to so many bytes, as long as all of them fit.
#[derive(Debug)]
struct Collector {
    answer: Answer,
    bytes_left: u64,
}

impl Collector {
    fn new(bytes_max: u64) -> Self {
        Collector { answer: Answer::default(), bytes_left: bytes_max }
    }

    /// Whether that frame still fits. If not, the answer ends before it.
    fn fits(&mut self, frame: &Bytes) -> bool {
        let length = frame.len() as u64;
        if length > self.bytes_left {
            self.answer.next_frame_bytes = length;
            return false;
        }
        self.bytes_left -= length;
        true
    }
}

fn held_by(frames: impl IntoIterator<Item = Bytes>) -> u64 {
    frames.into_iter().map(|frame| frame_held_bytes(&frame)).sum()
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
