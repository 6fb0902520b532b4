use std::time::Duration;

use arrow::datatypes::Schema;
use base::{Epoch, StageId, TaskId};
use bytes::Bytes;
use connector::{Scan, SplitOptions, TableHandle};
use exchange::{ExchangeManager, ExchangeOptions, ExchangeStore, ObjectKey};
use protocol::client::ClientContext;
use scheduler::{Distribution, Edge, InputShape, QueryOptions, QueryShape, RecordKey, StageShape};
use tempfile::TempDir;

use super::super::test_worker::{
    LOOK_INTERVAL, MortalStore, Splits, TestLoop, TestWorker, commit, mortal_store, rows_of, schema,
};
use super::super::{Recovery, RootOutput, ScanDescription, StageDescription, Submission};
use super::*;
use crate::first_answer::record;
use crate::query::{Query, Recorded};
use crate::recovery::Remains;
use crate::state::PlanRecord;

/// What the tasks of stage 1 read, one each. The task of the root reads what they write.
const SPLITS: [&str; 3] = ["1", "2", "3"];
const ROWS: [i64; 3] = [1, 2, 3];

fn id() -> QueryId {
    "20261120_061411_00001_abcde".parse().unwrap()
}

fn shape(determinate: bool) -> QueryShape {
    let stage = |distribution, inputs, scans| StageShape {
        distribution,
        inputs,
        scans,
        output_partitions: 1,
        determinate,
    };
    let input = InputShape { producers: vec![StageId(1)], edge: Edge::Single };
    let stages =
        vec![stage(Distribution::Single, vec![input], 0), stage(Distribution::Source, Vec::new(), 1)];
    QueryShape { stages }
}

fn split_options() -> SplitOptions {
    SplitOptions { target_size_bytes: 1, node_count: 1, slot_count: 1 }
}

fn submission(shape: QueryShape, is_durable: bool, root: &Arc<RootOutput>) -> Submission {
    let table = TableHandle(Bytes::new());
    let scan = Scan { table, schema: Arc::new(Schema::empty()), predicate: None, limit: None };
    let scan = ScanDescription { connector: Arc::new(Splits(SPLITS.to_vec())), scan };
    let stage = |scans| StageDescription { fragment: Bytes::new(), scans };
    Submission {
        query: id(),
        epoch: Epoch(1),
        shape,
        options: QueryOptions { is_durable, task_split_count_max: 1, ..QueryOptions::default() },
        stages: vec![stage(Vec::new()), stage(vec![scan])],
        split_options: split_options(),
        pipeline: None,
        root: Arc::clone(root),
    }
}

/// A query that runs without records, of which the last task of stage 1 does not end.
struct Running {
    directory: TempDir,
    store: Arc<MortalStore>,
    life: TestLoop,
    worker: TestWorker,
    root: Arc<RootOutput>,
}

impl Running {
    async fn start(shape: QueryShape, creates_max: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = mortal_store(&directory, creates_max);
        let life = TestLoop::begin(Arc::clone(&store) as _).await;
        let mut worker = life.worker(mortal_store(&directory, usize::MAX)).await;
        worker.paused.insert((1, 2));
        let root = Arc::<RootOutput>::default();
        life.dispatcher.submit(submission(shape, false, &root)).await;
        worker.work_until(life.has_committed(id(), 1, 2)).await;
        Running { directory, store, life, worker, root }
    }

    fn objects(&self) -> Vec<String> {
        self.store.created.lock().unwrap().clone()
    }

    /// The rows of the result.
    async fn rows(&self) -> Vec<i64> {
        rows_of_root(&self.life, &self.root).await
    }
}

async fn rows_of_root(life: &TestLoop, root: &RootOutput) -> Vec<i64> {
    match root.next(0).await.unwrap() {
        super::super::NextOutput::Output(record) => rows_of(&life.exchange, &record).await,
        super::super::NextOutput::End => panic!("the root has a task"),
    }
}

fn attempt(partition: u32, number: u32) -> AttemptId {
    let task = TaskId { query: id(), stage: StageId(1), partition };
    AttemptId { task, generation: 0, epoch: Epoch(1), number }
}

#[tokio::test]
async fn a_short_query_touches_no_store() {
    let mut running = Running::start(shape(true), usize::MAX).await;
    running.worker.resume().await;
    running.worker.work_until(running.root.finished()).await.unwrap();
    assert_eq!(running.rows().await, ROWS);
    assert!(running.worker.rooms.values().all(|room| *room > 0), "{:?}", running.worker.rooms);
    running.life.dispatcher.close(id()).await;
    let is_released = async {
        let is_known =
            async || running.life.dispatcher.inspect(|state| state.execution(&id()).is_some()).await;
        while is_known().await.unwrap() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    running.worker.work_until(is_released).await;
    assert_eq!(running.objects(), [""; 0]);
}

#[tokio::test]
async fn what_was_decided_and_told_is_recorded_when_it_is_asked_for() {
    let mut running = Running::start(shape(true), usize::MAX).await;
    running.worker.work_until(running.life.dispatcher.make_durable(id())).await.unwrap();
    let mut recorded = running.objects();
    recorded.sort();
    let commits = [0, 1].map(|partition| ObjectKey::Commit(attempt(partition, 0).output()).to_string());
    let tasks = ObjectKey::Tasks { query: id(), stage: StageId(1), number: 0 }.to_string();
    assert_eq!(recorded, [commits[0].clone(), commits[1].clone(), tasks]);
    running.worker.resume().await;
    running.worker.work_until(running.root.finished()).await.unwrap();
    assert_eq!(running.rows().await, ROWS);
    assert_eq!(running.worker.rooms[&(0, 0)], 0, "what is assigned now is committed by the worker");
    let done = running.life.state.read_record(id(), RecordKey::Done).await.unwrap();
    assert!(matches!(done, Some((Record::Done { outcome: Ok(()) }, _))));
    // Asked again, it is.
    running.life.dispatcher.make_durable(id()).await.unwrap();
}

#[tokio::test]
async fn a_query_that_has_ended_is_recorded_with_its_end() {
    let mut running = Running::start(shape(true), usize::MAX).await;
    running.worker.resume().await;
    running.worker.work_until(running.root.finished()).await.unwrap();
    assert_eq!(running.objects(), [""; 0]);
    running.life.dispatcher.make_durable(id()).await.unwrap();
    let stored = running.life.state.look(id()).await.unwrap();
    assert!(stored.is_done && stored.records.len() == 1, "{stored:?}");
    assert_eq!(running.objects().len(), 1 + 1 + 4);
}

#[tokio::test]
async fn a_query_that_fails_meanwhile_keeps_nobody_waiting() {
    let running = Running::start(shape(true), usize::MAX).await;
    running.store.holds_commits.send_replace(true);
    let dispatcher = running.life.dispatcher.clone();
    let durable = tokio::spawn(async move { dispatcher.make_durable(id()).await });
    let canceled = Query::canceled();
    running.life.dispatcher.cancel(id(), canceled.clone()).await;
    assert_eq!(running.root.finished().await, Err(canceled));
    durable.await.unwrap().unwrap();
    // Nor does one that has failed.
    running.life.dispatcher.make_durable(id()).await.unwrap();
}

#[tokio::test]
async fn a_late_report_counts_when_its_output_is_in_the_store() {
    let mut running = Running::start(shape(true), usize::MAX).await;
    running.store.holds_commits.send_replace(true);
    let dispatcher = running.life.dispatcher.clone();
    let durable = tokio::spawn(async move { dispatcher.make_durable(id()).await });
    let asked = async {
        while !running.store.created.lock().unwrap().iter().any(|key| key.contains("/tasks/")) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    asked.await;
    running.worker.resume().await;
    assert!(running.worker.rooms[&(1, 2)] > 0, "it may stay out of the store");
    assert_eq!(running.life.committed(id(), 1).await, 2, "it counts and is nowhere but here");
    assert!(!durable.is_finished());
    running.store.holds_commits.send_replace(false);
    // The worker says nothing more by itself.
    running.worker.work_until(running.root.finished()).await.unwrap();
    durable.await.unwrap().unwrap();
    assert_eq!(running.rows().await, ROWS);
    let commits =
        running.objects().iter().filter(|key| key.contains("/1/") && key.ends_with(".commit")).count();
    assert_eq!(commits, 3);
}

/// A rival of the first task of stage 1 has committed in the store what nobody was told.
async fn rival(running: &Running, rows: &[i64]) -> CommitRecord {
    let store: Arc<dyn ExchangeStore> = mortal_store(&running.directory, usize::MAX);
    let exchange = ExchangeManager::with_store(store, ExchangeOptions::default());
    let committed = commit(&exchange, attempt(0, 1), rows, 0).await;
    assert!(!committed.is_inline);
    committed.record
}

#[tokio::test]
async fn a_rival_that_has_committed_the_same_takes_the_place_of_what_was_told() {
    let mut running = Running::start(shape(true), usize::MAX).await;
    let rival = rival(&running, &[1]).await;
    running.worker.work_until(running.life.dispatcher.make_durable(id())).await.unwrap();
    let chosen = running.life.dispatcher.inspect(|state| {
        let stage = state.execution(&id()).and_then(|it| it.stage(StageId(1)));
        stage.and_then(|it| it.outputs.get(&0)).map(|record| record.attempt())
    });
    assert_eq!(chosen.await.unwrap(), Some(rival.attempt()));
    running.worker.resume().await;
    running.worker.work_until(running.root.finished()).await.unwrap();
    assert_eq!(running.rows().await, ROWS);
    assert_eq!(running.worker.ran, [(1, 0), (1, 1), (1, 2), (0, 0)]);
}

#[tokio::test]
async fn what_was_told_and_is_not_what_a_rival_has_committed_is_computed_again() {
    for (determinate, rows) in [(true, [7]), (false, [1])] {
        let mut running = Running::start(shape(determinate), usize::MAX).await;
        rival(&running, &rows).await;
        running.worker.work_until(running.life.dispatcher.make_durable(id())).await.unwrap();
        let key = RecordKey::Rollback { number: 0 };
        let rollback = running.life.state.read_record(id(), key).await.unwrap();
        assert!(rollback.is_some(), "a next life would mix the two");
        running.worker.resume().await;
        running.worker.work_until(running.root.finished()).await.unwrap();
        assert_eq!(running.rows().await, ROWS);
        assert_eq!(running.worker.ran.iter().filter(|task| **task == (1, 0)).count(), 2);
    }
}

#[tokio::test]
async fn attempts_of_a_former_life_are_none_of_a_query_that_was_planned_anew() {
    let directory = tempfile::tempdir().unwrap();
    let former = TestLoop::begin(mortal_store(&directory, usize::MAX)).await;
    let mut worker = former.worker(mortal_store(&directory, usize::MAX)).await;
    worker.paused.insert((1, 2));
    former.dispatcher.submit(submission(shape(true), false, &Arc::default())).await;
    worker.work_until(former.has_committed(id(), 1, 2)).await;
    drop(former);
    let life = TestLoop::begin(mortal_store(&directory, usize::MAX)).await;
    let root = Arc::<RootOutput>::default();
    life.dispatcher.submit(Submission { epoch: Epoch(2), ..submission(shape(true), false, &root) }).await;
    // It brings what it had ended and what it runs.
    worker.paused.clear();
    worker.attach(&life).await;
    worker.work_until(root.finished()).await.unwrap();
    assert_eq!(rows_of_root(&life, &root).await, ROWS);
    assert_eq!(worker.ran.len(), 4, "what the former plan wrote was read: {:?}", worker.ran);
}

/// The query of the tests, as the coordinator knows it that runs it.
fn query() -> Query {
    let query = Query::new(id(), "SELECT n FROM t".into(), ClientContext::default());
    let record = PlanRecord {
        fragments: vec![Bytes::new(); 2],
        shape: shape(true),
        split_options: split_options(),
        columns: Vec::new(),
        schema: schema(),
        outline: None,
        epoch: Epoch(1),
    };
    *query.recorded.try_lock().unwrap() = Recorded::NothingOf(Arc::new(record));
    query
}

/// Goes on in the next life with what is there. Says whether there was anything to go on with.
async fn go_on(directory: &TempDir, former: Option<TestWorker>) -> bool {
    let store = || mortal_store(directory, usize::MAX);
    let life = TestLoop::begin(store()).await;
    let stored = life.state.look(id()).await.unwrap();
    if !stored.has_query {
        life.dispatcher.close(id()).await;
        let is_there = async || store().list_groups().await.unwrap().contains(&id().to_string());
        let gone = async {
            while is_there().await {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect("what is there is removed");
        return false;
    }
    let plan = life.state.read(ObjectKey::Plan(id())).await.unwrap().expect("the plan is there before");
    let plan = PlanRecord::decode(id(), &plan).unwrap();
    assert_eq!(plan.shape, shape(true));
    let Remains { records, splits, commits } =
        Remains::read(&life.state, &life.exchange, id(), &plan).await.unwrap();
    let root = Arc::<RootOutput>::default();
    let submission = submission(plan.shape, true, &root);
    life.dispatcher.recover(Recovery { submission, records, splits, commits }).await;
    let mut worker = match former {
        Some(mut worker) => {
            worker.paused.clear();
            worker.attach(&life).await;
            worker
        }
        None => life.worker(store()).await,
    };
    worker.work_until(root.finished()).await.unwrap();
    assert_eq!(rows_of_root(&life, &root).await, ROWS);
    let again: Vec<_> = worker.ran.iter().filter(|(stage, task)| *stage == 1 && *task < 2).collect();
    assert!(again.is_empty(), "it was told, and is run again: {again:?}");
    true
}

#[tokio::test]
async fn wherever_the_coordinator_dies_a_query_goes_on_or_leaves_nothing() {
    for worker_survives in [false, true] {
        let mut outcomes = Vec::new();
        for creates_max in 0.. {
            let mut running = Running::start(shape(true), creates_max).await;
            let query = query();
            let (dispatcher, state) = (running.life.dispatcher.clone(), running.life.state.clone());
            let store = Arc::clone(&running.store);
            let is_promised = {
                let dies = async {
                    while !store.is_dead() {
                        tokio::time::sleep(LOOK_INTERVAL).await;
                    }
                };
                tokio::select! {
                    recorded = running.worker.work_until(record(&dispatcher, &state, &query)) => {
                        recorded.unwrap();
                        true
                    }
                    () = dies => false,
                }
            };
            let mut has_ended = false;
            if is_promised {
                running.worker.resume().await;
                let root = Arc::clone(&running.root);
                let ends = async {
                    while !store.is_dead() && root.outcome().is_none() {
                        tokio::time::sleep(LOOK_INTERVAL).await;
                    }
                };
                running.worker.work_until(ends).await;
                has_ended = root.outcome().is_some();
            }
            let Running { directory, life, worker, .. } = running;
            drop(life);
            let goes_on = go_on(&directory, worker_survives.then_some(worker)).await;
            assert!(goes_on || !is_promised, "it was promised and is gone: {creates_max}");
            outcomes.push(goes_on);
            if has_ended {
                break;
            }
        }
        // Two commits, the tasks and the plan come before the statement.
        assert_eq!(outcomes.iter().filter(|goes_on| !**goes_on).count(), 5, "{outcomes:?}");
        assert!(
            outcomes.is_sorted() && outcomes.iter().filter(|goes_on| **goes_on).count() >= 3,
            "{outcomes:?}"
        );
    }
}

#[tokio::test]
async fn tasks_that_have_written_without_being_on_record_are_noticed_by_the_next_coordinator() {
    let mut running = Running::start(shape(true), usize::MAX).await;
    let (dispatcher, state) = (running.life.dispatcher.clone(), running.life.state.clone());
    running.worker.work_until(record(&dispatcher, &state, &query())).await.unwrap();
    let Running { directory, life, .. } = running;
    drop(life);
    let store = mortal_store(&directory, usize::MAX);
    let tasks = ObjectKey::Tasks { query: id(), stage: StageId(1), number: 0 }.to_string();
    store.remove(&tasks).await.unwrap();
    let life = TestLoop::begin(store).await;
    let plan = life.state.read(ObjectKey::Plan(id())).await.unwrap().unwrap();
    let plan = PlanRecord::decode(id(), &plan).unwrap();
    let read = Remains::read(&life.state, &life.exchange, id(), &plan).await;
    let error = read.err().expect("the record is missed");
    assert_eq!(error.code(), base::ErrorCode::EXCHANGE_DATA_LOST);
    assert_eq!(error.message(), format!("The record {tasks} is lost"));
}
