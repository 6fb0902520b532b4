//! Plan nodes of our own, and the form in which a fragment travels to a worker.
//!
//! A fragment is a DataFusion plan whose leaves are [`SplitScanExec`] and [`ExchangeSourceExec`]. At planning time
//! the leaves are placeholders; on a worker they find what they read in the [`TaskInputs`] of the task context.
//! Every task runs its fragment with exactly one partition.

#![forbid(unsafe_code)]

mod at_most_one_row;
mod connector_table;
mod decimal_division;
mod exchange_source;
mod fragment;
mod hash_partitioner;
mod integer_arithmetic;
mod large_stack;
mod leaf;
#[cfg(test)]
mod leaf_tests;
mod one_task;
mod session;
mod split_scan;
mod split_stream;
mod task_inputs;
#[cfg(test)]
mod test_inputs;
mod wire;

pub use at_most_one_row::AtMostOneRowExec;
pub use connector_table::ConnectorTable;
pub use decimal_division::DecimalDivision;
pub use exchange_source::ExchangeSourceExec;
pub use fragment::{Fragment, Sink};
pub use hash_partitioner::HashPartitioner;
pub use integer_arithmetic::{IntegerArithmetic, IntegerOperator, integer_arithmetic, is_trino_integer};
pub use large_stack::on_large_stack;
pub use one_task::OneTask;
pub use session::{config_from_options, session_state_builder, task_context};
pub use split_scan::SplitScanExec;
pub use task_inputs::{TaskInputs, TaskInputsExtension};
pub use wire::{decode_fragment, encode_fragment};
