//! Serving outputs to other nodes.

use std::fmt;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::credentials::Credentials;
use super::{
    CLOSE_ACTION, DIRECT_MESSAGE_BYTES_MAX, FetchAnswer, FetchFailure, FetchFrames, FetchTicket, OutputSlice,
};
use crate::node::{InvalidMessage, SharedSecret, wire};

/// A message of Arrow's IPC format: its header and the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlightMessage {
    /// The header, a flatbuffer.
    pub header: Bytes,
    /// The values.
    pub body: Bytes,
}

/// Messages of Arrow's IPC format, the schema first.
pub type FlightMessages = BoxStream<'static, Result<FlightMessage, FetchFailure>>;

/// What a node does for those who read its outputs. Whether they may is looked at before.
#[tonic::async_trait]
pub trait DirectService: fmt::Debug + Send + Sync + 'static {
    /// The next frames.
    async fn fetch(&self, slice: OutputSlice, frames: FetchFrames) -> Result<FetchAnswer, FetchFailure>;

    /// Everything, for readers that know Flight and nothing of us.
    async fn read(&self, slice: OutputSlice) -> Result<FlightMessages, FetchFailure>;

    /// The consumer wants no more.
    async fn close(&self, slice: OutputSlice) -> Result<(), FetchFailure>;
}

/// The server of a node, for those who know the secret.
pub fn direct_server(
    service: impl DirectService,
    secret: Option<SharedSecret>,
) -> FlightServiceServer<impl FlightService> {
    FlightServiceServer::new(Server { service, secret })
        .max_decoding_message_size(DIRECT_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(DIRECT_MESSAGE_BYTES_MAX)
}

struct Server<T> {
    service: T,
    secret: Option<SharedSecret>,
}

impl<T> Server<T> {
    fn verified<M>(&self, request: Request<M>) -> Result<M, Status> {
        Credentials::verify(request.metadata(), self.secret.as_ref())?;
        Ok(request.into_inner())
    }
}

fn invalid(error: InvalidMessage) -> Status {
    FetchFailure::Refused(error.into()).into()
}

fn unimplemented(method: &str) -> Status {
    Status::unimplemented(format!("{method} has no meaning for outputs of attempts"))
}

/// The messages of an answer: a frame each, and the end.
fn answer_messages(answer: FetchAnswer) -> impl Iterator<Item = FlightData> + Send {
    let end = wire::FetchEnd {
        frames: u32::try_from(answer.frames.len()).unwrap_or(u32::MAX),
        is_end_of_output: answer.is_end,
        next_frame_bytes: answer.next_frame_bytes,
    };
    let frames = answer.frames.into_iter();
    frames
        .map(|frame| FlightData { data_body: frame, ..FlightData::default() })
        .chain([FlightData { app_metadata: end.encode_to_vec().into(), ..FlightData::default() }])
}

#[tonic::async_trait]
impl<T: DirectService> FlightService for Server<T> {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let ticket = self.verified(request)?.ticket;
        let FetchTicket { slice, frames } = FetchTicket::decode(&ticket).map_err(invalid)?;
        let Some(frames) = frames else {
            let messages = self.service.read(slice).await?;
            let messages = messages.map_ok(|FlightMessage { header, body }| FlightData {
                data_header: header,
                data_body: body,
                ..FlightData::default()
            });
            return Ok(Response::new(messages.map_err(Status::from).boxed()));
        };
        let answer = self.service.fetch(slice, frames).await?;
        Ok(Response::new(stream::iter(answer_messages(answer).map(Ok)).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let action = self.verified(request)?;
        if action.r#type != CLOSE_ACTION {
            return Err(unimplemented("that action"));
        }
        let slice = OutputSlice::decode(&action.body).map_err(invalid)?;
        self.service.close(slice).await?;
        Ok(Response::new(stream::empty().boxed()))
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        self.verified(request)?;
        let description = "A consumer wants no more of an output.".to_owned();
        let close = ActionType { r#type: CLOSE_ACTION.to_owned(), description };
        Ok(Response::new(stream::iter([Ok(close)]).boxed()))
    }

    async fn handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(unimplemented("Handshake"))
    }

    async fn list_flights(
        &self,
        _request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(unimplemented("ListFlights"))
    }

    async fn get_flight_info(
        &self,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Err(unimplemented("GetFlightInfo"))
    }

    async fn poll_flight_info(
        &self,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(unimplemented("PollFlightInfo"))
    }

    async fn get_schema(
        &self,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        Err(unimplemented("GetSchema"))
    }

    async fn do_put(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        Err(unimplemented("DoPut"))
    }

    async fn do_exchange(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(unimplemented("DoExchange"))
    }
}
