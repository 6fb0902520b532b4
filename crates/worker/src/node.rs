//! The shell around [`Runner`]: facts in, and what it decides done.
//!
//! One task owns everything that changes. It never waits for an attempt, a store or the coordinator.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{AttemptId, Epoch, Error, Failure, Millis, Result};
use exchange::Committed;
use protocol::client::node_state;
use protocol::node::{AttemptDetails, wire};
use scheduler::{
    AttemptSpec, AttemptStatus, NodeState, OutputSize, Runner, RunnerCommand, RunnerEvent, TaskInput,
    WorkerReport,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::attempt::{self, AttemptEnvironment, AttemptProgress, panic_error};
use crate::descriptors::Descriptors;
use crate::memory::{ProcessMonitor, ProcessUsage};
use crate::report::wire_report;
use crate::status::NodeStatus;
use crate::watchdog::Watchdog;
use crate::work::{Ended, Work};

/// How often the node looks at its attempts.
const TICK_INTERVAL: Duration = Duration::from_millis(100);

/// An attempt that was told to end and has not after so long is ended without its consent. Its threads are stuck.
const CANCEL_GRACE: Duration = Duration::from_secs(30);

/// A worker that shuts down is there for so long at least after it has stopped to take attempts: one that the
/// coordinator placed before it knew would be lost with the worker, and is handed back like this.
const LEAVE_NOTICE: Duration = Duration::from_secs(1);

/// What the node is told.
#[derive(Debug)]
pub(crate) enum NodeEvent {
    /// There is a stream to the coordinator.
    Connected,
    /// The stream broke.
    Disconnected,
    /// A newer life of this node has taken the place of this one.
    Superseded,
    /// What the coordinator desires.
    Desired(wire::Desired),
    /// An attempt ended.
    Ended { attempt: AttemptId, outcome: Result<Committed> },
    /// The worker is to be in another state. Tells whether it can be.
    StateRequested { state: NodeState, answer: oneshot::Sender<bool> },
}

/// What a node is made of.
pub(crate) struct NodeParts {
    pub(crate) runner: Runner,
    pub(crate) environment: Arc<AttemptEnvironment>,
    /// Where attempts compute.
    pub(crate) attempts: Handle,
    /// Where attempts tell their end.
    pub(crate) events: mpsc::Sender<NodeEvent>,
    pub(crate) reports: watch::Sender<Option<wire::WorkerReport>>,
    pub(crate) status: Arc<NodeStatus>,
    pub(crate) monitor: ProcessMonitor,
    pub(crate) no_progress_timeout: Duration,
}

/// The node.
pub(crate) struct Node {
    parts: NodeParts,
    started: Instant,
    usage: ProcessUsage,
    desired_seen: Option<(Epoch, u64)>,
    descriptors: Descriptors,
    held: BTreeMap<AttemptId, Held>,
    /// What attempts have done that have ended.
    ended_work: Work,
    is_connected: bool,
    /// Since when it takes no attempts.
    inactive_since: Option<Instant>,
}

/// An attempt that the node holds.
enum Held {
    Running(Running),
    Ended(AttemptDetails),
}

struct Running {
    progress: Arc<AttemptProgress>,
    memory_bytes: u64,
    watchdog: Watchdog,
    cancel: CancellationToken,
    task: AbortHandle,
    ending: Option<Ending>,
}

/// The attempt was told to end.
struct Ending {
    since: Instant,
    /// What it failed with, if it is the node that ended it.
    error: Option<Error>,
}

impl Node {
    pub(crate) fn new(parts: NodeParts) -> Self {
        Node {
            parts,
            started: Instant::now(),
            usage: ProcessUsage::default(),
            desired_seen: None,
            descriptors: Descriptors::default(),
            held: BTreeMap::new(),
            ended_work: Work::default(),
            is_connected: false,
            inactive_since: None,
        }
    }

    /// Runs until the node has shut down.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<NodeEvent>) {
        let mut ticks = interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.has_shut_down() {
            tokio::select! {
                Some(event) = events.recv() => self.handle(event),
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn handle(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Connected => {
                self.is_connected = true;
                self.step(RunnerEvent::Connected);
            }
            NodeEvent::Disconnected => {
                self.is_connected = false;
                self.step(RunnerEvent::Disconnected);
            }
            NodeEvent::Superseded => {
                self.step(RunnerEvent::Superseded);
                self.held.retain(|_, held| matches!(held, Held::Running(_)));
            }
            NodeEvent::Desired(desired) => self.desired(desired),
            NodeEvent::Ended { attempt, outcome } => self.ended(attempt, outcome),
            NodeEvent::StateRequested { state, answer } => {
                let from = self.parts.runner.state();
                let can_follow = node_state::can_follow(from, state);
                if can_follow && from != state {
                    self.change_state(from, state);
                }
                // Whoever asked may have gone away.
                answer.send(can_follow).ok();
            }
        }
    }

    fn change_state(&mut self, from: NodeState, to: NodeState) {
        let (from, running) = (node_state::as_str(from), self.running().count());
        match to {
            NodeState::Active => tracing::info!(from, "the worker is active again"),
            NodeState::Draining => tracing::info!(from, running, "Drain requested"),
            NodeState::ShuttingDown => tracing::info!(from, running, "Shutdown requested"),
            NodeState::Drained => {}
        }
        if to == NodeState::Active {
            self.inactive_since = None;
        } else {
            self.inactive_since.get_or_insert_with(Instant::now);
        }
        self.step(RunnerEvent::StateRequested { state: to });
    }

    fn desired(&mut self, desired: wire::Desired) {
        let (epoch, sequence) = (Epoch(desired.epoch), desired.sequence);
        // What an older message leaves out is not to be forgotten.
        if self.desired_seen >= Some((epoch, sequence)) {
            return;
        }
        self.desired_seen = Some((epoch, sequence));
        match self.descriptors.merge(desired) {
            Ok(attempts) => {
                let spec = |(attempt, memory_bytes)| AttemptSpec {
                    attempt,
                    memory_bytes,
                    input: Arc::new(TaskInput::default()),
                    is_pipelined: false,
                };
                let attempts = attempts.into_iter().map(spec).collect();
                self.step(RunnerEvent::Desired { epoch, sequence, attempts });
            }
            Err(error) => tracing::error!(%error, "the coordinator sent a message that makes no sense"),
        }
    }

    /// An attempt ended, whether its task is still there or was given up.
    fn ended(&mut self, attempt: AttemptId, outcome: Result<Committed>) {
        let Some(Held::Running(running)) = self.held.get_mut(&attempt) else {
            return;
        };
        let ending = running.ending.take();
        let is_unwanted = ending.as_ref().is_some_and(|ending| ending.error.is_none());
        let verdict = ending.and_then(|ending| ending.error);
        let outcome = match (outcome, verdict) {
            (Err(_), Some(verdict)) => Err(verdict),
            (outcome, _) => outcome,
        };
        let peak_memory_bytes = running.progress.pool.peak_bytes();
        self.ended_work.add(&Work::of(&running.progress));
        self.parts.status.attempt_ended(match &outcome {
            Ok(_) => Ended::Committed,
            Err(_) if is_unwanted => Ended::Aborted,
            Err(_) => Ended::Failed,
        });
        let mut details = AttemptDetails { stats: running.progress.stats(), ..AttemptDetails::default() };
        let status = match outcome {
            Ok(Committed { winner, record }) => {
                details.commit_record = record.encode();
                let output = OutputSize {
                    rows: record.rows(),
                    partition_bytes: record.partition_bytes(),
                    checksum: record.checksum(),
                };
                AttemptStatus::Committed { winner, output }
            }
            Err(error) => {
                if is_unwanted {
                    tracing::info!(%attempt, "an attempt was ended that is not wanted here any more");
                } else {
                    tracing::info!(%attempt, code = %error.code(), %error, "an attempt failed");
                }
                AttemptStatus::Failed(Failure::of(error))
            }
        };
        self.held.insert(attempt, Held::Ended(details));
        self.step(RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes });
    }

    fn tick(&mut self) {
        self.usage = self.parts.monitor.look(Instant::now());
        self.parts.status.used(self.reserved_bytes(), self.usage);
        self.tell_work();
        self.watch_attempts();
        for (attempt, peak_memory_bytes) in self.peaks() {
            self.step(RunnerEvent::AttemptProgressed { attempt, peak_memory_bytes });
        }
        self.step(RunnerEvent::Tick);
    }

    /// Tells what all attempts have done and what they have.
    fn tell_work(&self) {
        let mut work = self.ended_work;
        let mut leased_bytes: u64 = 0;
        let mut count = 0;
        for (_, running) in self.running() {
            work.add(&Work::of(&running.progress));
            leased_bytes = leased_bytes.saturating_add(running.memory_bytes);
            count += 1;
        }
        self.parts.status.worked(work, count, leased_bytes);
    }

    fn running(&self) -> impl Iterator<Item = (&AttemptId, &Running)> {
        self.held.iter().filter_map(|(attempt, held)| match held {
            Held::Running(running) => Some((attempt, running)),
            Held::Ended(_) => None,
        })
    }

    fn peaks(&self) -> Vec<(AttemptId, u64)> {
        self.running().map(|(attempt, running)| (*attempt, running.progress.pool.peak_bytes())).collect()
    }

    fn reserved_bytes(&self) -> u64 {
        use datafusion::execution::memory_pool::MemoryPool;
        self.running().map(|(_, running)| running.progress.pool.reserved() as u64).sum()
    }

    /// Ends attempts that do nothing, and gives up those that do not end.
    fn watch_attempts(&mut self) {
        let now = Instant::now();
        let mut given_up = Vec::new();
        for (attempt, held) in &mut self.held {
            let Held::Running(running) = held else { continue };
            match &running.ending {
                None => {
                    if let Some(error) = running.watchdog.observe(now, running.progress.progress()) {
                        tracing::warn!(%attempt, %error, "an attempt does nothing");
                        running.end(now, Some(error));
                    }
                }
                Some(ending) if now.duration_since(ending.since) >= CANCEL_GRACE => {
                    tracing::error!(%attempt, "an attempt does not end and is given up; its thread may be stuck");
                    running.task.abort();
                    given_up.push(*attempt);
                }
                Some(_) => {}
            }
        }
        for attempt in given_up {
            self.ended(attempt, Err(Error::internal("The attempt was cancelled and did not end")));
        }
    }

    fn step(&mut self, event: RunnerEvent) {
        let now = self.now();
        let mut commands = Vec::new();
        self.parts.runner.step(now, event, &mut commands);
        for command in commands {
            match command {
                RunnerCommand::Start { spec } => self.start(spec.attempt),
                RunnerCommand::Cancel { attempt } => {
                    if let Some(Held::Running(running)) = self.held.get_mut(&attempt) {
                        running.end(Instant::now(), None);
                    }
                }
                RunnerCommand::Report(report) => self.report(report),
            }
        }
        let state = self.parts.runner.state();
        if self.parts.status.set_state(state) && state == NodeState::Drained {
            tracing::info!("the worker is drained: it holds nothing and can be shut down");
        }
    }

    fn start(&mut self, attempt: AttemptId) {
        let descriptor = self.descriptors.take(&attempt);
        let memory_bytes = descriptor.as_ref().map_or(0, |descriptor| descriptor.memory_bytes);
        let progress = self.parts.environment.progress(attempt, memory_bytes);
        let cancel = CancellationToken::new();
        let work = {
            let (environment, progress) = (Arc::clone(&self.parts.environment), Arc::clone(&progress));
            let cancel = cancel.clone();
            async move { attempt::run(environment, descriptor?, progress, cancel).await }
        };
        // What a plan spawns runs where the plan runs, so the whole attempt does.
        let task = self.parts.attempts.spawn(work);
        let watchdog = Watchdog::new(self.parts.no_progress_timeout, Instant::now());
        let running =
            Running { progress, memory_bytes, watchdog, cancel, task: task.abort_handle(), ending: None };
        self.parts.status.attempt_started();
        self.held.insert(attempt, Held::Running(running));
        tokio::spawn(tell_end(attempt, task, self.parts.events.clone()));
    }

    /// Publishes the newest state. It replaces what was not sent yet.
    fn report(&mut self, report: WorkerReport) {
        let reported: Vec<AttemptId> = report.attempts.iter().map(|each| each.attempt).collect();
        // What is not reported any more was acknowledged.
        self.held.retain(|attempt, held| {
            matches!(held, Held::Running(_)) || reported.binary_search(attempt).is_ok()
        });
        let usage = wire::NodeUsage {
            memory_reserved_bytes: self.reserved_bytes(),
            resident_bytes: self.usage.resident_bytes,
            cpu_load: self.usage.cpu_load,
        };
        let report = wire_report(report, usage, |attempt| match self.held.get(attempt) {
            Some(Held::Running(running)) => {
                AttemptDetails { stats: running.progress.stats(), ..AttemptDetails::default() }
            }
            Some(Held::Ended(details)) => details.clone(),
            None => AttemptDetails::default(),
        });
        self.parts.reports.send_replace(Some(report));
    }

    /// Whether the node was told to shut down and nobody would miss it.
    fn has_shut_down(&self) -> bool {
        if self.parts.runner.state() != NodeState::ShuttingDown || self.running().next().is_some() {
            return false;
        }
        // A coordinator that is there takes note of what has ended; one that is away finds it in the exchange.
        let has_given_notice = self.inactive_since.is_some_and(|since| since.elapsed() >= LEAVE_NOTICE);
        !self.is_connected || (self.parts.runner.is_idle() && has_given_notice)
    }
}

impl Running {
    fn end(&mut self, now: Instant, error: Option<Error>) {
        self.cancel.cancel();
        // An attempt that computes without a pause notices late that it is to end; its files need not wait for that.
        self.progress.spill.close();
        if self.ending.is_none() {
            self.ending = Some(Ending { since: now, error });
        }
    }
}

/// Waits for an attempt's task and tells the node how it ended.
async fn tell_end(attempt: AttemptId, task: JoinHandle<Result<Committed>>, events: mpsc::Sender<NodeEvent>) {
    let outcome = match task.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Err(panic_error(panic.as_ref())),
            Err(_) => Err(Error::internal("The attempt was given up")),
        },
    };
    // The node may be gone, and nobody else cares.
    events.send(NodeEvent::Ended { attempt, outcome }).await.ok();
}
