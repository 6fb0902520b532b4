//! Who is connected: lives of a node, and streams of a life.

use std::collections::BTreeMap;

use protocol::node::wire;
use protocol::node::wire::coordinator_message::Message;
use scheduler::{Capacity, Distribution, NodeState, QueryOptions, QueryShape, StageShape, WorkerReport};
use tempfile::TempDir;

use super::*;
use crate::state::{Identity, Leadership};
use tokio_util::sync::DropGuard;

struct Fixture {
    dispatcher: Dispatcher,
    directory: TempDir,
    _stop: DropGuard,
}

type Stream = mpsc::Receiver<Result<wire::CoordinatorMessage, tonic::Status>>;

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = exchange::ExchangeOptions {
            base_directories: vec![directory.path().to_str().unwrap().to_owned()],
            ..exchange::ExchangeOptions::default()
        };
        let exchange = Arc::new(ExchangeManager::new(options).unwrap());
        let identity =
            Identity { coordinator_id: "abcde".into(), node_id: "n".into(), address: String::new() };
        let lease = Duration::from_secs(3600);
        let leadership = Leadership::take(Arc::clone(exchange.store()), &identity, lease, None).await;
        let stop = CancellationToken::new();
        let dispatcher = Dispatcher::start(DispatcherOptions {
            core: CoreOptions::default(),
            state: StateStore::new(Arc::clone(exchange.store()), Arc::new(leadership)),
            exchange,
            queries: Arc::new(QueryRegistry::new(1, Duration::ZERO)),
            coordinator_ids: vec!["abcde".into()],
            stop: stop.clone(),
        });
        Fixture { dispatcher, directory, _stop: stop.drop_guard() }
    }

    async fn attach(&self, connection: u64, incarnation: u64) -> Stream {
        let (outbox, stream) = mpsc::channel(16);
        let description = WorkerDescription {
            node: NodeId::new("n1"),
            incarnation: Incarnation(incarnation),
            http_uri: "http://127.0.0.1:1".to_owned(),
            direct_uri: "http://127.0.0.1:2".into(),
        };
        let attached = Input::Attached { description, connection, outbox };
        self.dispatcher.send(attached).await;
        stream
    }

    async fn report(&self, connection: u64, incarnation: u64, sequence: u64) {
        let report = WorkerReport {
            incarnation: Incarnation(incarnation),
            sequence,
            desired_seen: None,
            capacity: Capacity { memory_bytes: 1 << 30, slots: 1 },
            state: NodeState::Active,
            attempts: Vec::new(),
        };
        let report = NodeReport {
            report,
            details: BTreeMap::new(),
            usage: wire::NodeUsage { resident_bytes: sequence, ..wire::NodeUsage::default() },
        };
        let reported = Input::Reported { node: NodeId::new("n1"), connection, report: Box::new(report) };
        self.dispatcher.send(reported).await;
    }

    /// The life that is connected, what it last told, and whether it takes attempts.
    async fn seen(&self) -> (u64, Option<u64>, bool) {
        let look = |state: &DispatchState| {
            let (id, node) = state.nodes().next().unwrap();
            let known = state.core().node(id);
            (
                node.description.incarnation.0,
                node.usage.map(|usage| usage.resident_bytes),
                known.is_some_and(|known| known.state == Some(NodeState::Active)),
            )
        };
        self.dispatcher.inspect(look).await.unwrap()
    }
}

/// Whether a life was told that a newer one is there.
fn is_superseded(stream: &mut Stream) -> bool {
    std::iter::from_fn(|| stream.try_recv().ok())
        .any(|message| matches!(message.unwrap().message, Some(Message::Rejection(it)) if it.superseded))
}

#[tokio::test]
async fn of_two_lives_of_a_node_the_newer_one_stays() {
    let fixture = Fixture::new().await;
    let mut old = fixture.attach(0, 10).await;
    fixture.report(0, 10, 1).await;
    assert_eq!(fixture.seen().await, (10, Some(1), true));
    let mut new = fixture.attach(1, 20).await;
    fixture.report(1, 20, 1).await;
    assert_eq!(fixture.seen().await, (20, Some(1), true));
    assert!(is_superseded(&mut old));
    // What the old one still says is not heard, and it does not get its place back.
    fixture.report(0, 10, 2).await;
    let mut again = fixture.attach(2, 10).await;
    fixture.report(2, 10, 3).await;
    assert_eq!(fixture.seen().await, (20, Some(1), true));
    assert!(is_superseded(&mut again) && again.is_closed());
    assert!(!is_superseded(&mut new) && !new.is_closed());
}

#[tokio::test]
async fn a_life_that_comes_back_on_another_stream_is_the_same_life() {
    let fixture = Fixture::new().await;
    let mut first = fixture.attach(0, 10).await;
    fixture.report(0, 10, 1).await;
    let second = fixture.attach(1, 10).await;
    fixture.report(1, 10, 2).await;
    fixture.report(0, 10, 3).await;
    let detached = Input::Detached { node: NodeId::new("n1"), incarnation: Incarnation(10), connection: 0 };
    fixture.dispatcher.send(detached).await;
    assert_eq!(fixture.seen().await, (10, Some(2), true));
    assert!(!is_superseded(&mut first) && !second.is_closed());
}

/// A query of one task that reads nothing.
fn submission(query: QueryId) -> Submission {
    let stage = StageShape {
        distribution: Distribution::Single,
        inputs: Vec::new(),
        scans: 0,
        output_partitions: 1,
        determinate: true,
    };
    Submission {
        query,
        epoch: base::Epoch(1),
        shape: QueryShape { stages: vec![stage] },
        options: QueryOptions::default(),
        stages: vec![StageDescription { fragment: bytes::Bytes::new(), scans: Vec::new() }],
        split_options: connector::SplitOptions { target_size_bytes: 1, node_count: 1, slot_count: 1 },
        pipeline: None,
        root: Arc::default(),
    }
}

#[tokio::test]
async fn what_a_closed_query_left_is_deleted_although_a_worker_holds_on_to_it() {
    let fixture = Fixture::new().await;
    let mut stream = fixture.attach(0, 10).await;
    fixture.report(0, 10, 1).await;
    let query: QueryId = "20261120_061411_00001_abcde".parse().unwrap();
    fixture.dispatcher.submit(submission(query)).await;
    let places = |message: wire::CoordinatorMessage| matches!(message.message, Some(Message::Desired(it)) if !it.attempts.is_empty());
    while !places(stream.recv().await.unwrap().unwrap()) {}
    let output = fixture.directory.path().join(query.as_str()).join("0");
    std::fs::create_dir_all(&output).unwrap();
    std::fs::write(output.join("0.0.data"), "output").unwrap();
    let canceled = Error::new(base::ErrorCode::USER_CANCELED, "Query was canceled");
    fixture.dispatcher.cancel(query, canceled).await;
    fixture.dispatcher.close(query).await;
    // The worker never says that it holds nothing of the query any more.
    let deadline = Instant::now() + Duration::from_secs(5);
    while output.exists() {
        assert!(Instant::now() < deadline, "it waits for the worker");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let is_held = fixture.dispatcher.inspect(move |state| state.execution(&query).is_some());
    assert!(is_held.await.unwrap(), "the query was released");
}
