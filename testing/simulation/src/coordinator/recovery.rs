//! Reading what former lives left, and going on from there.

use std::collections::{BTreeMap, BTreeSet};

use base::{Error, ErrorCode, QueryId};
use scheduler::{Event, Record, RecordKey, RecoveredCommit};

use super::{Job, Purpose, Role};
use crate::bug::Bug;
use crate::happening::{Happening, Moment, Timer};
use crate::store::{Answer, Key, Operation, Value};
use crate::world::World;

/// A sweep comes so often.
pub const SWEEP_EVERY: u64 = 8_000;

/// What was found of a query.
#[derive(Debug, Default)]
struct Found {
    /// What is being read of it has not all been answered.
    pending: usize,
    /// A listing has named its outcome. All that came before that is named by the next one.
    is_done: bool,
    /// Its commits are being read: the rest was.
    reads_commits: bool,
    plan: Option<usize>,
    planned: bool,
    records: Vec<Record>,
    commits: Vec<RecoveredCommit>,
    /// Something of it is there and cannot be read.
    unreadable: bool,
}

/// What is being read.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The queries have not been listed.
    lists_queries: bool,
    found: BTreeMap<QueryId, Found>,
}

impl Recovery {
    /// Whether everything was read.
    fn is_over(&self) -> bool {
        !self.lists_queries && self.found.values().all(|found| found.pending == 0)
    }
}

/// What a client is told whose query cannot go on.
pub fn unreadable() -> Error {
    Error::new(ErrorCode::EXCHANGE_DATA_LOST, "A record of the query is unreadable")
}

impl World {
    /// Reads what there is of all queries.
    pub fn recover_all(&mut self, at: usize) {
        self.process(at).recovery.lists_queries = true;
        self.shell_asks(at, Purpose::RecoverQueries, Operation::List(None));
    }

    /// Reads what there is of a query.
    pub fn recover(&mut self, at: usize, query: QueryId) {
        if self.process(at).recovery.found.contains_key(&query) {
            return;
        }
        self.process(at).recovery.found.insert(query, Found { pending: 1, ..Found::default() });
        self.shell_asks(at, Purpose::RecoverRecords(query), Operation::List(Some(query)));
    }

    pub fn recovery_hears(&mut self, at: usize, purpose: Purpose, answer: Answer) -> Result<(), String> {
        match (purpose, answer) {
            (Purpose::LookDone(query), answer) => {
                self.on_unplanned(at, query, answer);
                return Ok(());
            }
            (Purpose::RecoverQueries, Answer::Listed(keys)) => {
                self.process(at).recovery.lists_queries = false;
                let queries: BTreeSet<QueryId> = keys.iter().filter_map(Key::query).collect();
                for query in queries {
                    if self.job(at, query).is_none() {
                        self.recover(at, query);
                    }
                }
            }
            (Purpose::RecoverRecords(query), Answer::Listed(keys)) => self.read_records(at, query, &keys),
            (Purpose::RecoverCommits(query), Answer::Listed(keys)) => {
                let commits = keys.into_iter().filter(|key| matches!(key, Key::Commit(_))).collect();
                self.read_all(at, query, commits);
            }
            (Purpose::RecoverGet(key), answer) => self.on_read(at, key, answer),
            _ => {}
        }
        if self.process(at).recovery.is_over() {
            self.fold(at)?;
        }
        Ok(())
    }

    fn found(&mut self, at: usize, query: QueryId) -> &mut Found {
        self.process(at).recovery.found.entry(query).or_default()
    }

    /// The records of a query are listed.
    fn read_records(&mut self, at: usize, query: QueryId, keys: &[Key]) {
        let found = self.found(at, query);
        let was_done = std::mem::replace(&mut found.is_done, keys.iter().any(Key::is_done));
        if found.is_done && !was_done {
            self.shell_asks(at, Purpose::RecoverRecords(query), Operation::List(Some(query)));
            return;
        }
        let is_record = |key: &&Key| !matches!(key, Key::Data(_) | Key::Commit(_));
        self.read_all(at, query, keys.iter().filter(is_record).copied().collect());
    }

    /// Reads objects, and then goes on with what comes after them.
    fn read_all(&mut self, at: usize, query: QueryId, keys: Vec<Key>) {
        // The listing counts until everything it named was asked for.
        self.found(at, query).pending += keys.len();
        for key in keys {
            self.shell_asks(at, Purpose::RecoverGet(key), Operation::Get(key));
        }
        self.one_was_read(at, query);
    }

    fn one_was_read(&mut self, at: usize, query: QueryId) {
        let found = self.found(at, query);
        found.pending -= 1;
        if found.pending == 0 && !std::mem::replace(&mut found.reads_commits, true) {
            found.pending = 1;
            let epoch = self.process(at).epoch;
            self.ledger.recovered.insert((epoch, query), self.now);
            self.shell_asks(at, Purpose::RecoverCommits(query), Operation::List(Some(query)));
        }
    }

    fn on_read(&mut self, at: usize, key: Key, answer: Answer) {
        let query = key.query().expect("only those are read");
        let is_commit = matches!(key, Key::Commit(_));
        let is_corrupt = matches!(answer, Answer::Corrupt);
        self.sometimes("unreadable commits left out", is_corrupt && is_commit);
        self.sometimes("unreadable records found", is_corrupt && !is_commit);
        let found = self.found(at, query);
        found.unreadable |= is_corrupt && !is_commit;
        if let Answer::Found(value) = answer {
            match value {
                Value::Plan(plan) => {
                    found.plan = Some(plan);
                    found.planned |= matches!(key, Key::Plan(_));
                }
                Value::Record(record) => found.records.push(record),
                Value::Commit { winner, output, .. } => {
                    found.commits.push(RecoveredCommit { winner, output });
                }
                _ => {}
            }
        }
        self.one_was_read(at, query);
    }

    /// A query without a plan was found: it is planned, unless it has ended.
    fn on_unplanned(&mut self, at: usize, query: QueryId, done: Answer) {
        let done = if self.bug == Some(Bug::PlansWhatHasEnded) { Answer::Missing } else { done };
        match done {
            Answer::Found(Value::Record(Record::Done { outcome })) => {
                self.sometimes("queries found half deleted", true);
                self.end_bare(at, query, outcome);
            }
            Answer::Corrupt => self.give_up(at, query),
            _ => {
                self.sometimes("queries recovered before they were planned", true);
                self.wake(at, 80, Timer::Plan(query));
            }
        }
    }

    /// A query cannot go on, because what was recorded of it cannot be read. That is recorded.
    pub fn give_up(&mut self, at: usize, query: QueryId) {
        self.sometimes("queries given up for want of a record", true);
        let record = Record::Done { outcome: Err(unreadable()) };
        let operation = Operation::Create(Key::Record(query, RecordKey::Done), Value::Record(record));
        self.shell_asks(at, Purpose::EndGivenUp(query), operation);
    }

    /// The store answers about the end of a query that cannot go on.
    pub fn given_up(&mut self, at: usize, purpose: Purpose, answer: Answer) {
        match (purpose, answer) {
            (Purpose::EndGivenUp(query), Answer::Exists) => {
                let key = Key::Record(query, RecordKey::Done);
                self.shell_asks(at, Purpose::ReadGivenUp(query), Operation::Get(key));
            }
            (Purpose::ReadGivenUp(query), Answer::Missing) => self.give_up(at, query),
            (Purpose::ReadGivenUp(query), Answer::Found(Value::Record(Record::Done { outcome }))) => {
                self.end_bare(at, query, outcome);
            }
            (Purpose::EndGivenUp(query) | Purpose::ReadGivenUp(query), _) => {
                self.end_bare(at, query, Err(unreadable()));
            }
            _ => {}
        }
    }

    /// Nothing is known of a query but how it ended.
    fn end_bare(&mut self, at: usize, query: QueryId, outcome: Result<(), Error>) {
        if let Some(job) = self.job(at, query) {
            (job.outcome, job.closed, job.released, job.is_bare) = (Some(outcome), true, true, true);
            self.wake(at, 1, Timer::Clean(query));
        }
    }

    /// Everything is read: the queries go on.
    fn fold(&mut self, at: usize) -> Result<(), String> {
        if self.process(at).role == Role::Recovering {
            self.process(at).role = Role::Leading;
            self.wake(at, SWEEP_EVERY, Timer::Sweep);
            self.at(1, Happening::Moment { machine: at, kind: Moment::Lead });
        }
        for (query, found) in std::mem::take(&mut self.process(at).recovery.found) {
            self.go_on_with(at, query, found)?;
            if !self.machines[at].is_leading() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn go_on_with(&mut self, at: usize, query: QueryId, found: Found) -> Result<(), String> {
        let unreadable = found.unreadable && self.bug != Some(Bug::UnreadableIsAbsent);
        if let Some(job) = self.job(at, query) {
            return match job.adopted.take() {
                Some(end) => self.adopt_end(at, query, end, found),
                None if job.finds_plan => self.go_on_planned(at, query, found),
                None => Ok(()),
            };
        }
        // Who cannot read what was asked may know it all the same.
        let known = self.ledger.plans.get(&query).copied().filter(|_| unreadable);
        let Some(plan) = found.plan.or(known) else {
            return Ok(());
        };
        let mut job = Job::new(plan, true);
        job.recovered_at = Some(self.now);
        self.process(at).jobs.insert(query, job);
        if unreadable {
            self.give_up(at, query);
            return Ok(());
        }
        if !found.planned {
            // It was not planned, or somebody had begun to delete it. A listing may not have named how it ended.
            let key = Key::Record(query, RecordKey::Done);
            self.shell_asks(at, Purpose::LookDone(query), Operation::Get(key));
            return Ok(());
        }
        self.sometimes("queries recovered", true);
        self.sometimes("commits recovered", !found.commits.is_empty());
        if let Some(job) = self.job(at, query) {
            job.planned = true;
        }
        self.recovered(at, query, plan, found.records, found.commits)
    }

    /// Its plan is there already, by this life or another, and maybe more.
    fn go_on_planned(&mut self, at: usize, query: QueryId, found: Found) -> Result<(), String> {
        let Some(job) = self.job(at, query).filter(|job| !job.planned && job.outcome.is_none()) else {
            return Ok(());
        };
        if found.unreadable {
            self.give_up(at, query);
            return Ok(());
        }
        job.planned = true;
        let (plan, cancelled) = (job.plan, job.cancelled.take());
        self.recovered(at, query, plan, found.records, found.commits)?;
        match cancelled {
            Some(error) => self.step_core(at, Event::QueryCancelled { query, error }),
            None => Ok(()),
        }
    }

    /// Somebody else has recorded that a query ended well. All that was there by then is known now.
    fn adopt_end(&mut self, at: usize, query: QueryId, end: Record, found: Found) -> Result<(), String> {
        let reads_all = !found.unreadable || self.bug == Some(Bug::UnreadableIsAbsent);
        let Some(job) = self.job(at, query) else {
            return Ok(());
        };
        if !reads_all {
            // The result cannot be completed here, and it had ended well: that is all there is to say.
            job.is_bare = true;
            self.sometimes("good ends that cannot be made good", true);
            self.step_core(at, Event::RecordPersisted { query, record: end })?;
            return self.step_core(at, Event::QueryCancelled { query, error: unreadable() });
        }
        let plan = job.plan;
        let Found { mut records, commits, .. } = found;
        records.retain(|record| record.key() != RecordKey::Done);
        records.push(end);
        self.recovered(at, query, plan, records, commits)
    }

    fn recovered(
        &mut self,
        at: usize,
        query: QueryId,
        plan: usize,
        records: Vec<Record>,
        commits: Vec<RecoveredCommit>,
    ) -> Result<(), String> {
        let (shape, options) = self.shape_and_options(plan, true);
        // Who let go of it before does not count any more.
        self.ledger.forbidden.retain(|(released, _, _)| *released != query);
        self.step_core(at, Event::QueryRecovered { query, shape, options, records, commits })
    }
}
