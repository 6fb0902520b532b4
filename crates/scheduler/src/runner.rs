//! The worker's half of the scheduler, in the same form as the core: facts in, commands out.
//!
//! A runner holds the attempts it was told to hold. It starts them in the order they came, as slots and memory
//! allow; it stops what is no longer desired; it reports everything it holds on every change and at every
//! interval. An ended attempt is reported until it is no longer desired: its absence acknowledges it. An
//! attempt that is being stopped is reported until it has really ended, so that whoever waits for nothing to be
//! held knows that nothing is being written any more.
//!
//! No attempt is started twice. One that is desired again, by somebody who had not heard of its end, is handed back.
//!
//! A runner that drains hands back what waits at once. What runs may go on for a grace period; then it is stopped
//! and handed back too. An attempt that is handed back has not failed: it is run elsewhere.

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use base::{AttemptId, Epoch, Incarnation, Millis};

use crate::command::AttemptSpec;
use crate::event::{AttemptReport, AttemptStatus, Capacity, NodeState, WorkerReport};
use crate::gone::GoneAttempts;
use crate::options::RunnerOptions;
use crate::planted::{Planted, PlantedBug};

/// What can happen on a worker.
#[derive(Clone, Debug)]
pub enum RunnerEvent {
    /// Time has passed; see [`Runner::next_deadline`].
    Tick,
    /// The coordinator told everything that should be held: the worker's side of
    /// [`crate::Command::SetDesired`]. The shell has checked that this life of the worker is meant.
    Desired {
        /// The life of the coordinator.
        epoch: Epoch,
        /// Grows with each message of the epoch.
        sequence: u64,
        /// Everything that should be held.
        attempts: Vec<AttemptSpec>,
    },
    /// A running attempt goes on.
    AttemptProgressed {
        /// The attempt.
        attempt: AttemptId,
        /// The most memory it has used so far, in bytes.
        peak_memory_bytes: u64,
    },
    /// A started attempt has ended, by itself or because it was cancelled, and nothing of it runs any more.
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// How it ended.
        status: AttemptStatus,
        /// The most memory it used, in bytes.
        peak_memory_bytes: u64,
    },
    /// The stream to the coordinator broke. What runs goes on: it may still commit.
    Disconnected,
    /// There is a stream to the coordinator.
    Connected,
    /// The worker is to be in another state: [`NodeState::Draining`] and [`NodeState::ShuttingDown`] make it end or
    /// hand back what it holds, [`NodeState::Active`] makes it take attempts again. [`NodeState::Drained`] is
    /// what draining ends in and cannot be asked for.
    StateRequested {
        /// The state.
        state: NodeState,
    },
    /// A newer life of the node has taken the place of this one: nobody wants anything of it any more.
    Superseded,
}

/// What a worker must do.
#[derive(Clone, Debug, PartialEq)]
pub enum RunnerCommand {
    /// Run an attempt, and tell its end by [`RunnerEvent::AttemptEnded`].
    Start {
        /// The attempt.
        spec: AttemptSpec,
    },
    /// Stop an attempt. Its end is still to be told.
    Cancel {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Send the full state to the coordinator.
    Report(WorkerReport),
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// It waits for a slot and memory.
    Waiting,
    Running,
    /// It was told to stop, because it is not desired any more, and has not ended yet.
    Cancelling,
    /// It was told to stop, because the worker drains, and has not ended yet.
    HandingBack,
    Ended(AttemptStatus),
}

#[derive(Debug)]
struct Held {
    spec: AttemptSpec,
    phase: Phase,
    peak_bytes: u64,
}

/// The worker's half of the scheduler. See the module's documentation.
#[derive(Debug)]
pub struct Runner {
    incarnation: Incarnation,
    capacity: Capacity,
    options: RunnerOptions,
    state: NodeState,
    connected: bool,
    desired_seen: Option<(Epoch, u64)>,
    attempts: BTreeMap<AttemptId, Held>,
    /// The attempts that wait for a slot and memory, in the order they came.
    waiting: VecDeque<AttemptId>,
    gone: GoneAttempts,
    /// Slots and memory in use, also by what is being stopped.
    slots_used: u32,
    memory_used_bytes: u64,
    report_sequence: u64,
    reported_at: Option<Millis>,
    /// While it drains: when what still runs is stopped.
    drain_at: Option<Millis>,
    planted: Planted,
    /// The ends that were reported, for a planted bug.
    reported_ends: Vec<AttemptId>,
}

impl Runner {
    /// A runner for one life of a worker, with the default options. It is not connected yet.
    pub fn new(incarnation: Incarnation, capacity: Capacity) -> Runner {
        Runner::with_options(incarnation, capacity, RunnerOptions::default())
    }

    /// A runner for one life of a worker. It is not connected yet.
    pub fn with_options(incarnation: Incarnation, capacity: Capacity, options: RunnerOptions) -> Runner {
        Runner {
            incarnation,
            capacity,
            options,
            state: NodeState::Active,
            connected: false,
            desired_seen: None,
            attempts: BTreeMap::new(),
            waiting: VecDeque::new(),
            gone: GoneAttempts::default(),
            slots_used: 0,
            memory_used_bytes: 0,
            report_sequence: 0,
            reported_at: None,
            drain_at: None,
            planted: Planted::default(),
            reported_ends: Vec::new(),
        }
    }

    /// Plants a bug, for tests that must find it.
    #[cfg(feature = "planted-bugs")]
    #[doc(hidden)]
    pub fn plant(&mut self, bug: PlantedBug) {
        self.planted.set(bug);
    }

    /// The life of the worker.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether it takes new attempts.
    pub fn state(&self) -> NodeState {
        self.state
    }

    /// Whether nothing is held: a worker that shuts down may go.
    pub fn is_idle(&self) -> bool {
        self.attempts.is_empty()
    }

    /// When to call [`Runner::step`] with [`RunnerEvent::Tick`] if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Millis> {
        [self.next_report(), self.drain_at].into_iter().flatten().min()
    }

    fn next_report(&self) -> Option<Millis> {
        self.reported_at.filter(|_| self.connected).map(|at| at.plus(self.options.report_interval))
    }

    /// Takes note of a fact, and appends what is to be done because of it. Never fails, never waits.
    pub fn step(&mut self, now: Millis, event: RunnerEvent, commands: &mut Vec<RunnerCommand>) {
        let mut changed = self.apply(now, event, commands);
        changed |= self.drain(now, commands);
        changed |= self.start_waiting(commands);
        let due = self.next_report().is_some_and(|at| now >= at);
        if self.connected && (changed || due) {
            self.reported_at = Some(now);
            let report = self.report();
            commands.push(RunnerCommand::Report(report));
        }
    }

    /// Takes note of a fact. Whether it is to be reported at once.
    fn apply(&mut self, now: Millis, event: RunnerEvent, commands: &mut Vec<RunnerCommand>) -> bool {
        match event {
            RunnerEvent::Tick => false,
            RunnerEvent::Desired { epoch, sequence, attempts } => {
                let is_older_epoch = self.desired_seen.is_some_and(|(newest, _)| newest > epoch);
                let obeys = self.planted.is(match is_older_epoch {
                    true => PlantedBug::OldEpochObeyed,
                    false => PlantedBug::OrdersAsTheyCome,
                });
                if self.desired_seen >= Some((epoch, sequence)) && !obeys {
                    return false;
                }
                self.desired_seen = Some((epoch, sequence));
                self.hold(attempts, commands);
                true
            }
            RunnerEvent::AttemptProgressed { attempt, peak_memory_bytes } => {
                if let Some(held) = self.attempts.get_mut(&attempt) {
                    held.peak_bytes = held.peak_bytes.max(peak_memory_bytes);
                }
                false
            }
            RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes } => {
                self.on_ended(&attempt, status, peak_memory_bytes)
            }
            RunnerEvent::Disconnected => {
                self.connected = false;
                false
            }
            RunnerEvent::Connected => {
                self.connected = true;
                true
            }
            RunnerEvent::Superseded => {
                self.hold(Vec::new(), commands);
                false
            }
            RunnerEvent::StateRequested { state } => self.on_state_requested(now, state),
        }
    }

    /// Makes the attempts that are held those that are desired, as far as that goes at once.
    fn hold(&mut self, specs: Vec<AttemptSpec>, commands: &mut Vec<RunnerCommand>) {
        let desired: BTreeMap<AttemptId, AttemptSpec> =
            specs.iter().map(|spec| (spec.attempt, spec.clone())).collect();
        self.attempts.retain(|attempt, held| {
            if desired.contains_key(attempt) {
                if held.phase == Phase::Cancelling {
                    held.phase = Phase::HandingBack;
                }
                return true;
            }
            match held.phase {
                Phase::Running => {
                    held.phase = Phase::Cancelling;
                    commands.push(RunnerCommand::Cancel { attempt: *attempt });
                }
                Phase::HandingBack => held.phase = Phase::Cancelling,
                Phase::Ended(_) => self.gone.note(*attempt),
                Phase::Waiting | Phase::Cancelling => {}
            }
            held.phase == Phase::Cancelling
        });
        self.waiting.retain(|attempt| desired.contains_key(attempt));
        for spec in specs {
            let attempt = spec.attempt;
            if let Entry::Vacant(vacant) = self.attempts.entry(attempt) {
                if self.gone.contains(&attempt) {
                    let phase = Phase::Ended(AttemptStatus::HandedBack);
                    vacant.insert(Held { spec, phase, peak_bytes: 0 });
                    continue;
                }
                if spec.is_pipelined && self.state == NodeState::Active {
                    commands.push(RunnerCommand::Start { spec: spec.clone() });
                    vacant.insert(Held { spec, phase: Phase::Running, peak_bytes: 0 });
                    continue;
                }
                vacant.insert(Held { spec, phase: Phase::Waiting, peak_bytes: 0 });
                self.waiting.push_back(attempt);
            }
        }
    }

    /// The worker is to be in another state. Whether it is.
    fn on_state_requested(&mut self, now: Millis, state: NodeState) -> bool {
        let drains = match state {
            NodeState::Active => false,
            NodeState::Draining if self.state == NodeState::Drained => return false,
            NodeState::Draining | NodeState::ShuttingDown => true,
            NodeState::Drained => return false,
        };
        let before = core::mem::replace(&mut self.state, state);
        if !drains {
            self.drain_at = None;
        } else if before == NodeState::Active {
            self.drain_at = Some(now.plus(self.options.drain_grace));
        }
        before != state
    }

    /// Hands back what waits, and what has run for too long since the draining began. Whether anything changed.
    fn drain(&mut self, now: Millis, commands: &mut Vec<RunnerCommand>) -> bool {
        if self.state == NodeState::Active {
            return false;
        }
        let mut changed = false;
        while let Some(attempt) = self.waiting.pop_front() {
            if let Some(held) = self.attempts.get_mut(&attempt) {
                held.phase = Phase::Ended(AttemptStatus::HandedBack);
                changed = true;
            }
        }
        if self.drain_at.is_some_and(|at| now >= at) {
            self.drain_at = None;
            for (attempt, held) in self.attempts.iter_mut().filter(|(_, held)| held.phase == Phase::Running) {
                held.phase = Phase::HandingBack;
                commands.push(RunnerCommand::Cancel { attempt: *attempt });
            }
        }
        if self.state == NodeState::Draining && self.attempts.is_empty() {
            self.state = NodeState::Drained;
            self.drain_at = None;
            changed = true;
        }
        changed
    }

    fn on_ended(&mut self, attempt: &AttemptId, status: AttemptStatus, peak_bytes: u64) -> bool {
        let Some(held) = self.attempts.get_mut(attempt) else {
            return false;
        };
        let (stopped, status) = match (&held.phase, status) {
            (Phase::Waiting | Phase::Ended(_), _) => return false,
            (Phase::Running, status) => (false, status),
            (Phase::Cancelling, status) => (true, status),
            // It ended because it was told to; a commit that came before that counts.
            (Phase::HandingBack, status @ AttemptStatus::Committed { .. }) => (false, status),
            (Phase::HandingBack, _) => (false, AttemptStatus::HandedBack),
        };
        if !held.spec.is_pipelined {
            self.slots_used -= 1;
            self.memory_used_bytes -= held.spec.memory_bytes;
        }
        held.peak_bytes = held.peak_bytes.max(peak_bytes);
        held.phase = Phase::Ended(status);
        if stopped {
            self.attempts.remove(attempt);
            self.gone.note(*attempt);
        }
        true
    }

    /// Starts what waits, in order, as far as there is room. An attempt that is larger than the worker is
    /// started when nothing else runs.
    fn start_waiting(&mut self, commands: &mut Vec<RunnerCommand>) -> bool {
        let mut started = false;
        while let Some(attempt) = self.waiting.front().copied() {
            let Some(held) = self.attempts.get_mut(&attempt) else {
                self.waiting.pop_front();
                continue;
            };
            let memory_after = self.memory_used_bytes.saturating_add(held.spec.memory_bytes);
            let fits = self.slots_used < self.capacity.slots && memory_after <= self.capacity.memory_bytes;
            if !fits && self.slots_used > 0 {
                break;
            }
            self.waiting.pop_front();
            held.phase = Phase::Running;
            self.slots_used += 1;
            self.memory_used_bytes = memory_after;
            commands.push(RunnerCommand::Start { spec: held.spec.clone() });
            started = true;
        }
        started
    }

    fn report(&mut self) -> WorkerReport {
        self.report_sequence += 1;
        let mut attempts = Vec::with_capacity(self.attempts.len());
        for (attempt, held) in &self.attempts {
            let status = match &held.phase {
                Phase::Ended(status) => self.planted_status(attempt, status),
                Phase::Waiting | Phase::Running | Phase::Cancelling | Phase::HandingBack => {
                    AttemptStatus::Running
                }
            };
            attempts.push(AttemptReport {
                attempt: *attempt,
                status,
                peak_memory_bytes: held.peak_bytes,
                memory_bytes: held.spec.memory_bytes,
            });
        }
        if self.planted.is(PlantedBug::ReportEndOnce) {
            let ended = self.attempts.iter().filter(|(_, held)| matches!(held.phase, Phase::Ended(_)));
            self.reported_ends = ended.map(|(attempt, _)| *attempt).collect();
        }
        WorkerReport {
            incarnation: self.incarnation,
            sequence: self.report_sequence,
            desired_seen: self.desired_seen,
            capacity: self.capacity,
            state: self.state,
            attempts,
        }
    }

    fn planted_status(&self, attempt: &AttemptId, status: &AttemptStatus) -> AttemptStatus {
        if self.planted.is(PlantedBug::ReportEndOnce) && self.reported_ends.contains(attempt) {
            return AttemptStatus::Running;
        }
        status.clone()
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
