//! Joins are given a form that can be spread over tasks, before exchanges are planned.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

use crate::class::is_decided_by_probe_row;

/// Join selection collects a small build side without a look at the join type. Where only a task that sees all of
/// the probe side could answer, this rule
/// - spreads both sides of a hash join by their keys,
/// - swaps the sides of a nested loop join, unless that would collect the larger one.
///
/// It runs after join selection and before distribution is enforced, so that the exchanges follow from what it did.
/// What it leaves runs in one task: null-aware anti joins, full outer joins without keys.
#[derive(Debug)]
pub(crate) struct SpreadableJoins;

impl PhysicalOptimizerRule for SpreadableJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let better =
                match (node.downcast_ref::<HashJoinExec>(), node.downcast_ref::<NestedLoopJoinExec>()) {
                    (Some(join), _) => spread_hash_join(join)?,
                    (_, Some(join)) => swap_nested_loop_join(join)?,
                    _ => None,
                };
            Ok(better.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &str {
        "spreadable_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn spread_hash_join(join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let is_fine =
        is_decided_by_probe_row(*join.join_type()) || *join.partition_mode() == PartitionMode::Partitioned;
    if is_fine || join.null_aware {
        return Ok(None);
    }
    let spread = join.builder().with_partition_mode(PartitionMode::Partitioned).build()?;
    Ok(Some(Arc::new(spread)))
}

fn swap_nested_loop_join(join: &NestedLoopJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let join_type = *join.join_type();
    if is_decided_by_probe_row(join_type) || join_type == JoinType::Full {
        return Ok(None);
    }
    let bytes = |side: &Arc<dyn ExecutionPlan>| -> Result<Option<usize>> {
        let statistics = StatisticsContext::new().compute(side.as_ref(), &StatisticsArgs::new())?;
        Ok(statistics.total_byte_size.get_value().copied())
    };
    if let (Some(left), Some(right)) = (bytes(join.left())?, bytes(join.right())?)
        && right > left
    {
        return Ok(None);
    }
    join.swap_inputs().map(Some)
}
