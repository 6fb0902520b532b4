//! A coordinator that does what a test tells it to.

use std::pin::Pin;
use std::time::Duration;

use base::{AttemptId, Epoch, StageId, TaskId};
use bytes::Bytes;
use connector::Split;
use futures::Stream;
use operators::Fragment;
use protocol::node::wire;
use protocol::node::wire::coordinator_server::{Coordinator, CoordinatorServer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// A test that waits longer than this for anything has failed. It is shorter than the time after which a worker gives
/// up an attempt that does not end when it is told to: they must end by themselves.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const EPOCH: u32 = 1;

/// An attempt of the tests' only query.
pub fn attempt(stage: u32, partition: u32, number: u32) -> AttemptId {
    let query = "20261120_061411_00001_abcde".parse().unwrap();
    let task = TaskId { query, stage: StageId(stage), partition };
    AttemptId { task, generation: 0, epoch: Epoch(EPOCH), number }
}

/// What one attempt is to do.
#[derive(Clone)]
pub struct Task {
    pub attempt: AttemptId,
    pub memory_bytes: u64,
    pub fragment: Bytes,
    pub splits: Vec<Split>,
    /// Committed outputs that its only input reads.
    pub sources: Vec<Vec<u8>>,
    /// Outputs of attempts that run at the same time, for each input.
    pub direct_inputs: Vec<Vec<wire::DirectSource>>,
    pub output: Option<wire::assignment::Output>,
    pub query_memory_bytes: u64,
}

impl Task {
    /// An attempt that reads these splits with plenty of memory.
    pub fn new(attempt: AttemptId, fragment: &Fragment, splits: Vec<Split>) -> Self {
        let fragment = operators::encode_fragment(fragment).unwrap();
        Task {
            attempt,
            memory_bytes: 100 << 20,
            fragment: fragment.into(),
            splits,
            sources: Vec::new(),
            direct_inputs: Vec::new(),
            output: None,
            query_memory_bytes: 0,
        }
    }

    /// The same, in a region: without a lease, with plenty of memory for the query, and with its output streamed.
    pub fn pipelined(self) -> Self {
        let output = wire::assignment::Output::DirectOutput(wire::DirectOutput { broadcast_consumers: 0 });
        Task { memory_bytes: 0, query_memory_bytes: 500 << 20, output: Some(output), ..self }
    }

    /// The same, reading these outputs with another input.
    pub fn reading(mut self, sources: Vec<wire::DirectSource>) -> Self {
        self.direct_inputs.push(sources);
        self
    }

    /// The same, with so many consumers of its whole output.
    pub fn broadcast(self, broadcast_consumers: u32) -> Self {
        let output = wire::assignment::Output::DirectOutput(wire::DirectOutput { broadcast_consumers });
        Task { output: Some(output), ..self }
    }

    /// The same, with its output committed: in the report, if it is small enough.
    pub fn committed(self, inline_bytes_max: u64) -> Self {
        let output = wire::assignment::Output::CommittedOutput(wire::CommittedOutput { inline_bytes_max });
        Task { output: Some(output), ..self }
    }

    fn assignment(&self) -> wire::Assignment {
        let split =
            |split: &Split| wire::Split { payload: split.payload.clone(), size_bytes: split.size_bytes };
        let source_handles = self.sources.iter().map(|handle| handle.clone().into()).collect();
        let direct = |sources: &Vec<wire::DirectSource>| wire::ExchangeInput {
            source_handles: Vec::new(),
            direct_sources: sources.clone(),
        };
        let inputs = match &self.direct_inputs[..] {
            [] => vec![wire::ExchangeInput { source_handles, direct_sources: Vec::new() }],
            inputs => inputs.iter().map(direct).collect(),
        };
        wire::Assignment {
            attempt: Some(self.attempt.into()),
            memory_bytes: self.memory_bytes,
            scans: vec![wire::ScanSplits { splits: self.splits.iter().map(split).collect() }],
            inputs,
            output: self.output,
            query_memory_bytes: self.query_memory_bytes,
        }
    }

    fn fragment(&self) -> wire::Fragment {
        wire::Fragment {
            query: self.attempt.task.query.to_string(),
            stage: self.attempt.task.stage.0,
            encoded: self.fragment.clone(),
        }
    }
}

/// A worker that is attached.
pub struct Attached {
    pub announcement: wire::Announcement,
    sequence: u64,
    incoming: Streaming<wire::WorkerMessage>,
    outbox: mpsc::Sender<Result<wire::CoordinatorMessage, Status>>,
}

impl Attached {
    async fn say(&self, message: wire::coordinator_message::Message) {
        self.outbox.send(Ok(wire::CoordinatorMessage { message: Some(message) })).await.unwrap();
    }

    /// Tells the worker that a newer life of its node is there.
    pub async fn supersede(&self) {
        self.say(wire::coordinator_message::Message::Rejection(wire::Rejection {
            reason: "a newer life".to_owned(),
            superseded: true,
        }))
        .await;
    }

    /// Desires these attempts and no others.
    pub async fn desire(&mut self, tasks: &[Task]) {
        self.sequence += 1;
        let desired = wire::Desired {
            epoch: EPOCH,
            sequence: self.sequence,
            attempts: tasks.iter().map(|task| task.attempt.into()).collect(),
            assignments: tasks.iter().map(Task::assignment).collect(),
            fragments: tasks.iter().map(Task::fragment).collect(),
        };
        self.say(wire::coordinator_message::Message::Desired(desired)).await;
    }

    /// The first report for which that is true.
    pub async fn report(&mut self, is_wanted: impl Fn(&wire::WorkerReport) -> bool) -> wire::WorkerReport {
        let wanted = async {
            loop {
                let message = self.incoming.message().await.unwrap().expect("the stream must not end");
                let Some(wire::worker_message::Message::Report(report)) = message.message else {
                    panic!("{message:?} is no report")
                };
                if is_wanted(&report) {
                    return report;
                }
            }
        };
        timeout(PATIENCE, wanted).await.expect("the worker must report")
    }

    /// Waits until all these attempts have ended, and tells how, in their order.
    pub async fn ends(&mut self, attempts: &[AttemptId]) -> Vec<wire::AttemptReport> {
        let ended = |report: &wire::WorkerReport, attempt: &AttemptId| {
            of_attempt(report, attempt).filter(|each| !is_running(each)).cloned()
        };
        let report =
            self.report(|report| attempts.iter().all(|attempt| ended(report, attempt).is_some())).await;
        attempts.iter().filter_map(|attempt| ended(&report, attempt)).collect()
    }

    /// Waits until nothing is held, having desired nothing.
    pub async fn empties(&mut self) {
        let sequence = self.sequence;
        self.report(|report| report.desired_sequence == sequence && report.attempts.is_empty()).await;
    }
}

/// What a report says of an attempt.
pub fn of_attempt<'a>(
    report: &'a wire::WorkerReport,
    attempt: &AttemptId,
) -> Option<&'a wire::AttemptReport> {
    let attempt = wire::AttemptId::from(*attempt);
    report.attempts.iter().find(|each| each.attempt.as_ref() == Some(&attempt))
}

pub fn is_running(report: &wire::AttemptReport) -> bool {
    matches!(report.status, Some(wire::attempt_report::Status::Running(_)))
}

/// The commit that an attempt reports.
pub fn committed(report: &wire::AttemptReport) -> &wire::Committed {
    match &report.status {
        Some(wire::attempt_report::Status::Committed(committed)) => committed,
        other => panic!("{other:?} is no commit"),
    }
}

/// The error that an attempt reports.
pub fn failed(report: &wire::AttemptReport) -> base::Error {
    failure(report).error
}

/// The failure that an attempt reports.
pub fn failure(report: &wire::AttemptReport) -> base::Failure {
    match &report.status {
        Some(wire::attempt_report::Status::Failed(failed)) => failed.clone().try_into().unwrap(),
        other => panic!("{other:?} is no failure"),
    }
}

/// A coordinator that workers attach to.
pub struct FakeCoordinator {
    pub uri: String,
    pub attached: mpsc::Receiver<Attached>,
    /// What workers are told instead of a welcome.
    pub rejection: tokio::sync::watch::Sender<Option<String>>,
}

impl FakeCoordinator {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let (sender, attached) = mpsc::channel(16);
        let rejection = tokio::sync::watch::Sender::new(None);
        let service = Service { attached: sender, rejection: rejection.subscribe() };
        let server = Server::builder().add_service(CoordinatorServer::new(service));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        FakeCoordinator { uri, attached, rejection }
    }

    /// The next worker that attaches.
    pub async fn attached(&mut self) -> Attached {
        timeout(PATIENCE, self.attached.recv()).await.expect("a worker must attach").unwrap()
    }
}

struct Service {
    attached: mpsc::Sender<Attached>,
    rejection: tokio::sync::watch::Receiver<Option<String>>,
}

#[tonic::async_trait]
impl Coordinator for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<wire::CoordinatorMessage, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<wire::WorkerMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|message| message.message);
        let Some(wire::worker_message::Message::Announcement(announcement)) = first else {
            return Err(Status::invalid_argument("no announcement"));
        };
        let (outbox, outgoing) = mpsc::channel(16);
        let attached = Attached { announcement, sequence: 0, incoming, outbox };
        let rejection = self.rejection.borrow().clone();
        let greeting = match rejection {
            Some(reason) => {
                wire::coordinator_message::Message::Rejection(wire::Rejection { reason, superseded: false })
            }
            None => wire::coordinator_message::Message::Welcome(wire::Welcome {
                coordinator_id: "abcde".to_owned(),
                epoch: EPOCH,
                heartbeat_interval_ms: 500,
            }),
        };
        attached.say(greeting).await;
        self.attached.send(attached).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

impl Attached {
    /// The sequence number of the last desire, to go on from it on another stream.
    pub fn continues(&mut self, before: u64) {
        self.sequence = before;
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}
