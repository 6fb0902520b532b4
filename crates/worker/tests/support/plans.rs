//! Fragments made by hand.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use base::AttemptId;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::joins::CrossJoinExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use exchange::{CommitRecord, ExchangeManager};
use operators::{ExchangeSourceExec, Fragment, Sink, SplitScanExec};
use protocol::node::wire;

use super::connector::scan;

/// A fragment of that plan.
pub fn fragment(plan: Arc<dyn ExecutionPlan>, sink: Sink) -> Fragment {
    Fragment { plan, sink, options: Vec::new() }
}

/// The scan of the test connector's table.
pub fn test_scan() -> Arc<dyn ExecutionPlan> {
    scan_of("test", scan())
}

/// Any scan, as scan 0 of its fragment.
pub fn scan_of(catalog: &str, scan: connector::Scan) -> Arc<dyn ExecutionPlan> {
    let statistics = Arc::new(Statistics::new_unknown(&scan.schema));
    Arc::new(SplitScanExec::new(catalog, "schema.table", scan, true, statistics).in_fragment(0))
}

/// A fragment that passes on what it scans.
pub fn pass_on() -> Fragment {
    fragment(test_scan(), Sink::Single)
}

/// A fragment that sorts what it scans, last row first.
pub fn sort() -> Fragment {
    let key: Arc<dyn PhysicalExpr> = Arc::new(Column::new("n", 0));
    let mut key = PhysicalSortExpr::new_default(key);
    key.options.descending = true;
    fragment(Arc::new(SortExec::new(LexOrdering::new([key]).unwrap(), test_scan())), Sink::Single)
}

/// A fragment that keeps all it scans in memory, in an operator that cannot spill.
pub fn keep_in_memory() -> Fragment {
    let right = Arc::new(ExchangeSourceExec::new(0, super::connector::schema()));
    fragment(Arc::new(CrossJoinExec::new(test_scan(), right)), Sink::Single)
}

/// Counts the rows of each group, in one of the two steps.
pub fn count_by(
    mode: AggregateMode,
    key: &str,
    input: Arc<dyn ExecutionPlan>,
    rows: &SchemaRef,
) -> Arc<dyn ExecutionPlan> {
    let key_at = input.schema().index_of(key).unwrap();
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(key, key_at));
    let one: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Int64(Some(1))));
    let count = AggregateExprBuilder::new(count_udaf(), vec![one])
        .schema(Arc::clone(rows))
        .alias("count")
        .build()
        .unwrap();
    let group_by = PhysicalGroupBy::new_single(vec![(column, key.to_owned())]);
    let plan =
        AggregateExec::try_new(mode, group_by, vec![Arc::new(count)], vec![None], input, Arc::clone(rows));
    Arc::new(plan.unwrap())
}

/// The record of a commit that was reported.
pub fn record(committed: &wire::Committed, attempt: &AttemptId) -> CommitRecord {
    CommitRecord::decode(&committed.commit_record, attempt.output()).unwrap()
}

/// All rows of a committed output.
pub async fn rows(exchange: &ExchangeManager, record: &CommitRecord, schema: SchemaRef) -> Vec<RecordBatch> {
    let options = exchange.options().read();
    let mut reader = exchange.open_output(record, schema, &options);
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch().await.unwrap() {
        batches.push(batch);
    }
    batches
}

/// A column of numbers.
pub fn numbers(batches: &[RecordBatch], column: usize) -> Vec<i64> {
    let values = |batch: &RecordBatch| {
        let array = batch.column(column).as_any().downcast_ref::<Int64Array>().unwrap();
        array.values().to_vec()
    };
    batches.iter().flat_map(values).collect()
}
