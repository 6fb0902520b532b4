//! Ids, units and errors shared by every Steadfast crate. Depends on nothing, not even `std`.
//!
//! What lives here is data that crosses the border between the pure scheduler and the shells around it.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod error;
pub mod error_code;
pub mod id;
pub mod unit;

pub use error::{Error, ErrorCause, ErrorLocation, Failure, FailureClass, Result};
pub use error_code::{ErrorCode, ErrorType};
pub use id::{AttemptId, Epoch, Incarnation, NodeId, OutputId, QueryId, StageId, TaskId};
pub use unit::{DataSize, Duration, Millis, ParseUnitError};
