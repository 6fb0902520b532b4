//! Reading outputs of another node.

use std::fmt;
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, Ticket};
use base::Error;
use prost::Message;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::credentials::Credentials;
use super::{
    CLOSE_ACTION, DIRECT_MESSAGE_BYTES_MAX, FetchAnswer, FetchFailure, FetchFrames, FetchTicket, OutputSlice,
};
use crate::node::wire;

/// How much longer than it was allowed to wait the other side may take for a message before it counts as out of reach:
/// long enough for the largest frame over a slow network.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectClientError {
    /// The other side says why.
    Failure(FetchFailure),
    /// The other side did not answer, or not to the end. The text is for people.
    Broken(String),
}

impl fmt::Display for DirectClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectClientError::Failure(failure) => write!(f, "{failure:?}"),
            DirectClientError::Broken(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for DirectClientError {}

impl From<Status> for DirectClientError {
    fn from(status: Status) -> Self {
        if let Some(failure) = FetchFailure::of_status(&status) {
            return DirectClientError::Failure(failure);
        }
        let text = with_causes(&status);
        match status.code() {
            // The other side speaks another language, or not with us: asking again does not help.
            Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::OutOfRange => {
                DirectClientError::Failure(FetchFailure::Refused(Error::internal(text)))
            }
            _ => DirectClientError::Broken(text),
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

fn silent() -> DirectClientError {
    DirectClientError::Broken("the other side is silent".to_owned())
}

/// Reads outputs of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DirectClient {
    client: FlightServiceClient<Channel>,
    credentials: Credentials,
}

impl DirectClient {
    /// A client over a channel.
    pub fn new(channel: Channel, credentials: Credentials) -> Self {
        let client = FlightServiceClient::new(channel)
            .max_decoding_message_size(DIRECT_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(DIRECT_MESSAGE_BYTES_MAX);
        DirectClient { client, credentials }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        self.credentials.attach(request.metadata_mut());
        request
    }

    /// Asks for the next frames. An answer comes as a whole or not at all.
    pub async fn fetch(
        &self,
        slice: OutputSlice,
        frames: FetchFrames,
    ) -> Result<FetchAnswer, DirectClientError> {
        let ticket = FetchTicket { slice, frames: Some(frames) }.encode();
        let request = self.request(Ticket { ticket });
        let mut client = self.client.clone();
        let answered = timeout(frames.wait_max + SILENCE_MAX, client.do_get(request)).await;
        let mut messages = answered.map_err(|_| silent())??.into_inner();
        let mut answer = FetchAnswer::default();
        while let Some(message) = timeout(SILENCE_MAX, messages.message()).await.map_err(|_| silent())?? {
            // A frame is never empty.
            if !message.data_body.is_empty() {
                answer.frames.push(message.data_body);
                continue;
            }
            let broken = |text: &str| DirectClientError::Broken(text.to_owned());
            let end = wire::FetchEnd::decode(message.app_metadata)
                .map_err(|_| broken("the end of an answer means nothing"))?;
            if end.frames as usize != answer.frames.len() {
                return Err(broken("an answer is not complete"));
            }
            answer.is_end = end.is_end_of_output;
            answer.next_frame_bytes = end.next_frame_bytes;
            return Ok(answer);
        }
        Err(DirectClientError::Broken("an answer has no end".to_owned()))
    }

    /// Tells that the consumer of a slice wants no more.
    pub async fn close(&self, slice: &OutputSlice) -> Result<(), DirectClientError> {
        let action = Action { r#type: CLOSE_ACTION.to_owned(), body: slice.encode() };
        let mut client = self.client.clone();
        let answered = timeout(SILENCE_MAX, client.do_action(self.request(action))).await;
        answered.map_err(|_| silent())??;
        Ok(())
    }
}
