//! What a step costs in a large cluster: 1,000 workers and 100,000 tasks, or ten times as many of each.
//!
//! ```text
//! cargo run --release -p steadfast-scheduler --example step_cost
//! cargo run --release -p steadfast-scheduler --example step_cost -- ten-times
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base::{AttemptId, Epoch, Incarnation, Millis, NodeId, QueryId, StageId};
use scheduler::{
    AttemptReport, AttemptStatus, Capacity, Command, Core, CoreOptions, Distribution, Event, NodeState,
    OutputSize, QueryOptions, QueryShape, Record, StageShape, WorkerReport,
};

const WORKERS: usize = 1_000;
const TASKS: usize = 100_000;
const SPLITS_PER_TASK: usize = 8;
const SLOTS: u32 = 4;

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code, reason = "an allocator that counts cannot be written without")]
// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Worker {
    node: NodeId,
    sequence: u64,
    seen: Option<(Epoch, u64)>,
    desired: Vec<AttemptId>,
    ended: Option<AttemptId>,
}

struct Bench {
    core: Core,
    now: u64,
    workers: Vec<Worker>,
    by_node: BTreeMap<NodeId, usize>,
    commands: Vec<Command>,
    requested: u32,
    unanswered: Vec<(QueryId, Record)>,
    done: bool,
}

impl Bench {
    fn step(&mut self, event: Event) -> Duration {
        let start = Instant::now();
        self.core.step(Millis(self.now), event, &mut self.commands);
        let _ = self.core.next_deadline();
        let cost = start.elapsed();
        for command in self.commands.drain(..) {
            match command {
                Command::SetDesired { node, epoch, sequence, attempts, .. } => {
                    let worker = &mut self.workers[self.by_node[&node]];
                    worker.seen = Some((epoch, sequence));
                    worker.desired = attempts.iter().map(|spec| spec.attempt).collect();
                }
                Command::RequestSplits { .. } => self.requested += 1,
                Command::Persist { query, record } => self.unanswered.push((query, record)),
                Command::QueryFinished { outcome, .. } => {
                    outcome.expect("nothing goes wrong here");
                    self.done = true;
                }
                _ => {}
            }
        }
        cost
    }

    /// Tells what was recorded. What the core spent on it.
    fn answer(&mut self) -> Duration {
        let mut cost = Duration::ZERO;
        for (query, record) in std::mem::take(&mut self.unanswered) {
            cost += self.step(Event::RecordPersisted { query, record });
        }
        cost
    }

    /// The worker's regular report; with `end`, its oldest attempt has committed.
    fn report(&mut self, at: usize, end: bool) -> Duration {
        let worker = &mut self.workers[at];
        worker.sequence += 1;
        worker.ended = if end { worker.desired.first().copied() } else { None };
        let status = |attempt: AttemptId| {
            let output = OutputSize { rows: 1, partition_bytes: Arc::from([100u64; 1]), checksum: 0 };
            let committed = AttemptStatus::Committed { winner: attempt, output };
            if Some(attempt) == worker.ended { committed } else { AttemptStatus::Running }
        };
        let attempts = worker.desired.iter().map(|attempt| AttemptReport {
            attempt: *attempt,
            status: status(*attempt),
            peak_memory_bytes: (attempt.task.partition as u64 % 512) << 20,
            memory_bytes: 0,
        });
        let report = WorkerReport {
            incarnation: Incarnation(1),
            sequence: worker.sequence,
            desired_seen: worker.seen,
            capacity: Capacity { memory_bytes: 64 << 30, slots: SLOTS },
            state: NodeState::Active,
            attempts: attempts.collect(),
        };
        let node = worker.node.clone();
        self.step(Event::WorkerReported { node, report })
    }
}

fn main() {
    let times = if std::env::args().nth(1).as_deref() == Some("ten-times") { 10 } else { 1 };
    let (worker_count, task_count) = (WORKERS * times, TASKS * times);
    println!("{worker_count} workers, {task_count} tasks");
    let workers: Vec<Worker> = (0..worker_count)
        .map(|number| Worker {
            node: NodeId::new(format!("steadfast-worker-{number}")),
            sequence: 0,
            seen: None,
            desired: Vec::new(),
            ended: None,
        })
        .collect();
    let by_node = workers.iter().enumerate().map(|(at, worker)| (worker.node.clone(), at)).collect();
    let mut bench = Bench {
        core: Core::new(Epoch(1), CoreOptions::default()),
        now: 0,
        workers,
        by_node,
        commands: Vec::new(),
        requested: 0,
        unanswered: Vec::new(),
        done: false,
    };
    for at in 0..worker_count {
        bench.report(at, false);
    }
    let query: QueryId = "20260101_000000_00001_aaaaa".parse().expect("it has the form");
    let scan = StageShape {
        distribution: Distribution::Source,
        inputs: Vec::new(),
        scans: 1,
        output_partitions: 1,
        determinate: true,
    };
    let options = QueryOptions { task_split_count_max: SPLITS_PER_TASK as u32, ..QueryOptions::default() };
    bench.step(Event::QuerySubmitted { query, shape: QueryShape { stages: vec![scan] }, options });
    let before = ALLOCATED.load(Ordering::Relaxed);
    let sizes = vec![64 << 20; task_count * SPLITS_PER_TASK];
    let splits = bench.step(Event::SplitsArrived { query, stage: StageId(0), scan: 0, sizes, last: true });
    let recorded = bench.answer();
    let formed = ALLOCATED.load(Ordering::Relaxed) - before;
    println!("forming all tasks at once: {splits:?}, taking them on when they are recorded: {recorded:?}");
    let (mut ends, mut idle) = (Vec::new(), Vec::new());
    let mut largest = 0;
    while !bench.done {
        bench.now += 500;
        for at in 0..worker_count {
            ends.push(bench.report(at, true));
            idle.push(bench.report(at, false));
        }
        bench.answer();
        largest = largest.max(ALLOCATED.load(Ordering::Relaxed));
    }
    for (name, costs) in [("an attempt ends, the next is placed", &mut ends), ("regular report", &mut idle)] {
        let mean = costs.iter().sum::<Duration>() / costs.len() as u32;
        costs.sort();
        let quantile = |percent: usize| costs[costs.len() * percent / 100];
        let (median, high) = (quantile(50), quantile(99));
        println!("{name}: mean {mean:?}, median {median:?}, p99 {high:?}, of {}", costs.len());
    }
    println!("bytes for each task: {} when formed", formed / task_count);
    println!("bytes in all at most: {largest}, {} for each task", largest / task_count);
}
