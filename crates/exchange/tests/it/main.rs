//! The exchange as its users see it, on a real directory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod cleanup;
mod commit;
mod damage;
mod direct;
mod memory;
mod sink;
mod support;
mod trino;
mod types;
