//! Summing up the keys of a build side.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;

use super::summary::{schema, summary, without_summary};
use crate::key_hash::KeyHasher;

/// A task sums up no more keys than these: beyond, the filter would take more memory and time than it is worth.
const KEYS_MAX: usize = 4 << 20;

/// Sums up the keys of its input, which is one side of a join spread over hash partitions.
#[derive(Debug)]
pub struct DynamicFilterSourceExec {
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    partitions: u32,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl DynamicFilterSourceExec {
    /// Sums up these keys of an input of one partition, for filters that know of so many hash partitions.
    pub fn new(input: Arc<dyn ExecutionPlan>, keys: Vec<Arc<dyn PhysicalExpr>>, partitions: u32) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        DynamicFilterSourceExec {
            input,
            keys,
            partitions,
            metrics: ExecutionPlanMetricsSet::new(),
            properties: Arc::new(properties),
        }
    }

    /// The keys.
    pub fn keys(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.keys
    }

    /// How many hash partitions there are.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    fn over(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Arc<dyn ExecutionPlan> {
        Arc::new(DynamicFilterSourceExec::new(children.swap_remove(0), self.keys.clone(), self.partitions))
    }
}

impl DisplayAs for DynamicFilterSourceExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamicFilterSourceExec: keys=[{}]", super::exec::listed(&self.keys))
    }
}

impl ExecutionPlan for DynamicFilterSourceExec {
    fn name(&self) -> &str {
        "DynamicFilterSourceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.over(children))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.over(children))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        super::exec::visit_all(&self.keys, visit)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut input = self.input.execute(partition, Arc::clone(&context))?;
        let mut hasher = KeyHasher::new(self.keys.clone());
        let partitions = self.partitions;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let reservation =
            MemoryConsumer::new(format!("DynamicFilterSource[{partition}]")).register(context.memory_pool());
        let all = async move {
            let mut hashes: Vec<u64> = Vec::new();
            while let Some(batch) = input.next().await {
                let batch = batch?;
                let _timer = metrics.elapsed_compute().timer();
                if hashes.len() + batch.num_rows() > KEYS_MAX {
                    metrics.record_output(1);
                    return without_summary();
                }
                let new = hasher.hash(&batch)?;
                if hashes.len() + new.len() > hashes.capacity() {
                    // It grows by as much as it has.
                    let capacity = (2 * hashes.capacity()).max(hashes.len() + new.len());
                    reservation.try_resize(capacity * size_of::<u64>())?;
                    hashes.reserve_exact(capacity - hashes.len());
                }
                hashes.extend_from_slice(new);
            }
            let _timer = metrics.elapsed_compute().timer();
            let summary = summary(&hashes, partitions)?;
            metrics.record_output(summary.num_rows());
            Ok(summary)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), futures::stream::once(all))))
    }
}
