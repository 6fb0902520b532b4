//! Dropping rows whose keys are not on the build side.

use std::fmt;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::BatchCoalescer;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt};

use super::summary::Summaries;
use crate::key_hash::KeyHasher;

/// Keeps the rows whose keys may be on the build side of a join.
#[derive(Debug)]
pub struct DynamicFilterExec {
    input: Arc<dyn ExecutionPlan>,
    /// What the tasks of a [`super::DynamicFilterSourceExec`] gave.
    source: Arc<dyn ExecutionPlan>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    partitions: u32,
    metrics: ExecutionPlanMetricsSet,
}

impl DynamicFilterExec {
    /// A filter of an input by these keys, in the order in which the source summed them up.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        source: Arc<dyn ExecutionPlan>,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        partitions: u32,
    ) -> Self {
        DynamicFilterExec { input, source, keys, partitions, metrics: ExecutionPlanMetricsSet::new() }
    }

    /// The rows that are filtered.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The keys.
    pub fn keys(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.keys
    }

    /// How many hash partitions the source knows of.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    fn over(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Arc<dyn ExecutionPlan> {
        let source = children.swap_remove(1);
        let input = children.swap_remove(0);
        Arc::new(DynamicFilterExec::new(input, source, self.keys.clone(), self.partitions))
    }
}

/// Expressions for people.
pub(super) fn listed(keys: &[Arc<dyn PhysicalExpr>]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn visit_all(
    keys: &[Arc<dyn PhysicalExpr>],
    visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
) -> Result<TreeNodeRecursion> {
    for key in keys {
        if visit(key)? == TreeNodeRecursion::Stop {
            return Ok(TreeNodeRecursion::Stop);
        }
    }
    Ok(TreeNodeRecursion::Continue)
}

impl DisplayAs for DynamicFilterExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamicFilterExec: keys=[{}]", listed(&self.keys))
    }
}

impl ExecutionPlan for DynamicFilterExec {
    fn name(&self) -> &str {
        "DynamicFilterExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true, false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input, &self.source]
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
        visit_all(&self.keys, visit)
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut source = self.source.execute(partition, Arc::clone(&context))?;
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let schema = self.schema();
        let (keys, partitions) = (self.keys.clone(), self.partitions);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batch_rows = context.session_config().batch_size();
        let rows = async move {
            let mut summaries = Summaries::new(partitions);
            while let Some(summary) = source.next().await {
                summaries.add(&summary?)?;
            }
            if summaries.is_incomplete() {
                return Ok(input);
            }
            let coalescer = BatchCoalescer::new(input.schema(), batch_rows);
            let filter = RowFilter { hasher: KeyHasher::new(keys), summaries, coalescer, metrics };
            Ok::<_, datafusion::error::DataFusionError>(filtered(input, filter))
        };
        let rows = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// Picks rows and puts what is left of batches together.
struct RowFilter {
    hasher: KeyHasher,
    summaries: Summaries,
    coalescer: BatchCoalescer,
    metrics: BaselineMetrics,
}

impl RowFilter {
    fn add(&mut self, batch: RecordBatch) -> Result<()> {
        let _timer = self.metrics.elapsed_compute().timer();
        let hashes = self.hasher.hash(&batch)?;
        let kept = BooleanBuffer::collect_bool(hashes.len(), |row| self.summaries.may_contain(hashes[row]));
        Ok(self.coalescer.push_batch_with_filter(batch, &BooleanArray::new(kept, None))?)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.coalescer.finish_buffered_batch()?)
    }

    fn next(&mut self) -> Option<RecordBatch> {
        let batch = self.coalescer.next_completed_batch();
        if let Some(batch) = &batch {
            self.metrics.record_output(batch.num_rows());
        }
        batch
    }
}

fn filtered(input: SendableRecordBatchStream, filter: RowFilter) -> SendableRecordBatchStream {
    let schema = input.schema();
    let rows = futures::stream::try_unfold((Some(input), filter), |(mut input, mut filter)| async move {
        loop {
            if let Some(batch) = filter.next() {
                return Ok(Some((batch, (input, filter))));
            }
            let Some(rows) = &mut input else { return Ok(None) };
            match rows.next().await {
                Some(batch) => filter.add(batch?)?,
                None => {
                    input = None;
                    filter.finish()?;
                }
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}
