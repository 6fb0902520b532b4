//! Virtual clusters around both halves of the real scheduler: virtual time, seeds, faults, oracles.
//!
//! A seed decides everything: how many workers and coordinators there are, what is asked, and what goes wrong when.
//! A lifetime has a phase of chaos, in which nothing may be wrong, and one of calm, in which everything must end. See
//! the README of the crate.

#![allow(
    clippy::collapsible_match,
    reason = "what happens stands in the pattern, what is looked at in the arm"
)]

mod bug;
mod chaos;
mod client;
mod commands;
mod coordinator;
mod execution;
mod exhaustive;
mod fault;
mod happening;
mod host;
mod lifetime;
mod needs;
mod network;
mod oracle;
mod pipeline;
mod plan;
mod random;
mod rot;
mod sometimes;
mod storage;
mod store;
mod world;

pub use bug::{BUGS, Bug};
pub use commands::{main, regressions};
pub use exhaustive::{DEPTH_MAX, Explored, explore};
pub use fault::{Changes, Fault};
pub use lifetime::{Lifetime, Totals, digest, live, replay, shrink};
