//! Workers of one coordinator, and what runs on them at the same time.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use base::{AttemptId, Incarnation, NodeId};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use exchange::ExchangeManager;
use exchange::direct::{
    ConsumerId, DirectReadError, DirectReadOptions, DirectReader, DirectSource, OutputSlice,
};
use futures::StreamExt;
use operators::{ExchangeSourceExec, Fragment, Sink};
use protocol::direct::{Credentials, DirectConnections, DirectTransports};
use protocol::node::{SharedSecret, wire};
use tokio::runtime::Handle;
use tokio::time::timeout;
use worker::{Worker, WorkerHandle, WorkerOptions};

use crate::support::connector::{TestConnector, schema};
use crate::support::coordinator::{Attached, FakeCoordinator, PATIENCE, Task, is_running, of_attempt};
use crate::support::plans::{fragment, numbers};
use crate::support::{Directories, options};

/// What a buffer of an attempt may hold in the tests, in bytes.
pub const BUFFER_BYTES: u64 = 1 << 20;

/// One worker with everything around it.
pub struct Member {
    pub worker: WorkerHandle,
    pub attached: Attached,
    pub connector: Arc<TestConnector>,
    pub exchange: Arc<ExchangeManager>,
    pub directories: Directories,
    held: Vec<Task>,
}

/// Some workers of one coordinator.
pub struct Cluster {
    pub members: Vec<Member>,
    /// The ways of the coordinator to what workers serve.
    transports: DirectTransports,
    _coordinator: FakeCoordinator,
}

impl Cluster {
    pub async fn start(count: usize) -> Self {
        Cluster::start_with(count, |_| {}).await
    }

    /// Starts workers with changed options.
    pub async fn start_with(count: usize, change: impl Fn(&mut WorkerOptions)) -> Self {
        let mut coordinator = FakeCoordinator::start().await;
        let mut members = Vec::new();
        for number in 0..count {
            let (connector, directories) = (TestConnector::new(), Directories::new());
            let mut options = options(coordinator.uri.clone(), &connector, &directories);
            options.node_id = NodeId::new(format!("worker-{number}"));
            options.direct_sink_options.frame_bytes_target = 64 << 10;
            options.direct_sink_options.buffer_bytes_max = BUFFER_BYTES;
            options.direct_sink_options.broadcast_buffer_bytes_max = BUFFER_BYTES;
            options.direct_read_options.buffer_bytes_max = BUFFER_BYTES;
            options.direct_read_options.verdict_wait_max = PATIENCE * 10;
            change(&mut options);
            let exchange = Arc::clone(&options.exchange);
            let worker = Worker::start(options).await.unwrap();
            let attached = coordinator.attached().await;
            let held = Vec::new();
            members.push(Member { worker, attached, connector, exchange, directories, held });
        }
        let secret = SharedSecret::new("secret");
        let credentials = Credentials::new(Some(&secret), &NodeId::new("coordinator"), Incarnation(1));
        let connections = DirectConnections::new(credentials, Handle::current());
        Cluster { members, transports: DirectTransports::new(connections), _coordinator: coordinator }
    }

    /// What is read of an attempt on that worker.
    pub fn source(&self, member: usize, producer: AttemptId, partitions: Range<u32>) -> wire::DirectSource {
        let announcement = &self.members[member].attached.announcement;
        wire::DirectSource {
            producer: Some(producer.into()),
            incarnation: announcement.incarnation,
            uri: announcement.direct_uri.clone(),
            partition_start: partitions.start,
            partition_end: partitions.end,
        }
    }

    /// Lets the workers hold these attempts as well.
    pub async fn desire(&mut self, placed: Vec<(usize, Task)>) {
        for (member, task) in placed {
            self.members[member].held.push(task);
        }
        for Member { attached, held, .. } in &mut self.members {
            attached.desire(held).await;
        }
    }

    /// Waits until these attempts on that worker have ended.
    pub async fn ends(&mut self, member: usize, attempts: &[AttemptId]) -> Vec<wire::AttemptReport> {
        self.members[member].attached.ends(attempts).await
    }

    /// Waits for the next reports of a worker for so long, in all of which these attempts run.
    pub async fn runs_on(&mut self, member: usize, attempts: &[AttemptId], duration: Duration) {
        let attached = &mut self.members[member].attached;
        let ended = attached.report(|report| {
            attempts.iter().any(|attempt| of_attempt(report, attempt).is_some_and(|each| !is_running(each)))
        });
        if let Ok(report) = timeout(duration, ended).await {
            panic!("{report:?}");
        }
    }

    /// Wants nothing any more, and sees that nothing is left.
    pub async fn end(mut self) {
        self.let_go().await;
        for member in &self.members {
            assert!(member.worker.outputs().is_empty(), "{:?}", member.worker.outputs());
        }
    }

    /// Wants nothing any more, and waits until nothing is held.
    pub async fn let_go(&mut self) {
        for Member { attached, held, .. } in &mut self.members {
            held.clear();
            attached.desire(&[]).await;
            attached.empties().await;
        }
    }

    /// A reader of the coordinator's, for the output of the root.
    pub fn reader(&self, sources: &[wire::DirectSource], schema: SchemaRef) -> DirectReader {
        let source = |source: &wire::DirectSource| DirectSource {
            slice: OutputSlice {
                producer: source.producer.as_ref().unwrap().try_into().unwrap(),
                consumer: ConsumerId(u64::MAX),
                partitions: source.partition_start..source.partition_end,
            },
            transport: self.transports.to(&source.uri, Incarnation(source.incarnation)).unwrap(),
        };
        let options =
            DirectReadOptions { buffer_bytes_max: BUFFER_BYTES, ..DirectReadOptions::new(Handle::current()) };
        DirectReader::new(sources.iter().map(source).collect(), schema, options)
    }

    /// The numbers that the attempts of the root give.
    pub async fn read(&self, sources: &[wire::DirectSource]) -> Result<Vec<i64>, DirectReadError> {
        let mut reader = self.reader(sources, schema());
        let mut values = Vec::new();
        while let Some(batch) = timeout(PATIENCE, reader.next()).await.expect("rows must come") {
            values.extend(numbers(&[batch?], 0));
        }
        Ok(values)
    }
}

/// A fragment that passes on what its only input gives.
pub fn relay(sink: Sink) -> Fragment {
    fragment(Arc::new(ExchangeSourceExec::new(0, schema())), sink)
}

/// Rows go to so many partitions by their number.
pub fn by_number(partitions: u32) -> Sink {
    let key: Arc<dyn PhysicalExpr> = Arc::new(Column::new("n", 0));
    Sink::Hash { keys: vec![key], partitions }
}

/// The first rows of a plan.
pub fn first(plan: Arc<dyn ExecutionPlan>, rows: usize) -> Arc<dyn ExecutionPlan> {
    Arc::new(datafusion::physical_plan::limit::GlobalLimitExec::new(plan, 0, Some(rows)))
}
