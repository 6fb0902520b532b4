//! Every object key there is. All keys of a query start with its id, so that cleanup is the removal of one
//! prefix.
//!
//! ```text
//! coordinator/epoch/{epoch}                                 a life of the coordinator began
//! coordinator/lease/{epoch}                                 it is still there
//! coordinator/flight/{query}                                what the scheduler was told before a query failed
//! coordinator/key/capsule                                   what all coordinators seal statements with
//! {query}/query                                             the statement, by which another coordinator goes on
//! {query}/plan                                              what its stages run
//! {query}/intent                                            what a statement is about to change in a catalog
//! {query}/tasks/{stage}/{number}                            the next tasks of a stage, and what they read
//! {query}/rollback/{number}                                 one atomic change of several generations
//! {query}/done                                              the outcome
//! {query}/{stage}/{partition}.{generation}.commit           the commit record of a task's output
//! {query}/{stage}/{partition}.{generation}.{epoch}.{number}.data   what one attempt wrote
//! ```

use std::fmt;
use std::str::FromStr;

use base::{AttemptId, Epoch, OutputId, QueryId, StageId, TaskId};

/// The key of an object, as data. [`fmt::Display`] and [`FromStr`] convert to and from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// The record of a query.
    Query(QueryId),
    /// What the stages of a query run.
    Plan(QueryId),
    /// What a statement is about to change in a catalog.
    Intent(QueryId),
    /// The next tasks of a stage.
    Tasks {
        /// The query.
        query: QueryId,
        /// The stage.
        stage: StageId,
        /// Its number within the stage, counted from 0.
        number: u32,
    },
    /// An atomic change of several generations.
    Rollback {
        /// The query.
        query: QueryId,
        /// Its number within the query, counted from 0.
        number: u32,
    },
    /// The outcome of a query.
    Done(QueryId),
    /// The commit record of an output.
    Commit(OutputId),
    /// What one attempt wrote.
    Data(AttemptId),
}

impl ObjectKey {
    /// The query that the object belongs to.
    pub fn query(&self) -> QueryId {
        match self {
            ObjectKey::Query(query) | ObjectKey::Plan(query) => *query,
            ObjectKey::Intent(query) | ObjectKey::Done(query) => *query,
            ObjectKey::Rollback { query, .. } | ObjectKey::Tasks { query, .. } => *query,
            ObjectKey::Commit(output) => output.task.query,
            ObjectKey::Data(attempt) => attempt.task.query,
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectKey::Query(query) => write!(f, "{query}/query"),
            ObjectKey::Plan(query) => write!(f, "{query}/plan"),
            ObjectKey::Intent(query) => write!(f, "{query}/intent"),
            ObjectKey::Tasks { query, stage, number } => write!(f, "{query}/tasks/{stage}/{number}"),
            ObjectKey::Rollback { query, number } => write!(f, "{query}/rollback/{number}"),
            ObjectKey::Done(query) => write!(f, "{query}/done"),
            ObjectKey::Commit(OutputId { task: TaskId { query, stage, partition }, generation }) => {
                write!(f, "{query}/{stage}/{partition}.{generation}.commit")
            }
            ObjectKey::Data(AttemptId { task, generation, epoch: Epoch(epoch), number }) => {
                let TaskId { query, stage, partition } = task;
                write!(f, "{query}/{stage}/{partition}.{generation}.{epoch}.{number}.data")
            }
        }
    }
}

/// The text is not a key of [`ObjectKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseKeyError(pub String);

impl fmt::Display for ParseKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an exchange key: {}", self.0)
    }
}

impl std::error::Error for ParseKeyError {}

impl FromStr for ObjectKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = parse(text).ok_or_else(|| ParseKeyError(text.to_string()))?;
        // Only the canonical text is a key: `+1` and `01` parse as numbers, but name other objects.
        if key.to_string() == text { Ok(key) } else { Err(ParseKeyError(text.to_string())) }
    }
}

fn parse(text: &str) -> Option<ObjectKey> {
    let (query, rest) = text.split_once('/')?;
    let query: QueryId = query.parse().ok()?;
    match rest.split_once('/') {
        None if rest == "query" => Some(ObjectKey::Query(query)),
        None if rest == "plan" => Some(ObjectKey::Plan(query)),
        None if rest == "intent" => Some(ObjectKey::Intent(query)),
        None if rest == "done" => Some(ObjectKey::Done(query)),
        None => None,
        Some(("tasks", rest)) => {
            let (stage, number) = rest.split_once('/')?;
            Some(ObjectKey::Tasks {
                query,
                stage: StageId(stage.parse().ok()?),
                number: number.parse().ok()?,
            })
        }
        Some(("rollback", number)) => Some(ObjectKey::Rollback { query, number: number.parse().ok()? }),
        Some((stage, name)) => {
            let parts: Vec<&str> = name.split('.').collect();
            let task = |partition: &str| {
                Some(TaskId {
                    query,
                    stage: StageId(stage.parse().ok()?),
                    partition: partition.parse().ok()?,
                })
            };
            match parts[..] {
                [partition, generation, "commit"] => Some(ObjectKey::Commit(OutputId {
                    task: task(partition)?,
                    generation: generation.parse().ok()?,
                })),
                [partition, generation, epoch, number, "data"] => Some(ObjectKey::Data(AttemptId {
                    task: task(partition)?,
                    generation: generation.parse().ok()?,
                    epoch: Epoch(epoch.parse().ok()?),
                    number: number.parse().ok()?,
                })),
                _ => None,
            }
        }
    }
}

/// The prefix of what coordinators leave that is of no single query, or outlives it.
pub const COORDINATOR_PREFIX: &str = "coordinator/";

/// The prefix of flight recordings.
pub const FLIGHT_PREFIX: &str = "coordinator/flight/";

/// The key of what a coordinator leaves that is of no single query, or outlives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CoordinatorKey {
    /// A life of the coordinator began.
    Epoch(Epoch),
    /// That life is still there.
    Lease(Epoch),
    /// What the scheduler was told before a query failed.
    Flight(QueryId),
    /// What all coordinators seal statements with that no store holds.
    CapsuleKey,
}

impl fmt::Display for CoordinatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoordinatorKey::Epoch(epoch) => write!(f, "{COORDINATOR_PREFIX}epoch/{}", epoch.0),
            CoordinatorKey::Lease(epoch) => write!(f, "{COORDINATOR_PREFIX}lease/{}", epoch.0),
            CoordinatorKey::Flight(query) => write!(f, "{FLIGHT_PREFIX}{query}"),
            CoordinatorKey::CapsuleKey => write!(f, "{COORDINATOR_PREFIX}key/capsule"),
        }
    }
}

impl FromStr for CoordinatorKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.strip_prefix(COORDINATOR_PREFIX).and_then(|rest| rest.split_once('/'));
        let key = parsed.and_then(|(kind, name)| match kind {
            "epoch" => Some(CoordinatorKey::Epoch(Epoch(name.parse().ok()?))),
            "lease" => Some(CoordinatorKey::Lease(Epoch(name.parse().ok()?))),
            "flight" => Some(CoordinatorKey::Flight(name.parse().ok()?)),
            "key" if name == "capsule" => Some(CoordinatorKey::CapsuleKey),
            _ => None,
        });
        key.filter(|key| key.to_string() == text).ok_or_else(|| ParseKeyError(text.to_string()))
    }
}

/// The prefix of all objects of a query.
pub fn query_prefix(query: QueryId) -> String {
    format!("{query}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_and_start_with_the_query() {
        let query: QueryId = "20261120_061411_00007_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(4), partition: 17 };
        let attempt = AttemptId { task, generation: 1, epoch: Epoch(2), number: 3 };
        let keys = [
            (ObjectKey::Query(query), "query"),
            (ObjectKey::Plan(query), "plan"),
            (ObjectKey::Intent(query), "intent"),
            (ObjectKey::Tasks { query, stage: StageId(4), number: 2 }, "tasks/4/2"),
            (ObjectKey::Rollback { query, number: 9 }, "rollback/9"),
            (ObjectKey::Done(query), "done"),
            (ObjectKey::Commit(attempt.output()), "4/17.1.commit"),
            (ObjectKey::Data(attempt), "4/17.1.2.3.data"),
        ];
        for (key, rest) in keys {
            assert_eq!(key.to_string(), format!("{}{rest}", query_prefix(query)));
            assert_eq!(key.to_string().parse(), Ok(key));
            assert_eq!(key.query(), query);
        }
    }

    #[test]
    fn other_text_is_not_a_key() {
        let query = "20261120_061411_00007_abcde";
        for rest in [
            "",
            "other",
            "4/17.1",
            "4/17.01.commit",
            "4/+17.1.commit",
            "x/1.1.commit",
            "4/1.1.1.data",
            "rollback/-1",
            "tasks/1",
            "tasks/1/02",
        ] {
            assert!(format!("{query}/{rest}").parse::<ObjectKey>().is_err(), "{rest}");
        }
        assert!("probe/1".parse::<ObjectKey>().is_err());
    }

    #[test]
    fn keys_of_coordinators_round_trip() {
        let query: QueryId = "20261120_061411_00007_abcde".parse().unwrap();
        for (key, text) in [
            (CoordinatorKey::Epoch(Epoch(12)), "coordinator/epoch/12"),
            (CoordinatorKey::Lease(Epoch(0)), "coordinator/lease/0"),
            (CoordinatorKey::Flight(query), "coordinator/flight/20261120_061411_00007_abcde"),
            (CoordinatorKey::CapsuleKey, "coordinator/key/capsule"),
        ] {
            assert_eq!(key.to_string(), text);
            assert_eq!(text.parse(), Ok(key));
            assert!(text.parse::<ObjectKey>().is_err());
        }
        for bad in ["coordinator/epoch/01", "coordinator/other/1", "epoch/1", "coordinator/lease"] {
            assert!(bad.parse::<CoordinatorKey>().is_err(), "{bad}");
        }
    }
}
