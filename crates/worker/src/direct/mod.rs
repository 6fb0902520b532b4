//! The direct exchange over the network: outputs of this node for others, and outputs of others for this node.

mod client;
mod server;

pub use client::{DirectTransports, FlightTransport};
pub use server::direct_routes;
