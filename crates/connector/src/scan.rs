//! What is read of a table, and in what pieces.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::physical_plan::PhysicalExpr;

use crate::metadata::TableHandle;

/// What is read of a table.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The table.
    pub table: TableHandle,
    /// The columns to produce, in order, with their types: the schema of every batch. Names are the table's.
    pub schema: SchemaRef,
    /// Rows for which this is not true are not wanted. Refers to columns of `schema` by index.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    /// No more rows than this are wanted from each split. Only rows that the predicate accepts count.
    pub limit: Option<u64>,
}

/// A unit of input of a scan: something one task can read alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The connector's name for it.
    pub payload: Bytes,
    /// How much there is to read, in bytes, as far as known. Sizes of tasks follow from it.
    pub size_bytes: u64,
}

/// How a scan is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitOptions {
    /// The size to aim at: `fault-tolerant-execution-standard-split-size`.
    pub target_size_bytes: u64,
    /// The number of workers, for connectors that divide by node (`tpch.splits-per-node`).
    pub node_count: usize,
    /// The number of attempts the cluster runs at once.
    pub slot_count: usize,
}
