//! Reading what former lives left, and going on from there.

use std::collections::BTreeMap;

use base::QueryId;
use scheduler::{Event, Record, RecordKey, RecoveredCommit};

use super::{Job, Purpose, Role};
use crate::bug::Bug;
use crate::happening::Timer;
use crate::store::{Answer, Key, Operation, Value};
use crate::world::World;

/// A sweep comes so often.
pub const SWEEP_EVERY: u64 = 8_000;

/// What was found of a query.
#[derive(Debug, Default)]
struct Found {
    plan: Option<usize>,
    planned: bool,
    records: Vec<Record>,
    commits: Vec<RecoveredCommit>,
}

/// What is being read.
#[derive(Debug, Default)]
pub struct Recovery {
    pending: usize,
    found: BTreeMap<QueryId, Found>,
}

impl World {
    /// Reads the records of a query, or of all.
    pub fn recover(&mut self, at: usize, query: Option<QueryId>) {
        self.process(at).recovery.pending += 1;
        self.shell_asks(at, Purpose::RecoverList, Operation::List(query));
    }

    pub fn recovery_hears(&mut self, at: usize, purpose: Purpose, answer: Answer) -> Result<(), String> {
        if let Purpose::LookDone(query) = purpose {
            self.on_unplanned(at, query, answer);
            return Ok(());
        }
        self.process(at).recovery.pending -= 1;
        match (purpose, answer) {
            (Purpose::RecoverList, Answer::Listed(keys)) => {
                for key in keys {
                    let of_query =
                        key.query().is_some_and(|query| !self.process(at).jobs.contains_key(&query));
                    if of_query && !matches!(key, Key::Data(_)) {
                        self.process(at).recovery.pending += 1;
                        self.shell_asks(at, Purpose::RecoverGet(key), Operation::Get(key));
                    }
                }
            }
            (Purpose::RecoverGet(key), Answer::Found(value)) => {
                let query = key.query().expect("only those are read");
                let found = self.process(at).recovery.found.entry(query).or_default();
                match value {
                    Value::Plan(plan) => {
                        found.plan = Some(plan);
                        found.planned |= matches!(key, Key::Plan(_));
                    }
                    Value::Record(record) => found.records.push(record),
                    Value::Commit { winner, output } => {
                        found.commits.push(RecoveredCommit { winner, output });
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        if self.process(at).recovery.pending == 0 {
            self.fold(at)?;
        }
        Ok(())
    }

    /// A query without a plan was found: it is planned, unless it has ended.
    fn on_unplanned(&mut self, at: usize, query: QueryId, done: Answer) {
        let done = if self.bug == Some(Bug::PlansWhatHasEnded) { Answer::Missing } else { done };
        let Answer::Found(Value::Record(Record::Done { outcome })) = done else {
            self.sometimes("queries recovered before they were planned", true);
            self.wake(at, 80, Timer::Plan(query));
            return;
        };
        self.sometimes("queries found half deleted", true);
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
        }
        for (query, found) in std::mem::take(&mut self.process(at).recovery.found) {
            let Some(plan) = found.plan else {
                continue;
            };
            if self.process(at).jobs.contains_key(&query) {
                continue;
            }
            self.process(at).jobs.insert(query, Job::new(plan, true));
            if !found.planned {
                // It was not planned, or somebody had begun to delete it. A listing may not have named how it ended.
                let key = Key::Record(query, RecordKey::Done);
                self.shell_asks(at, Purpose::LookDone(query), Operation::Get(key));
                continue;
            }
            self.sometimes("queries recovered", true);
            self.sometimes("commits recovered", !found.commits.is_empty());
            let (shape, options) = (self.plans[plan].shape.clone(), self.plans[plan].options.clone());
            let Found { records, commits, .. } = found;
            self.process(at).jobs.get_mut(&query).expect("it was inserted").planned = true;
            self.step_core(at, Event::QueryRecovered { query, shape, options, records, commits })?;
            if !self.machines[at].is_leading() {
                return Ok(());
            }
        }
        Ok(())
    }
}
