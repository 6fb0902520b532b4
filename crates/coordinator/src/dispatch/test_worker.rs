//! A life of a coordinator's event loop with one worker, on a store that may stand still: for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use base::Epoch;
use bytes::Bytes;
use connector::{Connector, Scan, SplitOptions, TableMetadata};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use exchange::{
    CommitRecord, CreateOutcome, ExchangeOptions, ExchangeStore, LocalStore, SinkOptions, SourceHandle,
    StoreError,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use protocol::node::wire::assignment::Output;
use protocol::node::wire::coordinator_message::Message;
use protocol::node::{AttemptDetails, wire};
use scheduler::{AttemptReport, AttemptStatus, Capacity, NodeState, WorkerReport};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use super::records::output_size;
use super::*;
use crate::state::{Identity, Leadership};
use crate::test_store::{HookedStore, StoreHooks};

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is looked for what happens by itself.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(1);

type Stream = mpsc::Receiver<Result<wire::CoordinatorMessage, tonic::Status>>;

/// A directory on which a process writes that may die: then it creates nothing more.
pub type MortalStore = HookedStore<Mortality>;

/// What a process does until it dies.
#[derive(Debug)]
pub struct Mortality {
    /// How many objects of queries it creates.
    creates_max: usize,
    creates: AtomicUsize,
    /// Whether commits wait.
    pub holds_commits: watch::Sender<bool>,
    /// The keys of objects of queries that were created, in their order.
    pub created: Mutex<Vec<String>>,
}

/// A directory on which a process creates so many objects of queries until it dies.
pub fn mortal_store(directory: &TempDir, creates_max: usize) -> Arc<MortalStore> {
    let mortality = Mortality {
        creates_max,
        creates: AtomicUsize::new(0),
        holds_commits: watch::Sender::new(false),
        created: Mutex::default(),
    };
    HookedStore::new(directory.path(), mortality)
}

impl Mortality {
    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.creates.load(Ordering::Acquire) > self.creates_max
    }
}

#[async_trait]
impl StoreHooks for Mortality {
    async fn create(
        &self,
        store: &LocalStore,
        key: &str,
        content: Bytes,
    ) -> Result<CreateOutcome, StoreError> {
        if key.starts_with(exchange::layout::COORDINATOR_PREFIX) {
            return store.create(key, content).await;
        }
        if key.ends_with(".commit") {
            // The sender is our own.
            let _ = self.holds_commits.subscribe().wait_for(|holds| !holds).await;
        }
        if self.creates.fetch_add(1, Ordering::AcqRel) >= self.creates_max {
            std::future::pending::<()>().await;
        }
        let created = store.create(key, content).await?;
        self.created.lock().unwrap().push(key.to_owned());
        Ok(created)
    }
}

/// A life of the event loop.
pub struct TestLoop {
    pub dispatcher: Dispatcher,
    pub state: StateStore,
    pub exchange: Arc<ExchangeManager>,
    _stop: DropGuard,
}

impl TestLoop {
    pub async fn begin(store: Arc<dyn ExchangeStore>) -> Self {
        let exchange = Arc::new(ExchangeManager::with_store(Arc::clone(&store), ExchangeOptions::default()));
        let identity =
            Identity { coordinator_id: "abcde".into(), node_id: "n".into(), address: String::new() };
        let lease = Duration::from_secs(3600);
        let leadership = Leadership::take(Arc::clone(&store), &identity, lease, None).await;
        let state = StateStore::new(store, Arc::new(leadership));
        let stop = CancellationToken::new();
        let dispatcher = Dispatcher::start(DispatcherOptions {
            core: CoreOptions { takeover_period: Millis(10), ..CoreOptions::default() },
            state: state.clone(),
            exchange: Arc::clone(&exchange),
            queries: Arc::new(QueryRegistry::new(1, Duration::ZERO)),
            coordinator_ids: vec!["abcde".into()],
            stop: stop.clone(),
        });
        TestLoop { dispatcher, state, exchange, _stop: stop.drop_guard() }
    }

    async fn attach(&self) -> Stream {
        let (outbox, stream) = mpsc::channel(64);
        let description = WorkerDescription {
            node: NodeId::new("n1"),
            incarnation: Incarnation(1),
            http_uri: String::new(),
            direct_uri: String::new().into(),
        };
        self.dispatcher.send(Input::Attached { description, connection: 0, outbox }).await;
        stream
    }

    /// A worker of many slots, whose outputs go to the store where that is asked for.
    pub async fn worker(&self, store: Arc<dyn ExchangeStore>) -> TestWorker {
        let mut worker = TestWorker {
            dispatcher: self.dispatcher.clone(),
            exchange: ExchangeManager::with_store(store, ExchangeOptions::default()),
            stream: self.attach().await,
            sequence: 0,
            desired: None,
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            paused: BTreeSet::new(),
            ran: Vec::new(),
            rooms: BTreeMap::new(),
        };
        worker.report().await;
        worker
    }

    /// How many tasks of a stage have an output that counts.
    pub async fn committed(&self, query: QueryId, stage: u32) -> u32 {
        let look = move |state: &DispatchState| {
            let view = state.core().query(&query)?;
            view.stages().find(|it| it.id == StageId(stage)).map(|it| it.counts.committed)
        };
        self.dispatcher.inspect(look).await.unwrap().unwrap_or_default()
    }

    /// Waits until so many have.
    pub async fn has_committed(&self, query: QueryId, stage: u32, count: u32) {
        while self.committed(query, stage).await < count {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// A catalog whose tables have the splits that it is made of.
#[derive(Debug)]
pub struct Splits(pub Vec<&'static str>);

#[async_trait]
impl Connector for Splits {
    async fn schemas(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn tables(&self, _schema: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn table(&self, _schema: &str, _table: &str) -> Result<Option<TableMetadata>> {
        Ok(None)
    }

    async fn splits(
        &self,
        _scan: &Scan,
        _options: &SplitOptions,
    ) -> Result<BoxStream<'static, Result<Vec<Split>>>> {
        let split =
            |name: &&'static str| Split { payload: Bytes::from_static(name.as_bytes()), size_bytes: 1 };
        let splits: Vec<Split> = self.0.iter().map(split).collect();
        Ok(stream::once(async move { Ok(splits) }).boxed())
    }

    fn open(&self, _: &Scan, _: &Split, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Err(Error::internal("nobody reads here"))
    }
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// A worker whose tasks give the number in each split they read, and all rows of their sources.
pub struct TestWorker {
    dispatcher: Dispatcher,
    exchange: ExchangeManager,
    stream: Stream,
    sequence: u64,
    desired: Option<(Epoch, u64)>,
    /// What has ended.
    held: BTreeMap<AttemptId, Committed>,
    /// What runs.
    waiting: BTreeMap<AttemptId, wire::Assignment>,
    /// Tasks that do not end.
    pub paused: BTreeSet<(u32, u32)>,
    /// The tasks that have ended, in that order.
    pub ran: Vec<(u32, u32)>,
    /// How large the output of each task might be to travel in its report.
    pub rooms: BTreeMap<(u32, u32), u64>,
}

impl TestWorker {
    /// Goes to the next life of the coordinator, with all it holds.
    pub async fn attach(&mut self, to: &TestLoop) {
        (self.dispatcher, self.stream) = (to.dispatcher.clone(), to.attach().await);
        self.ran.clear();
        self.report().await;
    }

    /// Works until something has happened.
    pub async fn work_until<T>(&mut self, happens: impl Future<Output = T>) -> T {
        let happens = tokio::time::timeout(PATIENCE, happens);
        tokio::pin!(happens);
        loop {
            let message = tokio::select! {
                happened = &mut happens => return happened.expect("it happens in time"),
                message = self.stream.recv() => message.unwrap().unwrap(),
            };
            if let Some(Message::Desired(desired)) = message.message {
                self.take(desired).await;
                self.report().await;
            }
        }
    }

    async fn take(&mut self, desired: wire::Desired) {
        self.desired = Some((Epoch(desired.epoch), desired.sequence));
        let wanted: BTreeSet<AttemptId> =
            desired.attempts.iter().map(|attempt| attempt.try_into().unwrap()).collect();
        self.held.retain(|attempt, _| wanted.contains(attempt));
        self.waiting.retain(|attempt, _| wanted.contains(attempt));
        for assignment in desired.assignments {
            let attempt: AttemptId = assignment.attempt.as_ref().unwrap().try_into().unwrap();
            if !self.held.contains_key(&attempt) {
                self.waiting.insert(attempt, assignment);
            }
        }
        self.run().await;
    }

    /// Lets paused tasks end, and reports.
    pub async fn resume(&mut self) {
        self.paused.clear();
        self.run().await;
        self.report().await;
    }

    async fn run(&mut self) {
        let paused = &self.paused;
        let task = |attempt: &AttemptId| (attempt.task.stage.0, attempt.task.partition);
        let runs: Vec<AttemptId> =
            self.waiting.keys().filter(|attempt| !paused.contains(&task(attempt))).copied().collect();
        for attempt in runs {
            let assignment = self.waiting.remove(&attempt).unwrap();
            let Some(Output::CommittedOutput(output)) = assignment.output else {
                panic!("{attempt} is told nothing of its output")
            };
            let rows = self.rows(&assignment).await;
            let committed = commit(&self.exchange, attempt, &rows, output.inline_bytes_max).await;
            self.rooms.insert(task(&attempt), output.inline_bytes_max);
            self.ran.push(task(&attempt));
            self.held.insert(attempt, committed);
        }
    }

    async fn rows(&self, assignment: &wire::Assignment) -> Vec<i64> {
        let splits = assignment.scans.iter().flat_map(|scan| &scan.splits);
        let mut rows: Vec<i64> =
            splits.map(|split| std::str::from_utf8(&split.payload).unwrap().parse().unwrap()).collect();
        for input in &assignment.inputs {
            let handles = input.source_handles.iter().map(|handle| SourceHandle::decode(handle).unwrap());
            let read = self.exchange.options().read();
            let mut batches = self.exchange.open(handles.collect(), schema(), &read);
            while let Some(batch) = batches.next_batch().await.unwrap() {
                rows.extend(batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values());
            }
        }
        rows
    }

    /// Reports everything.
    pub async fn report(&mut self) {
        self.sequence += 1;
        let mut report = NodeReport {
            report: WorkerReport {
                incarnation: Incarnation(1),
                sequence: self.sequence,
                desired_seen: self.desired,
                capacity: Capacity { memory_bytes: 1 << 40, slots: 8 },
                state: NodeState::Active,
                attempts: Vec::new(),
            },
            details: BTreeMap::new(),
            usage: wire::NodeUsage::default(),
        };
        let running = self.waiting.keys().map(|id| (*id, AttemptStatus::Running, AttemptDetails::default()));
        let ended = self.held.iter().map(|(attempt, committed)| {
            let output = output_size(&committed.record);
            let details = AttemptDetails {
                commit_record: committed.record.encode(),
                is_inline: committed.is_inline,
                ..AttemptDetails::default()
            };
            (*attempt, AttemptStatus::Committed { winner: committed.winner, output }, details)
        });
        for (attempt, status, details) in running.chain(ended) {
            let each = AttemptReport { attempt, status, peak_memory_bytes: 1, memory_bytes: 1 << 20 };
            report.report.attempts.push(each);
            report.details.insert(attempt, details);
        }
        let reported = Input::Reported { node: NodeId::new("n1"), connection: 0, report: Box::new(report) };
        self.dispatcher.send(reported).await;
    }
}

/// Writes rows as an attempt does whose output may be so large to stay out of the store.
pub async fn commit(
    exchange: &ExchangeManager,
    attempt: AttemptId,
    rows: &[i64],
    unstored_bytes_max: u64,
) -> Committed {
    let options = SinkOptions { unstored_bytes_max, ..exchange.options().sink("/nowhere") };
    let mut sink = exchange.sink(attempt, schema(), 1, options).unwrap();
    let column = Arc::new(Int64Array::from(rows.to_vec()));
    sink.push(0, RecordBatch::try_new(schema(), vec![column]).unwrap()).await.unwrap();
    sink.finish().await.unwrap()
}

/// The rows of an output, in ascending order.
pub async fn rows_of(exchange: &ExchangeManager, record: &CommitRecord) -> Vec<i64> {
    let mut batches = exchange.open_output(record, schema(), &exchange.options().read());
    let mut rows = Vec::new();
    while let Some(batch) = batches.next_batch().await.unwrap() {
        rows.extend(batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values());
    }
    rows.sort_unstable();
    rows
}
