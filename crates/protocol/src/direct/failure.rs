//! Why nothing comes: typed, in the details of a status.

use base::{Error, Failure};
use prost::Message;
use tonic::{Code, Status};

use crate::node::wire;
use crate::node::wire::fetch_failure::Failure as Wire;

/// Why nothing comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFailure {
    /// The producer has not started yet.
    NotStarted,
    /// The output is not there any more.
    Gone,
    /// The life of the worker that had the output has ended.
    WorkerLost,
    /// The producer failed.
    Failed(Failure),
    /// The request means nothing.
    Refused(Error),
}

impl From<FetchFailure> for Status {
    fn from(failure: FetchFailure) -> Self {
        let (code, text, failure) = match failure {
            FetchFailure::NotStarted => (
                Code::Unavailable,
                "The producer has not started".to_owned(),
                Wire::NotStarted(wire::NotStarted {}),
            ),
            FetchFailure::Gone => {
                (Code::NotFound, "The output is not there any more".to_owned(), Wire::Gone(wire::Gone {}))
            }
            FetchFailure::WorkerLost => (
                Code::NotFound,
                "This is another life of the worker".to_owned(),
                Wire::WorkerLost(wire::WorkerLost {}),
            ),
            FetchFailure::Failed(failure) => {
                (Code::Aborted, failure.error.to_string(), Wire::Failed((&failure).into()))
            }
            FetchFailure::Refused(error) => {
                (Code::InvalidArgument, error.to_string(), Wire::Refused((&error).into()))
            }
        };
        let details = wire::FetchFailure { failure: Some(failure) }.encode_to_vec();
        Status::with_details(code, text, details.into())
    }
}

impl FetchFailure {
    /// What a status says, if it comes from the other side's exchange and not from the way there.
    pub fn of_status(status: &Status) -> Option<Self> {
        if status.details().is_empty() {
            return None;
        }
        let wire = wire::FetchFailure::decode(status.details()).ok()?;
        match wire.failure? {
            Wire::NotStarted(_) => Some(FetchFailure::NotStarted),
            Wire::Gone(_) => Some(FetchFailure::Gone),
            Wire::WorkerLost(_) => Some(FetchFailure::WorkerLost),
            Wire::Failed(failed) => Failure::try_from(failed).ok().map(FetchFailure::Failed),
            Wire::Refused(error) => Error::try_from(error).ok().map(FetchFailure::Refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{ErrorCode, ErrorLocation, FailureClass};

    #[test]
    fn failures_arrive_as_they_were() {
        let user = Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero")
            .at(ErrorLocation { line: 1, column: 2 });
        let vanished = Error::new(ErrorCode::REMOTE_HOST_GONE, "gone");
        for failure in [
            FetchFailure::NotStarted,
            FetchFailure::Gone,
            FetchFailure::WorkerLost,
            FetchFailure::Failed(Failure::of(user.clone())),
            FetchFailure::Failed(Failure { class: FailureClass::WorkerLost, error: vanished }),
            FetchFailure::Refused(user),
        ] {
            let status = Status::from(failure.clone());
            assert_eq!(FetchFailure::of_status(&status), Some(failure));
        }
        assert_eq!(FetchFailure::of_status(&Status::unavailable("connection refused")), None);
    }
}
