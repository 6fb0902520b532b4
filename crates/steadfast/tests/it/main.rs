//! Tests of whole clusters: real processes, real sockets, real signals.

mod answers;
mod dependencies;
mod faults;
mod limits;
mod statements;
mod support;
mod tpch;
mod tpch_data;
