//! Errors as data, from where they happen to where they are judged.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

use crate::error_code::{ErrorCode, ErrorType};
use crate::id::OutputId;

/// Result with Steadfast's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// A place in the text of a statement, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ErrorLocation {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// What a user is told: Trino's code, a message, and where it points to.
///
/// The code decides what is retried, so it travels with the error over every border; the message never does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Inner {
    code: ErrorCode,
    message: String,
    location: Option<ErrorLocation>,
    lost: Option<OutputId>,
    cause: Option<ErrorCause>,
}

/// The error below an error, kept for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ErrorCause {
    /// Its text.
    pub message: String,
}

impl Error {
    /// An error with Trino's code and a message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { code, message: message.into(), location: None, lost: None, cause: None }))
    }

    /// An internal error: something that should not happen.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorCode::GENERIC_INTERNAL_ERROR, message)
    }

    /// A feature that is not there.
    pub fn not_supported(message: impl Into<String>) -> Self {
        Error::new(ErrorCode::NOT_SUPPORTED, message)
    }

    /// There is no exchange manager, and without one the query cannot go on. The text is Trino's.
    pub fn exchange_manager_not_configured() -> Self {
        Error::new(
            ErrorCode::EXCHANGE_MANAGER_NOT_CONFIGURED,
            "Exchange manager must be configured for the failure recovery capabilities to be fully functional",
        )
    }

    /// Committed output that cannot be read any more.
    pub fn lost(output: OutputId, message: impl Into<String>) -> Self {
        let mut error = Error::new(ErrorCode::EXCHANGE_DATA_LOST, message);
        error.0.lost = Some(output);
        error
    }

    /// The same error, pointing to a place in the statement.
    pub fn at(mut self, location: ErrorLocation) -> Self {
        self.0.location = Some(location);
        self
    }

    /// The same error, with the text of the error below it.
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(ErrorCause { message: cause.to_string() });
        self
    }

    /// Trino's code.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// What the user is told, without the location.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where in the statement it points to.
    pub fn location(&self) -> Option<ErrorLocation> {
        self.0.location
    }

    /// The committed output that was found lost, if that is what happened.
    pub fn lost_output(&self) -> Option<OutputId> {
        self.0.lost
    }

    /// The error below.
    pub fn cause(&self) -> Option<&ErrorCause> {
        self.0.cause.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ErrorLocation { line, column }) = self.0.location {
            write!(f, "line {line}:{column}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl core::error::Error for Error {}

/// How the failure of an attempt is judged. See [`Failure::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum FailureClass {
    /// The statement is at fault. Never retried.
    User,
    /// The engine is at fault. Retried, with backoff of that task and node only.
    Internal,
    /// Something outside is at fault. Retried, with backoff of that task and node only.
    External,
    /// The lease was too small. Retried at once with more memory.
    InsufficientResources,
    /// Committed output could not be read: its producer is recomputed.
    InputLost(OutputId),
    /// The worker vanished. Does not count against the task unless the task is the likely cause.
    WorkerLost,
}

/// The failure of an attempt: how it is judged, and what the user is told if it ends the query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Failure {
    /// How it is judged.
    pub class: FailureClass,
    /// What the user is told.
    pub error: Error,
}

impl Failure {
    /// Judges an error by its code, and by nothing else.
    pub fn of(error: Error) -> Self {
        let class = match (error.lost_output(), error.code().error_type) {
            (Some(output), _) => FailureClass::InputLost(output),
            (None, ErrorType::UserError) => FailureClass::User,
            (None, ErrorType::InternalError) => FailureClass::Internal,
            (None, ErrorType::External) => FailureClass::External,
            (None, ErrorType::InsufficientResources) => FailureClass::InsufficientResources,
        };
        Failure { class, error }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::of(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_class_follows_the_code_not_the_text() {
        let user = Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero");
        assert_eq!(Failure::of(user).class, FailureClass::User);
        let memory = Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "Division by zero");
        assert_eq!(Failure::of(memory).class, FailureClass::InsufficientResources);
    }

    #[test]
    fn location_comes_first_in_the_text() {
        let error = Error::new(ErrorCode::TABLE_NOT_FOUND, "Table 'a.b.c' does not exist");
        let error = error.at(ErrorLocation { line: 1, column: 15 });
        assert_eq!(error.to_string(), "line 1:15: Table 'a.b.c' does not exist");
    }
}
