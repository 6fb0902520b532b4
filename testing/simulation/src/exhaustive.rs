//! Every interleaving at small scope: two tasks, two workers, a crash, a loss, and a restart of the coordinator.
//!
//! A state is the core, both runners, and what is on its way. From each, everything that can happen next happens: a
//! message arrives or is lost, an attempt commits or its worker crashes, the coordinator restarts, time passes. Two
//! states that look the same are one. In each, the invariants of the core hold; from each, the query can still end,
//! which is tried by letting everything happen that does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use base::{AttemptId, Epoch, Error, Incarnation, Millis, NodeId, OutputId, QueryId};
use scheduler::{
    AttemptStatus, Capacity, Command, Core, CoreOptions, Distribution, Event, OutputSize, QueryOptions,
    QueryShape, Record, RecordKey, RecoveredCommit, Runner, RunnerCommand, RunnerEvent, StageShape,
    TaskState, WorkerReport,
};

/// More steps than this in a row are not looked at.
pub const DEPTH_MAX: u32 = 11;
const WORKERS: usize = 2;
/// How long time passes at once.
const TICK: u64 = 1_000;
/// Time passes so often where it does not have to: enough for a silent worker to be taken for lost.
const PASSES_MAX: u32 = 3;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Explored {
    /// Different states.
    pub states: u64,
    /// Steps between them.
    pub steps: u64,
    /// Ways that ended with the query.
    pub ends: u64,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Report(usize),
    Desired(usize),
    /// The newest message to a worker is lost.
    Lose(usize),
    Commit(usize),
    Persist,
    Crash(usize),
    Restart,
    Pass,
}

struct Worker {
    incarnation: u64,
    running: Vec<AttemptId>,
    report: Option<WorkerReport>,
    desired: Option<RunnerEvent>,
}

/// A state, made from the moves that lead to it.
struct State {
    now: u64,
    core: Core,
    epoch: u32,
    runners: Vec<Runner>,
    workers: Vec<Worker>,
    persist: Vec<Record>,
    records: BTreeMap<RecordKey, Record>,
    commits: BTreeMap<OutputId, AttemptId>,
    crashes_left: u32,
    losses_left: u32,
    restarts_left: u32,
    /// How often time may pass by itself.
    passes_left: u32,
    has_ended: bool,
}

fn query() -> QueryId {
    "20260101_000000_00001_aaaaa".parse().expect("it has the form")
}

fn shape() -> QueryShape {
    let stage = StageShape {
        distribution: Distribution::Source,
        inputs: Vec::new(),
        scans: 1,
        output_partitions: 1,
        determinate: true,
    };
    QueryShape { stages: vec![stage] }
}

fn options() -> QueryOptions {
    QueryOptions {
        task_split_count_max: 1,
        task_memory_bytes: Some(1),
        retry_initial_delay: Millis(0),
        rivals_enabled: false,
        ..QueryOptions::default()
    }
}

fn node(at: usize) -> NodeId {
    NodeId::new(format!("w{at}"))
}

impl State {
    fn new() -> Result<State, String> {
        let mut state = State {
            now: 0,
            core: Core::new(Epoch(1), core_options()),
            epoch: 1,
            runners: Vec::new(),
            workers: Vec::new(),
            persist: Vec::new(),
            records: BTreeMap::new(),
            commits: BTreeMap::new(),
            crashes_left: 1,
            losses_left: 1,
            restarts_left: 1,
            passes_left: PASSES_MAX,
            has_ended: false,
        };
        for at in 0..WORKERS {
            state.runners.push(runner(1));
            state.workers.push(Worker { incarnation: 1, running: Vec::new(), report: None, desired: None });
            state.tell_worker(at, RunnerEvent::Connected);
        }
        state.tell_core(Event::QuerySubmitted { query: query(), shape: shape(), options: options() })?;
        for at in 0..WORKERS {
            state.make(Move::Report(at))?;
        }
        Ok(state)
    }

    fn tell_core(&mut self, event: Event) -> Result<(), String> {
        let mut commands = Vec::new();
        self.core.step(Millis(self.now), event, &mut commands);
        self.core.check_invariants();
        for command in commands {
            match command {
                Command::SetDesired { node: to, incarnation, epoch, sequence, attempts } => {
                    let at = (0..WORKERS).find(|at| node(*at) == to).expect("it is one of two");
                    if self.workers[at].incarnation == incarnation.0 {
                        self.workers[at].desired = Some(RunnerEvent::Desired { epoch, sequence, attempts });
                    }
                }
                Command::RequestSplits { query, stage, scan, .. } => {
                    let sizes = vec![1, 1];
                    self.tell_core(Event::SplitsArrived { query, stage, scan, sizes, last: true })?;
                }
                Command::Persist { record, .. } => self.persist.push(record),
                Command::OutputSelected { output, winner } => {
                    if self.commits.get(&output) != Some(&winner) {
                        return Err(format!("I-1: {winner} is selected and not committed"));
                    }
                }
                Command::QueryFinished { outcome, .. } => {
                    if outcome.is_err() || self.commits.len() != 2 {
                        return Err(format!("I-3: {outcome:?} with {} outputs", self.commits.len()));
                    }
                    self.has_ended = true;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn tell_worker(&mut self, at: usize, event: RunnerEvent) {
        let mut commands = Vec::new();
        self.runners[at].step(Millis(self.now), event, &mut commands);
        let (worker, mut stopped) = (&mut self.workers[at], Vec::new());
        for command in commands {
            match command {
                RunnerCommand::Start { spec } => worker.running.push(spec.attempt),
                RunnerCommand::Cancel { attempt } => {
                    worker.running.retain(|running| *running != attempt);
                    stopped.push(attempt);
                }
                RunnerCommand::Report(report) => worker.report = Some(report),
            }
        }
        for attempt in stopped {
            let status = AttemptStatus::Failed(Error::internal("stopped").into());
            self.tell_worker(at, RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes: 0 });
        }
    }

    /// What can happen, whether it does harm or not.
    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (at, worker) in self.workers.iter().enumerate() {
            moves.extend(worker.report.is_some().then_some(Move::Report(at)));
            moves.extend(worker.desired.is_some().then_some(Move::Desired(at)));
            moves.extend((worker.desired.is_some() && self.losses_left > 0).then_some(Move::Lose(at)));
            moves.extend((!worker.running.is_empty()).then_some(Move::Commit(at)));
            moves.extend((self.crashes_left > 0).then_some(Move::Crash(at)));
        }
        moves.extend((!self.persist.is_empty()).then_some(Move::Persist));
        moves.extend((self.restarts_left > 0).then_some(Move::Restart));
        moves.extend((self.passes_left > 0).then_some(Move::Pass));
        moves
    }

    fn make(&mut self, next: Move) -> Result<(), String> {
        match next {
            Move::Report(at) => {
                if let Some(report) = self.workers[at].report.take() {
                    self.tell_core(Event::WorkerReported { node: node(at), report })?;
                }
            }
            Move::Desired(at) => {
                if let Some(desired) = self.workers[at].desired.take() {
                    self.tell_worker(at, desired);
                }
            }
            Move::Lose(at) => {
                self.losses_left -= 1;
                self.workers[at].desired = None;
            }
            Move::Commit(at) => {
                let attempt = self.workers[at].running.remove(0);
                let winner = *self.commits.entry(attempt.output()).or_insert(attempt);
                let status = AttemptStatus::Committed { winner, output: output() };
                self.tell_worker(at, RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes: 1 });
            }
            Move::Persist => {
                let record = self.persist.remove(0);
                let record = self.records.entry(record.key()).or_insert(record).clone();
                self.tell_core(Event::RecordPersisted { query: query(), record })?;
            }
            Move::Crash(at) => {
                self.crashes_left -= 1;
                let incarnation = self.workers[at].incarnation;
                self.workers[at] =
                    Worker { incarnation: incarnation + 1, running: Vec::new(), report: None, desired: None };
                self.runners[at] = runner(incarnation + 1);
                self.tell_worker(at, RunnerEvent::Connected);
            }
            Move::Restart => {
                self.restarts_left -= 1;
                self.epoch += 1;
                self.core = Core::new(Epoch(self.epoch), core_options());
                self.persist.clear();
                self.has_ended = false;
                let commits = self.commits.values();
                let commits = commits.map(|winner| RecoveredCommit { winner: *winner, output: output() });
                let event = Event::QueryRecovered {
                    query: query(),
                    shape: shape(),
                    options: options(),
                    records: self.records.values().cloned().collect(),
                    commits: commits.collect(),
                };
                self.tell_core(event)?;
                for at in 0..WORKERS {
                    self.workers[at].desired = None;
                    self.tell_worker(at, RunnerEvent::Disconnected);
                    self.tell_worker(at, RunnerEvent::Connected);
                }
            }
            Move::Pass => {
                self.passes_left = self.passes_left.saturating_sub(1);
                self.now += TICK;
                for at in 0..WORKERS {
                    self.tell_worker(at, RunnerEvent::Tick);
                }
                self.tell_core(Event::Tick)?;
            }
        }
        Ok(())
    }

    /// Everything that does no harm happens, again and again: the query must end.
    fn must_end(&mut self) -> Result<(), String> {
        for _ in 0..60 {
            if self.has_ended {
                return Ok(());
            }
            for at in 0..WORKERS {
                self.make(Move::Report(at))?;
                self.make(Move::Desired(at))?;
                if !self.workers[at].running.is_empty() {
                    self.make(Move::Commit(at))?;
                }
                self.make(Move::Report(at))?;
            }
            if !self.persist.is_empty() {
                self.make(Move::Persist)?;
            }
            self.make(Move::Pass)?;
        }
        Err("I-6: the query does not end".to_string())
    }

    /// Two states with the same look go on in the same ways, as far as can be told: numbers of messages and points in
    /// time do not count, how long a worker was not heard of does.
    fn look(&self) -> u64 {
        let mut look = String::new();
        let mut add = |part: &dyn std::fmt::Debug| look += &format!("{part:?};");
        for view in self.core.queries() {
            add(&view.outcome().map(|outcome| outcome.is_ok()));
            for stage in view.stages() {
                add(&stage.sealed);
                for task in stage.tasks() {
                    add(&(task.state == TaskState::Queued, task.state == TaskState::Committed));
                    for attempt in task.attempts {
                        add(&(attempt.epoch, attempt.number, &attempt.node, attempt.state));
                    }
                }
            }
        }
        for node in self.core.nodes() {
            let silence = (self.now.saturating_sub(node.seen_at.0) / TICK).min(3);
            add(&(node.incarnation, node.state, node.slots_used, silence));
        }
        for (runner, worker) in self.runners.iter().zip(&self.workers) {
            add(&(&worker.running, runner.is_idle()));
            if let Some(report) = &worker.report {
                let held: Vec<_> = report.attempts.iter().map(|it| (it.attempt, &it.status)).collect();
                add(&(report.incarnation, held));
            }
            if let Some(RunnerEvent::Desired { epoch, attempts, .. }) = &worker.desired {
                let wanted: Vec<AttemptId> = attempts.iter().map(|spec| spec.attempt).collect();
                add(&(epoch, wanted));
            }
        }
        add(&(&self.persist, &self.commits, self.records.keys().collect::<Vec<_>>()));
        add(&(self.crashes_left, self.losses_left, self.restarts_left, self.passes_left, self.has_ended));
        let mut hasher = DefaultHasher::new();
        look.hash(&mut hasher);
        hasher.finish()
    }
}

fn output() -> OutputSize {
    OutputSize { rows: 1, partition_bytes: Arc::from([1]), checksum: 1 }
}

fn core_options() -> CoreOptions {
    CoreOptions {
        takeover_period: Millis(TICK),
        heartbeat_timeout: Millis(2 * TICK),
        ..CoreOptions::default()
    }
}

fn runner(incarnation: u64) -> Runner {
    Runner::new(Incarnation(incarnation), Capacity { memory_bytes: 1, slots: 1 })
}

/// The state that moves lead to.
fn follow(moves: &[Move]) -> Result<State, String> {
    let mut state = State::new()?;
    for next in moves {
        state.make(*next)?;
    }
    Ok(state)
}

/// Looks at every interleaving of at most so many steps.
///
/// # Errors
///
/// What is violated, and the moves that lead there.
pub fn explore(depth_max: u32) -> Result<Explored, String> {
    let mut explored = Explored::default();
    let mut seen = BTreeSet::new();
    let mut layer = vec![Vec::new()];
    for _ in 0..depth_max {
        let mut next_layer = Vec::new();
        for moves in layer {
            let possible = follow(&moves)?.moves();
            for next in possible {
                let mut longer: Vec<Move> = moves.clone();
                longer.push(next);
                explored.steps += 1;
                let named = |violation: String| format!("{violation} after {longer:?}");
                let mut state = follow(&longer).map_err(named)?;
                if !seen.insert(state.look()) {
                    continue;
                }
                explored.states += 1;
                if state.has_ended && state.restarts_left == 0 {
                    explored.ends += 1;
                    continue;
                }
                state.must_end().map_err(named)?;
                next_layer.push(longer);
            }
        }
        layer = next_layer;
    }
    Ok(explored)
}
