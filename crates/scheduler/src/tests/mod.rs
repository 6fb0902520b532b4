//! Tests of the core as a whole, against a small cluster.
//!
//! `tests/README.md` of the crate lists Trino's acceptance rows and the test of each.

mod draining;
mod durability;
mod forming;
mod placing;
mod racing;
mod recording;
mod recovering;
mod regions;
mod retrying;
mod rolling_back;
mod slow_nodes;
mod workers;
