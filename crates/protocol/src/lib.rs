//! Wire types: the client protocol, the protocol between nodes, and the records of coordinators.

#![forbid(unsafe_code)]

pub mod client;
pub mod direct;
pub mod node;
pub mod state;
