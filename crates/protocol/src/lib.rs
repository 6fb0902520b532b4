//! Wire types: the client protocol and the protocol between nodes.

#![forbid(unsafe_code)]

pub mod client;
pub mod direct;
pub mod node;
