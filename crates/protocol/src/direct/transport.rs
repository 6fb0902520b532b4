//! The outputs of other nodes' attempts, for the readers of this node.

use std::sync::Arc;

use async_trait::async_trait;
use base::{Incarnation, Result};
use exchange::direct::{
    DirectExchange, FetchError, FetchRequest, FetchResponse, FetchTransport, OutputSlice,
};

use super::{
    DirectClient, DirectClientError, DirectConnections, FetchAnswer, FetchFailure, FetchFrames, ticket,
};

/// The way to the outputs of one life of another node.
#[derive(Clone, Debug)]
pub struct FlightTransport {
    client: DirectClient,
    incarnation: Incarnation,
}

impl FlightTransport {
    /// Reads outputs of that life of the node that the client reaches.
    pub fn new(client: DirectClient, incarnation: Incarnation) -> Self {
        FlightTransport { client, incarnation }
    }

    fn slice(&self, slice: &OutputSlice) -> ticket::OutputSlice {
        ticket::OutputSlice {
            producer: slice.producer,
            incarnation: self.incarnation,
            consumer: slice.consumer.0,
            partitions: slice.partitions.clone(),
        }
    }
}

fn fetch_error(error: DirectClientError) -> FetchError {
    match error {
        DirectClientError::Broken(text) => FetchError::Unreachable(text),
        DirectClientError::Failure(failure) => match failure {
            FetchFailure::NotStarted => FetchError::NotStarted,
            FetchFailure::Gone => FetchError::Gone,
            FetchFailure::WorkerLost => FetchError::WorkerLost,
            FetchFailure::Failed(failure) => FetchError::Failed(failure),
            FetchFailure::Refused(error) => FetchError::Refused(error),
        },
    }
}

#[async_trait]
impl FetchTransport for FlightTransport {
    async fn fetch(&self, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        let FetchRequest { slice, token, bytes_max, wait_max } = request;
        let frames = FetchFrames { token: *token, bytes_max: *bytes_max, wait_max: *wait_max };
        let FetchAnswer { frames, is_end, next_frame_bytes } =
            self.client.fetch(self.slice(slice), frames).await.map_err(fetch_error)?;
        Ok(FetchResponse { frames, is_end, next_frame_bytes })
    }

    async fn close(&self, slice: &OutputSlice) -> Result<(), FetchError> {
        self.client.close(&self.slice(slice)).await.map_err(fetch_error)
    }
}

/// The outputs of the node itself, which need no connection.
#[derive(Debug)]
struct Own {
    uri: String,
    incarnation: Incarnation,
    outputs: Arc<DirectExchange>,
}

/// The ways to outputs, of this node and of others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DirectTransports {
    own: Option<Arc<Own>>,
    connections: DirectConnections,
}

impl DirectTransports {
    /// The ways of a node that has no outputs of its own, such as a coordinator.
    pub fn new(connections: DirectConnections) -> Self {
        DirectTransports { own: None, connections }
    }

    /// The ways of a life of the node at that address, whose own outputs need no connection.
    pub fn with_own(
        uri: impl Into<String>,
        incarnation: Incarnation,
        outputs: DirectExchange,
        connections: DirectConnections,
    ) -> Self {
        let own = Own { uri: uri.into(), incarnation, outputs: Arc::new(outputs) };
        DirectTransports { own: Some(Arc::new(own)), connections }
    }

    /// The way to the outputs of a life of the node at `http://host:port`.
    ///
    /// Fails where that is no address.
    pub fn to(&self, uri: &str, incarnation: Incarnation) -> Result<Arc<dyn FetchTransport>> {
        match &self.own {
            Some(own) if own.uri == uri && own.incarnation == incarnation => {
                let own: Arc<DirectExchange> = Arc::clone(&own.outputs);
                Ok(own)
            }
            _ => Ok(Arc::new(FlightTransport::new(self.connections.client(uri)?, incarnation))),
        }
    }

    /// The connections to other nodes.
    pub fn connections(&self) -> &DirectConnections {
        &self.connections
    }
}
