//! The stream to the coordinator: opened by the worker, kept open for its life, opened again whenever it breaks.

use std::time::Duration;

use base::{Error, Result};
use protocol::node::wire;
use protocol::node::wire::coordinator_message::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::backoff::Backoff;
use crate::node::NodeEvent;

/// How long to wait before a lost coordinator is looked for again, at first and at most.
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_LONGEST: Duration = Duration::from_secs(1);

/// How long to wait after the coordinator said no. Only a person can change that.
const REJECTED_WAIT: Duration = Duration::from_secs(10);

/// How long the coordinator may take to accept a connection, and then to greet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// A coordinator that does not answer a ping sent after so long, within so long, is gone.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
const TCP_KEEPALIVE: Duration = Duration::from_secs(10);

/// The newest full state to report. Older ones need not be sent.
pub(crate) type NewestReport = watch::Receiver<Option<wire::WorkerReport>>;

/// Keeps the worker attached to its coordinator.
pub(crate) struct Connection {
    endpoint: Endpoint,
    uri: String,
    announcement: wire::Announcement,
    events: mpsc::Sender<NodeEvent>,
    reports: NewestReport,
}

/// Why a stream ended.
enum Detached {
    /// It broke, or never came to be.
    Broken { was_attached: bool, reason: String },
    /// The coordinator does not want this worker.
    Rejected(wire::Rejection),
    /// The worker itself is gone.
    Stopped,
}

impl Connection {
    /// Fails if the URI is none.
    pub(crate) fn new(
        uri: String,
        announcement: wire::Announcement,
        events: mpsc::Sender<NodeEvent>,
        reports: NewestReport,
    ) -> Result<Self> {
        let endpoint = Endpoint::from_shared(uri.clone())
            .map_err(|error| {
                Error::internal(format!("'{uri}' is not the URI of a coordinator")).caused_by(error)
            })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        Ok(Connection { endpoint, uri, announcement, events, reports })
    }

    /// Attaches to the coordinator again and again until the worker is gone.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_LONGEST);
        let mut is_loss_known = false;
        loop {
            let wait = match self.attach().await {
                Detached::Broken { was_attached, reason } => {
                    if was_attached {
                        backoff.reset();
                        is_loss_known = false;
                    }
                    if !is_loss_known {
                        tracing::warn!(
                            coordinator = self.uri,
                            reason,
                            "not attached to the coordinator, trying on"
                        );
                        is_loss_known = true;
                    }
                    backoff.next_wait()
                }
                Detached::Rejected(rejection) => {
                    tracing::error!(
                        coordinator = self.uri,
                        reason = rejection.reason,
                        "the coordinator rejects this worker"
                    );
                    if rejection.superseded && self.events.send(NodeEvent::Superseded).await.is_err() {
                        return;
                    }
                    REJECTED_WAIT
                }
                Detached::Stopped => return,
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.events.closed() => return,
            }
        }
    }

    /// One stream from its beginning to its end.
    async fn attach(&mut self) -> Detached {
        let broken = |reason: String| Detached::Broken { was_attached: false, reason };
        let (outbox, outgoing) = mpsc::channel(1);
        let greeted = timeout(CONNECT_TIMEOUT + GREETING_TIMEOUT, self.greet(outbox.clone(), outgoing)).await;
        let mut incoming = match greeted {
            Ok(Ok(Greeting::Welcome(incoming))) => incoming,
            Ok(Ok(Greeting::Rejection(rejection))) => return Detached::Rejected(rejection),
            Ok(Err(reason)) => return broken(reason),
            Err(_) => return broken("the coordinator does not greet".to_owned()),
        };
        if self.events.send(NodeEvent::Connected).await.is_err() {
            return Detached::Stopped;
        }
        let ended = tokio::select! {
            ended = receive(&mut incoming, &self.events) => ended,
            reason = send_newest(&mut self.reports, &outbox) => StreamEnd::Broken(reason),
        };
        if self.events.send(NodeEvent::Disconnected).await.is_err() {
            return Detached::Stopped;
        }
        match ended {
            StreamEnd::Broken(reason) => Detached::Broken { was_attached: true, reason },
            StreamEnd::Rejected(rejection) => Detached::Rejected(rejection),
        }
    }

    /// Opens the stream and introduces the worker.
    async fn greet(
        &self,
        outbox: mpsc::Sender<wire::WorkerMessage>,
        outgoing: mpsc::Receiver<wire::WorkerMessage>,
    ) -> Result<Greeting, String> {
        let channel = self.endpoint.connect().await.map_err(|error| with_causes(&error))?;
        let mut client = protocol::node::coordinator_client(channel);
        let message = wire::worker_message::Message::Announcement(self.announcement.clone());
        outbox.try_send(wire::WorkerMessage { message: Some(message) }).map_err(|error| error.to_string())?;
        let response =
            client.attach(ReceiverStream::new(outgoing)).await.map_err(|status| status.to_string())?;
        let mut incoming = response.into_inner();
        let first = incoming.message().await.map_err(|status| status.to_string())?;
        match first.and_then(|message| message.message) {
            Some(Message::Welcome(welcome)) => {
                tracing::info!(
                    coordinator = self.uri,
                    coordinator_id = welcome.coordinator_id,
                    epoch = welcome.epoch,
                    "attached to the coordinator"
                );
                Ok(Greeting::Welcome(Box::new(incoming)))
            }
            Some(Message::Rejection(rejection)) => Ok(Greeting::Rejection(rejection)),
            Some(Message::Desired(_)) | None => Err("the coordinator did not greet first".to_owned()),
        }
    }
}

enum Greeting {
    Welcome(Box<Streaming<wire::CoordinatorMessage>>),
    Rejection(wire::Rejection),
}

/// Why a stream that had been greeted ended.
enum StreamEnd {
    Broken(String),
    Rejected(wire::Rejection),
}

/// Tells the node what the coordinator desires. Returns why the stream ended.
async fn receive(
    incoming: &mut Streaming<wire::CoordinatorMessage>,
    events: &mpsc::Sender<NodeEvent>,
) -> StreamEnd {
    loop {
        let message = match incoming.message().await {
            Ok(Some(wire::CoordinatorMessage { message })) => message,
            Ok(None) => return StreamEnd::Broken("the coordinator closed the stream".to_owned()),
            Err(status) => return StreamEnd::Broken(status.to_string()),
        };
        match message {
            Some(Message::Desired(desired)) => {
                if events.send(NodeEvent::Desired(desired)).await.is_err() {
                    return StreamEnd::Broken("the worker ended".to_owned());
                }
            }
            Some(Message::Rejection(rejection)) => return StreamEnd::Rejected(rejection),
            // A newer coordinator may say things that this worker need not understand.
            Some(Message::Welcome(_)) | None => {}
        }
    }
}

/// Sends the newest state whenever there is one and the stream takes it. Returns why it ended.
async fn send_newest(reports: &mut NewestReport, outbox: &mpsc::Sender<wire::WorkerMessage>) -> String {
    loop {
        if reports.changed().await.is_err() {
            // The node is gone. What it reported last was sent.
            return "the worker ended".to_owned();
        }
        let Ok(permit) = outbox.reserve().await else {
            return "the stream takes no more".to_owned();
        };
        // Whatever came while the stream was full replaces what came before.
        let report = reports.borrow_and_update().clone();
        if let Some(report) = report {
            let message = wire::worker_message::Message::Report(report);
            permit.send(wire::WorkerMessage { message: Some(message) });
        }
    }
}

/// An error with everything below it: the outermost alone says nothing.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(below) = cause {
        text = format!("{text}: {below}");
        cause = below.source();
    }
    text
}
