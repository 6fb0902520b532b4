//! The scheduler: which attempt of which task runs on which worker, and when.
//!
//! This crate is pure. It has no I/O, no clock, no entropy, no threads and no `async`; it sees no plan and no
//! data. Time and facts come in as an [`Event`], decisions go out as [`Command`]s, and
//! [`Core::step`] between them never fails and never waits. `#![no_std]` makes the compiler enforce that.
//!
//! The protocol with workers is level-triggered in both directions. A worker reports everything it holds
//! ([`WorkerReport`]); the core answers with everything that worker should hold ([`Command::SetDesired`]).
//! A lost, repeated or late message is stale and ignored; a cancellation is an absence.
//!
//! What must outlive the coordinator is a [`Record`]. The core decides, asks for the record, and acts when it is
//! told what is there: so whoever recovers, or a second coordinator, agrees about who reads what, what is void, and
//! how a query ended. [`Event::QueryRecovered`] takes a query up again from its records.
//!
//! Stages that are joined by pipelined edges form a region, and a region runs, fails and is retried as one
//! ([`RetryPolicy`]). Where every edge is spooled, a region is a task.
//!
//! [`Runner`] is the worker's half of the same protocol, in the same form.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod assign;
mod attempts;
pub mod command;
mod core;
mod durability;
mod ending;
pub mod event;
mod forming;
mod gone;
mod invariants;
mod memory;
pub mod options;
mod outdated;
mod placement;
mod planted;
mod quantile;
mod query;
pub mod record;
mod recovery;
mod region;
pub mod retry;
mod rivals;
mod rollback;
pub mod runner;
pub mod shape;
pub mod slowness;
mod stage;
mod task;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
pub mod view;
mod worker_index;
mod workers;

pub use self::core::Core;
pub use command::{AttemptSpec, Command, TaskInput};
pub use event::{AttemptReport, AttemptStatus, Capacity, Event, NodeState, OutputSize, WorkerReport};
pub use options::{CoreOptions, QueryOptions, RetryPolicy, RunnerOptions};
#[cfg(feature = "planted-bugs")]
#[doc(hidden)]
pub use planted::PlantedBug;
pub use record::{Record, RecordKey, RecoveredCommit};
pub use runner::{Runner, RunnerCommand, RunnerEvent};
pub use shape::{Distribution, Edge, InputShape, QueryShape, StageShape};
pub use stage::StageCounts;
pub use task::{Attempt, AttemptState, TaskState};
pub use view::{NodeView, QueryView, StageState, StageView, TaskView};
