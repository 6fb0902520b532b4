//! A piece of plan between exchanges.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

/// What a worker needs to run the tasks of a stage.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// The plan. It has one output partition when its leaves have their inputs.
    pub plan: Arc<dyn ExecutionPlan>,
    /// Where its rows go.
    pub sink: Sink,
    /// DataFusion's options that execution depends on, by name.
    pub options: Vec<(String, String)>,
}

/// How the rows of a fragment are spread over output partitions.
#[derive(Clone, Debug)]
pub enum Sink {
    /// All rows go to partition 0, in order.
    Single,
    /// A row goes to the partition that the hash of its keys names.
    Hash {
        /// The keys, over the plan's schema.
        keys: Vec<Arc<dyn PhysicalExpr>>,
        /// The number of partitions.
        partitions: u32,
    },
}

impl Sink {
    /// How many partitions each task writes.
    pub fn partitions(&self) -> u32 {
        match self {
            Sink::Single => 1,
            Sink::Hash { partitions, .. } => *partitions,
        }
    }
}
