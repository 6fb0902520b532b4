//! The stream to one worker, and what was already sent on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{AttemptId, Incarnation, NodeId, QueryId, StageId};
use protocol::node::wire;
use tokio::sync::mpsc;

/// Where messages to a worker go.
pub type Outbox = mpsc::Sender<Result<wire::CoordinatorMessage, tonic::Status>>;

/// What a worker told of itself when it attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerDescription {
    /// `node.id`
    pub node: NodeId,
    /// The life of the worker.
    pub incarnation: Incarnation,
    /// Where it serves `/v1/info` and `/v1/status`.
    pub http_uri: String,
    /// Where it serves the outputs of its attempts.
    pub direct_uri: Arc<str>,
}

/// The stream to one worker.
#[derive(Debug)]
pub struct Connection {
    /// Tells a stream from its successors.
    pub id: u64,
    /// The life of the worker at the other end.
    pub incarnation: Incarnation,
    /// What the worker told of itself.
    pub description: WorkerDescription,
    outbox: Outbox,
    sent_attempts: BTreeSet<AttemptId>,
    sent_fragments: BTreeSet<(QueryId, StageId)>,
}

impl Connection {
    /// A new stream, on which nothing was sent.
    pub fn new(id: u64, description: WorkerDescription, outbox: Outbox) -> Self {
        Connection {
            id,
            incarnation: description.incarnation,
            description,
            outbox,
            sent_attempts: BTreeSet::new(),
            sent_fragments: BTreeSet::new(),
        }
    }

    /// Tells the worker that a newer life of its node is there. Nothing else is to be sent after that.
    pub fn supersede(&self) {
        reject_superseded(&self.outbox, &self.description);
    }

    /// Whether the worker needs the descriptor of an attempt.
    pub fn lacks_attempt(&self, attempt: &AttemptId) -> bool {
        !self.sent_attempts.contains(attempt)
    }

    /// Whether the worker needs a fragment.
    pub fn lacks_fragment(&self, query: QueryId, stage: StageId) -> bool {
        !self.sent_fragments.contains(&(query, stage))
    }

    /// Sends a message. A full stream loses it: the worker's next report shows that, and it is sent again.
    pub fn send_desired(&mut self, desired: wire::Desired, attempts: BTreeSet<AttemptId>) {
        let queries: BTreeSet<QueryId> = attempts.iter().map(|attempt| attempt.task.query).collect();
        let stages: BTreeSet<(QueryId, StageId)> =
            attempts.iter().map(|attempt| (attempt.task.query, attempt.task.stage)).collect();
        let message =
            wire::CoordinatorMessage { message: Some(wire::coordinator_message::Message::Desired(desired)) };
        if self.outbox.try_send(Ok(message)).is_ok() {
            // The worker keeps descriptors of what is desired, and fragments of queries it has attempts of.
            self.sent_attempts = attempts;
            self.sent_fragments.extend(stages);
            self.sent_fragments.retain(|(query, _)| queries.contains(query));
        }
    }
}

/// Tells a worker that a newer life of its node is there: its own work is of no use, and it is not to come back.
pub fn reject_superseded(outbox: &Outbox, worker: &WorkerDescription) {
    let reason = format!("a newer process has the node.id {}", worker.node);
    let rejection = wire::Rejection { reason, superseded: true };
    let message =
        wire::CoordinatorMessage { message: Some(wire::coordinator_message::Message::Rejection(rejection)) };
    // A worker that reads nothing learns it when it comes back.
    let _ = outbox.try_send(Ok(message));
}
