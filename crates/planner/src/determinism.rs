//! Whether a second run of a task writes the same rows to the same partitions.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use operators::Sink;

/// Aggregates whose result depends on the order in which rows arrive.
const ORDER_SENSITIVE_AGGREGATES: [&str; 10] = [
    "any_value",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "array_agg",
    "first_value",
    "last_value",
    "nth_value",
    "string_agg",
];

/// Rows of an exchange come in any order. What keeps only some of them, numbers them or uses chance may give other
/// rows the second time. The answer is never wrongly yes.
pub(crate) fn is_determinate(plan: &Arc<dyn ExecutionPlan>, sink: &Sink) -> Result<bool> {
    if let Sink::Hash { keys, .. } = sink {
        // Sums of floating-point numbers depend on the order, and so would the partition.
        for key in keys {
            let key_type = key.data_type(&plan.schema())?;
            let is_float = matches!(key_type, DataType::Float16 | DataType::Float32 | DataType::Float64);
            if is_float || is_volatile(key) {
                return Ok(false);
            }
        }
    }
    let mut determinate = true;
    plan.apply(|node| {
        determinate &= is_node_determinate(node)?;
        Ok(if determinate { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(determinate)
}

fn is_node_determinate(node: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    if node.fetch().is_some() || node.is::<WindowAggExec>() || node.is::<BoundedWindowAggExec>() {
        return Ok(false);
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        let depends_on_order = aggregate.aggr_expr().iter().any(|function| {
            !function.order_bys().is_empty() || ORDER_SENSITIVE_AGGREGATES.contains(&function.fun().name())
        });
        if depends_on_order || aggregate.limit_options().is_some() {
            return Ok(false);
        }
    }
    let mut volatile = false;
    node.apply_expressions(&mut |expr| {
        volatile |= is_volatile(expr);
        Ok(if volatile { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(!volatile)
}
