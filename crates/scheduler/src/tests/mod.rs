//! Tests of the core as a whole, against a small cluster.
//!
//! `tests/README.md` of the crate lists Trino's acceptance rows and the test of each.

mod forming;
mod placing;
mod retrying;
mod workers;
