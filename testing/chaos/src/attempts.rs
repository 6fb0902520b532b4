//! What the coordinator tells of the attempts of a query.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::Value;

/// A task: its stage and its partition.
pub type Task = (u64, u64);

/// An attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The task.
    pub task: Task,
    /// The generation of the output that it makes.
    pub generation: u64,
    /// The life of the coordinator that started it.
    pub epoch: u64,
    /// Its number within the task.
    pub number: u64,
    /// Where it runs.
    pub node: String,
    /// How it stands: `RUNNING`, `FINISHED`, `LOST`, `FAILED`, `ABORTED`.
    pub state: String,
    /// When it was placed.
    pub started_unix_millis: u64,
}

impl Attempt {
    fn of(document: &Value) -> Option<Self> {
        Some(Attempt {
            task: (document["stage"].as_u64()?, document["partition"].as_u64()?),
            generation: document["generation"].as_u64()?,
            epoch: epoch(document["taskId"].as_str()?),
            number: document["number"].as_u64()?,
            node: document["nodeId"].as_str()?.to_string(),
            state: document["state"].as_str()?.to_string(),
            started_unix_millis: document["startedUnixMillis"].as_u64()?,
        })
    }
}

/// A look at a query.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// `QUEUED`, `PLANNING`, `RUNNING`, `FINISHING`, `FINISHED`, `FAILED` …
    pub state: String,
    /// How much of it is done, as far as that can be said.
    pub percent: f64,
    /// Its attempts.
    pub attempts: Vec<Attempt>,
    /// Its stages that read no other stage.
    pub leaf_stages: BTreeSet<u64>,
}

impl Look {
    /// What a coordinator's document says.
    pub fn of(document: &Value) -> Self {
        let mut leaf_stages = BTreeSet::new();
        find_leaves(&document["stages"], &mut leaf_stages);
        Look {
            state: document["state"].as_str().unwrap_or_default().to_string(),
            percent: document["queryStats"]["progressPercentage"].as_f64().unwrap_or_default(),
            attempts: document["attempts"]
                .as_array()
                .map(|listed| listed.iter().filter_map(Attempt::of).collect())
                .unwrap_or_default(),
            leaf_stages,
        }
    }

    /// The attempts that stand so.
    pub fn in_state<'a>(&'a self, state: &'a str) -> impl Iterator<Item = &'a Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.state == state)
    }

    /// The attempts beyond the first of their task.
    pub fn rerun(&self) -> Vec<&Attempt> {
        let mut in_order: Vec<&Attempt> = self.attempts.iter().collect();
        in_order.sort_by_key(|attempt| attempt.started_unix_millis);
        let mut known = BTreeSet::new();
        in_order.retain(|attempt| !known.insert(attempt.task));
        in_order
    }

    /// The attempts on a node that nobody needed any more: they were lost, or a rival was faster.
    pub fn replaced<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.node == node && self.is_replaced(attempt))
    }

    /// The attempts on a node whose tasks were started again elsewhere after that moment, whoever was first then: what a
    /// worker has committed counts although it is not heard.
    pub fn started_elsewhere<'a>(
        &'a self,
        node: &'a str,
        since_unix_millis: u64,
    ) -> impl Iterator<Item = &'a Attempt> {
        let is_again = move |attempt: &Attempt| {
            let later = self.attempts.iter().filter(|other| other.started_unix_millis >= since_unix_millis);
            later.filter(|other| other.task == attempt.task).any(|other| other.node != node)
        };
        self.attempts.iter().filter(move |attempt| attempt.node == node && is_again(attempt))
    }

    /// Of one that was overtaken on a worker that is not heard, the end is never told.
    fn is_replaced(&self, attempt: &Attempt) -> bool {
        let is_overtaken = || self.in_state("FINISHED").any(|other| other.task == attempt.task);
        match attempt.state.as_str() {
            "LOST" | "ABORTED" => true,
            "RUNNING" => is_overtaken(),
            _ => false,
        }
    }

    /// How long after that moment the first task that was lost, or overtaken, was started again.
    pub fn recovery_millis(&self, fault_unix_millis: u64) -> Option<u64> {
        let lost: BTreeSet<Task> = self
            .attempts
            .iter()
            .filter(|attempt| self.is_replaced(attempt))
            .map(|attempt| attempt.task)
            .collect();
        let again = self.attempts.iter().filter(|attempt| lost.contains(&attempt.task));
        let after = again.filter(|attempt| attempt.started_unix_millis >= fault_unix_millis);
        after.map(|attempt| attempt.started_unix_millis - fault_unix_millis).min()
    }
}

/// The epoch in the name of an attempt, which has none in epoch 0.
fn epoch(name: &str) -> u64 {
    name.rsplit_once('e').and_then(|(_, epoch)| epoch.parse().ok()).unwrap_or(0)
}

fn find_leaves(stage: &Value, leaves: &mut BTreeSet<u64>) {
    let id = &stage["stageId"];
    let id = id.as_u64().or_else(|| id.as_str()?.rsplit('.').next()?.parse().ok());
    let below = stage["subStages"].as_array().map_or(&[][..], Vec::as_slice);
    if below.is_empty() {
        leaves.extend(id);
    }
    below.iter().for_each(|stage| find_leaves(stage, leaves));
}

/// The time of day, as the coordinator tells it.
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn attempts_beyond_the_first_are_told_and_the_time_until_the_first_of_them() {
        let attempt = |partition: u64, number: u64, state: &str, started: u64| {
            json!({
                "taskId": format!("20261120_061411_00007_abcde.2.{partition}.{number}-g0e3"),
                "stage": 2, "partition": partition, "generation": 0, "number": number,
                "nodeId": "worker-0", "state": state, "startedUnixMillis": started,
            })
        };
        let look = Look::of(&json!({
            "state": "FINISHED",
            "stages": { "stageId": "0", "subStages": [{ "stageId": "2", "subStages": [] }] },
            "attempts": [
                attempt(0, 0, "LOST", 100), attempt(0, 1, "FINISHED", 250), attempt(1, 0, "FINISHED", 100),
            ],
        }));
        assert_eq!(look.rerun().len(), 1);
        assert_eq!(look.recovery_millis(200), Some(50));
        assert_eq!(look.leaf_stages, BTreeSet::from([2]));
        assert_eq!(look.in_state("FINISHED").count(), 2);
        assert!(look.attempts.iter().all(|attempt| attempt.epoch == 3));
        assert_eq!(epoch("20261120_061411_00007_abcde.2.0.1"), 0);
    }
}
