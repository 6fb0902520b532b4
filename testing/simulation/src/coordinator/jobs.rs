//! What the shell keeps of each query, and how queries come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use base::{AttemptId, Error, ErrorCode, QueryId, StageId, TaskId};
use scheduler::{AttemptStatus, Event, QueryOptions, QueryShape, Record, RecordKey};

use super::pages::Pages;
use super::{Purpose, Role};
use crate::bug::Bug;
use crate::client::Response;
use crate::happening::Timer;
use crate::plan::Plan;
use crate::store::{Key, Operation, Value};
use crate::world::World;

/// A client that was not heard of for so many seconds has gone.
const PATIENCE: u32 = 60;

/// A query, as the shell sees it.
pub struct Job {
    pub plan: usize,
    /// Its record is there: a client may know it.
    pub recorded: bool,
    /// The core knows it.
    pub planned: bool,
    /// Its plan was there when it was to be recorded.
    pub finds_plan: bool,
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
    /// Its client has asked for a page.
    pub was_polled: bool,
    /// When it was recovered.
    pub recovered_at: Option<u64>,
    /// The records that are being created.
    pub persisting: BTreeSet<RecordKey>,
    /// The good end that another life has recorded, until it is known what that life knew.
    pub adopted: Option<Record>,
    /// How far it is on record.
    pub durability: Durability,
    /// Its client was given all that it needs to have it run again.
    pub is_short: bool,
    /// The outputs that this process has heard of and that are in no commit record.
    pub held: BTreeSet<AttemptId>,
    /// Those of them that are being committed.
    pub unstored: BTreeSet<AttemptId>,
    /// The outputs that came in reports when the query was to be durable already, and what is in the store of them.
    pub late: BTreeMap<AttemptId, Option<AttemptStatus>>,
    /// Who waits for the first answer to the statement.
    pub post: Option<(usize, u64)>,
    /// The attempts of the region, by task.
    pub route: BTreeMap<TaskId, AttemptId>,
    /// What was read of the root's attempts while they ran.
    pub stream: BTreeMap<u32, Rc<Vec<u64>>>,
}

/// How far a query is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing of it is.
    Volatile,
    /// It is being recorded.
    Requested {
        /// All that was decided before is.
        is_decided: bool,
    },
    Durable,
}

impl Job {
    pub fn new(plan: usize, recorded: bool) -> Job {
        Job {
            plan,
            recorded,
            planned: false,
            finds_plan: false,
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
            was_polled: false,
            recovered_at: None,
            persisting: BTreeSet::new(),
            adopted: None,
            durability: Durability::Durable,
            is_short: false,
            held: BTreeSet::new(),
            unstored: BTreeSet::new(),
            late: BTreeMap::new(),
            post: None,
            route: BTreeMap::new(),
            stream: BTreeMap::new(),
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
        let query = self.next_query(at);
        self.process(at).jobs.insert(query, Job::new(plan, false));
        if self.ledger.plans.insert(query, plan).is_some() {
            self.violate(format!("I-9: {query} is the name of two queries"));
        }
        if !self.plans[plan].options.is_durable {
            self.begin_unrecorded(at, query, client, number);
            return;
        }
        let operation = Operation::Create(Key::Query(query), Value::Plan(plan));
        self.shell_asks(at, Purpose::PersistQuery { query, client, number }, operation);
    }

    /// A name that no query has, of this life or another.
    fn next_query(&mut self, at: usize) -> QueryId {
        let forgets = self.bug == Some(Bug::QueryIdsStartAgain);
        let machine = &mut self.machines[at];
        machine.queries += 1;
        let here = (at as u64 + 500_000, machine.queries);
        let process = self.process(at);
        process.next_query += 1;
        let (life, number) = if forgets { here } else { (process.id, process.next_query) };
        let text = format!("20260101_{life:06}_{number:05}_aaaaa");
        text.parse().expect("it has the form")
    }

    /// A query is planned; its plan is to be recorded.
    pub fn plan(&mut self, at: usize, query: QueryId) {
        let job = self.job(at, query);
        if job.as_ref().is_some_and(|job| job.durability == Durability::Volatile) {
            if let Err(violation) = self.on_plan_persisted(at, query) {
                self.violate(violation);
            }
            return;
        }
        if let Some(plan) = self.job(at, query).map(|job| job.plan) {
            let operation = Operation::Create(Key::Plan(query), Value::Plan(plan));
            self.shell_asks(at, Purpose::PersistPlan(query), operation);
        }
    }

    /// The record of a query is there.
    pub fn on_query_persisted(&mut self, at: usize, query: QueryId, client: usize, number: u64) {
        if let Some(job) = self.job(at, query) {
            job.recorded = true;
            self.wake(at, 80, Timer::Plan(query));
            self.respond(at, client, number, Response::Accepted { query, has_capsule: false });
        }
    }

    /// The plan of a query is there.
    pub fn on_plan_persisted(&mut self, at: usize, query: QueryId) -> Result<(), String> {
        let Some(job) = self.job(at, query).filter(|job| !job.planned && job.outcome.is_none()) else {
            return Ok(());
        };
        job.planned = true;
        let (plan, cancelled) = (job.plan, job.cancelled.take());
        let is_durable = job.durability == Durability::Durable;
        let (shape, options) = self.shape_and_options(plan, is_durable);
        self.step_core(at, Event::QuerySubmitted { query, shape, options })?;
        if let Some(error) = cancelled {
            self.step_core(at, Event::QueryCancelled { query, error })?;
        }
        Ok(())
    }

    /// What the core is told of a plan.
    pub fn shape_and_options(&self, plan: usize, is_durable: bool) -> (QueryShape, QueryOptions) {
        let Plan { shape, options, .. } = &*self.plans[plan];
        let mut options = QueryOptions { is_durable, ..options.clone() };
        options.rivals_enabled &= self.bug != Some(Bug::RivalsNotAskedFor);
        (shape.clone(), options)
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
        self.wake(at, 1_000, Timer::Second);
        if self.process(at).role != Role::Leading || self.bug == Some(Bug::AbandonedForEver) {
            return Ok(());
        }
        let is_attended = self.bug == Some(Bug::AttendedForEver);
        let mut gone = Vec::new();
        for (query, job) in &mut self.process(at).jobs {
            // A request that was never answered would seem to be served still.
            job.silence += u32::from(!(is_attended && job.was_polled));
            let is_answered = job.recorded || job.durability != Durability::Durable && job.post.is_none();
            if job.silence > PATIENCE && !job.closed && is_answered {
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
