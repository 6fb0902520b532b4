//! What the shell keeps of each query, and how queries come and go.

use std::collections::BTreeMap;

use base::{AttemptId, Error, ErrorCode, QueryId, StageId, TaskId};
use scheduler::Event;

use super::pages::Pages;
use super::{Purpose, Role};
use crate::bug::Bug;
use crate::client::Response;
use crate::happening::Timer;
use crate::store::{Key, Operation, Value};
use crate::world::World;

/// A client that was not heard of for so many seconds has gone.
const PATIENCE: u32 = 60;
/// A process that was not woken for so long had been asleep.
const ASLEEP: u64 = 3_000;

/// A query, as the shell sees it.
pub struct Job {
    pub plan: usize,
    /// Its record is there: a client may know it.
    pub recorded: bool,
    /// The core knows it.
    pub planned: bool,
    /// It was cancelled before the core knew it.
    pub cancelled: Option<Error>,
    /// The outputs that count.
    pub selected: BTreeMap<TaskId, (u32, AttemptId)>,
    pub generations: BTreeMap<TaskId, u32>,
    pub sealed: BTreeMap<StageId, u32>,
    /// How far the splits of each scan were told.
    pub told: BTreeMap<(StageId, u32), usize>,
    /// How it ended.
    pub outcome: Option<Result<(), Error>>,
    pub pages: Pages,
    /// Nobody wants its result any more.
    pub closed: bool,
    /// No worker holds anything of it.
    pub released: bool,
    /// For how many seconds its client was not heard of.
    pub silence: u32,
    /// What is being deleted of it has not all been answered.
    pub deletions: usize,
    /// Nothing but what says how it ended is left, since then.
    pub clean_since: Option<u64>,
    /// Nothing but how it ended was found of it.
    pub is_bare: bool,
}

impl Job {
    pub fn new(plan: usize, recorded: bool) -> Job {
        Job {
            plan,
            recorded,
            planned: false,
            cancelled: None,
            selected: BTreeMap::new(),
            generations: BTreeMap::new(),
            sealed: BTreeMap::new(),
            told: BTreeMap::new(),
            outcome: None,
            pages: Pages::default(),
            closed: false,
            released: false,
            silence: 0,
            deletions: 0,
            clean_since: None,
            is_bare: false,
        }
    }
}

impl World {
    pub fn job(&mut self, at: usize, query: QueryId) -> Option<&mut Job> {
        self.machines[at].process.as_mut()?.jobs.get_mut(&query)
    }

    /// A client posts a statement.
    pub fn on_post(&mut self, at: usize, client: usize, number: u64) {
        let plan = self.clients[client].plan;
        let process = self.process(at);
        process.next_query += 1;
        let text = format!("20260101_{:06}_{:05}_aaaaa", process.id, process.next_query);
        let query: QueryId = text.parse().expect("it has the form");
        process.jobs.insert(query, Job::new(plan, false));
        self.ledger.plans.insert(query, plan);
        let operation = Operation::Create(Key::Query(query), Value::Plan(plan));
        self.shell_asks(at, Purpose::PersistQuery { query, client, number }, operation);
    }

    /// A query is planned; its plan is to be recorded.
    pub fn plan(&mut self, at: usize, query: QueryId) {
        if let Some(plan) = self.job(at, query).map(|job| job.plan) {
            let operation = Operation::Create(Key::Plan(query), Value::Plan(plan));
            self.shell_asks(at, Purpose::PersistPlan(query), operation);
        }
    }

    /// The record of a query, or its plan, is there.
    pub fn on_query_persisted(&mut self, at: usize, purpose: Purpose) -> Result<(), String> {
        match purpose {
            Purpose::PersistQuery { query, client, number } => {
                if let Some(job) = self.job(at, query) {
                    job.recorded = true;
                    self.wake(at, 80, Timer::Plan(query));
                    self.respond(at, client, number, Response::Accepted(query));
                }
            }
            Purpose::PersistPlan(query) => {
                let Some(job) = self.job(at, query).filter(|job| !job.planned) else {
                    return Ok(());
                };
                job.planned = true;
                let (plan, cancelled) = (job.plan, job.cancelled.take());
                let plan = self.plans[plan].clone();
                let (shape, options) = (plan.shape.clone(), plan.options.clone());
                self.step_core(at, Event::QuerySubmitted { query, shape, options })?;
                if let Some(error) = cancelled {
                    self.step_core(at, Event::QueryCancelled { query, error })?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub fn on_cancel(&mut self, at: usize, client: usize, number: u64, query: QueryId) -> Result<(), String> {
        if self.job(at, query).is_none() {
            let purpose = Purpose::Look { query, client, number };
            self.shell_asks(at, purpose, Operation::Get(Key::Query(query)));
            return Ok(());
        }
        self.ledger.cancels_heard.entry(query).or_insert(self.now);
        self.end_job(at, query, Error::new(ErrorCode::USER_CANCELED, "Query was canceled"))?;
        self.respond(at, client, number, Response::Cancelled);
        Ok(())
    }

    /// Somebody ends a query whose result nobody wants.
    fn end_job(&mut self, at: usize, query: QueryId, error: Error) -> Result<(), String> {
        let Some(job) = self.job(at, query) else {
            return Ok(());
        };
        job.closed = true;
        if !job.planned {
            job.cancelled.get_or_insert(error);
            return Ok(());
        }
        self.wake(at, 1, Timer::Clean(query));
        self.step_core(at, Event::QueryCancelled { query, error })
    }

    /// Another second has passed on this process's clock.
    pub fn on_second(&mut self, at: usize) -> Result<(), String> {
        let now = self.now;
        self.wake(at, 1_000, Timer::Second);
        let process = self.process(at);
        let asleep = now - std::mem::replace(&mut process.second_at, now) > ASLEEP;
        if process.role != Role::Leading {
            return Ok(());
        }
        if asleep {
            self.step_core(at, Event::Resumed)?;
        }
        if !self.machines[at].is_leading() || self.bug == Some(Bug::AbandonedForEver) {
            return Ok(());
        }
        let mut gone = Vec::new();
        for (query, job) in &mut self.process(at).jobs {
            job.silence += 1;
            if job.silence > PATIENCE && !job.closed && job.recorded {
                gone.push(*query);
            }
        }
        for query in gone {
            self.sometimes("clients that vanished", true);
            let error = Error::new(ErrorCode::ABANDONED_QUERY, "Nobody asks for the result");
            self.end_job(at, query, error)?;
            self.close(at, query)?;
            if !self.machines[at].is_leading() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Nobody wants the result of a query any more.
    pub fn close(&mut self, at: usize, query: QueryId) -> Result<(), String> {
        if let Some(job) = self.job(at, query) {
            job.closed = true;
            if job.planned && job.outcome.is_some() {
                return self.step_core(at, Event::QueryClosed { query });
            }
        }
        Ok(())
    }

    /// The connector tells more splits of a scan.
    pub fn enumerate(
        &mut self,
        at: usize,
        query: QueryId,
        stage: StageId,
        scan: u32,
        count_max: u32,
    ) -> Result<(), String> {
        let luck = (self.random.next(), self.random.next());
        let Some(job) = self.machines[at].process.as_mut().and_then(|process| process.jobs.get_mut(&query))
        else {
            return Ok(());
        };
        let all = &self.plans[job.plan].splits[&(stage, scan)];
        let told = job.told.entry((stage, scan)).or_default();
        let count = ((luck.0 % (u64::from(count_max) + 1)) as usize).min(all.len() - *told);
        let sizes = all[*told..*told + count].iter().map(|rows| rows.len() as u64 * 10).collect();
        *told += count;
        // Sometimes that there are no more is only known later.
        let last = *told == all.len() && !luck.1.is_multiple_of(3);
        self.step_core(at, Event::SplitsArrived { query, stage, scan, sizes, last })
    }
}
