//! The outputs of this node's attempts, for other nodes.

use std::time::Duration;

use axum::Router;
use base::Incarnation;
use exchange::direct::arrow_ipc::{self, IpcMessage};
use exchange::direct::{
    ConsumerId, DirectExchange, FetchError, FetchRequest, FetchResponse, FetchTransport, OutputSlice,
};
use futures::stream::{self, StreamExt};
use protocol::direct::{
    DirectService, FetchAnswer, FetchFailure, FetchFrames, FlightMessage, FlightMessages, direct_server,
};
use protocol::node::SharedSecret;

/// How long a request may wait here, whatever it says.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How many bytes of frames one answer may have, whatever the request says.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How many bytes of frames are under way at once to a reader that knows nothing of us.
const READ_AHEAD_BYTES: u64 = 4 << 20;

/// The routes by which other nodes read this life's outputs. They need HTTP/2.
pub fn direct_routes(
    exchange: DirectExchange,
    incarnation: Incarnation,
    secret: Option<SharedSecret>,
) -> Router {
    let service = Outputs { exchange, incarnation };
    tonic::service::Routes::new(direct_server(service, secret)).into_axum_router().reset_fallback()
}

#[derive(Debug)]
struct Outputs {
    exchange: DirectExchange,
    incarnation: Incarnation,
}

fn failure_of(error: FetchError) -> FetchFailure {
    match error {
        FetchError::NotStarted => FetchFailure::NotStarted,
        FetchError::Gone => FetchFailure::Gone,
        FetchError::WorkerLost => FetchFailure::WorkerLost,
        FetchError::Failed(failure) => FetchFailure::Failed(failure),
        FetchError::Refused(error) => FetchFailure::Refused(error),
        FetchError::Unreachable(text) | FetchError::Corrupt(text) => {
            FetchFailure::Refused(base::Error::internal(text))
        }
    }
}

impl Outputs {
    /// The slice, if it is of this life.
    fn slice(&self, slice: protocol::direct::OutputSlice) -> Result<OutputSlice, FetchFailure> {
        if slice.incarnation != self.incarnation {
            return Err(FetchFailure::WorkerLost);
        }
        Ok(OutputSlice {
            producer: slice.producer,
            consumer: ConsumerId(slice.consumer),
            partitions: slice.partitions,
        })
    }
}

#[tonic::async_trait]
impl DirectService for Outputs {
    async fn fetch(
        &self,
        slice: protocol::direct::OutputSlice,
        frames: FetchFrames,
    ) -> Result<FetchAnswer, FetchFailure> {
        let request = FetchRequest {
            slice: self.slice(slice)?,
            token: frames.token,
            bytes_max: frames.bytes_max.min(ANSWER_BYTES_MAX),
            wait_max: frames.wait_max.min(WAIT_MAX),
        };
        let FetchResponse { frames, is_end, next_frame_bytes } =
            self.exchange.fetch(&request).await.map_err(failure_of)?;
        Ok(FetchAnswer { frames, is_end, next_frame_bytes })
    }

    async fn read(&self, slice: protocol::direct::OutputSlice) -> Result<FlightMessages, FetchFailure> {
        let slice = self.slice(slice)?;
        let schema = self.exchange.schema(slice.producer, WAIT_MAX).await.map_err(failure_of)?;
        let first = flight_message(arrow_ipc::schema_message(&schema));
        let reading = Reading { exchange: self.exchange.clone(), slice, token: 0, is_end: false };
        let rest = stream::try_unfold(reading, Reading::next).flat_map(|messages| match messages {
            Ok(messages) => stream::iter(messages).map(Ok).boxed(),
            Err(failure) => stream::iter([Err(failure)]).boxed(),
        });
        Ok(stream::iter([Ok(first)]).chain(rest).boxed())
    }

    async fn close(&self, slice: protocol::direct::OutputSlice) -> Result<(), FetchFailure> {
        self.exchange.close(&self.slice(slice)?).await.map_err(failure_of)
    }
}

fn flight_message(message: IpcMessage) -> FlightMessage {
    FlightMessage { header: message.header, body: message.body }
}

/// An output that is read by one who does not acknowledge: what was sent counts as received.
struct Reading {
    exchange: DirectExchange,
    slice: OutputSlice,
    token: u64,
    is_end: bool,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Vec<FlightMessage>, Self)>, FetchFailure> {
        let mut bytes_max = READ_AHEAD_BYTES;
        while !self.is_end {
            let request =
                FetchRequest { slice: self.slice.clone(), token: self.token, bytes_max, wait_max: WAIT_MAX };
            let response = self.exchange.fetch(&request).await.map_err(failure_of)?;
            bytes_max = bytes_max.max(response.next_frame_bytes);
            self.token += response.frames.len() as u64;
            self.is_end = response.is_end;
            if !response.frames.is_empty() {
                let messages = response.frames.iter().map(|frame| arrow_ipc::batch_message(frame));
                let messages = messages.map(|message| message.map(flight_message));
                return Ok(Some((messages.collect::<Result<_, _>>().map_err(FetchFailure::Refused)?, self)));
            }
        }
        self.exchange.close(&self.slice).await.map_err(failure_of)?;
        Ok(None)
    }
}
