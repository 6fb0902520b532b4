//! A worker's machine: the real runner, and attempts that only move numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{AttemptId, Incarnation, Millis, NodeId};
use scheduler::{AttemptSpec, Capacity, NodeState, Runner, RunnerCommand, RunnerEvent, RunnerOptions};

use crate::bug::Bug;
use crate::fault::Fault;
use crate::happening::{Happening, Parcel, Source};
use crate::world::World;

/// A worker that is not answered when it asks for a stream asks again after so long.
const DIAL_PATIENCE: u64 = 3_000;
/// A worker that is refused asks somebody else within this time.
const DIAL_AGAIN: u64 = 600;

/// A coordinator may hear so late that a stream is broken.
const GOODBYE_MAX: u64 = 5_000;

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Reading,
    Computing,
    Writing,
    Committing,
    ReadingBack,
    /// Others read what it wrote.
    Flushing,
}

/// An attempt that runs.
#[derive(Clone, Debug)]
pub struct Execution {
    pub spec: AttemptSpec,
    pub sources: Option<Arc<Vec<Source>>>,
    pub phase: Phase,
    /// How often the store was asked in vain since it last answered.
    pub tries: u32,
    /// What was read of each source so far.
    pub read: BTreeMap<usize, Vec<u64>>,
    pub output: Option<scheduler::OutputSize>,
    /// It was told to stop, and will in a moment.
    pub stopping: bool,
}

pub struct Host {
    pub name: NodeId,
    pub life: u64,
    pub runner: Runner,
    pub up: bool,
    pub paused: bool,
    pub paused_at: u64,
    /// It comes when queries run already.
    pub joins_late: bool,
    /// The coordinator process it has a stream to, and the number of the stream.
    pub stream: Option<(u64, u64)>,
    /// The newest stream it ever had: an older one is closed when it opens late.
    stream_newest: u64,
    /// When it asks for a stream next.
    dial_at: Option<u64>,
    dials: usize,
    pub state: NodeState,
    /// How much slower than others it is.
    pub slowness: u64,
    pub capacity: Capacity,
    /// What happened to it while it was paused.
    pub held_back: Vec<Happening>,
    pub executions: BTreeMap<AttemptId, Execution>,
    /// What it was told with the attempts that it holds.
    pub sources: BTreeMap<AttemptId, Option<Arc<Vec<Source>>>>,
    /// When it is woken for its runner's deadline.
    pub tick_at: Option<u64>,
    /// The newest order it has heard.
    pub told: Option<(base::Epoch, u64)>,
    options: RunnerOptions,
}

impl Host {
    pub fn new(number: usize, capacity: Capacity, drain_grace: u64) -> Host {
        let options = RunnerOptions { drain_grace: Millis(drain_grace), ..RunnerOptions::default() };
        Host {
            name: NodeId::new(format!("w{number}")),
            life: 0,
            runner: Runner::with_options(Incarnation(0), capacity, options.clone()),
            up: false,
            paused: false,
            paused_at: 0,
            joins_late: false,
            stream: None,
            stream_newest: 0,
            dial_at: None,
            dials: number,
            state: NodeState::Active,
            slowness: 1,
            capacity,
            held_back: Vec::new(),
            executions: BTreeMap::new(),
            sources: BTreeMap::new(),
            tick_at: None,
            told: None,
            options,
        }
    }

    fn start(&mut self, bug: Option<Bug>) {
        self.life += 1;
        self.runner = Runner::with_options(Incarnation(self.life), self.capacity, self.options.clone());
        if let Some(Bug::Scheduler(bug)) = bug {
            self.runner.plant(bug);
        }
        self.up = true;
        self.paused = false;
        self.stream = None;
        self.state = NodeState::Active;
        self.held_back.clear();
        self.executions.clear();
        self.sources.clear();
        self.tick_at = None;
        self.told = None;
    }
}

impl World {
    /// A worker's process starts, unless nobody comes back any more.
    pub fn start_host(&mut self, at: usize) {
        if self.hosts[at].up || (self.calm && self.faults.is_on(Fault::Abandonment)) {
            return;
        }
        self.hosts[at].start(self.bug);
        self.dial_in(at, 20);
    }

    /// A worker's process dies, and another one starts later.
    pub fn crash_host(&mut self, at: usize) {
        if !self.hosts[at].up {
            return;
        }
        self.stop_host(at);
        let most = if self.calm { 2_000 } else { 20_000 };
        let delay = self.random.range(50, most);
        self.at(delay, Happening::Start { host: at });
    }

    /// A worker's process is gone.
    pub fn stop_host(&mut self, at: usize) {
        self.hosts[at].up = false;
        self.hosts[at].held_back.clear();
        self.break_stream(at, false);
    }

    /// The stream of a worker breaks; the coordinator may hear of it.
    pub fn break_stream(&mut self, at: usize, host_hears: bool) {
        let Some((process, stream)) = self.hosts[at].stream else {
            return;
        };
        let life = self.hosts[at].life;
        self.ledger.note_trouble(at, self.now);
        if host_hears {
            self.stream_ended(at, stream);
        }
        if self.random.below(4) > 0 {
            let late = if self.random.below(4) == 0 { self.random.below(GOODBYE_MAX) } else { 0 };
            let delay = late + self.random.delay(self.network_mean);
            self.at(delay, Happening::WorkerGone { process, host: at, life, stream });
        }
    }

    /// A worker knows that a stream is broken, and looks for another.
    pub fn stream_ended(&mut self, at: usize, stream: u64) {
        if self.hosts[at].stream.is_none_or(|(_, number)| number != stream) {
            return;
        }
        self.hosts[at].stream = None;
        self.ledger.note_trouble(at, self.now);
        self.step_host(at, RunnerEvent::Disconnected);
        let delay = self.random.delay(200);
        self.dial_in(at, delay);
    }

    /// A worker asks for a stream after a while, and not before.
    fn dial_in(&mut self, at: usize, delay: u64) {
        let life = self.hosts[at].life;
        self.hosts[at].dial_at = Some(self.now + delay);
        self.at(delay, Happening::Dial { host: at, life });
    }

    /// A worker without a stream asks somebody for one.
    fn dial(&mut self, at: usize) {
        if self.hosts[at].stream.is_some() || self.hosts[at].dial_at.is_none_or(|at| at > self.now) {
            return;
        }
        let life = self.hosts[at].life;
        self.hosts[at].dials += 1;
        let machine = self.hosts[at].dials % self.machines.len();
        let delay = self.random.delay(self.network_mean);
        if !self.is_cut(at) {
            self.at(delay, Happening::DialArrives { host: at, life, machine });
        }
        self.dial_in(at, DIAL_PATIENCE);
    }

    /// Something happens to a worker, if it is still the same process; later, if it is paused.
    pub fn on_host(&mut self, at: usize, life: u64, happening: Happening) -> Result<(), String> {
        let host = &mut self.hosts[at];
        if !host.up || host.life != life {
            return Ok(());
        }
        if host.paused {
            host.held_back.push(happening);
            return Ok(());
        }
        match happening {
            Happening::Dial { .. } => self.dial(at),
            Happening::DialRefused { .. } if host.stream.is_none() => {
                let delay = self.random.range(1, DIAL_AGAIN);
                self.dial_in(at, delay);
            }
            Happening::Connected { process, stream, .. }
                if host.stream.is_none()
                    && stream > host.stream_newest
                    && self.ledger.streams.get(&(process, at)) == Some(&stream) =>
            {
                host.stream_newest = stream;
                host.stream = Some((process, stream));
                self.ledger.note_trouble(at, self.now);
                self.step_host(at, RunnerEvent::Connected);
            }
            Happening::StreamEnded { stream, .. } => self.stream_ended(at, stream),
            Happening::Desired { process, stream, epoch, sequence, parcels, .. } => {
                // What an older stream carried may be read late, if it was to another coordinator.
                if host.stream.is_some_and(|(to, newest)| to != process || newest == stream) {
                    self.receive(at, epoch, sequence, &parcels);
                }
            }
            Happening::HostTick { at: tick, .. } if host.tick_at == Some(tick) => {
                host.tick_at = None;
                self.step_host(at, RunnerEvent::Tick);
            }
            Happening::Stopped { attempt, .. } => {
                if host.executions.remove(&attempt).is_some() {
                    let status = scheduler::AttemptStatus::Failed(base::Error::internal("stopped").into());
                    let event = RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes: 0 };
                    self.step_host(at, event);
                }
            }
            Happening::Progress { attempt, .. } => self.progress(at, attempt)?,
            Happening::Pull { attempt, at: source, .. } => self.pull(at, attempt, source)?,
            Happening::Drain { state, .. } => self.drain_host(at, state),
            Happening::Undrain { .. } => {
                host.state = NodeState::Active;
                self.step_host(at, RunnerEvent::StateRequested { state: NodeState::Active });
            }
            _ => {}
        }
        Ok(())
    }

    fn receive(&mut self, at: usize, epoch: base::Epoch, sequence: u64, parcels: &[Parcel]) {
        let told = self.hosts[at].told;
        if told < Some((epoch, sequence)) {
            let known = std::mem::take(&mut self.hosts[at].sources);
            let sources = parcels.iter().map(|(spec, sources)| {
                let before = known.get(&spec.attempt).cloned().flatten();
                (spec.attempt, before.or_else(|| sources.clone()))
            });
            self.hosts[at].sources = sources.collect();
            self.hosts[at].told = Some((epoch, sequence));
        }
        self.sometimes("orders of an older epoch", told.is_some_and(|(newest, _)| newest > epoch));
        let running = |world: &World| -> Vec<AttemptId> {
            let executions = world.hosts[at].executions.iter();
            executions.filter(|(_, execution)| !execution.stopping).map(|(attempt, _)| *attempt).collect()
        };
        let before = running(self);
        let attempts = parcels.iter().map(|(spec, _)| spec.clone()).collect();
        self.step_host(at, RunnerEvent::Desired { epoch, sequence, attempts });
        if told.is_some_and(|(newest, _)| newest > epoch) && running(self) != before {
            self.violate(format!("I-14: w{at} obeys epoch {} after a newer one", epoch.0));
        }
    }

    pub fn step_host(&mut self, at: usize, event: RunnerEvent) {
        let mut commands = Vec::new();
        self.hosts[at].runner.step(Millis(self.now), event, &mut commands);
        let life = self.hosts[at].life;
        for command in commands {
            self.note(|| match &command {
                RunnerCommand::Start { spec } => format!("  w{at} starts {}", spec.attempt),
                RunnerCommand::Cancel { attempt } => format!("  w{at} cancels {attempt}"),
                RunnerCommand::Report(_) => String::new(),
            });
            match command {
                RunnerCommand::Start { spec } => self.start_attempt(at, spec),
                RunnerCommand::Cancel { attempt } => {
                    if let Some(execution) = self.hosts[at].executions.get_mut(&attempt) {
                        execution.stopping = true;
                    }
                    let delay = self.random.delay(100);
                    self.at(delay, Happening::Stopped { host: at, life, attempt });
                }
                RunnerCommand::Report(report) => {
                    if let Some((process, stream)) = self.hosts[at].stream {
                        let report = Box::new(report);
                        self.send(at, true, stream, Happening::Report { process, stream, host: at, report });
                    }
                }
            }
        }
        let host = &mut self.hosts[at];
        if host.state == NodeState::ShuttingDown && host.runner.is_idle() && host.up {
            self.stop_host(at);
            let delay = self.random.range(50, 5_000);
            self.at(delay, Happening::Start { host: at });
            return;
        }
        if let Some(tick) = host.runner.next_deadline()
            && host.tick_at.is_none_or(|earlier| tick.0 < earlier || earlier < self.now)
        {
            host.tick_at = Some(tick.0);
            let delay = tick.0.saturating_sub(self.now);
            self.at(delay, Happening::HostTick { host: at, life, at: tick.0 });
        }
    }

    fn start_attempt(&mut self, at: usize, spec: AttemptSpec) {
        let attempt = spec.attempt;
        let life = self.hosts[at].life;
        if self.ledger.forbidden.contains(&(attempt.task.query, at, life)) {
            self.violate(format!("I-7: {attempt} starts on w{at} although its query is released"));
        }
        if let Some(violation) = self.ledger.note_start(attempt) {
            self.violate(violation);
        }
        let executions = self.hosts[at].executions.values();
        let leased = executions.filter(|execution| !execution.spec.is_pipelined);
        let held = leased.map(|execution| execution.spec.memory_bytes);
        let (count, bytes) = held.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
        let capacity = self.hosts[at].capacity;
        let is_over =
            count >= capacity.slots || count > 0 && bytes + spec.memory_bytes > capacity.memory_bytes;
        if is_over && !spec.is_pipelined {
            self.violate(format!(
                "I-5: w{at} starts {attempt} beside {count} others that hold {bytes} bytes"
            ));
        }
        let sources = self.hosts[at].sources.get(&attempt).cloned().flatten();
        let execution = Execution {
            spec,
            sources,
            phase: Phase::Reading,
            tries: 0,
            read: BTreeMap::new(),
            output: None,
            stopping: false,
        };
        self.hosts[at].executions.insert(attempt, execution);
        self.at(1, Happening::Progress { host: at, life, attempt });
    }
}
