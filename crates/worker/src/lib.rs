//! The shell around the worker half of the scheduler.
//!
//! A [`Worker`] opens one stream to its coordinator and keeps it open for its life. What the coordinator desires
//! goes to [`scheduler::Runner`], which decides what to start, to cancel and to report; this crate does it. An
//! attempt decodes a fresh plan, runs it in a memory pool of the size of its lease, and commits what it wrote to
//! the exchange.
//!
//! Attempts compute on threads of their own. The caller's runtime serves the stream and HTTP, so that a worker
//! whose processors are all busy still answers. A worker outlives its coordinator: while that is away, attempts run
//! on and commit, and when it is back, the worker reports what it holds.

#![forbid(unsafe_code)]

mod attempt;
mod backoff;
mod connection;
mod descriptors;
pub mod direct;
mod http;
mod memory;
mod monitoring;
mod node;
mod options;
mod pool;
mod report;
mod spill;
mod status;
mod watchdog;
mod work;
mod worker;

pub use options::{FailureInjection, InjectedAction, WorkerOptions};
pub use worker::{Worker, WorkerHandle};
