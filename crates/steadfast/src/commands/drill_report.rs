//! What a fire drill found.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

/// An attempt as the coordinator tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Stage and partition.
    pub task: (u64, u64),
    /// The number of the attempt.
    pub number: u64,
    /// Where it ran.
    pub node: String,
    /// How it stands: `RUNNING`, `FINISHED`, `LOST`, `FAILED`, `ABORTED`.
    pub state: String,
    /// When it was placed.
    pub started_unix_millis: u64,
    /// When it was known to have ended.
    pub ended_unix_millis: Option<u64>,
}

/// A worker that was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The worker.
    pub node: String,
    /// When it was sent SIGKILL.
    pub at_unix_millis: u64,
}

/// What a fire drill found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillReport {
    rows_equal: bool,
    kills: Vec<Kill>,
    tasks: usize,
    attempts_lost: usize,
    attempts_rerun: usize,
    /// Attempts beyond the first of a task that no lost one explains.
    attempts_unexplained: usize,
    recovery_millis: Option<u64>,
    wall: Duration,
    undisturbed_wall: Duration,
}

impl Attempt {
    /// An attempt in the coordinator's document.
    pub fn of(document: &Value) -> Option<Self> {
        Some(Attempt {
            task: (document["stage"].as_u64()?, document["partition"].as_u64()?),
            number: document["number"].as_u64()?,
            node: document["nodeId"].as_str()?.to_string(),
            state: document["state"].as_str()?.to_string(),
            started_unix_millis: document["startedUnixMillis"].as_u64()?,
            ended_unix_millis: document["endedUnixMillis"].as_u64(),
        })
    }

    /// Whether it runs on that node.
    pub fn is_running_on(&self, node: &str) -> bool {
        self.state == "RUNNING" && self.node == node
    }
}

impl DrillReport {
    /// What is to be concluded.
    pub fn new(
        rows_equal: bool,
        kills: &[Kill],
        attempts: &[Attempt],
        wall: Duration,
        undisturbed_wall: Duration,
    ) -> Self {
        let lost: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.state == "LOST").collect();
        let lost_tasks: BTreeSet<(u64, u64)> = lost.iter().map(|attempt| attempt.task).collect();
        let again: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.number > 0).collect();
        let (rerun, unexplained): (Vec<&Attempt>, Vec<&Attempt>) =
            again.into_iter().partition(|attempt| lost_tasks.contains(&attempt.task));
        // For each kill, the first replacement of an attempt that was lost with it.
        let recovery_millis = kills
            .iter()
            .map(|kill| {
                rerun
                    .iter()
                    .filter(|attempt| {
                        attempt.started_unix_millis >= kill.at_unix_millis
                            && lost.iter().any(|lost| lost.task == attempt.task && lost.node == kill.node)
                    })
                    .map(|attempt| attempt.started_unix_millis - kill.at_unix_millis)
                    .min()
            })
            .collect::<Option<Vec<u64>>>()
            .and_then(|each| each.into_iter().max());
        DrillReport {
            rows_equal,
            kills: kills.to_vec(),
            tasks: attempts.iter().map(|attempt| attempt.task).collect::<BTreeSet<_>>().len(),
            attempts_lost: lost.len(),
            attempts_rerun: rerun.len(),
            attempts_unexplained: unexplained.len(),
            recovery_millis,
            wall,
            undisturbed_wall,
        }
    }

    /// Whether the answer was right although something was lost, and nothing was run again in vain.
    pub fn is_good(&self) -> bool {
        self.rows_equal && self.attempts_lost > 0 && self.attempts_unexplained == 0
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "rows_equal": self.rows_equal,
            "kills": self.kills.len(),
            "tasks": self.tasks,
            "attempts_lost": self.attempts_lost,
            "attempts_rerun": self.attempts_rerun,
            "attempts_unexplained": self.attempts_unexplained,
            "recovery_ms": self.recovery_millis,
            "wall_ms": u64::try_from(self.wall.as_millis()).unwrap_or(u64::MAX),
            "undisturbed_wall_ms": u64::try_from(self.undisturbed_wall.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let killed: Vec<&str> = self.kills.iter().map(|kill| kill.node.as_str()).collect();
        let recovery = match self.recovery_millis {
            Some(millis) => format!("{millis} ms after the kill"),
            None => "not needed".to_string(),
        };
        format!(
            "\nKilled by SIGKILL:    {}\nLost:                 {} of {} tasks' attempts\nRun again:            {} attempts\nFirst replacement:    {recovery}\nTime:                 {:.2} s, undisturbed {:.2} s\nRows:                 {}\n",
            if killed.is_empty() { "none".to_string() } else { killed.join(", ") },
            self.attempts_lost,
            self.tasks,
            self.attempts_rerun,
            self.wall.as_secs_f64(),
            self.undisturbed_wall.as_secs_f64(),
            if self.rows_equal {
                "equal to those of the undisturbed run"
            } else {
                "DIFFERENT from those of the undisturbed run"
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(partition: u64, number: u64, node: &str, state: &str, started: u64) -> Attempt {
        Attempt {
            task: (1, partition),
            number,
            node: node.into(),
            state: state.into(),
            started_unix_millis: started,
            ended_unix_millis: None,
        }
    }

    fn report(rows_equal: bool, attempts: &[Attempt]) -> DrillReport {
        let kills = [Kill { node: "worker-0".into(), at_unix_millis: 1000 }];
        DrillReport::new(rows_equal, &kills, attempts, Duration::from_secs(2), Duration::from_secs(1))
    }

    #[test]
    fn replacements_of_lost_attempts_are_told_from_needless_ones() {
        let mut attempts = vec![
            attempt(0, 0, "worker-0", "LOST", 900),
            attempt(0, 1, "worker-1", "FINISHED", 1040),
            attempt(1, 0, "worker-1", "FINISHED", 900),
        ];
        let good = report(true, &attempts);
        assert!(good.is_good());
        assert_eq!(good.json()["recovery_ms"], 40);
        assert_eq!(good.json()["attempts_rerun"], 1);
        assert!(!report(false, &attempts).is_good());
        attempts.push(attempt(1, 1, "worker-1", "FINISHED", 1100));
        assert!(!report(true, &attempts).is_good());
        assert!(!report(true, &attempts[2..3]).is_good(), "a kill that cost nothing proves nothing");
    }
}
