//! What must be true of a lifetime, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};

use base::{AttemptId, Error, ErrorCode, OutputId, QueryId, StageId, TaskId};

use crate::plan::Plan;
use crate::world::World;

/// So long the core may take to notice what the world knows.
const NOTICE_MAX: u64 = 9_000;
/// More attempts than this of one task cannot be explained.
const ATTEMPTS_MAX: usize = 200;

/// What happened, as the world knows it.
#[derive(Default)]
pub struct Ledger {
    pub selected: BTreeMap<OutputId, AttemptId>,
    pub sealed: BTreeMap<(QueryId, StageId), u32>,
    pub finished: BTreeMap<QueryId, Result<(), Error>>,
    pub released: BTreeSet<QueryId>,
    pub cancelled: BTreeSet<QueryId>,
    pub user_error: BTreeSet<QueryId>,
    pub out_of_memory: BTreeSet<QueryId>,
    /// The lives of machines that were known when a query was released: they must not work on it any more.
    pub forbidden: BTreeSet<(QueryId, usize, u64)>,
    failures: BTreeMap<TaskId, u32>,
    unusable_since: Option<u64>,
    /// The longest time without any machine that was there, connected and not told to go.
    unusable_longest: u64,
}

impl Ledger {
    pub fn note_failure(&mut self, task: TaskId) {
        *self.failures.entry(task).or_default() += 1;
    }

    pub fn note_usable(&mut self, since: u64, now: u64, unusable: bool) {
        if unusable {
            let start = *self.unusable_since.get_or_insert(since);
            self.unusable_longest = self.unusable_longest.max(now - start);
        } else {
            self.unusable_since = None;
        }
    }
}

impl World {
    pub fn on_finished(&mut self, query: QueryId, outcome: Result<(), Error>) -> Result<(), String> {
        let plan = self.plans.iter().find(|plan| plan.id == query).expect("it is one of ours");
        let stages = self.core.query(&query).into_iter().flat_map(|view| view.stages().collect::<Vec<_>>());
        let lost: u32 = stages.map(|stage| stage.counts.lost_attempts).sum();
        if lost > 0 && self.coverage.crashes + self.coverage.pauses + self.coverage.disconnects == 0 {
            return Err(format!("I-8: {lost} attempts of {query} are taken for lost, and no worker was"));
        }
        match &outcome {
            Ok(()) => {
                let outputs = self.outputs(query, StageId(0))?;
                let mut rows: Vec<u64> = outputs.into_iter().flatten().flatten().copied().collect();
                rows.sort_unstable();
                let expected = plan.expected(StageId(0));
                if rows != expected {
                    return Err(format!("I-3: {query} has {} rows of {}", rows.len(), expected.len()));
                }
                self.coverage.answers_right += 1;
            }
            Err(error) => {
                if !self.explains(plan, error) {
                    return Err(format!("I-8: {query} failed without cause: {} {error}", error.code()));
                }
                self.coverage.errors_explained += 1;
                self.coverage.errors_no_nodes += u64::from(error.code() == ErrorCode::NO_NODES_AVAILABLE);
            }
        }
        if self.ledger.finished.insert(query, outcome).is_some() {
            return Err(format!("{query} ended twice"));
        }
        Ok(())
    }

    fn explains(&self, plan: &Plan, error: &Error) -> bool {
        let (ledger, id) = (&self.ledger, plan.id);
        let of_query =
            || ledger.failures.iter().filter(|(task, _)| task.query == id).map(|(_, count)| *count);
        let exhausted = of_query().any(|count| count > plan.options.task_retry_attempts_per_task)
            || plan.options.failed_tasks_max.is_some_and(|max| of_query().sum::<u32>() > max);
        // Lost workers beyond the free ones count too.
        let lossy = self.coverage.crashes + self.coverage.pauses + self.coverage.disconnects > 3;
        match error.code() {
            ErrorCode::USER_CANCELED => ledger.cancelled.contains(&id),
            ErrorCode::DIVISION_BY_ZERO => ledger.user_error.contains(&id),
            ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT => ledger.out_of_memory.contains(&id),
            ErrorCode::GENERIC_INTERNAL_ERROR | ErrorCode::HIVE_CANNOT_OPEN_SPLIT => exhausted || lossy,
            ErrorCode::REMOTE_HOST_GONE => lossy,
            ErrorCode::NO_NODES_AVAILABLE | ErrorCode::GENERIC_INSUFFICIENT_RESOURCES => {
                ledger.unusable_longest + NOTICE_MAX >= 15_000
            }
            _ => false,
        }
    }

    pub fn on_released(&mut self, query: QueryId) -> Result<(), String> {
        if !self.ledger.finished.contains_key(&query) || !self.ledger.released.insert(query) {
            return Err(format!("{query} is released too early or twice"));
        }
        for (at, host) in self.hosts.iter().enumerate() {
            let known = self.core.nodes().any(|node| {
                *node.node == host.name && node.state.is_some() && node.incarnation.0 == host.life
            });
            let holds = host.executions.keys().any(|attempt| attempt.task.query == query);
            if known && host.up && holds {
                return Err(format!("I-7: {query} is released while {} works on it", host.name));
            }
            if known {
                self.ledger.forbidden.insert((query, at, host.life));
            }
        }
        Ok(())
    }

    pub fn check_end(&self) -> Result<(), String> {
        if self.ledger.finished.len() != self.plans.len() {
            return Err("a query has no answer".to_string());
        }
        if self.core.nodes().any(|node| node.leased_bytes > 0 || node.slots_used > 0) {
            return Err("I-5: something is leased to nobody".to_string());
        }
        Ok(())
    }

    /// I-12, for a query that is still known.
    pub fn check_attempts(&self) -> Result<(), String> {
        for query in self.core.queries() {
            for task in query.stages().flat_map(|stage| stage.tasks().collect::<Vec<_>>()) {
                if task.attempts.len() > ATTEMPTS_MAX {
                    return Err(format!("I-12: {} attempts of one task", task.attempts.len()));
                }
            }
        }
        Ok(())
    }
}
