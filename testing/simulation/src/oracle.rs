//! What must be true of a lifetime, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use base::{AttemptId, Epoch, Error, ErrorCode, OutputId, QueryId, StageId, TaskId};
use scheduler::{AttemptState, NodeState, RecordKey};

use crate::client::Phase;
use crate::fault::Fault;
use crate::happening::Source;
use crate::store::Key;
use crate::world::World;

/// So long a core may take to notice what the world knows.
const NOTICE_MAX: u64 = 9_000;
/// The shortest time without workers that ends a query.
const NO_WORKERS: u64 = 15_000;
/// More attempts than this of one task cannot be explained.
const ATTEMPTS_MAX: u32 = 300;
/// A query that was cancelled ends within this time, or had ended.
const CANCEL_MAX: u64 = 20_000;
/// A task whose statement is at fault fails so often at most: by the attempts that ran at the same time.
const USER_ERRORS_MAX: u32 = 3;

/// What happened, as the world knows it.
#[derive(Default)]
pub struct Ledger {
    /// Which plan each query has.
    pub plans: BTreeMap<QueryId, usize>,
    /// Who was first to commit each output.
    pub committed: BTreeMap<OutputId, AttemptId>,
    /// How each query ended, by the store.
    pub done: BTreeMap<QueryId, Result<(), Error>>,
    /// The records that were ever written.
    pub records: BTreeMap<(QueryId, RecordKey), u64>,
    pub owners: BTreeMap<Epoch, u64>,
    pub newest_epoch: Epoch,
    /// The queries of which something was deleted.
    pub deleted: BTreeSet<QueryId>,
    pub sealed: BTreeMap<(QueryId, StageId), u32>,
    /// What each attempt wrote, whatever became of it in the store.
    pub written: BTreeMap<AttemptId, Rc<Vec<Vec<u64>>>>,
    pub checksums: BTreeMap<AttemptId, u64>,
    /// What each attempt has read.
    pub lineage: BTreeMap<AttemptId, Arc<Vec<Source>>>,
    /// The attempts that read what cannot be right.
    pub tainted: BTreeSet<AttemptId>,
    pub cancelled: BTreeSet<QueryId>,
    /// When a coordinator heard that a query is cancelled.
    pub cancels_heard: BTreeMap<QueryId, u64>,
    pub user_error: BTreeSet<QueryId>,
    pub out_of_memory: BTreeSet<QueryId>,
    /// The queries of which objects rotted, and how many.
    pub rotten: BTreeMap<QueryId, u32>,
    /// The queries whose result rotted after they had ended well.
    pub lost_after_end: BTreeSet<QueryId>,
    /// The lives of workers that were known when a query was released: they must not work on it any more.
    pub forbidden: BTreeSet<(QueryId, usize, u64)>,
    failures: BTreeMap<TaskId, u32>,
    user_errors: BTreeMap<TaskId, u32>,
    at_fault: BTreeMap<TaskId, bool>,
    starts: BTreeMap<TaskId, u32>,
    unusable_since: Option<u64>,
    /// The longest time without any worker that could work.
    unusable_longest: u64,
}

impl Ledger {
    pub fn note_rot(&mut self, key: Key) {
        if let Some(query) = key.query() {
            *self.rotten.entry(query).or_default() += 1;
        }
    }

    pub fn note_failure(&mut self, task: TaskId) {
        *self.failures.entry(task).or_default() += 1;
    }

    pub fn note_user_error(&mut self, task: TaskId) {
        *self.user_errors.entry(task).or_default() += 1;
    }

    /// Whether the statement is at fault in this task, if that was decided.
    pub fn at_fault(&self, task: TaskId) -> Option<bool> {
        self.at_fault.get(&task).copied()
    }

    pub fn note_fault(&mut self, task: TaskId, at_fault: bool) {
        self.at_fault.insert(task, at_fault);
    }

    /// How many rollbacks of a query are recorded.
    pub fn rollbacks_of(&self, query: QueryId) -> u32 {
        let of_query =
            |(of, key): &&(QueryId, RecordKey)| *of == query && matches!(key, RecordKey::Rollback { .. });
        self.records.keys().filter(of_query).count() as u32
    }

    pub fn note_start(&mut self, attempt: AttemptId) {
        *self.starts.entry(attempt.task).or_default() += 1;
    }

    pub fn note_usable(&mut self, since: u64, now: u64, unusable: bool) {
        if unusable {
            let start = *self.unusable_since.get_or_insert(since);
            self.unusable_longest = self.unusable_longest.max(now - start);
        } else {
            self.unusable_since = None;
        }
    }

    fn failures_of(&self, query: QueryId) -> impl Iterator<Item = u32> {
        self.failures.iter().filter(move |(task, _)| task.query == query).map(|(_, count)| *count)
    }
}

impl World {
    /// Whether there is a worker that could work for the newest leader.
    pub fn is_usable(&self) -> bool {
        self.hosts.iter().enumerate().any(|(at, host)| {
            let leader = host.stream.is_some_and(|(process, _)| {
                self.machine_of(process).is_some_and(|machine| {
                    let machine = &self.machines[machine];
                    let epoch = machine.process.as_ref().map(|process| process.epoch);
                    !machine.paused && epoch == Some(self.ledger.newest_epoch)
                })
            });
            let cut = self.is_cut(at, true) || self.is_cut(at, false);
            host.up && !host.paused && host.state == NodeState::Active && leader && !cut
        })
    }

    /// The core has decided that the query has its result: is it right?
    pub fn check_result(&mut self, at: usize, query: QueryId) -> Result<(), String> {
        let plan = self.plans[self.ledger.plans[&query]].clone();
        let Some(job) = self.machines[at].process.as_ref().and_then(|process| process.jobs.get(&query))
        else {
            return Err(format!("{query} ends and nobody knows it"));
        };
        let root: Vec<AttemptId> = job
            .selected
            .iter()
            .filter(|(task, _)| task.stage == StageId(0))
            .map(|(_, (_, winner))| *winner)
            .collect();
        if job.sealed.get(&StageId(0)) != Some(&(root.len() as u32)) {
            return Err(format!("I-3: {query} ends with {} root tasks", root.len()));
        }
        let mut rows: Vec<u64> =
            root.iter().flat_map(|winner| self.ledger.written[winner].iter().flatten()).copied().collect();
        rows.sort_unstable();
        let expected = plan.expected(StageId(0));
        if rows != expected {
            return Err(format!("I-3: {query} would have {} rows of {}", rows.len(), expected.len()));
        }
        // I-2 and I-4: everything that counts has read what counts, or what is the same.
        let (mut seen, mut todo, mut replaced) = (BTreeSet::new(), root, 0);
        while let Some(attempt) = todo.pop() {
            if !seen.insert(attempt) {
                continue;
            }
            if self.ledger.tainted.contains(&attempt) {
                return Err(format!("I-3: {attempt} counts and was sent wrong rows"));
            }
            for source in self.ledger.lineage[&attempt].iter() {
                let producer = source.output.task;
                let Some((_, current)) = job.selected.get(&producer) else {
                    // A life that found the result complete need not know what it was made of. And what a determinate
                    // task wrote is what it will write again, as long as it reads the same.
                    let is_determinate = plan.shape.stages[producer.stage.0 as usize].determinate;
                    // Nor need a leader have heard of the newest commit before it hears of its reader's.
                    let newest = job.generations.get(&producer).copied().unwrap_or(0);
                    let is_newest = source.output.generation >= newest;
                    let must_count =
                        job.sealed.contains_key(&producer.stage) && !is_determinate && !is_newest;
                    let was_committed = self.ledger.committed.get(&source.output) == Some(&source.winner);
                    if must_count || !was_committed {
                        return Err(format!(
                            "I-2: {attempt} has read {}, which does not count",
                            source.winner
                        ));
                    }
                    todo.push(source.winner);
                    continue;
                };
                if self.ledger.checksums[current] != self.ledger.checksums[&source.winner] {
                    return Err(format!("I-4: {attempt} has read {} where {current} counts", source.winner));
                }
                replaced += u64::from(*current != source.winner);
                todo.push(*current);
            }
        }
        self.sometimes("results with inputs made again since they were read", replaced > 0);
        Ok(())
    }

    /// The core says that a query has ended.
    pub fn on_finished(
        &mut self,
        at: usize,
        query: QueryId,
        outcome: &Result<(), Error>,
    ) -> Result<(), String> {
        let recorded = self.ledger.done.get(&query);
        if recorded != Some(outcome) && !self.ledger.deleted.contains(&query) {
            return Err(format!("I-9: {query} ends with {outcome:?}, the store says {recorded:?}"));
        }
        if outcome.is_ok()
            && self.processes <= 1
            && self.ledger.cancels_heard.get(&query).is_some_and(|at| self.now - at > CANCEL_MAX)
        {
            return Err(format!("I-6: {query} was cancelled long ago and has gone on to its end"));
        }
        let plan = self.plans[self.ledger.plans[&query]].clone();
        let core = &self.machines[at].process.as_ref().expect("it said so").core;
        let Some(view) = core.query(&query) else {
            return Ok(());
        };
        let lost: u32 = view.stages().map(|stage| stage.counts.lost_attempts).sum();
        let reasons = [
            Fault::Crash,
            Fault::Pause,
            Fault::Stream,
            Fault::Cut,
            Fault::Drain,
            Fault::Poison,
            Fault::CoordinatorPause,
            Fault::CoordinatorCrash,
            Fault::Failover,
            Fault::Abandonment,
        ];
        if lost > 0 && reasons.iter().all(|fault| self.faults.count(*fault) == 0) {
            return Err(format!("I-8: {lost} attempts of {query} are taken for lost, and no worker was"));
        }
        let told: u32 = self.ledger.failures_of(query).sum();
        let rotten = self.ledger.rotten.get(&query).copied().unwrap_or(0);
        // A reader may be blamed for what it could not read when that happens again and again.
        if view.failed_attempts() > told + lost + rotten.saturating_sub(plan.options.generations_max) {
            let failed: Vec<_> = view
                .stages()
                .flat_map(|stage| {
                    let tasks: Vec<_> = stage.tasks().collect();
                    tasks.into_iter().flat_map(move |task| {
                        let failed = task.attempts.iter().filter(|it| it.state == AttemptState::Failed);
                        failed.map(move |it| (stage.id.0, task.partition, it.generation, it.number))
                    })
                })
                .collect();
            let counted = view.failed_attempts();
            return Err(format!(
                "I-8: {counted} attempts of {query} count as failed, {told} did: {failed:?}"
            ));
        }
        Ok(())
    }

    /// A client got its answer.
    pub fn on_answer(&mut self, at: usize, outcome: Result<(), Error>) -> Result<(), String> {
        let client = &self.clients[at];
        let query = client.query.expect("it has asked for it");
        let plan = self.plans[client.plan].clone();
        let recorded =
            self.ledger.done.get(&query).ok_or(format!("I-9: {query} is answered before it ended"))?;
        let rotted_since =
            self.ledger.lost_after_end.contains(&query) || self.ledger.rotten.contains_key(&query);
        let is_lost = outcome.as_ref().is_err_and(|error| error.lost_output().is_some());
        if *recorded != outcome && !(recorded.is_ok() && is_lost && rotted_since) {
            return Err(format!("I-9: {query} ended with {recorded:?} and is answered {outcome:?}"));
        }
        match outcome {
            Ok(()) => {
                let mut rows = client.rows.clone();
                rows.sort_unstable();
                let expected = plan.expected(StageId(0));
                if rows != expected {
                    return Err(format!("I-3: the client has {} rows of {}", rows.len(), expected.len()));
                }
                self.sometimes("right answers", true);
            }
            Err(error) => {
                if !self.explains(query, &plan.options, &error) {
                    return Err(format!("I-8: {query} failed without cause: {} {error}", error.code()));
                }
                self.sometimes(error_name(&error), true);
            }
        }
        Ok(())
    }

    fn explains(&self, query: QueryId, options: &scheduler::QueryOptions, error: &Error) -> bool {
        let ledger = &self.ledger;
        let exhausted = ledger.failures_of(query).any(|count| count > options.task_retry_attempts_per_task)
            || options.failed_tasks_max.is_some_and(|max| ledger.failures_of(query).sum::<u32>() > max);
        let failed = ledger.failures_of(query).any(|count| count > 0);
        // Lost workers beyond the free ones count too.
        let count = |fault: Fault| self.faults.count(fault);
        let lossy = count(Fault::Crash)
            + count(Fault::Pause)
            + count(Fault::Stream)
            + count(Fault::Cut)
            + count(Fault::Poison)
            + count(Fault::Drain)
            + count(Fault::CoordinatorPause)
            > 3;
        match error.code() {
            ErrorCode::USER_CANCELED => ledger.cancelled.contains(&query),
            ErrorCode::DIVISION_BY_ZERO => ledger.user_error.contains(&query),
            ErrorCode::EXCHANGE_DATA_LOST => ledger.rotten.contains_key(&query),
            ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT => ledger.out_of_memory.contains(&query),
            ErrorCode::GENERIC_INTERNAL_ERROR | ErrorCode::HIVE_CANNOT_OPEN_SPLIT => {
                exhausted || lossy && failed
            }
            ErrorCode::REMOTE_HOST_GONE => lossy,
            ErrorCode::NO_NODES_AVAILABLE | ErrorCode::GENERIC_INSUFFICIENT_RESOURCES => {
                ledger.unusable_longest + NOTICE_MAX >= NO_WORKERS
            }
            _ => false,
        }
    }

    /// The core says that no worker holds anything of a query.
    pub fn on_released(&mut self, at: usize, query: QueryId) -> Result<(), String> {
        let process = self.machines[at].process.as_ref().expect("it said so");
        let is_over = process.jobs.get(&query).is_some_and(|job| job.outcome.is_some() && !job.released);
        if !is_over {
            return Err(format!("I-7: {query} is released too early or twice"));
        }
        for (number, host) in self.hosts.iter().enumerate() {
            let known = process.core.nodes().any(|node| {
                *node.node == host.name && node.state.is_some() && node.incarnation.0 == host.life
            });
            let holds = host.executions.keys().any(|attempt| attempt.task.query == query);
            if known && host.up && holds {
                return Err(format!("I-7: {query} is released while {} works on it", host.name));
            }
            if known && process.epoch == self.ledger.newest_epoch {
                self.ledger.forbidden.insert((query, number, host.life));
            }
        }
        Ok(())
    }

    /// Whether everybody has an answer and nothing is left.
    pub fn is_over(&self) -> bool {
        let mut leaders = self.machines.iter().filter_map(|machine| machine.process.as_ref());
        self.writes_in_flight == 0
            && self.clients.iter().all(|client| client.phase == Phase::Over)
            && !self.store.has_queries()
            && leaders.all(|process| process.jobs.is_empty() && process.core.is_empty())
    }

    /// Whether a result that is recorded as complete waits for workers that never come: a listing that was not atomic
    /// hid a commit, and only a worker would have found it.
    pub fn waits_for_nobody(&self) -> bool {
        let waiting = || self.clients.iter().filter(|client| client.phase != Phase::Over);
        let has_ended_well =
            |query: QueryId| self.ledger.done.get(&query).is_some_and(|outcome| outcome.is_ok());
        self.faults.is_on(Fault::Abandonment)
            && waiting().count() > 0
            && waiting().all(|client| client.query.is_some_and(has_ended_well))
    }

    pub fn what_is_left(&self) -> String {
        let waiting = self.clients.iter().filter(|client| client.phase != Phase::Over).count();
        let jobs: Vec<&QueryId> = self
            .machines
            .iter()
            .filter_map(|machine| machine.process.as_ref())
            .flat_map(|process| process.jobs.keys())
            .collect();
        let keys: Vec<_> = self.store.keys().filter(|key| key.query().is_some()).take(5).collect();
        format!("{waiting} clients wait, the shell knows {jobs:?}, the store has {keys:?}")
    }

    pub fn check_end(&self) -> Result<(), String> {
        for process in self.machines.iter().filter_map(|machine| machine.process.as_ref()) {
            if process.core.nodes().any(|node| node.leased_bytes > 0 || node.slots_used > 0) {
                return Err("I-5: something is leased to nobody".to_string());
            }
            process.core.check_invariants();
        }
        if let Some((task, count)) = self.ledger.starts.iter().find(|(_, count)| **count > ATTEMPTS_MAX) {
            return Err(format!("I-12: {count} attempts of {task}"));
        }
        if let Some((task, count)) =
            self.ledger.user_errors.iter().find(|(_, count)| **count > USER_ERRORS_MAX)
        {
            return Err(format!("I-8: {task} was tried {count} times although the statement is at fault"));
        }
        Ok(())
    }
}

fn error_name(error: &Error) -> &'static str {
    match error.code() {
        ErrorCode::USER_CANCELED => "cancelled queries",
        ErrorCode::DIVISION_BY_ZERO => "user errors told",
        ErrorCode::EXCHANGE_DATA_LOST => "data lost for good",
        ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT => "tasks too large for every worker",
        ErrorCode::REMOTE_HOST_GONE => "tasks that lost too many workers",
        ErrorCode::NO_NODES_AVAILABLE | ErrorCode::GENERIC_INSUFFICIENT_RESOURCES => {
            "no workers for too long"
        }
        _ => "tasks that failed too often",
    }
}
