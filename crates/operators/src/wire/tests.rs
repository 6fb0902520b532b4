use std::sync::Arc;

use base::ErrorCode;
use datafusion::common::{JoinType, NullEquality, ScalarValue, Statistics};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, case, lit};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};

use super::{decode_fragment, encode_fragment};
use crate::test_inputs::{TestInputs, batch, context_of, numbers, scan, schema};
use crate::{AtMostOneRowExec, ExchangeSourceExec, Fragment, Sink, SplitScanExec};

const WIDE: usize = 5_000_000_000;

fn n() -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new("n", 0))
}

fn source(input: u32) -> Arc<dyn ExecutionPlan> {
    Arc::new(ExchangeSourceExec::new(input, schema()))
}

fn single(plan: Arc<dyn ExecutionPlan>) -> Fragment {
    Fragment { plan, sink: Sink::Single, options: Vec::new() }
}

/// Encodes, decodes and encodes again. The two encodings and the displayed plans must be the same.
fn round_trip(fragment: &Fragment) -> Fragment {
    let bytes = encode_fragment(fragment).unwrap();
    let decoded = decode_fragment(&bytes).unwrap();
    assert_eq!(encode_fragment(&decoded).unwrap(), bytes);
    let text = |fragment: &Fragment| displayable(fragment.plan.as_ref()).indent(true).to_string();
    assert_eq!(text(&decoded), text(fragment));
    decoded
}

#[test]
fn a_scan_travels_with_predicate_limit_and_table() {
    let more_than_two: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(n(), Operator::Gt, lit(2_i64)));
    let mut wanted = scan(Some(WIDE as u64));
    wanted.predicate = Some(more_than_two);
    let statistics = Arc::new(Statistics::new_unknown(&schema()));
    let node = SplitScanExec::new("memory", "default.numbers", wanted, true, statistics).in_fragment(3);
    let fragment = Fragment {
        plan: Arc::new(node),
        sink: Sink::Hash { keys: vec![n()], partitions: 50 },
        options: vec![("datafusion.execution.time_zone".into(), "Europe/Vienna".into())],
    };
    let decoded = round_trip(&fragment);
    let node = decoded.plan.downcast_ref::<SplitScanExec>().unwrap();
    assert_eq!((node.number(), node.catalog(), node.is_parallel()), (Some(3), "memory", true));
    assert_eq!(node.scan().limit, Some(WIDE as u64));
    assert_eq!(node.scan().table, scan(None).table);
    assert_eq!(decoded.sink.partitions(), 50);
    assert_eq!(decoded.options, fragment.options);
}

#[test]
fn a_source_travels_with_its_order() {
    let order = LexOrdering::new([PhysicalSortExpr::new_default(n()).desc().nulls_last()]).unwrap();
    let source = ExchangeSourceExec::new(2, schema()).with_ordering(order).with_rows_max(Some(7));
    let decoded = round_trip(&single(Arc::new(AtMostOneRowExec::new(Arc::new(source)))));
    let children = decoded.plan.children();
    let node = children[0].downcast_ref::<ExchangeSourceExec>().unwrap();
    assert_eq!((node.input(), node.rows_max()), (2, Some(7)));
}

#[test]
fn wide_limits_keep_their_numbers() {
    let filter = FilterExec::try_new(lit(true), source(0)).unwrap();
    let local: Arc<dyn ExecutionPlan> = Arc::new(LocalLimitExec::new(Arc::new(filter), WIDE));
    let decoded = round_trip(&single(Arc::new(GlobalLimitExec::new(local, WIDE, Some(WIDE)))));
    let global = decoded.plan.downcast_ref::<GlobalLimitExec>().unwrap();
    assert_eq!((global.skip(), global.fetch()), (WIDE, Some(WIDE)));
    assert_eq!(global.input().downcast_ref::<LocalLimitExec>().unwrap().fetch(), WIDE);
}

#[tokio::test]
async fn deep_expressions_travel_and_run() {
    // n = 0 ? 0 : (n = 1 ? 1 : …), three hundred deep.
    let mut nested: Arc<dyn PhysicalExpr> = lit(ScalarValue::Int64(None));
    for at in (0..300_i64).rev() {
        let is_it: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(n(), Operator::Eq, lit(at)));
        nested = case(None, vec![(is_it, lit(at))], Some(nested)).unwrap();
    }
    let keep: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(nested, Operator::GtEq, lit(298_i64)));
    let filter = FilterExec::try_new(keep, source(0)).unwrap();
    let decoded = round_trip(&single(Arc::new(filter)));
    let inputs = Arc::new(TestInputs { exchange: vec![batch(&[5, 298, 299, 300])], ..TestInputs::default() });
    let rows = collect(decoded.plan, context_of(&inputs)).await.unwrap();
    assert_eq!(numbers(&rows), [298, 299]);
}

#[test]
fn a_tower_of_a_hundred_joins_travels() {
    let mut tower = source(0);
    for input in 1..100 {
        let on = vec![(n(), n())];
        let (kind, mode) = (JoinType::RightSemi, PartitionMode::Partitioned);
        let nulls = NullEquality::NullEqualsNull;
        let join =
            HashJoinExec::try_new(tower, source(input), on, None, &kind, None, mode, nulls, false).unwrap();
        tower = Arc::new(join);
    }
    let decoded = round_trip(&single(tower));
    let join = decoded.plan.downcast_ref::<HashJoinExec>().unwrap();
    assert_eq!(join.null_equality(), NullEquality::NullEqualsNull);
}

#[test]
fn what_cannot_travel_is_refused() {
    let table = WorkTableExec::new("recursive".into(), schema(), None).unwrap();
    assert!(encode_fragment(&single(Arc::new(table))).is_err());
    let planned =
        SplitScanExec::new("m", "s.t", scan(None), true, Arc::new(Statistics::new_unknown(&schema())));
    assert!(encode_fragment(&single(Arc::new(planned))).is_err());
}

#[test]
fn foreign_bytes_and_options_are_internal_errors() {
    let error = decode_fragment(b"\xff\xff\xff").unwrap_err();
    assert_eq!(error.code(), ErrorCode::GENERIC_INTERNAL_ERROR);
    let mut fragment = single(Arc::new(CoalescePartitionsExec::new(source(0))));
    fragment.options = vec![("datafusion.execution.no_such_option".into(), "1".into())];
    let error = decode_fragment(&encode_fragment(&fragment).unwrap()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::GENERIC_INTERNAL_ERROR);
}
