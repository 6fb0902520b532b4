//! The direct exchange over real connections.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod connections;
mod flight;
mod streams;
mod support;
