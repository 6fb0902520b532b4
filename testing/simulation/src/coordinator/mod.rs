//! A small model of the coordinator's shell around the real core: leadership, records, recovery, pages, cleaning.

mod cleaner;
mod dispatch;
mod jobs;
mod late;
mod leadership;
mod pages;
mod recovery;

use std::collections::BTreeMap;

use base::{AttemptId, Epoch, Error, OutputId, QueryId, TaskId};
use scheduler::{Core, Record};

use crate::happening::{Asker, Happening, Timer};
use crate::store::{Answer, Key, Operation};
use crate::world::World;

pub use jobs::{Durability, Job};
pub use recovery::Recovery;

/// A leader that was not renewed for so long may have been followed by another.
pub const LEASE: u64 = 5_000;
/// A coordinator that stood still for so long knows it.
pub const STANDSTILL_MIN: u64 = 2_000;
/// How long after a refusal the store is asked again, at most.
const STORE_AGAIN: u64 = 800;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Standby,
    /// It wants the next epoch.
    TakingOver,
    /// It has it, and reads what the lives before it left.
    Recovering,
    Leading,
}

/// What an answer of the store is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    ListEpochs,
    CreateEpoch(Epoch),
    ReadEpoch(Epoch),
    /// Whether a newer life is there, at each renewal.
    RenewCheck {
        asked_at: u64,
    },
    Renew {
        asked_at: u64,
    },
    /// Whether a newer life is there, after a time of silence.
    FenceCheck {
        asked_at: u64,
    },
    WatchEpochs,
    WatchLease(Epoch),
    RecoverQueries,
    RecoverRecords(QueryId),
    RecoverCommits(QueryId),
    RecoverGet(Key),
    LookDone(QueryId),
    /// The end of a query of which something cannot be read.
    EndGivenUp(QueryId),
    ReadGivenUp(QueryId),
    PersistQuery {
        query: QueryId,
        client: usize,
        number: u64,
    },
    PersistPlan(QueryId),
    PlanReadBack(QueryId),
    Persist(QueryId, Record),
    PersistReadBack(QueryId, Record),
    ReadResult(OutputId),
    /// What was only in a report is committed on behalf of who wrote it.
    LateCommit(AttemptId),
    LateCommitRead(AttemptId),
    /// The last records of a query that gets them late: its plan, and then itself.
    LatePlan(QueryId),
    LateQuery(QueryId),
    PurgeList(QueryId),
    PurgeDelete(QueryId),
    CleanList(QueryId),
    CleanDelete(QueryId),
    SweepList,
    SweepLook(QueryId, Vec<Key>),
    /// Whether a query that a client asks for is one that somebody else took in.
    Look {
        query: QueryId,
        client: usize,
        number: u64,
    },
    SweepDelete(QueryId),
}

impl Purpose {
    /// Whether only the leader may do it: it changes what others rely on.
    fn is_guarded(&self) -> bool {
        matches!(
            self,
            Purpose::PersistQuery { .. }
                | Purpose::PersistPlan(_)
                | Purpose::Persist(..)
                | Purpose::EndGivenUp(_)
                | Purpose::CleanDelete(_)
                | Purpose::LateCommit(_)
                | Purpose::LatePlan(_)
                | Purpose::LateQuery(_)
                | Purpose::PurgeDelete(_)
                | Purpose::SweepDelete(_)
        )
    }
}

/// A life of a coordinator.
pub struct Process {
    /// Unlike that of any other process of the world.
    pub id: u64,
    pub role: Role,
    pub epoch: Epoch,
    pub core: Core,
    tick_at: Option<u64>,
    renewed_at: u64,
    renewals: u64,
    /// The newest lease that is known, its counter, and since when that has not changed.
    watched: Option<(Epoch, u64, u64)>,
    /// What waits for the leader to know that it still is.
    held: Vec<(Purpose, Operation)>,
    next_token: u64,
    tokens: BTreeMap<u64, (Purpose, Operation)>,
    pub jobs: BTreeMap<QueryId, Job>,
    /// The workers with a stream, by life and number of the stream.
    streams: BTreeMap<usize, (u64, u64)>,
    /// The lives of workers as the core knows them, and whether it takes them for there.
    lives: BTreeMap<usize, (u64, bool)>,
    /// How many attempts the core takes for lost.
    losses: u32,
    recovery: Recovery,
    next_query: u64,
    /// How much is being deleted of queries that nobody knows.
    sweeping: BTreeMap<QueryId, usize>,
}

/// Where a coordinator runs.
pub struct Machine {
    pub process: Option<Process>,
    pub paused: bool,
    pub held_back: Vec<Happening>,
    /// Whether it stands by while another leads.
    pub standby: bool,
    /// When it last stood still.
    pub slept: Option<(u64, u64)>,
    /// How many queries the program there has taken in since it started, for a bug.
    queries: u64,
}

impl Machine {
    pub fn new(standby: bool) -> Machine {
        Machine { process: None, paused: false, held_back: Vec::new(), standby, slept: None, queries: 0 }
    }

    /// The program there dies with all that it knows.
    pub fn forget(&mut self) {
        self.queries = 0;
    }

    pub fn is_leading(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.role == Role::Leading)
    }
}

impl World {
    /// The machine on which a process is, if it lives.
    pub fn machine_of(&self, process: u64) -> Option<usize> {
        self.machines.iter().position(|machine| machine.process.as_ref().is_some_and(|it| it.id == process))
    }

    pub fn process(&mut self, machine: usize) -> &mut Process {
        self.machines[machine].process.as_mut().expect("the caller knows that it lives")
    }

    /// A coordinator's process starts.
    pub fn start_machine(&mut self, at: usize) {
        if self.machines[at].process.is_some() {
            return;
        }
        self.processes += 1;
        let id = self.processes;
        self.machines[at].paused = false;
        self.machines[at].held_back.clear();
        self.machines[at].process = Some(Process {
            id,
            role: Role::Standby,
            epoch: Epoch(0),
            core: self.new_core(Epoch(0)),
            tick_at: None,
            renewed_at: 0,
            renewals: 0,
            watched: None,
            held: Vec::new(),
            next_token: 0,
            tokens: BTreeMap::new(),
            jobs: BTreeMap::new(),
            streams: BTreeMap::new(),
            lives: BTreeMap::new(),
            losses: 0,
            recovery: Recovery::default(),
            next_query: 0,
            sweeping: BTreeMap::new(),
        });
        self.wake(at, 1_000, Timer::Second);
        if self.machines[at].standby {
            self.wake(at, 1, Timer::Watch);
        } else {
            self.take_over(at);
        }
    }

    /// A coordinator's process is gone; its workers learn it soon.
    pub fn stop_machine(&mut self, at: usize) {
        self.machines[at].held_back.clear();
        self.machines[at].paused = false;
        if let Some(process) = self.machines[at].process.take() {
            self.end_streams(&process);
            self.end_unrecorded(&process);
        }
    }

    fn end_streams(&mut self, process: &Process) {
        self.ledger.streams.retain(|(of, _), _| *of != process.id);
        for host in 0..self.hosts.len() {
            if let Some((to, stream)) = self.hosts[host].stream
                && to == process.id
            {
                let (delay, life) = (self.random.delay(50), self.hosts[host].life);
                self.at(delay, Happening::StreamEnded { host, life, stream });
            }
        }
    }

    /// A coordinator's process goes on after it stood still.
    pub fn resume_machine(&mut self, at: usize) -> Result<(), String> {
        if !std::mem::take(&mut self.machines[at].paused) {
            return Ok(());
        }
        let slept = self.machines[at].slept.map_or(0, |(from, _)| self.now - from);
        self.machines[at].slept = Some((self.now - slept, self.now));
        for happening in std::mem::take(&mut self.machines[at].held_back) {
            self.at(1, happening);
        }
        if slept >= STANDSTILL_MIN && self.machines[at].is_leading() {
            self.step_core(at, scheduler::Event::Resumed)?;
        }
        Ok(())
    }

    pub fn wake(&mut self, machine: usize, delay: u64, timer: Timer) {
        let process = self.process(machine).id;
        self.at(delay, Happening::Shell { process, timer });
    }

    /// Something happens to a coordinator, if it lives; later, if it is paused.
    pub fn on_process(&mut self, process: u64, happening: Happening) -> Result<(), String> {
        let Some(at) = self.machine_of(process) else {
            return Ok(());
        };
        if self.machines[at].paused {
            self.machines[at].held_back.push(happening);
            return Ok(());
        }
        match happening {
            Happening::Shell { timer, .. } => self.on_timer(at, timer)?,
            Happening::CoreTick { at: tick, .. } => {
                if self.process(at).tick_at == Some(tick) {
                    self.process(at).tick_at = None;
                    self.step_core(at, scheduler::Event::Tick)?;
                }
            }
            Happening::Report { stream, host, report, .. } => {
                let incarnation = report.incarnation.0;
                let node = self.hosts[host].name.clone();
                let process = self.process(at);
                let has_stream = process.streams.get(&host) == Some(&(incarnation, stream));
                if process.role == Role::Leading && has_stream {
                    let report = self.take_outputs(at, *report);
                    self.step_core(at, scheduler::Event::WorkerReported { node, report })?;
                }
            }
            Happening::WorkerGone { host, life, stream, .. } => {
                let is_late = self.bug == Some(crate::bug::Bug::LateGoodbye);
                let process = self.process(at);
                let known = process.streams.get(&host).copied();
                if known == Some((life, stream)) || is_late && known.is_some_and(|(known, _)| known == life) {
                    process.streams.remove(&host);
                    if process.role == Role::Leading {
                        let (node, incarnation) = (self.hosts[host].name.clone(), base::Incarnation(life));
                        self.step_core(at, scheduler::Event::WorkerDisconnected { node, incarnation })?;
                    }
                }
            }
            Happening::Answered { asker: Asker::Shell { token, .. }, answer } => {
                self.shell_hears(at, token, answer)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn on_timer(&mut self, at: usize, timer: Timer) -> Result<(), String> {
        match timer {
            Timer::Second => self.on_second(at)?,
            Timer::Renew => self.renew(at),
            Timer::Watch => self.watch(at),
            Timer::Retry(what) => self.shell_asks(at, what.0.clone(), what.1.clone()),
            _ if !self.machines[at].is_leading() => {}
            Timer::Sweep => self.sweep(at),
            Timer::Plan(query) => self.plan(at, query),
            Timer::Splits { query, stage, scan, count_max } => {
                self.enumerate(at, query, stage, scan, count_max)?;
            }
            Timer::Answer(query) => self.answer_client(at, query, true)?,
            Timer::Clean(query) => self.clean(at, query),
            Timer::FirstAnswer(query) => self.first_answer(at, query)?,
            Timer::PullRoot(query, partition) => self.pull_root(at, query, partition)?,
        }
        Ok(())
    }

    /// A worker asks for a stream.
    pub fn dial_arrives(&mut self, host: usize, life: u64, machine: usize) {
        if self.machines[machine].paused {
            let happening = Happening::DialArrives { host, life, machine };
            self.machines[machine].held_back.push(happening);
            return;
        }
        // Who is not on a list that was made at the start is nobody.
        let is_listed = !self.hosts[host].joins_late || self.bug != Some(crate::bug::Bug::FixedListOfWorkers);
        if !self.machines[machine].is_leading() || !is_listed {
            let delay = self.random.delay(self.network_mean);
            self.at(delay, Happening::DialRefused { host, life });
            return;
        }
        // A late call of a life that is over.
        if self.process(machine).streams.get(&host).is_some_and(|(newest, _)| *newest > life) {
            return;
        }
        self.network.streams += 1;
        let stream = self.network.streams;
        let process = self.process(machine);
        let older = process.streams.insert(host, (life, stream));
        let process = process.id;
        self.ledger.streams.insert((process, host), stream);
        if let Some((life, stream)) = older {
            let delay = self.random.delay(self.network_mean);
            self.at(delay, Happening::StreamEnded { host, life, stream });
        }
        let delay = self.random.delay(self.network_mean);
        self.at(delay, Happening::Connected { host, life, process, stream });
    }

    /// Asks the store on behalf of the shell; what only the leader may do waits until it knows that it still is.
    pub fn shell_asks(&mut self, at: usize, purpose: Purpose, operation: Operation) {
        let now = self.now;
        let unfenced = self.bug == Some(crate::bug::Bug::NoFence);
        let process = self.process(at);
        if purpose.is_guarded() && now - process.renewed_at > LEASE && !unfenced {
            let first = process.held.is_empty();
            process.held.push((purpose, operation));
            if first {
                self.sometimes("leaders in doubt", true);
                self.check_fence(at);
            }
            return;
        }
        process.next_token += 1;
        let (id, token) = (process.id, process.next_token);
        process.tokens.insert(token, (purpose, operation.clone()));
        self.ask(Asker::Shell { process: id, token }, operation);
    }

    fn shell_hears(&mut self, at: usize, token: u64, answer: Answer) -> Result<(), String> {
        let Some((purpose, operation)) = self.process(at).tokens.remove(&token) else {
            return Ok(());
        };
        if matches!(answer, Answer::Unavailable | Answer::Refused) {
            let delay = self.random.range(50, STORE_AGAIN);
            self.wake(at, delay, Timer::Retry(std::rc::Rc::new((purpose, operation))));
            return Ok(());
        }
        match purpose {
            Purpose::ListEpochs
            | Purpose::CreateEpoch(_)
            | Purpose::ReadEpoch(_)
            | Purpose::RenewCheck { .. }
            | Purpose::Renew { .. }
            | Purpose::FenceCheck { .. }
            | Purpose::WatchEpochs
            | Purpose::WatchLease(_) => self.leadership_hears(at, purpose, answer)?,
            Purpose::RecoverQueries
            | Purpose::RecoverRecords(_)
            | Purpose::RecoverCommits(_)
            | Purpose::RecoverGet(_)
            | Purpose::LookDone(_) => self.recovery_hears(at, purpose, answer)?,
            Purpose::EndGivenUp(_) | Purpose::ReadGivenUp(_) => self.given_up(at, purpose, answer),
            Purpose::PersistQuery { .. }
            | Purpose::PersistPlan(_)
            | Purpose::PlanReadBack(_)
            | Purpose::Persist(..)
            | Purpose::PersistReadBack(..) => self.persist_hears(at, purpose, answer)?,
            Purpose::ReadResult(output) => self.result_hears(at, output, answer)?,
            Purpose::LateCommit(_)
            | Purpose::LateCommitRead(_)
            | Purpose::LatePlan(_)
            | Purpose::LateQuery(_)
            | Purpose::PurgeList(_)
            | Purpose::PurgeDelete(_) => self.late_hears(at, purpose, answer)?,
            Purpose::CleanList(_)
            | Purpose::CleanDelete(_)
            | Purpose::SweepList
            | Purpose::SweepLook(..)
            | Purpose::Look { .. }
            | Purpose::SweepDelete(_) => self.cleaner_hears(at, purpose, answer)?,
        }
        Ok(())
    }

    /// A newer life leads: nothing is done any more.
    pub fn superseded(&mut self, at: usize) {
        self.sometimes("superseded", true);
        let standby = self.machines[at].standby;
        self.stop_machine(at);
        if standby {
            self.start_machine(at);
        }
    }
}

/// An error that says which query was lost.
fn lost(output: OutputId) -> Error {
    Error::lost(output, "Committed output cannot be read")
}

pub fn root_task(query: QueryId, partition: u32) -> TaskId {
    TaskId { query, stage: base::StageId(0), partition }
}
