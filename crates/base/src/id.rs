//! The names of things: queries, stages, tasks, attempts, nodes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;

/// A query, named as Trino names it: `yyyyMMdd_HHmmss_NNNNN_ccccc`.
///
/// The parts are the UTC time of submission, a counter, and the name of the coordinator's life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QueryId([u8; QueryId::LENGTH]);

impl QueryId {
    /// Length of the text form, in bytes.
    pub const LENGTH: usize = 27;

    /// The text form.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The text is not a query id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseIdError(pub String);

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid id: {}", self.0)
    }
}

impl core::error::Error for ParseIdError {}

impl FromStr for QueryId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: [u8; QueryId::LENGTH] =
            text.as_bytes().try_into().map_err(|_| ParseIdError(text.to_string()))?;
        let valid = bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 15 | 21 => *byte == b'_',
            0..21 => byte.is_ascii_digit(),
            _ => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
        });
        if valid { Ok(QueryId(bytes)) } else { Err(ParseIdError(text.to_string())) }
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stage of a query: a fragment being run. The root stage is 0, as in Trino.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StageId(pub u32);

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A task: one partition of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TaskId {
    /// The query.
    pub query: QueryId,
    /// The stage of the query.
    pub stage: StageId,
    /// The partition of the stage, counted from 0.
    pub partition: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.query, self.stage, self.partition)
    }
}

/// The life of a coordinator. A higher epoch is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Epoch(pub u32);

/// The life of a worker process. Two lives of one node have different incarnations; a higher one is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Incarnation(pub u64);

/// A version of a task's committed output: it grows when committed output is lost and recomputed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OutputId {
    /// The task whose output this is.
    pub task: TaskId,
    /// The version, counted from 0.
    pub generation: u32,
}

/// One try of a task. Unique for ever, even across coordinators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AttemptId {
    /// The task being tried.
    pub task: TaskId,
    /// The version of the task's output that this attempt would commit.
    pub generation: u32,
    /// The coordinator life that created the attempt.
    pub epoch: Epoch,
    /// The number of the try within the task, generation and epoch, counted from 0.
    pub number: u32,
}

impl AttemptId {
    /// The output this attempt tries to commit.
    pub fn output(&self) -> OutputId {
        OutputId { task: self.task, generation: self.generation }
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.number)?;
        if self.generation > 0 || self.epoch.0 > 0 {
            write!(f, "-g{}e{}", self.generation, self.epoch.0)?;
        }
        Ok(())
    }
}

/// A node of the cluster, by its `node.id`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// A node of that name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        NodeId(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("NodeId({})", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_id_round_trips_and_rejects_other_text() {
        let id: QueryId = "20261120_061411_00007_abcde".parse().unwrap();
        assert_eq!(id.to_string(), "20261120_061411_00007_abcde");
        for bad in [
            "",
            "20261120_061411_00007_abcd",
            "2026112a_061411_00007_abcde",
            "20261120-061411_00007_abcde",
            "20261120_061411_00007_ABCDE",
        ] {
            assert!(bad.parse::<QueryId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn attempt_shows_generation_and_epoch_only_when_they_matter() {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(2), partition: 3 };
        let first = AttemptId { task, generation: 0, epoch: Epoch(0), number: 1 };
        assert_eq!(first.to_string(), "20261120_061411_00007_abcde.2.3.1");
        let later = AttemptId { generation: 1, epoch: Epoch(4), ..first };
        assert_eq!(later.to_string(), "20261120_061411_00007_abcde.2.3.1-g1e4");
    }
}
