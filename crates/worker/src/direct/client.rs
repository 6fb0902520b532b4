//! The outputs of other nodes' attempts, for this node.

use std::sync::Arc;

use async_trait::async_trait;
use base::{Incarnation, Result};
use exchange::direct::{
    DirectExchange, FetchError, FetchRequest, FetchResponse, FetchTransport, OutputSlice,
};
use protocol::direct::{
    DirectClient, DirectClientError, DirectConnections, FetchAnswer, FetchFailure, FetchFrames,
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

    fn slice(&self, slice: &OutputSlice) -> protocol::direct::OutputSlice {
        protocol::direct::OutputSlice {
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

/// The ways to outputs, of this node and of others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DirectTransports {
    own_uri: Arc<str>,
    own_incarnation: Incarnation,
    own_outputs: Arc<DirectExchange>,
    connections: DirectConnections,
}

impl DirectTransports {
    /// The ways of a life of the node at that address, whose own outputs need no connection.
    pub fn new(
        own_uri: impl Into<Arc<str>>,
        own_incarnation: Incarnation,
        own_outputs: DirectExchange,
        connections: DirectConnections,
    ) -> Self {
        let (own_uri, own_outputs) = (own_uri.into(), Arc::new(own_outputs));
        DirectTransports { own_uri, own_incarnation, own_outputs, connections }
    }

    /// The way to the outputs of a life of the node at `http://host:port`.
    ///
    /// Fails where that is no address.
    pub fn to(&self, uri: &str, incarnation: Incarnation) -> Result<Arc<dyn FetchTransport>> {
        if (uri, incarnation) == (&*self.own_uri, self.own_incarnation) {
            let own: Arc<DirectExchange> = Arc::clone(&self.own_outputs);
            return Ok(own);
        }
        Ok(Arc::new(FlightTransport::new(self.connections.client(uri)?, incarnation)))
    }

    /// The connections to other nodes.
    pub fn connections(&self) -> &DirectConnections {
        &self.connections
    }
}
