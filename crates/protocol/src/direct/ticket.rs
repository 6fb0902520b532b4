//! What is asked for.

use std::ops::Range;
use std::time::Duration;

use base::{AttemptId, Incarnation};
use bytes::Bytes;
use prost::Message;

use crate::node::id::required_attempt;
use crate::node::{InvalidMessage, wire};

/// What one consumer reads of one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSlice {
    /// The attempt whose output it is.
    pub producer: AttemptId,
    /// The life of the worker that runs it.
    pub incarnation: Incarnation,
    /// The consumer: a number of its own among those of the output.
    pub consumer: u64,
    /// The partitions.
    pub partitions: Range<u32>,
}

impl OutputSlice {
    /// The bytes that travel.
    pub fn encode(&self) -> Bytes {
        wire::OutputSlice::from(self).encode_to_vec().into()
    }

    /// Reads what travelled.
    ///
    /// # Errors
    ///
    /// If the bytes mean nothing.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidMessage> {
        wire::OutputSlice::decode(bytes).map_err(|_| InvalidMessage("no slice of an output"))?.try_into()
    }
}

impl From<&OutputSlice> for wire::OutputSlice {
    fn from(slice: &OutputSlice) -> Self {
        wire::OutputSlice {
            producer: Some(slice.producer.into()),
            incarnation: slice.incarnation.0,
            consumer: slice.consumer,
            partition_start: slice.partitions.start,
            partition_end: slice.partitions.end,
        }
    }
}

impl TryFrom<wire::OutputSlice> for OutputSlice {
    type Error = InvalidMessage;

    fn try_from(slice: wire::OutputSlice) -> Result<Self, InvalidMessage> {
        Ok(OutputSlice {
            producer: required_attempt(&slice.producer)?,
            incarnation: Incarnation(slice.incarnation),
            consumer: slice.consumer,
            partitions: slice.partition_start..slice.partition_end,
        })
    }
}

/// Asks for the next frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFrames {
    /// The number of the next frame. Acknowledges all below it.
    pub token: u64,
    /// How many bytes of frames the answer may have.
    pub bytes_max: u64,
    /// How long the answer may wait for the first frame, in whole milliseconds.
    pub wait_max: Duration,
}

/// A ticket of `DoGet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTicket {
    /// What is read.
    pub slice: OutputSlice,
    /// The next frames only. None: everything, as Arrow's own messages.
    pub frames: Option<FetchFrames>,
}

impl FetchTicket {
    /// The bytes that travel.
    pub fn encode(&self) -> Bytes {
        let frames = self.frames.map(|frames| wire::FetchFrames {
            token: frames.token,
            bytes_max: frames.bytes_max,
            wait_max_ms: u64::try_from(frames.wait_max.as_millis()).unwrap_or(u64::MAX),
        });
        wire::FetchTicket { slice: Some((&self.slice).into()), frames }.encode_to_vec().into()
    }

    /// Reads what travelled.
    ///
    /// # Errors
    ///
    /// If the bytes mean nothing.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidMessage> {
        let ticket = wire::FetchTicket::decode(bytes).map_err(|_| InvalidMessage("a ticket that is none"))?;
        let frames = ticket.frames.map(|frames| FetchFrames {
            token: frames.token,
            bytes_max: frames.bytes_max,
            wait_max: Duration::from_millis(frames.wait_max_ms),
        });
        let slice = ticket.slice.ok_or(InvalidMessage("a ticket for nothing"))?;
        Ok(FetchTicket { slice: slice.try_into()?, frames })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Epoch, StageId, TaskId};

    #[test]
    fn tickets_arrive_as_they_were_and_others_are_refused() {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(2), partition: 3 };
        let producer = AttemptId { task, generation: 4, epoch: Epoch(5), number: 6 };
        let slice = OutputSlice { producer, incarnation: Incarnation(7), consumer: 8, partitions: 9..12 };
        assert_eq!(OutputSlice::decode(&slice.encode()), Ok(slice.clone()));
        let frames = FetchFrames { token: 1, bytes_max: u64::MAX, wait_max: Duration::from_millis(1_500) };
        for frames in [None, Some(frames)] {
            let ticket = FetchTicket { slice: slice.clone(), frames };
            assert_eq!(FetchTicket::decode(&ticket.encode()), Ok(ticket));
        }
        assert!(FetchTicket::decode(b"").is_err());
        assert!(FetchTicket::decode(b"\xff").is_err());
        assert!(OutputSlice::decode(b"").is_err());
    }
}
