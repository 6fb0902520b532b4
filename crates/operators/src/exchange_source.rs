//! The reading end of an exchange.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering};
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;

use crate::TaskInputsExtension;
use crate::leaf::{conform, cooperative_stream, leaf_properties, leaf_statistics};

/// Reads the rows of an input of the fragment: in any order, or merged in an order that each producer task keeps.
#[derive(Clone, Debug)]
pub struct ExchangeSourceExec {
    input: u32,
    schema: SchemaRef,
    ordering: Option<LexOrdering>,
    fetch: Option<u64>,
    statistics: Arc<Statistics>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl ExchangeSourceExec {
    /// The source of an input, by its number within the fragment.
    pub fn new(input: u32, schema: SchemaRef) -> Self {
        ExchangeSourceExec {
            input,
            ordering: None,
            fetch: None,
            statistics: Arc::new(Statistics::new_unknown(&schema)),
            metrics: ExecutionPlanMetricsSet::new(),
            properties: leaf_properties(EquivalenceProperties::new(Arc::clone(&schema)), 1),
            schema,
        }
    }

    /// The same source, merging what each producer task wrote in this order.
    pub fn with_ordering(self, ordering: LexOrdering) -> Self {
        let equivalences =
            EquivalenceProperties::new_with_orderings(Arc::clone(&self.schema), [ordering.clone()]);
        ExchangeSourceExec { properties: leaf_properties(equivalences, 1), ordering: Some(ordering), ..self }
    }

    /// The same source, ending after so many rows. Only of use where one task reads the input.
    pub fn with_rows_max(self, fetch: Option<u64>) -> Self {
        ExchangeSourceExec { fetch, ..self }
    }

    /// The same source with an estimate of what it reads. It does not travel to workers.
    pub fn with_statistics(self, statistics: Arc<Statistics>) -> Self {
        ExchangeSourceExec { statistics, ..self }
    }

    /// The same source for another input of the same kind.
    pub fn with_input(&self, input: u32) -> Self {
        ExchangeSourceExec { input, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }

    /// The number of the input within the fragment.
    pub fn input(&self) -> u32 {
        self.input
    }

    /// The order in which rows are merged.
    pub fn ordering(&self) -> Option<&LexOrdering> {
        self.ordering.as_ref()
    }

    /// The most rows it produces.
    pub fn rows_max(&self) -> Option<u64> {
        self.fetch
    }
}

impl DisplayAs for ExchangeSourceExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExchangeSourceExec: input={}", self.input)?;
        if let Some(ordering) = &self.ordering {
            write!(f, ", merge=[{ordering}]")?;
        }
        if let Some(fetch) = self.fetch {
            write!(f, ", limit={fetch}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for ExchangeSourceExec {
    fn name(&self) -> &str {
        "ExchangeSourceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for sort in self.ordering.iter().flatten() {
            if visit(&sort.expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(leaf_statistics(&self.statistics, &self.schema, args))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch.map(|fetch| usize::try_from(fetch).unwrap_or(usize::MAX))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let inputs = TaskInputsExtension::of(&context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let schema = Arc::clone(&self.schema);
        let Some(ordering) = &self.ordering else {
            let rows = conforming(inputs.exchange(self.input, Arc::clone(&schema))?, &schema);
            if let Some(fetch) = self.fetch() {
                return Ok(Box::pin(LimitStream::new(rows, 0, Some(fetch), metrics)));
            }
            let counted = rows.map(move |batch| {
                if let Ok(batch) = &batch {
                    metrics.record_output(batch.num_rows());
                }
                batch
            });
            return Ok(cooperative_stream(RecordBatchStreamAdapter::new(schema, counted)));
        };
        let streams = inputs.exchange_streams(self.input, Arc::clone(&schema))?;
        let streams: Vec<_> = streams.into_iter().map(|rows| conforming(rows, &schema)).collect();
        if streams.is_empty() {
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::empty())));
        }
        let reservation = MemoryConsumer::new(format!("ExchangeSourceExec[{}]", self.input))
            .register(context.memory_pool());
        StreamingMergeBuilder::new()
            .with_streams(streams)
            .with_schema(schema)
            .with_expressions(ordering)
            .with_metrics(metrics)
            .with_batch_size(context.session_config().batch_size())
            .with_fetch(self.fetch())
            .with_reservation(reservation)
            .build()
    }
}

/// The producers of a union write columns of the same types, whose names and nullability may differ.
fn conforming(rows: SendableRecordBatchStream, schema: &SchemaRef) -> SendableRecordBatchStream {
    let expected = Arc::clone(schema);
    let rows = rows.map(move |batch| conform(batch?, &expected));
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema), rows))
}
