//! HTTP connections that are accepted, no more than a process can bear.
//!
//! A connection takes a file descriptor, and a process has a limited number of them, which it needs for the exchange,
//! for what it spills and for its own connections as well. [`BoundedListener`] accepts a limited number of connections
//! for a server. When there are as many, a new one takes the place of the one that has had no request for the
//! longest time; those that never had one go first. A connection with a request under way is never closed: where all
//! have one, the new one is refused with status 503.
//!
//! Which connections have requests under way is counted by [`count_requests`], which knows the connection of a request by
//! its [`Accepted::connect_info`].

#![forbid(unsafe_code)]

mod accepted;
mod bounded;
mod busy;
mod connections;

pub use accepted::Accepted;
pub use bounded::BoundedListener;
pub use busy::count_requests;
pub use connections::ConnectionHandle;
