use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::ErrorCode;
use connector::error::from_datafusion;
use datafusion::common::Statistics;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::{ExecutionPlan, collect};

use crate::test_inputs::{TestInputs, batch, context_of, numbers, scan, schema};
use crate::{AtMostOneRowExec, ExchangeSourceExec, SplitScanExec};

fn planned(limit: Option<u64>, parallel: bool) -> SplitScanExec {
    let statistics = Arc::new(Statistics::new_unknown(&schema()));
    SplitScanExec::new("memory", "default.numbers", scan(limit), parallel, statistics)
}

#[tokio::test]
async fn a_scan_reads_its_splits_in_turn_and_ticks_each() {
    let inputs = Arc::new(TestInputs::default());
    let scan = Arc::new(planned(None, true).in_fragment(0));
    let rows = collect(Arc::clone(&scan) as _, context_of(&inputs)).await.unwrap();
    assert_eq!(numbers(&rows), (10..40).collect::<Vec<_>>());
    assert_eq!(inputs.completed.load(Ordering::Relaxed), 3);
    assert_eq!(scan.metrics().unwrap().output_rows(), Some(30));
}

#[tokio::test]
async fn a_limit_ends_a_scan_and_the_splits_left_count_as_read() {
    for limit in [0, 3, 4, 10, 15, 30, 99] {
        let inputs = Arc::new(TestInputs::default());
        let scan = planned(Some(limit), true).in_fragment(0);
        let rows = collect(Arc::new(scan), context_of(&inputs)).await.unwrap();
        assert_eq!(numbers(&rows).len() as u64, limit.min(30));
        assert_eq!(inputs.completed.load(Ordering::Relaxed), 3, "limit {limit}");
    }
}

#[test]
fn a_shared_scan_claims_more_than_one_partition_until_it_is_cut() {
    assert!(planned(None, true).properties().output_partitioning().partition_count() >= 2);
    assert_eq!(planned(None, false).properties().output_partitioning().partition_count(), 1);
    assert_eq!(planned(None, true).in_fragment(0).properties().output_partitioning().partition_count(), 1);
}

#[tokio::test]
async fn a_scan_outside_of_a_fragment_does_not_run() {
    let error = collect(Arc::new(planned(None, false)), context_of(&Arc::default())).await.unwrap_err();
    assert_eq!(from_datafusion(&error).code(), ErrorCode::GENERIC_INTERNAL_ERROR);
}

#[tokio::test]
async fn an_ordered_source_merges_its_producers() {
    let exchange = vec![batch(&[1, 4, 7]), batch(&[2, 2, 9]), batch(&[]), batch(&[0])];
    let inputs = Arc::new(TestInputs { exchange, ..TestInputs::default() });
    let order = LexOrdering::new([PhysicalSortExpr::new_default(Arc::new(Column::new("n", 0)))]).unwrap();
    let source = ExchangeSourceExec::new(0, schema()).with_ordering(order);
    assert!(source.properties().output_ordering().is_some());
    let rows = collect(Arc::new(source.clone()), context_of(&inputs)).await.unwrap();
    assert_eq!(numbers(&rows), [0, 1, 2, 2, 4, 7, 9]);
    let first = collect(Arc::new(source.with_rows_max(Some(3))), context_of(&inputs)).await.unwrap();
    assert_eq!(numbers(&first), [0, 1, 2]);
}

#[tokio::test]
async fn a_source_reads_everything_or_the_first_rows() {
    let exchange = vec![batch(&[1, 4, 7]), batch(&[2, 2, 9])];
    let inputs = Arc::new(TestInputs { exchange, ..TestInputs::default() });
    let source = ExchangeSourceExec::new(0, schema());
    let rows = collect(Arc::new(source.clone()), context_of(&inputs)).await.unwrap();
    assert_eq!(numbers(&rows), [1, 4, 7, 2, 2, 9]);
    let first = collect(Arc::new(source.with_rows_max(Some(4))), context_of(&inputs)).await.unwrap();
    assert_eq!(numbers(&first), [1, 4, 7, 2]);
}

#[tokio::test]
async fn a_scalar_subquery_with_two_rows_is_the_users_error() {
    for (exchange, rows) in
        [(vec![], Some(0)), (vec![batch(&[5])], Some(1)), (vec![batch(&[5]), batch(&[5])], None)]
    {
        let inputs = Arc::new(TestInputs { exchange, ..TestInputs::default() });
        let check = AtMostOneRowExec::new(Arc::new(ExchangeSourceExec::new(0, schema())));
        let result = collect(Arc::new(check), context_of(&inputs)).await;
        match rows {
            Some(rows) => assert_eq!(numbers(&result.unwrap()).len(), rows),
            None => {
                let error = from_datafusion(&result.unwrap_err());
                assert_eq!(error.code(), ErrorCode::SUBQUERY_MULTIPLE_ROWS);
                assert_eq!(error.message(), "Scalar sub-query has returned multiple rows");
            }
        }
    }
}
