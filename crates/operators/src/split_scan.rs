//! The scan of a table's splits.

use std::fmt;
use std::sync::Arc;

use connector::Scan;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};

use crate::TaskInputsExtension;
use crate::leaf::{cooperative_stream, leaf_properties, leaf_statistics};
use crate::split_stream::SplitStream;

/// What a scan whose splits tasks share claims to have before it is cut. One would satisfy every requirement of
/// the operators above, and DataFusion would plan no exchange.
const PLANNED_PARTITIONS: usize = 2;

/// Reads the splits that a task was given, one after the other.
///
/// When planned it stands for the whole table; [`SplitScanExec::in_fragment`] makes the form that a task runs.
#[derive(Clone, Debug)]
pub struct SplitScanExec {
    number: Option<u32>,
    catalog: String,
    table_name: String,
    scan: Scan,
    parallel: bool,
    statistics: Arc<Statistics>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl SplitScanExec {
    /// A scan as it is planned. `table_name` is `schema.table`, for people. `parallel` tells whether tasks may share
    /// the splits. `statistics` are of the scan's columns, and of all rows.
    pub fn new(
        catalog: impl Into<String>,
        table_name: impl Into<String>,
        scan: Scan,
        parallel: bool,
        statistics: Arc<Statistics>,
    ) -> Self {
        let partitions = if parallel { PLANNED_PARTITIONS } else { 1 };
        let equivalences = EquivalenceProperties::new(Arc::clone(&scan.schema));
        SplitScanExec {
            number: None,
            catalog: catalog.into(),
            table_name: table_name.into(),
            parallel,
            statistics,
            metrics: ExecutionPlanMetricsSet::new(),
            properties: leaf_properties(equivalences, partitions),
            scan,
        }
    }

    /// The same scan as the leaf of a fragment, with one partition and its number within the fragment.
    pub fn in_fragment(&self, number: u32) -> Self {
        let properties = match self.number {
            Some(_) => Arc::clone(&self.properties),
            None => leaf_properties(EquivalenceProperties::new(Arc::clone(&self.scan.schema)), 1),
        };
        let metrics = ExecutionPlanMetricsSet::new();
        SplitScanExec { number: Some(number), metrics, properties, ..self.clone() }
    }

    /// Its number within the fragment. None before the plan is cut.
    pub fn number(&self) -> Option<u32> {
        self.number
    }

    /// The catalog of the table.
    pub fn catalog(&self) -> &str {
        &self.catalog
    }

    /// `schema.table`, for people.
    pub fn table_name(&self) -> &str {
        &self.table_name
    }

    /// What is read.
    pub fn scan(&self) -> &Scan {
        &self.scan
    }

    /// Whether tasks may share the splits.
    pub fn is_parallel(&self) -> bool {
        self.parallel
    }
}

impl DisplayAs for SplitScanExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> =
            self.scan.schema.fields().iter().map(|field| field.name().as_str()).collect();
        if format == DisplayFormatType::TreeRender {
            return write!(f, "table={}.{}", self.catalog, self.table_name);
        }
        write!(
            f,
            "SplitScanExec: table={}.{}, columns=[{}]",
            self.catalog,
            self.table_name,
            columns.join(", ")
        )?;
        if let Some(predicate) = &self.scan.predicate {
            write!(f, ", predicate={predicate}")?;
        }
        if let Some(limit) = self.scan.limit {
            write!(f, ", limit={limit}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for SplitScanExec {
    fn name(&self) -> &str {
        "SplitScanExec"
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
        match &self.scan.predicate {
            Some(predicate) => visit(predicate),
            None => Ok(TreeNodeRecursion::Continue),
        }
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(leaf_statistics(&self.statistics, &self.scan.schema, args))
    }

    fn fetch(&self) -> Option<usize> {
        self.scan.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        // A limit counts the rows that the predicate accepts, and only the connector may know which.
        if self.scan.predicate.is_some() {
            return None;
        }
        let limit = limit.map(|limit| limit as u64);
        let statistics = Statistics::clone(&self.statistics);
        let fetch = limit.and_then(|limit| usize::try_from(limit).ok());
        let statistics = statistics.with_fetch(fetch, 0, PLANNED_PARTITIONS).ok()?;
        Some(Arc::new(SplitScanExec {
            scan: Scan { limit, ..self.scan.clone() },
            statistics: Arc::new(statistics),
            ..self.clone()
        }))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(number) = self.number else {
            return Err(DataFusionError::Internal("a scan ran that is not part of a fragment".into()));
        };
        let inputs = TaskInputsExtension::of(&context)?;
        Ok(cooperative_stream(SplitStream {
            number,
            scan: self.scan.clone(),
            splits: inputs.splits(number).into(),
            open: None,
            rows_left: self.scan.limit.filter(|_| self.scan.predicate.is_none()),
            connector: inputs.connector(&self.catalog)?,
            inputs,
            context,
            metrics: BaselineMetrics::new(&self.metrics, partition),
        }))
    }
}
