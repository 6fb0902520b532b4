//! A recording as it is written down.
//!
//! ```text
//! magic "SFFR"
//! the build, the query, its error, the core before the first step if it was kept, the number of steps
//! the steps: time and fact of each
//! ```
//!
//! Everything after the magic is in MessagePack. Only the same build can read it.

use std::fmt;

use base::{Error, Millis, QueryId};
use scheduler::{Core, Event};
use serde::Serialize;
use serde::de::DeserializeOwned;

const MAGIC: [u8; 4] = *b"SFFR";
/// The build, as far as the encoding depends on it.
const BUILD: &str = env!("CARGO_PKG_VERSION");

/// What the scheduler was told before a query failed.
#[derive(Debug)]
pub struct Recording {
    /// The query that failed.
    pub query: QueryId,
    /// What its user was told.
    pub error: Error,
    /// The core before the first step. None if it was too large to be kept.
    pub start: Option<Core>,
    /// The steps: when, and what the core was told.
    pub steps: Vec<(Millis, Event)>,
}

/// Why a recording cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingError {
    /// It is no recording.
    NotARecording,
    /// Another build wrote it.
    OtherBuild(String),
    /// It is truncated or damaged.
    Damaged,
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordingError::NotARecording => f.write_str("it is not a flight recording"),
            RecordingError::OtherBuild(build) => {
                write!(f, "it was written by build {build}, and this is build {BUILD}")
            }
            RecordingError::Damaged => f.write_str("it is truncated or damaged"),
        }
    }
}

impl std::error::Error for RecordingError {}

/// Appends a value.
fn append(content: &mut Vec<u8>, value: &impl Serialize) {
    rmp_serde::encode::write(content, value).expect("memory can be written, and every value has an encoding");
}

/// Takes the next value.
fn take<T: DeserializeOwned>(rest: &mut &[u8]) -> Result<T, RecordingError> {
    rmp_serde::decode::from_read(rest).map_err(|_| RecordingError::Damaged)
}

pub(super) fn encode<'a>(
    query: QueryId,
    error: &Error,
    start: Option<&Core>,
    steps: impl Iterator<Item = &'a (Millis, Event)>,
) -> Vec<u8> {
    let steps: Vec<&(Millis, Event)> = steps.collect();
    let mut content = MAGIC.to_vec();
    append(&mut content, &BUILD);
    append(&mut content, &(query, error, start, steps.len()));
    for step in steps {
        append(&mut content, step);
    }
    content
}

impl Recording {
    /// Reads a recording.
    ///
    /// # Errors
    ///
    /// If it is none, of another build, or damaged.
    pub fn decode(content: &[u8]) -> Result<Self, RecordingError> {
        let mut rest = content.strip_prefix(&MAGIC).ok_or(RecordingError::NotARecording)?;
        let build: String = take(&mut rest)?;
        if build != BUILD {
            return Err(RecordingError::OtherBuild(build));
        }
        let (query, error, start, count): (QueryId, Error, Option<Core>, usize) = take(&mut rest)?;
        let mut steps = Vec::new();
        for _ in 0..count {
            steps.push(take(&mut rest)?);
        }
        Ok(Recording { query, error, start, steps })
    }
}

#[cfg(test)]
mod tests {
    use base::ErrorCode;

    use super::*;

    #[test]
    fn what_is_no_recording_is_refused() {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let error = Error::new(ErrorCode::REMOTE_HOST_GONE, "gone");
        let steps = [(Millis(1), Event::Tick), (Millis(2), Event::Resumed)];
        let content = encode(query, &error, None, steps.iter());
        let read = Recording::decode(&content).unwrap();
        assert!(read.start.is_none() && read.steps.len() == 2 && read.error == error);
        assert_eq!(Recording::decode(b"other").unwrap_err(), RecordingError::NotARecording);
        for length in MAGIC.len()..content.len() {
            assert_eq!(Recording::decode(&content[..length]).unwrap_err(), RecordingError::Damaged);
        }
        let mut other = content;
        other[MAGIC.len() + 1] = b'9';
        assert!(matches!(Recording::decode(&other), Err(RecordingError::OtherBuild(_))));
    }
}
