//! The protocol between nodes.
//!
//! A worker opens one stream to the coordinator and keeps it for its life. Both tell full states; a message that is
//! lost, repeated or late does no harm.

pub mod authentication;
mod error;
pub(crate) mod id;
mod report;

pub use authentication::{Proof, Purpose, SharedSecret};
pub use report::{AttemptDetails, NodeReport};

/// The generated messages, the client of the worker and the server of the coordinator.
#[allow(missing_docs, clippy::all, reason = "generated from the proto files, where the comments are")]
pub mod wire {
    tonic::include_proto!("steadfast.node.v1");
}

/// By this name the generated records of coordinators refer to these messages.
pub(crate) use wire as v1;

/// The largest message that is read, in bytes. Both sides set it: tonic's own limit is 4 MB.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The message means nothing: its sender is of another build or broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMessage(
    /// What is wrong with it.
    pub &'static str,
);

impl std::fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "invalid message between nodes: {}", self.0)
    }
}

impl std::error::Error for InvalidMessage {}

impl From<InvalidMessage> for base::Error {
    fn from(error: InvalidMessage) -> Self {
        base::Error::internal(error.to_string())
    }
}

/// The client of a worker over a channel, with this protocol's limits.
pub fn coordinator_client(
    channel: tonic::transport::Channel,
) -> wire::coordinator_client::CoordinatorClient<tonic::transport::Channel> {
    wire::coordinator_client::CoordinatorClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The server of a coordinator, with this protocol's limits.
pub fn coordinator_server<T: wire::coordinator_server::Coordinator>(
    coordinator: T,
) -> wire::coordinator_server::CoordinatorServer<T> {
    wire::coordinator_server::CoordinatorServer::new(coordinator)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod stream_tests;
