//! The direct exchange within one process.

mod broadcast;
mod faults;
mod flow;
mod partitions;
mod support;
