//! The service that workers attach to.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use base::{Epoch, Incarnation, Millis, NodeId};
use futures::Stream;
use protocol::node::wire::coordinator_server::Coordinator;
use protocol::node::{NodeReport, Purpose, SharedSecret, wire};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Dispatcher, Input, WorkerDescription};

/// How many messages may wait for a worker. More are lost, and sent again later.
const OUTBOX_COUNT_MAX: usize = 16;

/// What the coordinator demands of workers.
#[derive(Clone, Debug)]
pub struct NodeServiceOptions {
    /// The build all nodes must share.
    pub build: String,
    /// `node.environment`, which all nodes must share.
    pub environment: String,
    /// The name of this coordinator life.
    pub coordinator_id: String,
    /// The number of this coordinator life.
    pub epoch: Epoch,
    /// How often workers report when nothing changes.
    pub heartbeat_interval: Millis,
    /// `internal-communication.shared-secret`
    pub shared_secret: Option<SharedSecret>,
}

/// The service that workers attach to.
pub struct NodeService {
    options: NodeServiceOptions,
    dispatcher: Dispatcher,
    connections: AtomicU64,
}

impl NodeService {
    /// The service, telling what it hears to the event loop.
    pub fn new(options: NodeServiceOptions, dispatcher: Dispatcher) -> Self {
        NodeService { options, dispatcher, connections: AtomicU64::new(0) }
    }

    fn objection(&self, announcement: &wire::Announcement, worker: &WorkerDescription) -> Option<String> {
        let options = &self.options;
        if announcement.build != options.build {
            return Some(format!(
                "the worker is build '{}', the coordinator is build '{}'; all nodes must be the same build",
                announcement.build, options.build
            ));
        }
        if announcement.environment != options.environment {
            return Some(format!(
                "node.environment is '{}' on the worker and '{}' on the coordinator",
                announcement.environment, options.environment
            ));
        }
        let secret = options.shared_secret.as_ref()?;
        let proof = &announcement.authentication;
        (!secret.verify(Purpose::Attach, &worker.node, worker.incarnation, proof))
            .then(|| "internal-communication.shared-secret differs between worker and coordinator".into())
    }
}

#[tonic::async_trait]
impl Coordinator for NodeService {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<wire::CoordinatorMessage, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<wire::WorkerMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|message| message.message);
        let Some(wire::worker_message::Message::Announcement(announcement)) = first else {
            return Err(Status::invalid_argument("the first message must be an announcement"));
        };
        let worker = WorkerDescription {
            node: NodeId::new(announcement.node_id.as_str()),
            incarnation: Incarnation(announcement.incarnation),
            http_uri: announcement.http_uri.clone(),
            direct_uri: announcement.direct_uri.as_str().into(),
        };
        let (outbox, outgoing) = mpsc::channel(OUTBOX_COUNT_MAX);
        let objection = self.objection(&announcement, &worker);
        let greeting = match &objection {
            Some(reason) => {
                tracing::warn!(node = %announcement.node_id, reason, "worker rejected");
                wire::coordinator_message::Message::Rejection(wire::Rejection {
                    reason: reason.clone(),
                    superseded: false,
                })
            }
            None => wire::coordinator_message::Message::Welcome(wire::Welcome {
                coordinator_id: self.options.coordinator_id.clone(),
                epoch: self.options.epoch.0,
                heartbeat_interval_ms: self.options.heartbeat_interval.0,
            }),
        };
        // The channel is new, so there is room; and the greeting is the first message on the stream.
        let _ = outbox.try_send(Ok(wire::CoordinatorMessage { message: Some(greeting) }));
        if objection.is_none() {
            let connection = self.connections.fetch_add(1, Ordering::Relaxed);
            self.listen(worker, connection, outbox, incoming).await;
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

impl NodeService {
    async fn listen(
        &self,
        description: WorkerDescription,
        connection: u64,
        outbox: super::Outbox,
        mut incoming: Streaming<wire::WorkerMessage>,
    ) {
        let dispatcher = self.dispatcher.clone();
        let node = description.node.clone();
        let incarnation = description.incarnation;
        dispatcher.send(Input::Attached { description, connection, outbox }).await;
        tokio::spawn(async move {
            loop {
                let message = match incoming.message().await {
                    Ok(Some(message)) => message.message,
                    Ok(None) => break,
                    Err(status) => {
                        tracing::debug!(%node, %status, "the stream of a worker broke");
                        break;
                    }
                };
                let Some(wire::worker_message::Message::Report(report)) = message else {
                    continue;
                };
                match NodeReport::from_wire(report, incarnation) {
                    Ok(report) => {
                        let report = Box::new(report);
                        dispatcher.send(Input::Reported { node: node.clone(), connection, report }).await;
                    }
                    Err(error) => {
                        tracing::error!(%node, %error, "a worker sent a report that makes no sense");
                        break;
                    }
                }
            }
            dispatcher.send(Input::Detached { node, incarnation, connection }).await;
        });
    }
}
