//! The outputs of this node's attempts, served to other nodes. How they are read: [`protocol::direct`].

mod serve;
mod server;

pub use serve::serve;
pub use server::direct_routes;
