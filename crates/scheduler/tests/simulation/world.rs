//! One lifetime of a cluster: virtual time, a network, machines that die, clients, and the real core.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use base::{AttemptId, Epoch, Error, ErrorCode, Incarnation, Millis, OutputId, QueryId, StageId};
use scheduler::{
    AttemptSpec, Capacity, Command, Core, CoreOptions, Event, PlantedBug, RunnerCommand, RunnerEvent,
};

use crate::faults::{Coverage, Faults};
use crate::host::Host;
use crate::oracle::Ledger;
use crate::plan::Plan;
use crate::random::{Random, mix};
use crate::store::Store;

/// A planted bug, in the scheduler or in the world around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    Scheduler(PlantedBug),
    /// A commit overwrites the one before it.
    UnconditionalCommit,
}

/// What happens at a point in time.
#[derive(Clone)]
pub enum Happening {
    ToCore(Box<Event>),
    CoreTick(u64),
    ToHost {
        host: usize,
        life: u64,
        epoch: Epoch,
        sequence: u64,
        attempts: Vec<AttemptSpec>,
    },
    HostTick {
        host: usize,
        life: u64,
        at: u64,
    },
    /// An attempt has read and computed.
    Computed {
        host: usize,
        life: u64,
        attempt: AttemptId,
    },
    /// The commit of an attempt arrives at the store, whether its worker still lives or not.
    Commit {
        host: usize,
        life: u64,
        attempt: AttemptId,
    },
    Stopped {
        host: usize,
        life: u64,
        attempt: AttemptId,
    },
    Connect {
        host: usize,
        life: u64,
    },
    Restart(usize),
    Resume(usize),
    Client(usize),
    Cancel(usize),
    Close(QueryId),
    Splits {
        query: QueryId,
        stage: StageId,
        scan: u32,
        count_max: u32,
    },
    Chaos,
    EndOfChaos,
}

const REQUIRED_WORKERS_WAIT: u64 = 25_000;
const NO_NODE_PERIOD: u64 = 15_000;
const CHAOS_EVERY: u64 = 200;
/// How long after the chaos everything must be over.
const CALM_MAX: u64 = 1_800_000;
const HAPPENINGS_MAX: u64 = 400_000;

pub struct World {
    pub now: u64,
    pub random: Random,
    pub faults: Faults,
    pub calm: bool,
    pub bug: Option<Bug>,
    pub core: Core,
    pub hosts: Vec<Host>,
    pub plans: Vec<Plan>,
    pub store: Store,
    pub ledger: Ledger,
    pub coverage: Coverage,
    violation: Option<String>,
    pub happenings: u64,
    /// A digest of everything the core said, if asked for.
    pub trace: Option<u64>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    pending: BTreeMap<u64, Happening>,
    core_tick_at: Option<u64>,
    /// How far the splits of each scan were told.
    enumerated: BTreeMap<(QueryId, StageId, u32), usize>,
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>, trace: bool) -> World {
        let mut random = Random::new(seed);
        let faults = Faults::swarm(&mut random);
        let scheduler_bug = match bug {
            Some(Bug::Scheduler(bug)) => Some(bug),
            _ => None,
        };
        let options = CoreOptions {
            no_node_period_max: Millis(NO_NODE_PERIOD),
            required_workers_wait_max: Millis(REQUIRED_WORKERS_WAIT),
            split_batch_count_max: random.range(1, 8) as u32,
            ..CoreOptions::default()
        };
        let mut core = Core::new(Epoch(1), options);
        if let Some(bug) = scheduler_bug {
            core.plant(bug);
        }
        let hosts = (0..random.range(1, 5)).map(|number| {
            let capacity = Capacity { memory_bytes: random.range(40, 100), slots: random.range(1, 4) as u32 };
            Host::new(number as usize, capacity, scheduler_bug)
        });
        let hosts = hosts.collect();
        let plans = (1..=random.range(1, 4) as u32).map(|number| Plan::random(&mut random, number)).collect();
        World {
            now: 0,
            random,
            faults,
            calm: false,
            bug,
            core,
            hosts,
            plans,
            store: Store::default(),
            ledger: Ledger::default(),
            coverage: Coverage::default(),
            violation: None,
            happenings: 0,
            trace: trace.then_some(seed),
            queue: BinaryHeap::new(),
            pending: BTreeMap::new(),
            core_tick_at: None,
            enumerated: BTreeMap::new(),
        }
    }

    pub fn at(&mut self, delay: u64, happening: Happening) {
        let number = self.happenings + self.pending.len() as u64 + 1_000_000 * self.now;
        let number = self.pending.last_key_value().map_or(number, |(last, _)| number.max(last + 1));
        self.queue.push(Reverse((self.now + delay, number)));
        self.pending.insert(number, happening);
    }

    /// Lives the lifetime. What was violated, if anything.
    pub fn run(&mut self) -> Result<(), String> {
        for host in 0..self.hosts.len() {
            let delay = self.random.below(500);
            self.at(delay, Happening::Connect { host, life: 1 });
        }
        for query in 0..self.plans.len() {
            let delay = self.random.below(self.faults.chaos_millis);
            self.at(delay, Happening::Client(query));
        }
        self.at(CHAOS_EVERY, Happening::Chaos);
        self.at(self.faults.chaos_millis, Happening::EndOfChaos);
        while let Some(Reverse((at, number))) = self.queue.pop() {
            let Some(happening) = self.pending.remove(&number) else {
                continue;
            };
            let unusable = !self.hosts.iter().any(Host::is_usable);
            self.ledger.note_usable(self.now, at, unusable);
            self.now = at;
            self.happenings += 1;
            self.happen(happening)?;
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
            if self.happenings.is_multiple_of(16) {
                self.core.check_invariants();
            }
            if self.calm && self.ledger.released.len() == self.plans.len() && self.core.is_empty() {
                self.core.check_invariants();
                return self.check_end();
            }
            if at > self.faults.chaos_millis + CALM_MAX || self.happenings > HAPPENINGS_MAX {
                return Err(format!(
                    "I-6: no end: {} of {} queries are over",
                    self.ledger.released.len(),
                    self.plans.len()
                ));
            }
        }
        Err("I-6: nothing more happens".to_string())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::ToCore(event) => self.step(*event)?,
            Happening::CoreTick(at) => {
                if self.core_tick_at == Some(at) {
                    self.core_tick_at = None;
                    self.step(Event::Tick)?;
                }
            }
            Happening::ToHost { host, life, .. }
            | Happening::HostTick { host, life, .. }
            | Happening::Computed { host, life, .. }
            | Happening::Stopped { host, life, .. }
            | Happening::Connect { host, life } => self.on_host(host, life, happening)?,
            Happening::Commit { host, life, attempt } => self.commit(host, life, attempt)?,
            Happening::Restart(host) => self.restart(host),
            Happening::Resume(host) => {
                self.hosts[host].paused = false;
                for happening in std::mem::take(&mut self.hosts[host].held_back) {
                    self.at(1, happening);
                }
            }
            Happening::Client(query) => {
                let plan = &self.plans[query];
                let (query, shape, options) = (plan.id, plan.shape.clone(), plan.options.clone());
                self.step(Event::QuerySubmitted { query, shape, options })?;
            }
            Happening::Cancel(query) => {
                let query = self.plans[query].id;
                self.ledger.cancelled.insert(query);
                self.coverage.cancellations += 1;
                let error = Error::new(ErrorCode::USER_CANCELED, "Query was canceled");
                self.step(Event::QueryCancelled { query, error })?;
            }
            Happening::Close(query) => self.step(Event::QueryClosed { query })?,
            Happening::Splits { query, stage, scan, count_max } => {
                self.enumerate(query, stage, scan, count_max)?;
            }
            Happening::Chaos => {
                if !self.calm {
                    self.chaos();
                    self.at(CHAOS_EVERY, Happening::Chaos);
                }
            }
            Happening::EndOfChaos => self.end_chaos(),
        }
        Ok(())
    }

    /// Something happens to a machine, if it is still the same process; later, if it is paused.
    fn on_host(&mut self, host: usize, life: u64, happening: Happening) -> Result<(), String> {
        let state = &mut self.hosts[host];
        if !state.up || state.life != life {
            return Ok(());
        }
        if state.paused {
            state.held_back.push(happening);
            return Ok(());
        }
        let event = match happening {
            Happening::ToHost { epoch, sequence, attempts, .. } if state.connected => {
                RunnerEvent::Desired { epoch, sequence, attempts }
            }
            Happening::HostTick { at, .. } if state.tick_at == Some(at) => {
                state.tick_at = None;
                RunnerEvent::Tick
            }
            Happening::Connect { .. } => {
                state.connected = true;
                RunnerEvent::Connected
            }
            Happening::Stopped { attempt, .. } => {
                if state.executions.remove(&attempt).is_none() {
                    return Ok(());
                }
                let status = scheduler::AttemptStatus::Failed(Error::internal("stopped").into());
                RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes: 0 }
            }
            Happening::Computed { attempt, .. } => return self.compute(host, attempt),
            _ => return Ok(()),
        };
        self.step_host(host, event);
        Ok(())
    }

    pub fn step_host(&mut self, host: usize, event: RunnerEvent) {
        let mut commands = Vec::new();
        self.hosts[host].runner.step(Millis(self.now), event, &mut commands);
        let life = self.hosts[host].life;
        for command in commands {
            match command {
                RunnerCommand::Start { spec } => {
                    let attempt = spec.attempt;
                    if self.ledger.forbidden.contains(&(attempt.task.query, host, life)) {
                        self.violation =
                            Some(format!("I-7: {attempt} starts although its query is released"));
                    }
                    self.hosts[host].executions.insert(attempt, spec);
                    let delay = self.random.delay(400) * self.hosts[host].slowness;
                    self.at(delay, Happening::Computed { host, life, attempt });
                }
                RunnerCommand::Cancel { attempt } => {
                    let delay = self.random.delay(100);
                    self.at(delay, Happening::Stopped { host, life, attempt });
                }
                RunnerCommand::Report(report) => {
                    let node = self.hosts[host].name.clone();
                    self.send(Happening::ToCore(Box::new(Event::WorkerReported { node, report })));
                }
            }
        }
        if let Some(at) = self.hosts[host].runner.next_deadline()
            && self.hosts[host].tick_at.is_none_or(|earlier| at.0 < earlier || earlier < self.now)
        {
            self.hosts[host].tick_at = Some(at.0);
            let delay = at.0.saturating_sub(self.now);
            self.at(delay, Happening::HostTick { host, life, at: at.0 });
        }
    }

    /// A message that may be late, lost, or arrive twice.
    fn send(&mut self, message: Happening) {
        let copies = if self.calm {
            1
        } else if self.random.chance(self.faults.loss) {
            self.coverage.messages_lost += 1;
            0
        } else if self.random.chance(self.faults.duplication) {
            self.coverage.messages_duplicated += 1;
            2
        } else {
            1
        };
        for _ in 0..copies {
            let delay = self.random.delay(self.faults.network_mean);
            self.at(delay, message.clone());
        }
    }

    pub fn step(&mut self, event: Event) -> Result<(), String> {
        let mut commands = Vec::new();
        self.core.step(Millis(self.now), event, &mut commands);
        if let Some(trace) = &mut self.trace {
            for byte in format!("{} {commands:?}", self.now).bytes() {
                *trace = mix(*trace ^ u64::from(byte));
            }
        }
        for command in commands {
            self.carry_out(command)?;
        }
        if let Some(at) = self.core.next_deadline()
            && self.core_tick_at.is_none_or(|earlier| at.0 < earlier)
        {
            self.core_tick_at = Some(at.0);
            let delay = at.0.saturating_sub(self.now);
            self.at(delay, Happening::CoreTick(at.0));
        }
        Ok(())
    }

    fn carry_out(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::SetDesired { node, incarnation, epoch, sequence, attempts } => {
                let host = self.hosts.iter().position(|host| host.name == node).expect("it is one of ours");
                self.send(Happening::ToHost { host, life: incarnation.0, epoch, sequence, attempts });
            }
            Command::RequestSplits { query, stage, scan, count_max } => {
                let delay = self.random.delay(150);
                self.at(delay, Happening::Splits { query, stage, scan, count_max });
            }
            Command::OutputSelected { output, winner } => self.on_selected(output, winner)?,
            Command::StageSealed { query, stage, tasks } => {
                self.coverage.stages_sealed += 1;
                if self.ledger.sealed.insert((query, stage), tasks).is_some() {
                    return Err(format!("stage {stage} of {query} is sealed twice"));
                }
            }
            Command::QueryFinished { query, outcome } => {
                self.on_finished(query, outcome)?;
                let mean = [2, 500][self.random.below(2) as usize];
                let delay = self.random.delay(mean);
                self.at(delay, Happening::Close(query));
            }
            Command::Persist { query, record } => {
                self.at(1, Happening::ToCore(Box::new(Event::RecordPersisted { query, record })));
            }
            Command::OutputsRolledBack { query, .. } => return Err(format!("{query} lost nothing")),
            Command::Superseded { by } => return Err(format!("I-14: superseded by {by:?}")),
            Command::QueryReleased { query } => self.on_released(query)?,
        }
        Ok(())
    }

    fn on_selected(&mut self, output: OutputId, winner: AttemptId) -> Result<(), String> {
        if self.store.winner(&output) != Some(winner) {
            return Err(format!(
                "I-1: {winner} is selected, the store says {:?}",
                self.store.winner(&output)
            ));
        }
        if self.ledger.selected.insert(output, winner).is_some() {
            return Err(format!("I-1: {output:?} is selected twice"));
        }
        Ok(())
    }

    fn enumerate(&mut self, query: QueryId, stage: StageId, scan: u32, count_max: u32) -> Result<(), String> {
        let plan = self.plans.iter().find(|plan| plan.id == query).expect("it is one of ours");
        let all: Vec<u64> = plan.splits[&(stage, scan)].iter().map(|rows| rows.len() as u64 * 10).collect();
        let told = self.enumerated.entry((query, stage, scan)).or_default();
        let count = (self.random.below(u64::from(count_max) + 1) as usize).min(all.len() - *told);
        let sizes = all[*told..*told + count].to_vec();
        *told += count;
        // Sometimes that there are no more is only known later.
        let last = *told == all.len() && self.random.below(3) > 0;
        self.step(Event::SplitsArrived { query, stage, scan, sizes, last })
    }

    fn restart(&mut self, host: usize) {
        if self.hosts[host].up || (self.calm && self.faults.abandon) {
            return;
        }
        self.hosts[host].restart(match self.bug {
            Some(Bug::Scheduler(bug)) => Some(bug),
            _ => None,
        });
        let life = self.hosts[host].life;
        self.at(50, Happening::Connect { host, life });
    }

    fn chaos(&mut self) {
        let count = self.hosts.len() as u64;
        let any = self.random.below(count) as usize;
        if self.random.chance(self.faults.crash) {
            self.crash(any);
        }
        if self.random.chance(self.faults.crash_all) {
            (0..self.hosts.len()).for_each(|host| self.crash(host));
        }
        let any = self.random.below(count) as usize;
        if self.random.chance(self.faults.pause) && self.hosts[any].up {
            self.hosts[any].paused = true;
            self.coverage.pauses += 1;
            let delay = self.random.range(100, 15_000);
            self.at(delay, Happening::Resume(any));
        }
        if self.random.chance(self.faults.disconnect) && self.hosts[any].up && self.hosts[any].connected {
            self.coverage.disconnects += 1;
            self.disconnect(any);
            let (delay, life) = (self.random.range(10, 10_000), self.hosts[any].life);
            self.at(delay, Happening::Connect { host: any, life });
        }
        let any = self.random.below(count) as usize;
        if self.random.chance(self.faults.drain) && self.hosts[any].up {
            self.coverage.drains += 1;
            self.hosts[any].draining = true;
            self.step_host(any, RunnerEvent::StateRequested { state: scheduler::NodeState::ShuttingDown });
        }
        if self.random.chance(self.faults.slow) {
            self.hosts[any].slowness = self.random.range(1, 20);
        }
        let query = self.random.below(self.plans.len() as u64 * 5) as usize;
        if query < self.plans.len() && self.random.chance(self.faults.cancel) {
            self.at(1, Happening::Cancel(query));
        }
    }

    /// The stream of a machine breaks; the core may hear of it.
    fn disconnect(&mut self, host: usize) {
        self.hosts[host].connected = false;
        if self.hosts[host].up {
            self.step_host(host, RunnerEvent::Disconnected);
        }
        if self.random.below(4) > 0 {
            let state = &self.hosts[host];
            let event =
                Event::WorkerDisconnected { node: state.name.clone(), incarnation: Incarnation(state.life) };
            let delay = self.random.delay(self.faults.network_mean);
            self.at(delay, Happening::ToCore(Box::new(event)));
        }
    }

    fn crash(&mut self, host: usize) {
        if !self.hosts[host].up {
            return;
        }
        self.coverage.crashes += 1;
        self.hosts[host].up = false;
        self.hosts[host].held_back.clear();
        self.disconnect(host);
        let delay = self.random.range(50, 20_000);
        self.at(delay, Happening::Restart(host));
    }

    fn end_chaos(&mut self) {
        self.calm = true;
        for host in 0..self.hosts.len() {
            self.hosts[host].slowness = 1;
            if self.faults.abandon {
                self.crash(host);
            } else if self.hosts[host].draining && self.hosts[host].up {
                // A machine that was told to go does, and comes back.
                self.crash(host);
                self.restart(host);
            } else if self.hosts[host].paused {
                self.at(1, Happening::Resume(host));
            } else if !self.hosts[host].up {
                self.restart(host);
            }
        }
    }
}
