//! Columns that no two rows have in common.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::{JoinSide, JoinType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionRef;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use operators::{AtMostOneRowExec, ExchangeSourceExec};

use super::Inputs;

/// Columns of an operator, by index, in at least one of which any two of its rows differ. Where there are none of
/// them, there is at most one row.
pub(crate) type Key = BTreeSet<usize>;

/// Joins multiply keys; more than this many are not followed.
const KEYS_MAX: usize = 8;

/// Whether an order by these expressions leaves no choice among the rows of an operator: rows that are equal in it
/// are the same row, or the same in all columns.
pub(super) fn is_total<'a>(
    ordering: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>,
    node: &Arc<dyn ExecutionPlan>,
    inputs: &Inputs<'_>,
) -> bool {
    let columns: Key = ordering.into_iter().filter_map(column).collect();
    (0..node.schema().fields().len()).all(|column| columns.contains(&column))
        || unique_keys(node, inputs).iter().any(|key| key.is_subset(&columns))
}

fn column(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    Some(expr.downcast_ref::<Column>()?.index())
}

/// Keys of the rows that all tasks which run an operator give together.
///
/// An operator that needs rows together by key sees all of them with a key in one task, so its keys hold for all
/// tasks. Rows that every task reads are unique in each task, and leave it only joined to rows that it alone has.
pub(crate) fn unique_keys(node: &Arc<dyn ExecutionPlan>, inputs: &Inputs<'_>) -> Vec<Key> {
    let mut keys = keys_of(node, inputs);
    keys.truncate(KEYS_MAX);
    keys
}

fn keys_of(node: &Arc<dyn ExecutionPlan>, inputs: &Inputs<'_>) -> Vec<Key> {
    if let Some(source) = node.downcast_ref::<ExchangeSourceExec>() {
        return (inputs.keys)(source.input());
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return match aggregate.mode() {
            AggregateMode::Partial | AggregateMode::PartialReduce => Vec::new(),
            AggregateMode::Final
            | AggregateMode::FinalPartitioned
            | AggregateMode::Single
            | AggregateMode::SinglePartitioned => vec![(0..aggregate.output_group_expr().len()).collect()],
        };
    }
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let keys = unique_keys(projection.input(), inputs);
        let columns: Vec<Option<usize>> = projection.expr().iter().map(|item| column(&item.expr)).collect();
        return projected(keys, &columns);
    }
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        return chosen(unique_keys(filter.input(), inputs), filter.projection().as_ref());
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        let on = join.on().iter().map(|(left, right)| (column(left), column(right))).collect();
        let keys = joined(join.left(), join.right(), *join.join_type(), on, inputs);
        return chosen(keys, join.projection.as_ref());
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let keys = joined(join.left(), join.right(), *join.join_type(), Vec::new(), inputs);
        return chosen(keys, join.projection().as_ref());
    }
    if let Some(join) = node.downcast_ref::<SortMergeJoinExec>() {
        let on = join.on().iter().map(|(left, right)| (column(left), column(right))).collect();
        return joined(join.left(), join.right(), join.join_type(), on, inputs);
    }
    if let Some(join) = node.downcast_ref::<CrossJoinExec>() {
        return joined(join.left(), join.right(), JoinType::Inner, Vec::new(), inputs);
    }
    if node.is::<AtMostOneRowExec>() || node.is::<EmptyExec>() || node.is::<PlaceholderRowExec>() {
        return vec![Key::new()];
    }
    // The columns of a window function come after those of its input.
    let keeps_columns = node.is::<SortExec>()
        || node.is::<GlobalLimitExec>()
        || node.is::<LocalLimitExec>()
        || node.is::<ScalarSubqueryExec>()
        || node.is::<WindowAggExec>()
        || node.is::<BoundedWindowAggExec>();
    match node.children().first() {
        Some(input) if keeps_columns => unique_keys(input, inputs),
        _ => Vec::new(),
    }
}

/// The keys that are left when only these columns are: each the column of the input it shows, if it shows one.
fn projected(keys: Vec<Key>, columns: &[Option<usize>]) -> Vec<Key> {
    let place = |column: &usize| columns.iter().position(|shown| *shown == Some(*column));
    keys.iter().filter_map(|key| key.iter().map(place).collect()).collect()
}

fn chosen(keys: Vec<Key>, projection: Option<&ProjectionRef>) -> Vec<Key> {
    match projection {
        Some(columns) => projected(keys, &columns.iter().map(|column| Some(*column)).collect::<Vec<_>>()),
        None => keys,
    }
}

/// The keys of a join on the equality of these columns, and of nothing else that counts here.
fn joined(
    left: &Arc<dyn ExecutionPlan>,
    right: &Arc<dyn ExecutionPlan>,
    join_type: JoinType,
    on: Vec<(Option<usize>, Option<usize>)>,
    inputs: &Inputs<'_>,
) -> Vec<Key> {
    let (left_keys, right_keys) = (unique_keys(left, inputs), unique_keys(right, inputs));
    let shift = left.schema().fields().len();
    let shifted = |key: &Key| -> Key { key.iter().map(|column| column + shift).collect() };
    // Each row of one side finds at most one row of a side that is unique in the columns compared.
    let meets_one = |side: JoinSide| {
        let compared: Key = on
            .iter()
            .filter_map(|(left, right)| if side == JoinSide::Left { *left } else { *right })
            .collect();
        let keys = if side == JoinSide::Left { &left_keys } else { &right_keys };
        keys.iter().any(|key| key.is_subset(&compared))
    };
    match join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left_keys,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right_keys,
        JoinType::Left if meets_one(JoinSide::Right) => left_keys,
        JoinType::Right if meets_one(JoinSide::Left) => right_keys.iter().map(shifted).collect(),
        JoinType::Inner => {
            let mut keys = Vec::new();
            if meets_one(JoinSide::Right) {
                keys.extend(left_keys.iter().cloned());
            }
            if meets_one(JoinSide::Left) {
                keys.extend(right_keys.iter().map(shifted));
            }
            for left in &left_keys {
                keys.extend(right_keys.iter().map(|right| left | &shifted(right)));
            }
            keys
        }
        JoinType::Left | JoinType::Right | JoinType::Full => Vec::new(),
    }
}
