//! Why a reader cannot go on.

use std::fmt;
use std::time::Duration;

use base::{AttemptId, Error, ErrorCode, Failure, FailureClass};

/// What Trino tells its users when a worker does not answer.
const WORKER_NODE_ERROR: &str = "Encountered too many errors talking to a worker node. The node may have crashed or \
     be under too much load. This is probably a transient issue, so please retry your query in a few minutes.";

/// Why a reader cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectReadError {
    /// The process that had the output has ended.
    WorkerLost {
        /// Whose output it was.
        producer: AttemptId,
    },
    /// The output was dropped before it was read.
    OutputGone {
        /// Whose output it was.
        producer: AttemptId,
    },
    /// The producer failed, and so.
    ProducerFailed {
        /// Who failed.
        producer: AttemptId,
        /// How the producer's failure is judged: it is not the consumer's.
        failure: Failure,
    },
    /// The producer was out of reach for too long.
    Unreachable {
        /// Whose output it is.
        producer: AttemptId,
        /// How many requests failed since the last that did not.
        failures: u32,
        /// For how long.
        duration: Duration,
        /// How the last one failed.
        reason: String,
    },
    /// The producer did not start in time.
    NotStarted {
        /// Whose output it would be.
        producer: AttemptId,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The producer failed or its output is gone, and nobody ended its reader although that gave them time to.
    NoVerdict {
        /// Whose output it was.
        producer: AttemptId,
        /// How long the reader waited.
        waited: Duration,
        /// Why it could not go on.
        reason: String,
    },
    /// A frame is not what was sent.
    Corrupt {
        /// Whose output it is.
        producer: AttemptId,
        /// What is wrong.
        reason: String,
    },
    /// Something on this side: memory that was refused, or a mistake of ours.
    Local(Error),
}

impl DirectReadError {
    /// Whose output could not be read, if it is about one.
    pub fn producer(&self) -> Option<AttemptId> {
        match self {
            DirectReadError::WorkerLost { producer }
            | DirectReadError::OutputGone { producer }
            | DirectReadError::ProducerFailed { producer, .. }
            | DirectReadError::Unreachable { producer, .. }
            | DirectReadError::NotStarted { producer, .. }
            | DirectReadError::NoVerdict { producer, .. }
            | DirectReadError::Corrupt { producer, .. } => Some(*producer),
            DirectReadError::Local(_) => None,
        }
    }

    /// Whether it is for others to say what becomes of the reader: what happened to the producer is told by the
    /// producer's own report, or by the loss of its worker, and a reader that failed at once would hide it.
    pub(super) fn awaits_verdict(&self) -> bool {
        match self {
            DirectReadError::WorkerLost { .. }
            | DirectReadError::OutputGone { .. }
            | DirectReadError::ProducerFailed { .. } => true,
            DirectReadError::Unreachable { .. }
            | DirectReadError::NotStarted { .. }
            | DirectReadError::NoVerdict { .. }
            | DirectReadError::Corrupt { .. }
            | DirectReadError::Local(_) => false,
        }
    }

    /// The same error when nobody said anything for so long. It is no more that of the producer.
    pub(super) fn without_verdict(self, waited: Duration) -> Self {
        match (self.producer(), self) {
            (_, lost @ DirectReadError::WorkerLost { .. }) => lost,
            (Some(producer), error) if error.awaits_verdict() => {
                DirectReadError::NoVerdict { producer, waited, reason: error.to_string() }
            }
            (_, error) => error,
        }
    }
}

impl From<DirectReadError> for Error {
    fn from(error: DirectReadError) -> Self {
        match error {
            DirectReadError::WorkerLost { producer } => {
                Error::new(ErrorCode::REMOTE_HOST_GONE, format!("The worker that ran {producer} is gone"))
            }
            DirectReadError::OutputGone { producer } => Error::new(
                ErrorCode::REMOTE_TASK_MISMATCH,
                format!("The output of {producer} is not there any more"),
            ),
            DirectReadError::ProducerFailed { failure, .. } => failure.error,
            DirectReadError::Unreachable { producer, failures, duration, reason } => {
                let text = format!(
                    "{WORKER_NODE_ERROR} ({producer} - {failures} failures, failure duration {duration:.2?})"
                );
                Error::new(ErrorCode::PAGE_TRANSPORT_TIMEOUT, text).caused_by(reason)
            }
            DirectReadError::NotStarted { producer, waited } => Error::new(
                ErrorCode::PAGE_TRANSPORT_TIMEOUT,
                format!("{producer} did not start within {waited:.2?}"),
            ),
            DirectReadError::NoVerdict { producer, waited, reason } => {
                let text = format!("{WORKER_NODE_ERROR} ({producer} - failure duration {waited:.2?})");
                Error::new(ErrorCode::PAGE_TRANSPORT_TIMEOUT, text).caused_by(reason)
            }
            DirectReadError::Corrupt { producer, reason } => Error::new(
                ErrorCode::CORRUPT_PAGE,
                format!("Checksum verification failure when reading the output of {producer}"),
            )
            .caused_by(reason),
            DirectReadError::Local(error) => error,
        }
    }
}

impl From<DirectReadError> for Failure {
    /// A producer that is lost or out of reach is no fault of the consumer; its failure stays what it is.
    fn from(error: DirectReadError) -> Self {
        match error {
            DirectReadError::ProducerFailed { failure, .. } => failure,
            error @ (DirectReadError::WorkerLost { .. }
            | DirectReadError::Unreachable { .. }
            | DirectReadError::NotStarted { .. }
            | DirectReadError::NoVerdict { .. }) => {
                Failure { class: FailureClass::WorkerLost, error: error.into() }
            }
            error @ (DirectReadError::OutputGone { .. }
            | DirectReadError::Corrupt { .. }
            | DirectReadError::Local(_)) => Failure::of(error.into()),
        }
    }
}

impl fmt::Display for DirectReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Error::from(self.clone()).fmt(f)
    }
}

impl std::error::Error for DirectReadError {}

impl From<Error> for DirectReadError {
    fn from(error: Error) -> Self {
        DirectReadError::Local(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Epoch, StageId, TaskId};

    #[test]
    fn errors_are_judged_by_what_they_are() {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(1), partition: 0 };
        let producer = AttemptId { task, generation: 0, epoch: Epoch(0), number: 0 };
        let user = Failure::of(Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero"));
        let failed = DirectReadError::ProducerFailed { producer, failure: user.clone() };
        assert_eq!(Failure::from(failed.clone()), user);
        assert_eq!(failed.producer(), Some(producer));
        let (duration, reason) = (Duration::from_secs(61), "refused".to_owned());
        let silent = DirectReadError::Unreachable { producer, failures: 9, duration, reason };
        assert!(silent.to_string().starts_with("Encountered too many errors talking to a worker node."));
        let failure = Failure::from(silent);
        assert_eq!(failure.class, FailureClass::WorkerLost);
        assert_eq!(failure.error.code(), ErrorCode::PAGE_TRANSPORT_TIMEOUT);
        let lost = Failure::from(DirectReadError::WorkerLost { producer });
        assert_eq!((lost.class, lost.error.code()), (FailureClass::WorkerLost, ErrorCode::REMOTE_HOST_GONE));
        let waited = Duration::from_secs(60);
        let abandoned = Failure::from(failed.without_verdict(waited));
        assert_eq!(abandoned.class, FailureClass::WorkerLost);
        assert_eq!(abandoned.error.code(), ErrorCode::PAGE_TRANSPORT_TIMEOUT);
        assert_eq!(abandoned.error.cause().unwrap().message, "Division by zero");
        let lost = DirectReadError::WorkerLost { producer };
        assert_eq!(lost.clone().without_verdict(waited), lost);
        let memory = Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "no");
        assert_eq!(Failure::from(DirectReadError::from(memory)).class, FailureClass::InsufficientResources);
    }
}
