//! The check that a scalar subquery has one row at most.

use std::fmt;
use std::sync::Arc;

use base::{Error, ErrorCode};
use connector::error::into_datafusion;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, PhysicalExpr,
    PlanProperties, ReplaceChildrenOptions,
};
use futures::TryStreamExt;

/// Passes its input through, and fails at the second row: `SUBQUERY_MULTIPLE_ROWS`.
#[derive(Debug)]
pub struct AtMostOneRowExec {
    input: Arc<dyn ExecutionPlan>,
}

impl AtMostOneRowExec {
    /// The check over an input of one partition.
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        AtMostOneRowExec { input }
    }
}

impl DisplayAs for AtMostOneRowExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtMostOneRowExec")
    }
}

impl ExecutionPlan for AtMostOneRowExec {
    fn name(&self) -> &str {
        "AtMostOneRowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(AtMostOneRowExec::new(children.swap_remove(0))))
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(AtMostOneRowExec::new(children.swap_remove(0))))
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut rows = 0;
        let stream = self.input.execute(partition, context)?.and_then(move |batch| {
            rows += batch.num_rows();
            futures::future::ready(if rows > 1 { Err(multiple_rows()) } else { Ok(batch) })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

fn multiple_rows() -> datafusion::error::DataFusionError {
    into_datafusion(Error::new(
        ErrorCode::SUBQUERY_MULTIPLE_ROWS,
        "Scalar sub-query has returned multiple rows",
    ))
}
