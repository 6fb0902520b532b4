//! Plan nodes of our own, and the form in which a fragment travels to a worker.
//!
//! A fragment is a DataFusion plan whose leaves are [`SplitScanExec`] and [`ExchangeSourceExec`]. At planning time
//! the leaves are placeholders; on a worker they find what they read in the [`TaskInputs`] of the task context.
//! Every task runs its fragment with exactly one partition.

#![forbid(unsafe_code)]

mod exchange_source;
mod fragment;
mod split_scan;
mod task_inputs;
mod wire;

pub use exchange_source::ExchangeSourceExec;
pub use fragment::{Fragment, Sink};
pub use split_scan::SplitScanExec;
pub use task_inputs::{TaskInputs, TaskInputsExtension};
pub use wire::{decode_fragment, encode_fragment};
