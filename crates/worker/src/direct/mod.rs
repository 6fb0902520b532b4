//! The direct exchange over the network: outputs of this node for others, and outputs of others for this node.

mod client;
mod serve;
mod server;

pub use client::{DirectTransports, FlightTransport};
pub use serve::serve;
pub use server::direct_routes;
