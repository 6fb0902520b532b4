//! The shell around [`Runner`]: facts in, and what it decides done.
//!
//! One task owns everything that changes. It never waits for an attempt, a store or the coordinator.

mod held;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{AttemptId, Epoch, Error, Failure, Millis};
use protocol::client::node_state;
use protocol::node::{AttemptDetails, wire};
use scheduler::{AttemptSpec, NodeState, Runner, RunnerCommand, RunnerEvent, TaskInput, WorkerReport};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::held::{Held, Running};
use crate::attempt::{self, AttemptEnvironment, MemoryGrant, Output};
use crate::descriptors::{Descriptors, Wanted};
use crate::memory::{ProcessMonitor, ProcessUsage};
use crate::report::wire_report;
use crate::status::NodeStatus;
use crate::work::{Ended, Work};

/// How often the node looks at its attempts.
const TICK_INTERVAL: Duration = Duration::from_millis(100);

/// An attempt that was told to end and has not after so long is ended without its consent. Its threads are stuck.
const CANCEL_GRACE: Duration = Duration::from_secs(30);

/// A worker that shuts down is there for so long at least after it has stopped to take attempts: one that the
/// coordinator placed before it knew would be lost with the worker, and is handed back like this.
const LEAVE_NOTICE: Duration = Duration::from_secs(1);

/// How many events are taken note of before a report is sent of what came of them.
const EVENTS_AT_ONCE: usize = 64;

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
    Ended { attempt: AttemptId, outcome: Result<Output, Failure> },
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
    /// The newest state that was not sent yet.
    unsent: Option<WorkerReport>,
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
            unsent: None,
        }
    }

    /// Runs until the node has shut down.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<NodeEvent>) {
        let mut ticks = interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut arrived = Vec::with_capacity(EVENTS_AT_ONCE);
        while !self.has_shut_down() {
            tokio::select! {
                _ = events.recv_many(&mut arrived, EVENTS_AT_ONCE) => {
                    arrived.drain(..).for_each(|event| self.handle(event));
                }
                _ = ticks.tick() => self.tick(),
            }
            // What happened at once is told at once, and once.
            if let Some(report) = self.unsent.take() {
                self.report(report);
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
                let input = Arc::new(TaskInput::default());
                let spec = |Wanted { attempt, memory_bytes, is_pipelined }| AttemptSpec {
                    attempt,
                    memory_bytes,
                    input: Arc::clone(&input),
                    is_pipelined,
                };
                let attempts = attempts.into_iter().map(spec).collect();
                self.step(RunnerEvent::Desired { epoch, sequence, attempts });
            }
            Err(error) => tracing::error!(%error, "the coordinator sent a message that makes no sense"),
        }
    }

    /// An attempt ended, whether its task is still there or was given up.
    fn ended(&mut self, attempt: AttemptId, outcome: Result<Output, Failure>) {
        let Some(Held::Running(running)) = self.held.get_mut(&attempt) else {
            return;
        };
        let ending = running.ending.take();
        let is_unwanted = ending.as_ref().is_some_and(|ending| ending.error.is_none());
        let verdict = ending.and_then(|ending| ending.error);
        let outcome = match (outcome, verdict) {
            (Err(_), Some(verdict)) => Err(Failure::of(verdict)),
            (outcome, _) => outcome,
        };
        let peak_memory_bytes = running.progress.pool.peak_bytes();
        self.ended_work.add(&Work::of(&running.progress));
        let how = match &outcome {
            Ok(_) => Ended::Committed,
            Err(_) if is_unwanted => Ended::Aborted,
            Err(_) => Ended::Failed,
        };
        if let Err(Failure { error, .. }) = &outcome {
            if is_unwanted {
                tracing::info!(%attempt, "an attempt was ended that is not wanted here any more");
            } else {
                tracing::info!(%attempt, code = %error.code(), %error, "an attempt failed");
            }
        }
        let (status, ended) = held::ended(attempt, outcome, running.progress.stats());
        self.held.insert(attempt, Held::Ended(Box::new(ended)));
        // Whoever sees that it ended also sees what it did.
        self.tell_work();
        self.parts.status.attempt_ended(how);
        self.step(RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes });
    }

    fn tick(&mut self) {
        self.usage = self.parts.monitor.look(Instant::now());
        self.parts.status.used(self.parts.environment.memory.reserved_bytes(), self.usage);
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
            Held::Running(running) => Some((attempt, &**running)),
            Held::Ended(_) => None,
        })
    }

    fn peaks(&self) -> Vec<(AttemptId, u64)> {
        self.running().map(|(attempt, running)| (*attempt, running.progress.pool.peak_bytes())).collect()
    }

    /// Ends attempts that do nothing, and gives up those that do not end.
    fn watch_attempts(&mut self) {
        let now = Instant::now();
        let mut given_up = Vec::new();
        for (attempt, held) in &mut self.held {
            let Held::Running(running) = held else { continue };
            running.look(now);
            match &running.ending {
                None => {
                    if let Some(error) = running.observe(now) {
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
            let error = Error::internal("The attempt was cancelled and did not end");
            self.ended(attempt, Err(Failure::of(error)));
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
                RunnerCommand::Report(report) => self.unsent = Some(report),
            }
        }
        let state = self.parts.runner.state();
        if self.parts.status.set_state(state) && state == NodeState::Drained {
            tracing::info!("the worker is drained: it holds nothing and can be shut down");
        }
    }

    fn start(&mut self, attempt: AttemptId) {
        let descriptor = self.descriptors.take(&attempt);
        let memory = descriptor.as_ref().map_or(MemoryGrant::Lease(0), |descriptor| descriptor.memory);
        let progress = self.parts.environment.progress(attempt, memory);
        let cancel = CancellationToken::new();
        let work = {
            let (environment, progress) = (Arc::clone(&self.parts.environment), Arc::clone(&progress));
            let (cancel, events) = (cancel.clone(), self.parts.events.clone());
            async move {
                let outcome = match descriptor {
                    Ok(descriptor) => attempt::run(environment, descriptor, progress, cancel).await,
                    Err(error) => Err(Failure::of(error)),
                };
                // The node may be gone, and nobody else cares.
                events.send(NodeEvent::Ended { attempt, outcome }).await.ok();
            }
        };
        // What a plan spawns runs where the plan runs, so the whole attempt does.
        let task = self.parts.attempts.spawn(work).abort_handle();
        let timeout = self.parts.no_progress_timeout;
        let running = Running::new(progress, memory.lease_bytes(), timeout, cancel, task);
        self.parts.status.attempt_started();
        self.held.insert(attempt, Held::Running(Box::new(running)));
    }

    /// Publishes the newest state. It replaces what was not sent yet.
    fn report(&mut self, report: WorkerReport) {
        let reported: Vec<AttemptId> = report.attempts.iter().map(|each| each.attempt).collect();
        // What is not reported any more was acknowledged.
        self.held.retain(|attempt, held| {
            matches!(held, Held::Running(_)) || reported.binary_search(attempt).is_ok()
        });
        let usage = wire::NodeUsage {
            memory_reserved_bytes: self.parts.environment.memory.reserved_bytes(),
            resident_bytes: self.usage.resident_bytes,
            cpu_load: self.usage.cpu_load,
        };
        let report = wire_report(report, usage, |attempt| {
            self.held.get(attempt).map_or_else(AttemptDetails::default, Held::details)
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
