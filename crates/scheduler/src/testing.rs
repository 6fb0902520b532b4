//! A small cluster for tests of the core: its workers do what they are told when the test says so.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use base::{
    AttemptId, Epoch, Error, ErrorCode, Failure, Incarnation, Millis, NodeId, OutputId, QueryId, StageId,
    TaskId,
};

use crate::*;

pub(crate) const GB: u64 = 1 << 30;

pub(crate) struct TestCluster {
    pub core: Core,
    pub now: u64,
    /// Everything the core said, in order, apart from `SetDesired` and `Persist`.
    pub said: Vec<Command>,
    /// The records that are there. A test may put some there before the core does.
    pub records: BTreeMap<(QueryId, RecordKey), Record>,
    /// Whether answers about records are held back.
    pub holds_records: bool,
    /// What the core wants to know about, while answers are held back.
    pub held_records: Vec<(QueryId, Record)>,
    /// What was committed, by whom.
    pub commits: BTreeMap<OutputId, RecoveredCommit>,
    submitted: BTreeMap<QueryId, (QueryShape, QueryOptions)>,
    options: CoreOptions,
    epoch: u32,
    workers: BTreeMap<NodeId, TestWorker>,
}

struct TestWorker {
    incarnation: Incarnation,
    sequence: u64,
    seen: Option<(Epoch, u64)>,
    capacity: Capacity,
    state: NodeState,
    desired: BTreeMap<AttemptId, AttemptSpec>,
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name)
}

pub(crate) fn query_id(number: u32) -> QueryId {
    format!("20260101_000000_{number:05}_aaaaa").parse().unwrap()
}

pub(crate) fn scan_stage(output_partitions: u32) -> StageShape {
    StageShape {
        distribution: Distribution::Source,
        inputs: vec![],
        scans: 1,
        output_partitions,
        determinate: true,
    }
}

pub(crate) fn input(edge: Edge, producers: &[u32]) -> InputShape {
    InputShape { producers: producers.iter().map(|id| StageId(*id)).collect(), edge }
}

pub(crate) fn stage(distribution: Distribution, inputs: Vec<InputShape>) -> StageShape {
    StageShape { distribution, inputs, scans: 0, output_partitions: 1, determinate: true }
}

/// An output of a query, by stage and partition.
pub(crate) fn output(number: u32, task: (u32, u32), generation: u32) -> OutputId {
    let task = TaskId { query: query_id(number), stage: StageId(task.0), partition: task.1 };
    OutputId { task, generation }
}

pub(crate) fn memory_error() -> Error {
    Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "too little")
}

impl TestCluster {
    pub(crate) fn new() -> Self {
        Self::with_options(CoreOptions::default())
    }

    pub(crate) fn with_options(options: CoreOptions) -> Self {
        TestCluster {
            core: Core::new(Epoch(1), options.clone()),
            now: 1_000,
            said: vec![],
            records: BTreeMap::new(),
            holds_records: false,
            held_records: vec![],
            commits: BTreeMap::new(),
            submitted: BTreeMap::new(),
            options,
            epoch: 1,
            workers: BTreeMap::new(),
        }
    }

    pub(crate) fn step(&mut self, event: Event) {
        let mut commands = Vec::new();
        self.core.step(Millis(self.now), event, &mut commands);
        self.core.check_invariants();
        for command in commands {
            match command {
                Command::SetDesired { node, incarnation, epoch, sequence, attempts } => {
                    let Some(worker) = self.workers.get_mut(&node) else {
                        continue;
                    };
                    if worker.incarnation == incarnation {
                        worker.seen = Some((epoch, sequence));
                        worker.desired = attempts.into_iter().map(|spec| (spec.attempt, spec)).collect();
                    }
                }
                Command::Persist { query, record } => self.held_records.push((query, record)),
                other => self.said.push(other),
            }
        }
        if !self.holds_records {
            self.answer_records();
        }
    }

    /// Creates the records that were asked for, and tells what is there.
    pub(crate) fn answer_records(&mut self) {
        for (query, record) in ::core::mem::take(&mut self.held_records) {
            let there = self.records.entry((query, record.key())).or_insert(record).clone();
            self.step(Event::RecordPersisted { query, record: there });
        }
    }

    /// Lets time pass while every worker reports often enough.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end {
            self.now = end.min(self.now + 1_000);
            self.report_all();
            self.step(Event::Tick);
        }
    }

    pub(crate) fn report_all(&mut self) {
        let nodes: Vec<NodeId> = self.workers.keys().cloned().collect();
        for node in nodes {
            self.report(&node, vec![]);
        }
    }

    /// Lets time pass to the next deadline of the core, and not beyond, without any report.
    pub(crate) fn tick_at(&mut self, now: u64) {
        self.now = now;
        self.step(Event::Tick);
    }

    pub(crate) fn add_worker(&mut self, name: &str, memory_bytes: u64, slots: u32) {
        let node = node(name);
        let incarnation = Incarnation(self.workers.get(&node).map_or(1, |worker| worker.incarnation.0 + 1));
        let worker = TestWorker {
            incarnation,
            sequence: 0,
            seen: None,
            capacity: Capacity { memory_bytes, slots },
            state: NodeState::Active,
            desired: BTreeMap::new(),
        };
        self.workers.insert(node.clone(), worker);
        self.report(&node, vec![]);
    }

    /// The worker dies and its stream breaks.
    pub(crate) fn kill(&mut self, name: &str) {
        let node = node(name);
        if let Some(worker) = self.workers.remove(&node) {
            self.step(Event::WorkerDisconnected { node, incarnation: worker.incarnation });
        }
    }

    pub(crate) fn drain(&mut self, name: &str) {
        let node = node(name);
        self.set_state(&node, NodeState::ShuttingDown);
        self.report(&node, vec![]);
    }

    /// The worker is in another state from its next report on.
    pub(crate) fn set_state(&mut self, node: &NodeId, state: NodeState) {
        self.workers.get_mut(node).unwrap().state = state;
    }

    /// The report a worker would send now. What is not named in `ended` still runs.
    pub(crate) fn make_report(&mut self, node: &NodeId, ended: Vec<AttemptReport>) -> WorkerReport {
        let worker = self.workers.get_mut(node).unwrap();
        worker.sequence += 1;
        let running = worker.desired.keys().filter(|id| !ended.iter().any(|report| report.attempt == **id));
        let running = running.map(|id| AttemptReport {
            attempt: *id,
            status: AttemptStatus::Running,
            peak_memory_bytes: 0,
            memory_bytes: worker.desired[id].memory_bytes,
        });
        let attempts = running.collect::<Vec<_>>().into_iter().chain(ended).collect();
        WorkerReport {
            incarnation: worker.incarnation,
            sequence: worker.sequence,
            desired_seen: worker.seen,
            capacity: worker.capacity,
            state: worker.state,
            attempts,
        }
    }

    pub(crate) fn report(&mut self, node: &NodeId, ended: Vec<AttemptReport>) {
        for report in &ended {
            if let AttemptStatus::Committed { winner, output } = &report.status {
                let commit = RecoveredCommit { winner: *winner, output: output.clone() };
                self.commits.entry(winner.output()).or_insert(commit);
            }
        }
        let report = self.make_report(node, ended);
        self.step(Event::WorkerReported { node: node.clone(), report });
    }

    pub(crate) fn submit(&mut self, number: u32, stages: Vec<StageShape>, options: QueryOptions) {
        let (query, shape) = (query_id(number), QueryShape { stages });
        self.submitted.insert(query, (shape.clone(), options.clone()));
        self.step(Event::QuerySubmitted { query, shape, options });
    }

    /// Another life of the coordinator begins, with what is in the store. Workers go on and have not reported yet.
    pub(crate) fn restart_coordinator(&mut self) {
        self.epoch += 1;
        self.core = Core::new(Epoch(self.epoch), self.options.clone());
        self.said.clear();
        self.held_records.clear();
        for (query, (shape, options)) in self.submitted.clone() {
            let of_query = self.records.iter().filter(|((id, _), _)| *id == query);
            let records = of_query.map(|(_, record)| record.clone()).collect();
            let commits = self.commits.values().filter(|commit| commit.winner.task.query == query);
            let commits = commits.cloned().collect();
            self.step(Event::QueryRecovered { query, shape, options, records, commits });
        }
    }

    /// Puts a record where the core will find it instead of its own.
    pub(crate) fn foreign_record(&mut self, number: u32, record: Record) {
        self.records.insert((query_id(number), record.key()), record);
    }

    /// A query of so many independent tasks, each with the given lease.
    pub(crate) fn submit_tasks(&mut self, number: u32, tasks: usize, memory_bytes: u64) {
        let options = QueryOptions {
            task_memory_bytes: Some(memory_bytes),
            task_split_count_max: 1,
            memory_grows_on_worker_crash: false,
            ..QueryOptions::default()
        };
        self.submit(number, vec![scan_stage(1)], options);
        self.splits(number, 0, &vec![1; tasks], true);
    }

    pub(crate) fn splits(&mut self, number: u32, stage: u32, sizes: &[u64], last: bool) {
        self.step(Event::SplitsArrived {
            query: query_id(number),
            stage: StageId(stage),
            scan: 0,
            sizes: sizes.to_vec(),
            last,
        });
    }

    /// What a worker was told to hold.
    pub(crate) fn held(&self, name: &str) -> Vec<AttemptSpec> {
        self.workers
            .get(&node(name))
            .map(|worker| worker.desired.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Where the tasks run: "query.stage.partition@node", in order.
    pub(crate) fn placed(&self) -> Vec<String> {
        let mut placed: Vec<String> = Vec::new();
        for (node, worker) in &self.workers {
            for id in worker.desired.keys() {
                let number: u32 = id.task.query.as_str()[16..21].parse().unwrap();
                placed.push(format!("{number}.{}.{}@{node}", id.task.stage, id.task.partition));
            }
        }
        placed.sort();
        placed
    }

    /// The newest attempt of a task that is placed, and where.
    pub(crate) fn attempt(&self, number: u32, stage: u32, partition: u32) -> Option<(NodeId, AttemptSpec)> {
        let task = TaskId { query: query_id(number), stage: StageId(stage), partition };
        self.workers.iter().find_map(|(node, worker)| {
            let spec = worker.desired.values().find(|spec| spec.attempt.task == task)?;
            Some((node.clone(), spec.clone()))
        })
    }

    pub(crate) fn commit(&mut self, number: u32, stage: u32, partition: u32) {
        self.commit_sized(number, stage, partition, &[1], 0);
    }

    pub(crate) fn commit_sized(&mut self, number: u32, stage: u32, partition: u32, bytes: &[u64], peak: u64) {
        let (node, spec) = self.attempt(number, stage, partition).expect("the task runs");
        self.report(&node, vec![committed(spec.attempt, spec.attempt, bytes, peak)]);
    }

    /// An attempt writes the given rows.
    pub(crate) fn commit_checked(&mut self, number: u32, stage: u32, partition: u32, checksum: u64) {
        let (node, spec) = self.attempt(number, stage, partition).expect("the task runs");
        let mut report = committed(spec.attempt, spec.attempt, &[1], 0);
        if let AttemptStatus::Committed { output, .. } = &mut report.status {
            output.checksum = checksum;
        }
        self.report(&node, vec![report]);
    }

    /// An attempt cannot read the output of a task, at the generation that it was told to read.
    pub(crate) fn miss_input(&mut self, number: u32, reader: (u32, u32), lost: (u32, u32), generation: u32) {
        let error = Error::lost(output(number, lost, generation), "it cannot be read");
        self.fail(number, reader.0, reader.1, error, 0);
    }

    /// The generation of a task.
    pub(crate) fn generation(&self, number: u32, stage: u32, partition: u32) -> u32 {
        self.stage_view(number, stage).task(partition).unwrap().generation
    }

    /// The outputs that were rolled back, as "stage.partition-generation".
    pub(crate) fn rolled_back(&self) -> Vec<String> {
        let outputs = self.said.iter().filter_map(|command| match command {
            Command::OutputsRolledBack { outputs, .. } => Some(outputs),
            _ => None,
        });
        let name = |it: &OutputId| format!("{}.{}-{}", it.task.stage, it.task.partition, it.generation);
        outputs.flatten().map(name).collect()
    }

    pub(crate) fn fail(&mut self, number: u32, stage: u32, partition: u32, error: Error, peak: u64) {
        let (node, spec) = self.attempt(number, stage, partition).expect("the task runs");
        let status = AttemptStatus::Failed(Failure::of(error));
        self.report(
            &node,
            vec![AttemptReport { attempt: spec.attempt, status, peak_memory_bytes: peak, memory_bytes: 0 }],
        );
    }

    /// How the query ended, as the user is told.
    pub(crate) fn outcome(&self, number: u32) -> Option<Result<(), Error>> {
        let mut outcomes = self.said.iter().filter_map(|command| match command {
            Command::QueryFinished { query, outcome } if *query == query_id(number) => Some(outcome.clone()),
            _ => None,
        });
        let outcome = outcomes.next();
        assert_eq!(outcomes.next(), None, "a query ends once");
        outcome
    }

    pub(crate) fn error(&self, number: u32) -> Error {
        self.outcome(number).expect("the query ended").expect_err("the query failed")
    }

    pub(crate) fn stage_view(&self, number: u32, stage: u32) -> StageView<'_> {
        self.core.query(&query_id(number)).unwrap().stage(StageId(stage)).unwrap()
    }
}

pub(crate) fn committed(attempt: AttemptId, winner: AttemptId, bytes: &[u64], peak: u64) -> AttemptReport {
    let output = OutputSize { rows: bytes.iter().sum(), partition_bytes: Arc::from(bytes), checksum: 0 };
    AttemptReport {
        attempt,
        status: AttemptStatus::Committed { winner, output },
        peak_memory_bytes: peak,
        memory_bytes: 0,
    }
}
