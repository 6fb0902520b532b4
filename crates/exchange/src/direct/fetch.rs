//! What a consumer asks of a producer's output, and what it is answered.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use base::{AttemptId, Error, Failure, StageId};
use bytes::Bytes;

/// Who reads an output. Two consumers of one output have different ids.
///
/// What a consumer acknowledged is gone. One that starts anew cannot read it again: its producers start anew too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

impl ConsumerId {
    /// The task of that partition of a stage.
    pub fn of_task(stage: StageId, partition: u32) -> Self {
        ConsumerId(u64::from(stage.0) << 32 | u64::from(partition))
    }
}

/// What one consumer reads of one output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutputSlice {
    /// The attempt whose output it is.
    pub producer: AttemptId,
    /// Who reads.
    pub consumer: ConsumerId,
    /// The partitions it reads. Of an output that all consumers read as a whole, `0..1`.
    pub partitions: Range<u32>,
}

impl fmt::Display for OutputSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.partitions;
        write!(f, "output {} [{start}..{end}]", self.producer)
    }
}

/// Asks for the next frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// What is read.
    pub slice: OutputSlice,
    /// The number of the next frame that is wanted, counted from 0. Acknowledges all frames below it.
    pub token: u64,
    /// How many bytes of frames the answer may have. Where the first frame alone is larger, none comes, and
    /// [`FetchResponse::next_frame_bytes`] tells how much to ask for.
    pub bytes_max: u64,
    /// How long to wait where there is nothing yet.
    pub wait_max: Duration,
}

/// The next frames, and what follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchResponse {
    /// Frames from the token on, in order. None where nothing came in time.
    pub frames: Vec<Bytes>,
    /// Whether these are the last ones.
    pub is_end: bool,
    /// The length of the frame that follows, if it is there already; else 0.
    pub next_frame_bytes: u64,
}

impl FetchResponse {
    /// The bytes of its frames.
    pub fn bytes(&self) -> u64 {
        self.frames.iter().map(|frame| frame.len() as u64).sum()
    }
}

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The producer has not started yet, and did not in the time that the request waits.
    NotStarted,
    /// The output is not there any more, although the process is.
    Gone,
    /// The process that had the output has ended.
    WorkerLost,
    /// The producer failed.
    Failed(Failure),
    /// The request means nothing: asking again does not help.
    Refused(Error),
    /// There was no answer, or half of one. The text is for people.
    Unreachable(String),
    /// A frame is not what was sent. The text is for people.
    Corrupt(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::NotStarted => f.write_str("the producer has not started"),
            FetchError::Gone => f.write_str("the output is not there any more"),
            FetchError::WorkerLost => f.write_str("the worker has ended"),
            FetchError::Failed(failure) => write!(f, "the producer failed: {}", failure.error),
            FetchError::Refused(error) => write!(f, "the request was refused: {error}"),
            FetchError::Unreachable(text) => write!(f, "no answer: {text}"),
            FetchError::Corrupt(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for FetchError {}

impl From<Error> for FetchError {
    fn from(error: Error) -> Self {
        FetchError::Refused(error)
    }
}

/// How the outputs of a node are reached: [`DirectExchange`](super::DirectExchange) itself in its own process, a
/// client in others.
#[async_trait]
pub trait FetchTransport: fmt::Debug + Send + Sync {
    /// Asks for the next frames. Fails with [`FetchError::Unreachable`] where the other side is silent: the caller
    /// sets no time limit of its own.
    async fn fetch(&self, request: &FetchRequest) -> Result<FetchResponse, FetchError>;

    /// Tells that the consumer wants no more. What is closed already, or gone, is no error. Does not wait for a
    /// producer that has not started.
    async fn close(&self, slice: &OutputSlice) -> Result<(), FetchError>;
}
