//! A TCP proxy that injects faults: one [`Link`] stands between one dialer and what it dials.
//!
//! Every link can delay, throttle, stall, cut and reset what it carries, in each direction by itself. What it does by
//! chance follows from its seed. Nothing is reordered, repeated or changed: between the ends of a TCP connection
//! that does not happen. A stalled direction keeps its bytes, as the sender's kernel would, and delivers them when the
//! link heals.

mod connection;
mod faults;
mod link;
mod pump;
mod route;
#[cfg(test)]
mod tests;

pub use faults::{DirectionFaults, LinkFaults};
pub use link::{Link, LinkCounts};
pub use route::Route;
