//! What happened, as the world knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use base::{AttemptId, Epoch, Error, OutputId, QueryId, StageId, TaskId};
use scheduler::RecordKey;

use crate::happening::Source;
use crate::pipeline::Pipe;
use crate::store::Key;

/// More attempts than this of one task cannot be explained.
const ATTEMPTS_MAX: u32 = 300;

/// What happened.
#[derive(Default)]
pub struct Ledger {
    /// Which plan each query has.
    pub plans: BTreeMap<QueryId, usize>,
    /// Who has committed each output, and when, as far as the store has not lost that.
    pub committed: BTreeMap<OutputId, (AttemptId, u64)>,
    /// Who has ever committed.
    pub winners: BTreeSet<AttemptId>,
    /// How each query ended, by the store.
    pub done: BTreeMap<QueryId, Result<(), Error>>,
    /// How queries ended of which nothing was recorded, and whose coordinator died.
    pub ended_unrecorded: BTreeMap<QueryId, Result<(), Error>>,
    /// When that was first recorded.
    pub done_at: BTreeMap<QueryId, u64>,
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
    /// The queries of which records rotted.
    pub unreadable: BTreeSet<QueryId>,
    /// The queries whose result a client has begun to read, as a core was told.
    pub result_read: BTreeSet<QueryId>,
    /// The lives of workers that were known when a query was released: they must not work on it any more.
    pub forbidden: BTreeSet<(QueryId, usize, u64)>,
    /// The newest stream that a process has given to a worker.
    pub streams: BTreeMap<(u64, usize), u64>,
    /// When the listing of commits began from which a life of the coordinator recovered a query.
    pub recovered: BTreeMap<(Epoch, QueryId), u64>,
    /// What was answered to each request for a page, by process, query and token.
    pub pages: BTreeMap<(u64, QueryId, u64), u64>,
    /// The good ends that a life of the coordinator has heard of.
    pub good_ends: BTreeSet<(Epoch, QueryId)>,
    /// The attempts that a worker was told of.
    pub placed: BTreeSet<AttemptId>,
    /// The attempts that may have their output in their report only, and those that have.
    pub may_report: BTreeSet<AttemptId>,
    pub reported: BTreeSet<AttemptId>,
    /// What attempts write that run at the same time as those that read it.
    pub pipes: BTreeMap<AttemptId, Pipe>,
    /// The queries that have ended with their coordinator.
    pub orphans: BTreeSet<QueryId>,
    started: BTreeSet<AttemptId>,
    failures: BTreeMap<TaskId, u32>,
    user_errors: BTreeMap<(OutputId, Epoch), BTreeSet<AttemptId>>,
    at_fault: BTreeMap<TaskId, bool>,
    starts: BTreeMap<TaskId, u32>,
    /// Until when the silence of each worker is not its coordinator's mistake.
    troubles: BTreeMap<usize, u64>,
    unusable_since: Option<u64>,
    /// The longest time without any worker that could work.
    pub unusable_longest: u64,
}

impl Ledger {
    pub fn note_rot(&mut self, key: Key) {
        if let Some(query) = key.query() {
            *self.rotten.entry(query).or_default() += 1;
        }
    }

    /// Nothing counts that is not in the store of a query that only one coordinator knew.
    pub fn forget(&mut self, query: QueryId, is_done: bool) {
        if !is_done {
            let outcome = self.done.remove(&query);
            self.ended_unrecorded.extend(outcome.map(|outcome| (query, outcome)));
            self.done_at.remove(&query);
        }
        self.sealed.retain(|(of, _), _| *of != query);
    }

    pub fn note_failure(&mut self, task: TaskId) {
        *self.failures.entry(task).or_default() += 1;
    }

    /// A coordinator has heard that the statement is at fault.
    pub fn note_user_error(&mut self, attempt: AttemptId) {
        self.user_errors.entry((attempt.output(), attempt.epoch)).or_default().insert(attempt);
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

    /// An attempt starts. What is wrong with that, if anything.
    pub fn note_start(&mut self, attempt: AttemptId) -> Option<String> {
        let count = self.starts.entry(attempt.task).or_default();
        *count += 1;
        let is_new = self.started.insert(attempt);
        match *count {
            ATTEMPTS_MAX.. => Some(format!("I-12: {count} attempts of {}", attempt.task)),
            _ => (!is_new).then(|| format!("I-2: {attempt} starts a second time")),
        }
    }

    /// The task whose statement was found at fault most often, and how often.
    pub fn most_at_fault(&self) -> Option<(OutputId, u32)> {
        let counts = self.user_errors.iter().map(|((output, _), attempts)| (*output, attempts.len() as u32));
        counts.max_by_key(|(_, count)| *count)
    }

    /// A worker cannot be heard, or will not be, until then.
    pub fn note_trouble(&mut self, host: usize, until: u64) {
        let known = self.troubles.entry(host).or_default();
        *known = until.max(*known);
    }

    /// Until when a worker could not be heard.
    pub fn trouble_of(&self, host: usize) -> Option<u64> {
        self.troubles.get(&host).copied()
    }

    pub fn note_usable(&mut self, since: u64, now: u64, unusable: bool) {
        if unusable {
            let start = *self.unusable_since.get_or_insert(since);
            self.unusable_longest = self.unusable_longest.max(now - start);
        } else {
            self.unusable_since = None;
        }
    }

    /// How often attempts of a task were made to fail.
    pub fn failures_of_task(&self, task: TaskId) -> u32 {
        self.failures.get(&task).copied().unwrap_or(0)
    }

    /// How often attempts of each task of a query were made to fail.
    pub fn failures_of(&self, query: QueryId) -> impl Iterator<Item = u32> {
        self.failures.iter().filter(move |(task, _)| task.query == query).map(|(_, count)| *count)
    }
}
