//! The direct exchange between nodes: a node reads the output of an attempt of another one by `DoGet` of Arrow Flight.
//!
//! A ticket asks for the next frames, from a token on; the answer is short, and the next ticket acknowledges it. A
//! ticket that asks for no frames gets the whole output as Arrow's own messages, which any Flight client can read. The
//! action `steadfast.close` tells that a consumer wants no more.

mod client;
mod connections;
mod credentials;
mod failure;
mod service;
mod ticket;
mod transport;

use bytes::Bytes;

pub use client::{DirectClient, DirectClientError};
pub use connections::DirectConnections;
pub use credentials::Credentials;
pub use failure::FetchFailure;
pub use service::{DirectService, FlightMessage, FlightMessages, direct_server};
pub use ticket::{FetchFrames, FetchTicket, OutputSlice};
pub use transport::{DirectTransports, FlightTransport};

/// The type of the action that closes a slice.
pub const CLOSE_ACTION: &str = "steadfast.close";

/// The largest message between nodes that exchange frames, in bytes: a frame has at most one row that is larger than
/// `exchange.max-page-storage-size`, and what its encoding adds.
pub const DIRECT_MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The next frames of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchAnswer {
    /// The frames.
    pub frames: Vec<Bytes>,
    /// Whether they are the last ones.
    pub is_end: bool,
    /// The length of the frame that follows, if it is there; else 0.
    pub next_frame_bytes: u64,
}
