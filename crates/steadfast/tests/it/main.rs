//! Tests of whole clusters: real processes, real sockets, real signals.

#![allow(clippy::unwrap_used, reason = "a test that finds what it did not expect ends there")]

mod connections;
mod definitions;
mod dependencies;
mod drain;
mod faults;
mod figures;
mod flight;
mod limits;
mod local;
mod lost_output;
mod monitoring;
mod policies;
mod proxy;
mod recovery;
mod retry_query;
mod short;
mod statements;
mod support;
mod tpch;
mod tpch_data;
