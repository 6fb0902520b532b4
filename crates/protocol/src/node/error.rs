//! Errors and failures on the wire. They are carried typed: how they are judged does not depend on their text.

use base::{AttemptId, Error, ErrorCode, ErrorLocation, ErrorType, Failure, FailureClass};

use super::id::output_to_wire;
use super::{InvalidMessage, wire};

/// Codes are numbered by type: from here on, of engine errors.
const INTERNAL_ERROR_CODE_MIN: u32 = 0x1_0000;
/// From here on, of missing resources.
const INSUFFICIENT_RESOURCES_CODE_MIN: u32 = 0x2_0000;
/// From here on, of things outside.
const EXTERNAL_CODE_MIN: u32 = 0x3_0000;

/// The code of that number. One that this build does not know becomes the general one of its type.
fn error_code(number: u32) -> ErrorCode {
    ErrorCode::from_number(number).unwrap_or(match number {
        0..INTERNAL_ERROR_CODE_MIN => ErrorCode::GENERIC_USER_ERROR,
        INTERNAL_ERROR_CODE_MIN..INSUFFICIENT_RESOURCES_CODE_MIN => ErrorCode::GENERIC_INTERNAL_ERROR,
        INSUFFICIENT_RESOURCES_CODE_MIN..EXTERNAL_CODE_MIN => ErrorCode::GENERIC_INSUFFICIENT_RESOURCES,
        _ => ErrorCode { code: number, name: "GENERIC_EXTERNAL", error_type: ErrorType::External },
    })
}

impl From<&Error> for wire::Error {
    fn from(error: &Error) -> Self {
        let location = error.location();
        wire::Error {
            code: error.code().code,
            message: error.message().to_owned(),
            has_location: location.is_some(),
            line: location.map_or(0, |location| location.line),
            column: location.map_or(0, |location| location.column),
            lost_output: error.lost_output().map(output_to_wire),
            cause: error.cause().map(|cause| cause.message.clone()).unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::Error> for Error {
    type Error = InvalidMessage;

    fn try_from(error: wire::Error) -> Result<Self, InvalidMessage> {
        let mut read = match &error.lost_output {
            Some(lost) => Error::lost(AttemptId::try_from(lost)?.output(), error.message),
            None => Error::new(error_code(error.code), error.message),
        };
        if error.has_location {
            read = read.at(ErrorLocation { line: error.line, column: error.column });
        }
        if !error.cause.is_empty() {
            read = read.caused_by(error.cause);
        }
        Ok(read)
    }
}

impl From<&Failure> for wire::Failed {
    fn from(failure: &Failure) -> Self {
        let mut error = wire::Error::from(&failure.error);
        let class = match failure.class {
            FailureClass::User => wire::FailureClass::User,
            FailureClass::Internal => wire::FailureClass::Internal,
            FailureClass::External => wire::FailureClass::External,
            FailureClass::InsufficientResources => wire::FailureClass::InsufficientResources,
            FailureClass::InputLost(output) => {
                error.lost_output = Some(output_to_wire(output));
                wire::FailureClass::InputLost
            }
            FailureClass::WorkerLost => wire::FailureClass::WorkerLost,
        };
        wire::Failed { error: Some(error), class: class.into() }
    }
}

impl TryFrom<wire::Failed> for Failure {
    type Error = InvalidMessage;

    fn try_from(failed: wire::Failed) -> Result<Self, InvalidMessage> {
        let class = failed.class();
        let error = Error::try_from(failed.error.ok_or(InvalidMessage("a failure without error"))?)?;
        let class = match (class, error.lost_output()) {
            (wire::FailureClass::User, _) => FailureClass::User,
            (wire::FailureClass::Internal, _) => FailureClass::Internal,
            (wire::FailureClass::External, _) => FailureClass::External,
            (wire::FailureClass::InsufficientResources, _) => FailureClass::InsufficientResources,
            (wire::FailureClass::WorkerLost, _) => FailureClass::WorkerLost,
            (wire::FailureClass::InputLost, Some(output)) => FailureClass::InputLost(output),
            (wire::FailureClass::InputLost, None) => {
                return Err(InvalidMessage("lost input without its output"));
            }
            (wire::FailureClass::Unspecified, _) => return Ok(Failure::of(error)),
        };
        Ok(Failure { class, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{OutputId, StageId, TaskId};
    use prost::Message;

    fn output() -> OutputId {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        OutputId { task: TaskId { query, stage: StageId(2), partition: 3 }, generation: 4 }
    }

    fn over_the_wire(failure: &Failure) -> Failure {
        let bytes = wire::Failed::from(failure).encode_to_vec();
        wire::Failed::decode(bytes.as_slice()).unwrap().try_into().unwrap()
    }

    #[test]
    fn every_failure_class_arrives_as_it_was() {
        for error in [
            Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero")
                .at(ErrorLocation { line: 2, column: 7 }),
            Error::internal("broken").caused_by("deeper"),
            Error::new(ErrorCode::EXCHANGE_STORE_ERROR, "store"),
            Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "memory"),
            Error::lost(output(), "lost"),
        ] {
            let failure = Failure::of(error);
            assert_eq!(over_the_wire(&failure), failure);
        }
        let vanished = Error::new(ErrorCode::REMOTE_HOST_GONE, "gone");
        let failure = Failure { class: FailureClass::WorkerLost, error: vanished };
        assert_eq!(over_the_wire(&failure), failure);
    }

    #[test]
    fn every_code_arrives_as_it_was() {
        for code in ErrorCode::ALL {
            let failure = Failure::of(Error::new(*code, ""));
            assert_eq!(over_the_wire(&failure).error.code(), *code);
        }
    }

    #[test]
    fn unknown_codes_keep_their_class() {
        for (number, name, class) in [
            (9_999, "GENERIC_USER_ERROR", FailureClass::User),
            (0x1_ffff, "GENERIC_INTERNAL_ERROR", FailureClass::Internal),
            (0x2_ffff, "GENERIC_INSUFFICIENT_RESOURCES", FailureClass::InsufficientResources),
            (0x0405_ffff, "GENERIC_EXTERNAL", FailureClass::External),
        ] {
            let error = wire::Error { code: number, ..Default::default() };
            let failure = Failure::try_from(wire::Failed { error: Some(error), class: 0 }).unwrap();
            assert_eq!((failure.error.code().name, failure.class), (name, class));
        }
    }

    #[test]
    fn classes_of_the_future_are_judged_by_the_code() {
        let error = wire::Error { code: ErrorCode::DIVISION_BY_ZERO.code, ..Default::default() };
        let failure = Failure::try_from(wire::Failed { error: Some(error), class: 99 }).unwrap();
        assert_eq!(failure.class, FailureClass::User);
    }

    #[test]
    fn broken_failures_are_refused() {
        let lost = wire::FailureClass::InputLost.into();
        assert!(Failure::try_from(wire::Failed { error: None, class: 0 }).is_err());
        assert!(
            Failure::try_from(wire::Failed { error: Some(wire::Error::default()), class: lost }).is_err()
        );
        let error = wire::Error { lost_output: Some(wire::AttemptId::default()), ..Default::default() };
        assert!(Failure::try_from(wire::Failed { error: Some(error), class: lost }).is_err());
    }
}
