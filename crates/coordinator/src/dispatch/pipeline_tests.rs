//! What workers are told of queries whose stages run at the same time, and what becomes of what they tell.

use std::collections::BTreeMap;

use arrow::array::{Int64Array, RecordBatch};
use base::{AttemptId, Epoch, ErrorCode, Failure, TaskId};
use bytes::Bytes;
use config::MemoryShare;
use connector::SplitOptions;
use exchange::{CommitRecord, ExchangeOptions};
use protocol::node::wire::assignment::Output;
use protocol::node::wire::coordinator_message::Message;
use protocol::node::{AttemptDetails, wire};
use scheduler::{
    AttemptReport, AttemptStatus, Capacity, Distribution, Edge, InputShape, NodeState, OutputSize,
    QueryOptions, QueryShape, RetryPolicy, StageShape, WorkerReport,
};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::*;
use crate::state::{Identity, Leadership};

const PATIENCE: Duration = Duration::from_secs(20);
const NODE_BYTES: u64 = 1 << 30;
/// What a query may use on all nodes together.
const QUERY_BYTES: u64 = 1000;

fn query() -> QueryId {
    "20261120_061411_00001_abcde".parse().unwrap()
}

fn attempt(stage: u32, partition: u32, generation: u32) -> AttemptId {
    let task = TaskId { query: query(), stage: StageId(stage), partition };
    AttemptId { task, generation, epoch: Epoch(1), number: 0 }
}

fn stage(distribution: Distribution, inputs: &[(Edge, u32)], output_partitions: u32) -> StageShape {
    let input =
        |(edge, producer): &(Edge, u32)| InputShape { producers: vec![StageId(*producer)], edge: *edge };
    let inputs = inputs.iter().map(input).collect();
    StageShape { distribution, inputs, scans: 0, output_partitions, determinate: true }
}

/// One task gathers what four hash tasks write; those read a hash exchange and a broadcast.
fn shape() -> QueryShape {
    let stages = vec![
        stage(Distribution::Single, &[(Edge::Single, 1)], 1),
        stage(Distribution::Hash { partitions: 4 }, &[(Edge::Hash, 2), (Edge::Broadcast, 3)], 1),
        stage(Distribution::Single, &[], 4),
        stage(Distribution::Single, &[], 1),
    ];
    QueryShape { stages }
}

struct Worker {
    node: NodeId,
    stream: mpsc::Receiver<Result<wire::CoordinatorMessage, tonic::Status>>,
    /// The newest message, with all assignments so far.
    desired: (u32, u64),
    assigned: BTreeMap<AttemptId, wire::Assignment>,
    wanted: Vec<AttemptId>,
    reports: u64,
}

/// Two workers of two slots.
struct Fixture {
    dispatcher: Dispatcher,
    root: Arc<RootOutput>,
    workers: Vec<Worker>,
    exchange: ExchangeManager,
    _directory: TempDir,
    _stop: DropGuard,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base_directories = vec![directory.path().to_str().unwrap().to_owned()];
        let options = ExchangeOptions { base_directories, ..ExchangeOptions::default() };
        let exchange = ExchangeManager::new(options).unwrap();
        let identity =
            Identity { coordinator_id: "abcde".into(), node_id: "n".into(), address: String::new() };
        let store = Arc::clone(exchange.store());
        let lease = Duration::from_secs(3600);
        let leadership = Leadership::take(Arc::clone(&store), &identity, lease, None).await;
        let stop = CancellationToken::new();
        let dispatcher = Dispatcher::start(DispatcherOptions {
            core: CoreOptions { required_workers: 2, ..CoreOptions::default() },
            state: StateStore::new(store, Arc::new(leadership)),
            exchange: Arc::new(exchange.clone()),
            queries: Arc::new(QueryRegistry::new(1, Duration::ZERO)),
            coordinator_ids: vec!["abcde".into()],
            stop: stop.clone(),
        });
        let mut fixture = Fixture {
            dispatcher,
            root: Arc::default(),
            workers: Vec::new(),
            exchange,
            _directory: directory,
            _stop: stop.drop_guard(),
        };
        for at in 0..2 {
            fixture.attach(at).await;
        }
        fixture
    }

    async fn attach(&mut self, at: u64) {
        let (outbox, stream) = mpsc::channel(64);
        let node = NodeId::new(format!("n{at}"));
        let description = WorkerDescription {
            node: node.clone(),
            incarnation: Incarnation(at + 5),
            http_uri: String::new(),
            direct_uri: format!("http://n{at}:1").into(),
        };
        self.dispatcher.send(Input::Attached { description, connection: at, outbox }).await;
        let worker = Worker {
            node,
            stream,
            desired: (0, 0),
            assigned: BTreeMap::new(),
            wanted: Vec::new(),
            reports: 0,
        };
        self.workers.push(worker);
        self.report(at as usize, Vec::new()).await;
    }

    async fn submit(&self, policy: RetryPolicy, change: impl FnOnce(&mut PipelineOptions)) {
        let config =
            config::ServerConfig::from_properties([(config::Source::Node, "node.environment", "test")])
                .unwrap();
        let mut pipeline = PipelineOptions {
            retry_policy: policy,
            result_bytes_max: 1000,
            has_exchange_manager: true,
            memory: config.memory,
            query_memory_per_node: MemoryShare::Size(base::DataSize(NODE_BYTES / 4)),
            query_memory: QueryMemoryLimits {
                user: base::DataSize(QUERY_BYTES),
                total: base::DataSize(2 * QUERY_BYTES),
            },
        };
        change(&mut pipeline);
        let shape = shape();
        let stages =
            shape.stages.iter().map(|_| StageDescription { fragment: Bytes::new(), scans: Vec::new() });
        self.dispatcher
            .submit(Submission {
                epoch: base::Epoch(1),
                query: query(),
                stages: stages.collect(),
                shape,
                options: QueryOptions {
                    retry_policy: policy,
                    is_durable: false,
                    retry_initial_delay: Millis(0),
                    ..QueryOptions::default()
                },
                split_options: SplitOptions { target_size_bytes: 1, node_count: 1, slot_count: 1 },
                pipeline: Some(pipeline),
                root: Arc::clone(&self.root),
            })
            .await;
    }

    /// Tells how attempts stand on a worker. All others that it should hold run.
    async fn report(&mut self, at: usize, attempts: Vec<(AttemptId, AttemptStatus, AttemptDetails)>) {
        let worker = &mut self.workers[at];
        worker.reports += 1;
        let mut report = NodeReport {
            report: WorkerReport {
                incarnation: Incarnation(at as u64 + 5),
                sequence: worker.reports,
                desired_seen: Some((Epoch(worker.desired.0), worker.desired.1)),
                capacity: Capacity { memory_bytes: NODE_BYTES, slots: 2 },
                state: NodeState::Active,
                attempts: Vec::new(),
            },
            details: BTreeMap::new(),
            usage: wire::NodeUsage::default(),
        };
        let told: Vec<AttemptId> = attempts.iter().map(|(attempt, ..)| *attempt).collect();
        let others = worker.wanted.iter().filter(|attempt| !told.contains(attempt));
        let running = others.map(|id| (*id, AttemptStatus::Running, AttemptDetails::default()));
        for (attempt, status, details) in running.chain(attempts) {
            let attempt_report = AttemptReport { attempt, status, peak_memory_bytes: 1, memory_bytes: 0 };
            report.report.attempts.push(attempt_report);
            report.details.insert(attempt, details);
        }
        let node = worker.node.clone();
        let reported = Input::Reported { node, connection: at as u64, report: Box::new(report) };
        self.dispatcher.send(reported).await;
    }

    /// Takes in messages until all attempts of a try are assigned, and says by which worker.
    async fn assigned(&mut self, generation: u32) -> BTreeMap<(u32, u32), (usize, wire::Assignment)> {
        let mut found = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        // 1 + 4 + 1 + 1 tasks.
        while found.len() < 7 {
            assert!(Instant::now() < deadline, "only {:?} are assigned", found.keys());
            self.dispatcher.inspect(|_| ()).await.unwrap();
            for (at, worker) in self.workers.iter_mut().enumerate() {
                worker.take_in();
                for (attempt, assignment) in &worker.assigned {
                    if attempt.generation == generation {
                        let task = (attempt.task.stage.0, attempt.task.partition);
                        found.insert(task, (at, assignment.clone()));
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        found
    }

    /// The record of an output of so many rows, which is in the record.
    async fn inline_record(&self, attempt: AttemptId, rows: i64) -> CommitRecord {
        let rows: RecordBatch =
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(0..rows)) as _)])
                .unwrap();
        let mut options = self.exchange.options().sink("/nowhere");
        options.compression = exchange::ExchangeCompression::None;
        let mut sink = self.exchange.sink(attempt, rows.schema(), 1, options).unwrap();
        sink.push(0, rows).await.unwrap();
        sink.finish().await.unwrap().record
    }

    async fn commit_root(&mut self, at: usize, record: &CommitRecord) {
        let winner = record.attempt();
        let output = OutputSize {
            rows: record.rows(),
            partition_bytes: record.partition_bytes(),
            checksum: record.checksum(),
        };
        let commit_record = record.encode();
        let details = AttemptDetails { commit_record, is_inline: true, ..AttemptDetails::default() };
        self.report(at, vec![(winner, AttemptStatus::Committed { winner, output }, details)]).await;
    }
}

impl Worker {
    fn take_in(&mut self) {
        while let Ok(message) = self.stream.try_recv() {
            let Some(Message::Desired(desired)) = message.unwrap().message else { continue };
            self.desired = (desired.epoch, desired.sequence);
            self.wanted = desired.attempts.iter().map(|id| AttemptId::try_from(id).unwrap()).collect();
            for assignment in desired.assignments {
                let attempt = AttemptId::try_from(assignment.attempt.as_ref().unwrap()).unwrap();
                self.assigned.insert(attempt, assignment);
            }
        }
    }
}

fn direct(assignment: &wire::Assignment) -> Option<u32> {
    match assignment.output.as_ref().unwrap() {
        Output::DirectOutput(direct) => Some(direct.broadcast_consumers),
        Output::CommittedOutput(_) => None,
    }
}

#[tokio::test]
async fn attempts_are_told_whom_they_read_and_how_their_output_is_read() {
    let mut fixture = Fixture::new().await;
    fixture.submit(RetryPolicy::None, |_| ()).await;
    let assigned = fixture.assigned(0).await;
    let place = |stage, partition| {
        let (at, _) = assigned[&(stage, partition)];
        (at as u64 + 5, format!("http://n{at}:1"))
    };
    for ((stage, partition), (_, assignment)) in &assigned {
        assert_eq!(assignment.query_memory_bytes, NODE_BYTES / 4);
        assert_eq!(assignment.memory_bytes, 0);
        // What is broadcast goes to the four tasks of stage 1.
        assert_eq!(direct(assignment), Some(if *stage == 3 { 4 } else { 0 }));
        let read: Vec<_> = assignment.inputs.iter().flat_map(|input| &input.direct_sources).collect();
        let expected: Vec<(u32, u32, std::ops::Range<u32>)> = match stage {
            0 => (0..4).map(|task| (1, task, 0..1)).collect(),
            1 => vec![(2, 0, *partition..*partition + 1), (3, 0, 0..1)],
            _ => Vec::new(),
        };
        assert_eq!(read.len(), expected.len());
        for (source, (stage, task, partitions)) in read.into_iter().zip(expected) {
            assert_eq!(AttemptId::try_from(source.producer.as_ref().unwrap()), Ok(attempt(stage, task, 0)));
            assert_eq!((source.incarnation, source.uri.clone()), place(stage, task));
            assert_eq!(source.partition_start..source.partition_end, partitions);
        }
    }
    let producers = timeout(PATIENCE, fixture.root.producers()).await.unwrap().unwrap();
    let (incarnation, uri) = place(0, 0);
    let root = Producer { attempt: attempt(0, 0, 0), incarnation: Incarnation(incarnation), uri: uri.into() };
    assert_eq!(*producers, [root]);
}

#[tokio::test]
async fn under_query_the_root_commits_and_another_try_takes_its_place() {
    let mut fixture = Fixture::new().await;
    fixture.submit(RetryPolicy::Query, |_| ()).await;
    let (at, root) = fixture.assigned(0).await[&(0, 0)].clone();
    assert_eq!(direct(&root), None);
    let inline = wire::CommittedOutput { inline_bytes_max: 1000 };
    assert_eq!(root.output, Some(Output::CommittedOutput(inline)));
    let failure = Failure::of(Error::new(ErrorCode::GENERIC_INTERNAL_ERROR, "again"));
    let failed = (attempt(0, 0, 0), AttemptStatus::Failed(failure), AttemptDetails::default());
    fixture.report(at, vec![failed]).await;
    let (at, _) = fixture.assigned(1).await[&(0, 0)].clone();
    let look =
        |state: &DispatchState| state.execution(&query()).unwrap().pipeline.as_ref().unwrap().retries();
    assert_eq!(fixture.dispatcher.inspect(look).await.unwrap(), 1);
    let record = fixture.inline_record(attempt(0, 0, 1), 10).await;
    fixture.commit_root(at, &record).await;
    assert_eq!(timeout(PATIENCE, fixture.root.finished()).await.unwrap(), Ok(()));
    match fixture.root.next(0).await.unwrap() {
        NextOutput::Output(found) => assert_eq!(*found, record),
        NextOutput::End => panic!("the result has an output"),
    }
}

#[tokio::test]
async fn without_an_exchange_manager_a_larger_result_than_the_buffer_fails_and_is_not_tried_again() {
    for (rows, is_kept) in [(100, true), (1000, false)] {
        let mut fixture = Fixture::new().await;
        fixture.submit(RetryPolicy::Query, |options| options.has_exchange_manager = false).await;
        let (at, _) = fixture.assigned(0).await[&(0, 0)].clone();
        let record = fixture.inline_record(attempt(0, 0, 0), rows).await;
        fixture.commit_root(at, &record).await;
        let outcome = timeout(PATIENCE, fixture.root.finished()).await.unwrap();
        let expected = if is_kept { Ok(()) } else { Err(Error::exchange_manager_not_configured()) };
        assert_eq!(outcome, expected, "{rows} rows");
    }
    // One that a worker cannot write anywhere.
    let mut fixture = Fixture::new().await;
    fixture.submit(RetryPolicy::Query, |options| options.has_exchange_manager = false).await;
    let (at, _) = fixture.assigned(0).await[&(0, 0)].clone();
    let failure = Failure::of(Error::exchange_manager_not_configured());
    let failed = (attempt(0, 0, 0), AttemptStatus::Failed(failure), AttemptDetails::default());
    fixture.report(at, vec![failed]).await;
    let outcome = timeout(PATIENCE, fixture.root.finished()).await.unwrap();
    assert_eq!(outcome, Err(Error::exchange_manager_not_configured()));
}

#[tokio::test]
async fn a_lost_worker_ends_a_query_that_is_not_tried_again() {
    let mut fixture = Fixture::new().await;
    fixture.submit(RetryPolicy::None, |_| ()).await;
    fixture.assigned(0).await;
    let lost = Input::Detached { node: NodeId::new("n1"), incarnation: Incarnation(6), connection: 1 };
    fixture.dispatcher.send(lost).await;
    let error = timeout(PATIENCE, fixture.root.failed()).await.unwrap();
    assert_eq!(error.code(), ErrorCode::REMOTE_HOST_GONE);
    assert!(error.message().starts_with("Encountered too many errors talking to a worker node."), "{error}");
    // What the other one runs is not wanted any more.
    let deadline = Instant::now() + PATIENCE;
    while !fixture.workers[0].wanted.is_empty() {
        assert!(Instant::now() < deadline);
        fixture.workers[0].take_in();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_query_ends_that_holds_more_memory_on_all_nodes_together_than_it_may() {
    for policy in [RetryPolicy::None, RetryPolicy::Query] {
        let mut fixture = Fixture::new().await;
        fixture.submit(policy, |_| ()).await;
        let assigned = fixture.assigned(0).await;
        let holding = |task: (u32, u32), memory_reserved_bytes| {
            let stats = wire::AttemptStats { memory_reserved_bytes, ..Default::default() };
            let details = AttemptDetails { stats, ..AttemptDetails::default() };
            (attempt(task.0, task.1, 0), AttemptStatus::Running, details)
        };
        let of = |at: usize| *assigned.iter().find(|(_, (on, _))| *on == at).expect("both run some").0;
        let (first, second) = (of(0), of(1));
        fixture.report(0, vec![holding(first, QUERY_BYTES - 1)]).await;
        fixture.report(1, vec![holding(second, 1)]).await;
        // It lets go of some, and only then the other one takes more.
        fixture.report(0, vec![holding(first, 10)]).await;
        fixture.report(1, vec![holding(second, QUERY_BYTES - 10)]).await;
        fixture.dispatcher.inspect(|_| ()).await.unwrap();
        assert_eq!(fixture.root.outcome(), None, "it holds as much as it may");
        fixture.report(0, vec![holding(first, 11)]).await;
        let error = timeout(PATIENCE, fixture.root.failed()).await.unwrap();
        assert_eq!(error.code(), ErrorCode::EXCEEDED_GLOBAL_MEMORY_LIMIT);
        assert_eq!(error.message(), "Query exceeded distributed user memory limit of 1000B");
    }
}
