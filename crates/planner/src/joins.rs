//! Which side of a join goes into the hash table, and how the rows of both come to the tasks.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::{JoinType, Result};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};

use crate::class::is_decided_by_probe_row;
use crate::estimate::Estimate;
use crate::estimate::physical::estimate;
use crate::options::{JoinDistribution, PlannerOptions};
use crate::stack::on_enough_stack;

/// How many tasks read a build side that is sent to all.
const BROADCAST_TASKS: f64 = 4.0;
/// What it costs to build a hash table, in the cost of looking up.
const BUILD: f64 = 2.0;
/// What it costs to spread rows by hash, likewise.
const SPREAD: f64 = 2.0;

/// Chooses the sides of joins, and whether the build side is sent to every task or both are spread by their keys. It
/// stands in the place of DataFusion's join selection, which collects a build side without a look at the join type.
///
/// - The build side is the smaller one, by our own estimates.
/// - It is sent to every task if it is small, and a task that has all of it and a part of the probe side can tell
///   its part of the result.
/// - A nested loop join collects its build side; it is swapped if only then its tasks can tell their parts, unless
///   that would collect the larger side.
///
/// It runs before distribution is enforced, so that the exchanges follow from what it did. Null-aware anti joins and
/// full outer joins without keys run in one task.
#[derive(Debug)]
pub(crate) struct JoinSides {
    broadcast_bytes_max: f64,
    distribution: JoinDistribution,
}

impl PhysicalOptimizerRule for JoinSides {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.choose(plan)?.0)
    }

    fn name(&self) -> &str {
        "join_sides"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// How a hash join may be run.
struct Choice {
    swap: bool,
    mode: PartitionMode,
    cost: f64,
}

impl JoinSides {
    pub(crate) fn new(options: &PlannerOptions) -> Self {
        JoinSides {
            broadcast_bytes_max: options.broadcast_bytes_max as f64,
            distribution: options.join_distribution,
        }
    }

    fn choose(&self, node: Arc<dyn ExecutionPlan>) -> Result<(Arc<dyn ExecutionPlan>, Option<Estimate>)> {
        let mut children = Vec::new();
        let mut inputs = Vec::new();
        for child in node.children() {
            let (child, rows) = on_enough_stack(|| self.choose(Arc::clone(child)))?;
            children.push(child);
            inputs.push(rows);
        }
        let node = replace_children_if_necessary(node, children)?;
        let rows = estimate(&node, &inputs);
        let sizes: Vec<Option<f64>> =
            inputs.iter().map(|input| input.as_ref().map(Estimate::bytes)).collect();
        let [left, right] = sizes.as_slice() else {
            return Ok((node, rows));
        };
        let better = if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            Some(self.of_hash_join(join, *left, *right)?)
        } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            of_nested_loop_join(join, *left, *right)?
        } else if let Some(join) = node.downcast_ref::<CrossJoinExec>() {
            let swap = left.zip(*right).is_some_and(|(left, right)| right < left);
            if swap { Some(join.swap_inputs()?) } else { None }
        } else {
            None
        };
        Ok((better.unwrap_or(node), rows))
    }

    fn of_hash_join(
        &self,
        join: &HashJoinExec,
        left: Option<f64>,
        right: Option<f64>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let in_mode = |mode| -> Result<Arc<dyn ExecutionPlan>> {
            Ok(Arc::new(join.builder().with_partition_mode(mode).build()?))
        };
        if join.null_aware {
            // Whether a NULL was seen anywhere decides about every row.
            return in_mode(PartitionMode::CollectLeft);
        }
        let join_type = *join.join_type();
        let mut choices = self.choices(join_type, false, left, right);
        if join_type.supports_swap() {
            choices.extend(self.choices(join_type.swap(), true, right, left));
        }
        let best = choices.into_iter().min_by(|one, other| one.cost.total_cmp(&other.cost));
        match best {
            Some(Choice { swap: true, mode, .. }) => join.swap_inputs(mode),
            Some(Choice { mode, .. }) => in_mode(mode),
            None => in_mode(PartitionMode::Partitioned),
        }
    }

    /// The ways to run a join of this type with this build side, given the sizes of both sides in bytes.
    fn choices(
        &self,
        join_type: JoinType,
        swap: bool,
        build: Option<f64>,
        probe: Option<f64>,
    ) -> Vec<Choice> {
        let mut choices = Vec::new();
        let is_small = match self.distribution {
            JoinDistribution::Automatic => build.is_some_and(|build| build < self.broadcast_bytes_max),
            JoinDistribution::Partitioned => false,
            JoinDistribution::Broadcast => true,
        };
        let (build, probe) = match (build, probe) {
            (Some(build), Some(probe)) => (build, probe),
            // What is not known is taken to be large; the sides stay as they are if neither is known.
            (Some(build), None) => (build, self.broadcast_bytes_max.max(build) * 2.0),
            (None, Some(probe)) => (self.broadcast_bytes_max.max(probe) * 2.0, probe),
            (None, None) => (1.0, 1.0),
        };
        if is_small && is_decided_by_probe_row(join_type) {
            let cost = build * (BROADCAST_TASKS + BUILD) + probe;
            choices.push(Choice { swap, mode: PartitionMode::CollectLeft, cost });
        }
        if self.distribution != JoinDistribution::Broadcast || choices.is_empty() {
            let cost = build * (SPREAD + BUILD) + probe * (SPREAD + 1.0);
            // A join that must be spread comes after those that are sent to every task as was wished.
            let cost = if self.distribution == JoinDistribution::Broadcast { f64::MAX } else { cost };
            choices.push(Choice { swap, mode: PartitionMode::Partitioned, cost });
        }
        choices
    }
}

fn of_nested_loop_join(
    join: &NestedLoopJoinExec,
    left: Option<f64>,
    right: Option<f64>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let join_type = *join.join_type();
    let larger = left.zip(right).map(|(left, right)| right.total_cmp(&left));
    let swap = match join_type {
        JoinType::Inner => larger.is_some_and(|order| order.is_lt()),
        JoinType::Full => false,
        _ if is_decided_by_probe_row(join_type) => false,
        _ => larger.is_none_or(|order| order.is_le()),
    };
    if swap { join.swap_inputs().map(Some) } else { Ok(None) }
}
