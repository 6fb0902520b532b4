//! The direct exchange: what carries the output of an attempt to consumers that run at the same time, in memory.
//!
//! An attempt pushes rows into a [`DirectSink`], which keeps them as frames (those of the durable exchange) until
//! consumers have taken and acknowledged them. Memory is bounded whatever the number of partitions is: a full
//! buffer makes the producer wait. A consumer that has enough closes its part, and when all have, the producer is
//! told that nobody wants more.
//!
//! A consumer asks for frames by *token*, the number of the next frame it wants. Asking for `n` acknowledges all
//! frames below `n`; asking for `n` again gives the same bytes. A lost answer therefore costs nothing but asking
//! again.
//!
//! | to | use |
//! |---|---|
//! | hold the outputs of a node's attempts | [`DirectExchange`] |
//! | write the output of an attempt | [`DirectExchange::create_output`], [`DirectSink`], [`OutputHandle`] |
//! | read the outputs of producers | [`DirectReader::new`], or [`DirectReader::each`] for merges |
//! | reach the outputs of another node | an implementation of [`FetchTransport`] |
//! | show an output to any reader of Arrow | [`arrow_ipc`] |

pub mod arrow_ipc;
mod backoff;
mod credit;
mod error;
mod fetch;
mod handle;
mod options;
mod output;
mod queues;
mod reader;
mod registry;
mod rows;
mod sink;
mod source;

pub use error::DirectReadError;
pub use fetch::{ConsumerId, FetchError, FetchRequest, FetchResponse, FetchTransport, OutputSlice};
pub use handle::{DirectSinkMetrics, OutputHandle};
pub use options::{DataIntegrity, DirectReadOptions, DirectSinkOptions, ParseDataIntegrityError};
pub use queues::OutputLayout;
pub use reader::{DirectReadMetrics, DirectReader, DirectSource};
pub use registry::DirectExchange;
pub use sink::{Demand, DirectSink};
