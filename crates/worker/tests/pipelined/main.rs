//! Workers whose attempts stream rows to each other, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod faults;
mod flow;
mod layouts;
mod memory;
mod region;
#[path = "../support/mod.rs"]
mod support;
