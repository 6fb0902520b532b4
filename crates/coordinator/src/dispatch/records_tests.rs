//! Decisions are recorded before they take effect, and what another coordinator recorded counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use base::{Incarnation, NodeId, TaskId};
use bytes::Bytes;
use connector::{Scan, SplitOptions, TableHandle};
use exchange::{ExchangeManager, ExchangeOptions, ObjectKey};
use protocol::node::NodeReport;
use protocol::node::wire::coordinator_message::Message;
use scheduler::{
    Capacity, CoreOptions, Distribution, NodeState, QueryOptions, QueryShape, RecordKey, StageShape,
    WorkerReport,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::test_worker::{LOOK_INTERVAL, Splits, TestLoop, mortal_store};
use super::super::{
    Dispatcher, DispatcherOptions, Input, RootOutput, ScanDescription, StageDescription, WorkerDescription,
};
use super::*;
use crate::query::QueryRegistry;
use crate::state::{Identity, Leadership, StateStore};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

fn query() -> QueryId {
    "20261120_061411_00001_abcde".parse().unwrap()
}

/// A query of one stage whose tasks share splits, one for each.
fn submission(splits: Vec<&'static str>, root: Arc<RootOutput>) -> Submission {
    let stage = StageShape {
        distribution: Distribution::Source,
        inputs: Vec::new(),
        scans: 1,
        output_partitions: 1,
        determinate: true,
    };
    let table = TableHandle(Bytes::new());
    let scan = Scan { table, schema: Arc::new(Schema::empty()), predicate: None, limit: None };
    let scan = ScanDescription { connector: Arc::new(Splits(splits)), scan };
    Submission {
        query: query(),
        epoch: base::Epoch(1),
        shape: QueryShape { stages: vec![stage] },
        options: QueryOptions { task_split_count_max: 1, ..QueryOptions::default() },
        stages: vec![StageDescription { fragment: Bytes::new(), scans: vec![scan] }],
        split_options: SplitOptions { target_size_bytes: 1, node_count: 1, slot_count: 1 },
        pipeline: None,
        root,
    }
}

/// A life of a coordinator, on a directory that others may use too.
struct Life {
    dispatcher: Dispatcher,
    state: StateStore,
    root: Arc<RootOutput>,
    _stop: DropGuard,
}

impl Life {
    async fn begin(directory: &TempDir) -> Self {
        let options = ExchangeOptions {
            base_directories: vec![directory.path().to_str().unwrap().to_owned()],
            ..ExchangeOptions::default()
        };
        let exchange = Arc::new(ExchangeManager::new(options).unwrap());
        let identity =
            Identity { coordinator_id: "abcde".into(), node_id: "n".into(), address: String::new() };
        let store = Arc::clone(exchange.store());
        let leadership =
            Leadership::take(Arc::clone(&store), &identity, Duration::from_secs(3600), None).await;
        let state = StateStore::new(store, Arc::new(leadership));
        let stop = CancellationToken::new();
        let dispatcher = Dispatcher::start(DispatcherOptions {
            core: CoreOptions::default(),
            state: state.clone(),
            exchange,
            queries: Arc::new(QueryRegistry::new(1, Duration::ZERO)),
            coordinator_ids: vec!["abcde".into()],
            stop: stop.clone(),
        });
        Life { dispatcher, state, root: Arc::default(), _stop: stop.drop_guard() }
    }

    /// Runs the query with a worker of many slots, and says which splits its first attempts are to read.
    async fn assigned(&self, submission: Submission) -> Result<Vec<Vec<String>>> {
        let (outbox, mut stream) = mpsc::channel(64);
        let (node, incarnation) = (NodeId::new("n1"), Incarnation(1));
        let description = WorkerDescription {
            node: node.clone(),
            incarnation,
            http_uri: String::new(),
            direct_uri: "".into(),
        };
        self.dispatcher.send(Input::Attached { description, connection: 0, outbox }).await;
        self.dispatcher.submit(submission).await;
        let report = NodeReport {
            report: WorkerReport {
                incarnation,
                sequence: 1,
                desired_seen: None,
                capacity: Capacity { memory_bytes: 1 << 40, slots: 8 },
                state: NodeState::Active,
                attempts: Vec::new(),
            },
            details: BTreeMap::new(),
            usage: wire::NodeUsage::default(),
        };
        self.dispatcher.send(Input::Reported { node, connection: 0, report: Box::new(report) }).await;
        let desired = async {
            loop {
                let Some(Ok(message)) = stream.recv().await else { continue };
                if let Some(Message::Desired(desired)) = message.message
                    && !desired.assignments.is_empty()
                {
                    return desired.assignments;
                }
            }
        };
        tokio::select! {
            assignments = timeout(PATIENCE, desired) => {
                let splits = |assignment: wire::Assignment| {
                    let splits = assignment.scans.into_iter().flat_map(|scan| scan.splits);
                    splits.map(|split| String::from_utf8(split.payload.to_vec()).unwrap()).collect()
                };
                Ok(assignments.unwrap().into_iter().map(splits).collect())
            }
            outcome = self.root.finished() => Err(outcome.unwrap_err()),
        }
    }
}

/// Which splits the recorded tasks read.
async fn recorded(state: &StateStore) -> Vec<String> {
    let key = RecordKey::Tasks { stage: StageId(0), number: 0 };
    let (_, splits) = state.read_record(query(), key).await.unwrap().expect("there is a record");
    splits.into_iter().map(|known| String::from_utf8(known.split.payload.to_vec()).unwrap()).collect()
}

/// The record of another coordinator: one task that reads one split.
async fn record_of_another(state: &StateStore, split: &'static str) {
    let task = TaskInput { splits: vec![vec![0]], ..TaskInput::default() };
    let record = Record::Tasks { stage: StageId(0), number: 0, tasks: vec![Arc::new(task)], sealed: true };
    let split = wire::Split { payload: Bytes::from_static(split.as_bytes()), size_bytes: 1 };
    let splits = vec![KnownSplit { scan: 0, number: 0, split }];
    state.create_record(query(), &record, splits).await.unwrap();
}

#[tokio::test]
async fn tasks_are_on_record_before_they_run() {
    let directory = tempfile::tempdir().unwrap();
    let life = Life::begin(&directory).await;
    let assigned = life.assigned(submission(vec!["a", "b"], Arc::clone(&life.root))).await.unwrap();
    let recorded = recorded(&life.state).await;
    assert!(!assigned.is_empty());
    for split in assigned.iter().flatten() {
        assert!(recorded.contains(split), "{split} is read and not recorded: {recorded:?}");
    }
}

#[tokio::test]
async fn what_another_coordinator_recorded_is_what_runs() {
    let directory = tempfile::tempdir().unwrap();
    let life = Life::begin(&directory).await;
    record_of_another(&life.state, "a").await;
    // Alone, this one would have formed two tasks.
    let assigned = life.assigned(submission(vec!["a", "b"], Arc::clone(&life.root))).await.unwrap();
    assert_eq!(assigned, [["a"]]);
}

#[tokio::test]
async fn a_table_that_changed_between_coordinators_fails_the_query() {
    let directory = tempfile::tempdir().unwrap();
    let life = Life::begin(&directory).await;
    record_of_another(&life.state, "before").await;
    let error = life.assigned(submission(vec!["after"], Arc::clone(&life.root))).await.unwrap_err();
    assert!(error.message().contains("changed while the query was between two coordinators"), "{error}");
}

#[tokio::test]
async fn the_outcome_that_is_on_record_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let life = Life::begin(&directory).await;
    let killed = Error::new(ErrorCode::ADMINISTRATIVELY_KILLED, "Query killed.");
    let done = Record::Done { outcome: Err(killed.clone()) };
    life.state.create_record(query(), &done, Vec::new()).await.unwrap();
    life.dispatcher.submit(submission(Vec::new(), Arc::clone(&life.root))).await;
    life.dispatcher.cancel(query(), Error::new(ErrorCode::USER_CANCELED, "Query was canceled")).await;
    assert_eq!(timeout(PATIENCE, life.root.finished()).await.unwrap(), Err(killed));
}

#[tokio::test]
async fn one_that_leads_no_more_tells_no_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let old = Life::begin(&directory).await;
    let new = Life::begin(&directory).await;
    old.state.leadership().superseded_by(new.state.leadership().epoch());
    old.dispatcher.submit(submission(vec!["a"], Arc::clone(&old.root))).await;
    old.dispatcher.cancel(query(), Error::new(ErrorCode::USER_CANCELED, "Query was canceled")).await;
    old.dispatcher.inspect(|_| ()).await.unwrap();
    assert_eq!(old.root.outcome(), None);
    let key = ObjectKey::Done(query());
    assert_eq!(new.state.read(key).await.unwrap(), None);
}

#[tokio::test]
async fn a_good_end_of_another_whose_result_is_not_here_is_no_empty_result() {
    let directory = tempfile::tempdir().unwrap();
    let life = Life::begin(&directory).await;
    let done = Record::Done { outcome: Ok(()) };
    life.state.create_record(query(), &done, Vec::new()).await.unwrap();
    life.dispatcher.submit(submission(vec!["a"], Arc::clone(&life.root))).await;
    let canceled = Error::new(ErrorCode::USER_CANCELED, "Query was canceled");
    // The first time it is found that the query has ended well, and it goes on for its result. Nobody may wait for that.
    let ended = async {
        while life.root.outcome().is_none() {
            life.dispatcher.cancel(query(), canceled.clone()).await;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(life.root.outcome(), Some(Ok(())));
    let read = timeout(PATIENCE, life.root.next(0)).await.unwrap();
    assert_eq!(read.unwrap_err().code(), ErrorCode::EXCHANGE_DATA_LOST);
}

#[tokio::test]
async fn a_position_counts_as_long_as_the_output_does_that_it_is_in() {
    for determinate in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let life = TestLoop::begin(mortal_store(&directory, usize::MAX)).await;
        let mut worker = life.worker(mortal_store(&directory, usize::MAX)).await;
        worker.paused.insert((0, 2));
        let root = Arc::<RootOutput>::default();
        let mut submission = submission(vec!["1", "2", "3"], Arc::clone(&root));
        submission.shape.stages[0].determinate = determinate;
        life.dispatcher.submit(submission).await;
        worker.work_until(life.has_committed(query(), 0, 2)).await;
        // The client has read both under another coordinator. Then the first one is lost.
        let task = TaskId { query: query(), stage: StageId(0), partition: 0 };
        let output = OutputId { task, generation: 0 };
        life.dispatcher.output_lost(output, Error::lost(output, "it is gone")).await.unwrap();
        worker.work_until(root.replaced(output)).await.unwrap();
        worker.work_until(root.next(0)).await.unwrap();
        assert_eq!(root.generation(0), Some(1));
        let consent = async |partition| life.dispatcher.result_read(query(), partition, Some(0)).await;
        assert_eq!(consent(0).await, Ok(ReadConsent::Void), "determinate: {determinate}");
        assert_eq!(consent(1).await, Ok(ReadConsent::Given), "determinate: {determinate}");
        worker.resume().await;
        worker.work_until(root.finished()).await.unwrap();
    }
}
