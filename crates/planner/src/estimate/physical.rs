//! The rows of physical plans.

use std::sync::Arc;

use datafusion::common::{JoinSide, JoinType};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::predicate::filtered;
use super::{ColumnEstimate, Computed, Estimate, KeyColumns, grouped, joined, plain_column};

/// The rows of an operator, given those of its inputs. None if they are not known.
pub(crate) fn estimate(node: &Arc<dyn ExecutionPlan>, inputs: &[Option<Estimate>]) -> Option<Estimate> {
    if inputs.is_empty() {
        return of_leaf(node);
    }
    // The other inputs are subqueries.
    let inputs = if node.is::<ScalarSubqueryExec>() { &inputs[..1] } else { inputs };
    let inputs: Vec<&Estimate> = inputs.iter().map(Option::as_ref).collect::<Option<_>>()?;
    let first = *inputs.first()?;
    let rows = if let Some(filter) = node.downcast_ref::<FilterExec>() {
        projected(filtered(first.clone(), filter.predicate()), filter.projection().as_deref())
    } else if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let exprs: Vec<_> = projection.expr().iter().map(|column| Arc::clone(&column.expr)).collect();
        first.projected(&exprs, &node.schema())
    } else if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        of_hash_join(join, first, inputs.get(1)?)
    } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let rows = of_join(first, inputs.get(1)?, &[], join.filter(), *join.join_type());
        projected(rows, join.projection().as_deref())
    } else if node.is::<CrossJoinExec>() {
        of_join(first, inputs.get(1)?, &[], None, JoinType::Inner)
    } else if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        of_aggregate(aggregate, first)
    } else if node.is::<UnionExec>() {
        Estimate::of_rows(inputs.iter().map(|input| input.rows).sum(), &node.schema())
    } else if node.is::<WindowAggExec>() || node.is::<BoundedWindowAggExec>() {
        let mut rows = first.clone();
        for field in node.schema().fields().iter().skip(first.columns.len()) {
            rows.columns.push(ColumnEstimate::unknown(field.data_type(), first.rows));
        }
        rows
    } else if keeps_rows(node) {
        first.clone()
    } else {
        return None;
    };
    Some(node.fetch().map_or(rows.clone(), |fetch| rows.at_most(fetch as f64)))
}

/// Whether an operator gives the rows of its first input, apart from a limit.
fn keeps_rows(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<SortExec>()
        || node.is::<RepartitionExec>()
        || node.is::<CoalescePartitionsExec>()
        || node.is::<SortPreservingMergeExec>()
        || node.is::<GlobalLimitExec>()
        || node.is::<LocalLimitExec>()
        || node.is::<ScalarSubqueryExec>()
}

fn of_leaf(leaf: &Arc<dyn ExecutionPlan>) -> Option<Estimate> {
    if leaf.is::<EmptyExec>() || leaf.is::<PlaceholderRowExec>() {
        return Some(Estimate::of_rows(1.0, &leaf.schema()));
    }
    let statistics = StatisticsContext::new().compute(leaf.as_ref(), &StatisticsArgs::new()).ok()?;
    Estimate::from_statistics(&statistics, &leaf.schema())
}

fn of_hash_join(join: &HashJoinExec, left: &Estimate, right: &Estimate) -> Estimate {
    let column = |expr: &Arc<dyn PhysicalExpr>| plain_column(expr);
    let keys: Vec<KeyColumns> = join.on().iter().map(|(one, other)| (column(one), column(other))).collect();
    let rows = of_join(left, right, &keys, join.filter(), *join.join_type());
    projected(rows, join.projection.as_deref())
}

fn of_aggregate(aggregate: &AggregateExec, input: &Estimate) -> Estimate {
    let schema = aggregate.schema();
    let keys = aggregate.group_expr();
    if keys.has_grouping_set() {
        return Estimate::of_rows(input.rows, &schema);
    }
    let reads_rows = aggregate.mode().input_mode() == AggregateInputMode::Raw;
    let computed = |function: &Arc<AggregateFunctionExpr>| {
        if !reads_rows || function.is_distinct() {
            return Computed::Other;
        }
        let columns: Vec<_> = function.expressions().iter().map(plain_column).collect();
        Computed::of(function.fun().name(), &columns)
    };
    let functions = aggregate.aggr_expr();
    let computed: Vec<Computed> = functions.iter().map(computed).collect();
    let mut groups = grouped(input, &keys.input_exprs(), &computed, &schema);
    let key_count = keys.num_group_exprs();
    // What a function keeps of a group may be several columns; sums and counts are one.
    let mut state = key_count;
    for (at, function) in functions.iter().enumerate() {
        let width = function.state_fields().map_or(1, |fields| fields.len());
        if !reads_rows && width == 1 {
            let bell = input.columns.get(state).and_then(|column| column.bell);
            if let Some(column) = groups.columns.get_mut(key_count + at) {
                column.bell = bell;
            }
        }
        state += width;
    }
    groups
}

fn of_join(
    left: &Estimate,
    right: &Estimate,
    keys: &[KeyColumns],
    filter: Option<&JoinFilter>,
    join_type: JoinType,
) -> Estimate {
    let filter_fraction = match filter {
        None => 1.0,
        Some(filter) => {
            let pairs = joined(left, right, keys, 1.0, JoinType::Inner);
            let place = |column: &ColumnIndex| match column.side {
                JoinSide::Right => left.columns.len() + column.index,
                JoinSide::Left | JoinSide::None => column.index,
            };
            let pairs = pairs.with_columns(filter.column_indices().iter().map(place));
            filtered(pairs.clone(), filter.expression()).rows / pairs.rows
        }
    };
    joined(left, right, keys, filter_fraction, join_type)
}

fn projected(rows: Estimate, projection: Option<&[usize]>) -> Estimate {
    match projection {
        Some(columns) => rows.with_columns(columns.iter().copied()),
        None => rows,
    }
}
