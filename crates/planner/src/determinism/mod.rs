//! Whether a second run of a task writes the same rows to the same partitions.
//!
//! The rows of an exchange come in any order, those of a scan always in the same one. What an operator makes of its
//! rows is the same again if it looks at each row alone, if it looks at all of them without regard to their order,
//! or if the order it relies on is [total](unique::is_total) or [fixed](has_fixed_order). Every operator, expression
//! and function that is not known to be so is taken to be indeterminate: a wrong yes would let consumers read rows of
//! two different runs.
//!
//! A fragment answers for itself only, as if its inputs were the same rows each time. What it inherits, such as the
//! partitions of rows that are spread by a value which its producer computed anew, is the lineage of its stage and
//! the scheduler's concern.
//!
//! A partial aggregate is determinate if its functions are, although it may send a group in several parts when
//! memory is short: the parts add up to the same. Checksums tell where a second run sent other parts.

mod aggregates;
mod expressions;
mod unique;
mod windows;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use operators::{AtMostOneRowExec, ExchangeSourceExec, Sink, SplitScanExec};

use self::expressions::{are_determinate, expressions_of};
pub(crate) use self::unique::{Key, unique_keys};

/// What is known of the inputs of a fragment.
pub(crate) struct Inputs<'a> {
    /// The keys of the rows that all tasks of an input's producer write, by the number in its exchange source.
    pub(crate) keys: &'a dyn Fn(u32) -> Vec<Key>,
}

/// Whether a second run of a task of the fragment writes the same rows to the same partitions.
pub(crate) fn is_determinate(
    plan: &Arc<dyn ExecutionPlan>,
    sink: &Sink,
    inputs: &Inputs<'_>,
) -> Result<bool> {
    if let Sink::Hash { keys, .. } = sink
        && !are_determinate(keys)?
    {
        return Ok(false);
    }
    let mut determinate = true;
    plan.apply(|node| {
        determinate = is_node_determinate(node, inputs)?;
        Ok(if determinate { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(determinate)
}

/// The same of one operator, if its inputs are the same rows in any order.
fn is_node_determinate(node: &Arc<dyn ExecutionPlan>, inputs: &Inputs<'_>) -> Result<bool> {
    if !are_determinate(&expressions_of(node)?)? {
        return Ok(false);
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return aggregates::is_determinate(aggregate, inputs);
    }
    if let Some(window) = node.downcast_ref::<WindowAggExec>() {
        return Ok(windows::are_determinate(window.window_expr(), window.input(), inputs));
    }
    if let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() {
        return Ok(windows::are_determinate(window.window_expr(), window.input(), inputs));
    }
    if let Some(sort) = node.downcast_ref::<SortExec>() {
        // Which of equal rows are kept is chance, unless they are the same in all columns.
        let keeps_all = sort.fetch().is_none();
        let is_total = || {
            let keys = sort.expr().iter().map(|key| &key.expr);
            unique::is_total(keys, sort.input(), inputs)
        };
        return Ok(keeps_all || is_total());
    }
    if node.is::<GlobalLimitExec>() || node.is::<LocalLimitExec>() {
        return Ok(node.children().iter().all(|input| has_fixed_order(input, inputs)));
    }
    if let Some(source) = node.downcast_ref::<ExchangeSourceExec>() {
        return Ok(source.rows_max().is_none() || has_fixed_order(node, inputs));
    }
    // A task reads its splits one after the other, so the limit of a leaf keeps the same rows.
    Ok(is_leaf(node) || (node.fetch().is_none() && gives_rows_in_any_order(node)))
}

/// Leaves that give the same rows in the same order in every attempt.
fn is_leaf(node: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(leaf) = node.downcast_ref::<DataSourceExec>() {
        return leaf.data_source().downcast_ref::<MemorySourceConfig>().is_some();
    }
    node.is::<SplitScanExec>()
        || node.is::<LazyMemoryExec>()
        || node.is::<EmptyExec>()
        || node.is::<PlaceholderRowExec>()
}

/// Operators that look at each row alone and give what they make of it in the order of their first input.
fn keeps_order(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<FilterExec>()
        || node.is::<ProjectionExec>()
        || node.is::<UnnestExec>()
        || node.is::<AtMostOneRowExec>()
        || node.is::<ScalarSubqueryExec>()
}

/// Operators whose rows depend on which rows their inputs have, not on the order of them.
fn gives_rows_in_any_order(node: &Arc<dyn ExecutionPlan>) -> bool {
    keeps_order(node)
        || node.is::<HashJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<CrossJoinExec>()
}

/// Whether a second run gives the rows of an operator in the same order. Rows that are the same in all columns may
/// change places.
fn has_fixed_order(node: &Arc<dyn ExecutionPlan>, inputs: &Inputs<'_>) -> bool {
    if unique::is_total([], node, inputs) || is_leaf(node) {
        return true;
    }
    if let Some(sort) = node.downcast_ref::<SortExec>() {
        let keys = sort.expr().iter().map(|key| &key.expr);
        return unique::is_total(keys, sort.input(), inputs);
    }
    if let Some(source) = node.downcast_ref::<ExchangeSourceExec>() {
        return source
            .ordering()
            .is_some_and(|ordering| unique::is_total(ordering.iter().map(|key| &key.expr), node, inputs));
    }
    let passes_on = keeps_order(node) || node.is::<GlobalLimitExec>() || node.is::<LocalLimitExec>();
    passes_on && node.children().first().is_some_and(|input| has_fixed_order(input, inputs))
}
