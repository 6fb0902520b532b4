//! Plans are cut, serialised and run in this process, with random numbers of tasks, and must give the rows that
//! DataFusion gives in one piece.

#![allow(missing_docs, clippy::unwrap_used, reason = "this is a test")]

mod determinism;
mod harness;
mod join_graphs;
mod join_order;
mod one_task;
mod oracle;
mod plans;
mod rows;
mod sharing;
mod tpch;
mod traps;
