//! Which side of a join goes into the hash table, and how the rows of both come to the tasks.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::{JoinType, Result};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};

use crate::class::is_decided_by_probe_row;
use crate::dynamic_filter;
use crate::estimate::physical::estimate;
use crate::estimate::{Estimate, match_fraction};
use crate::join_cost::{self, Side};
use crate::options::{JoinDistribution, PlannerOptions};
use crate::stack::on_enough_stack;

/// Chooses the sides of joins, whether the build side is sent to every task or both are spread by their keys, and
/// whether the probe side is filtered by the keys of the build side. It stands in the place of DataFusion's join
/// selection, which collects a build side without a look at the join type.
///
/// - The build side may be sent to every task if it is small, and a task that has all of it and a part of the probe
///   side can tell its part of the result.
/// - Of the ways that are left the one is taken that costs least, by our own estimates.
/// - A nested loop join collects its build side; it is swapped if only then its tasks can tell their parts, unless
///   that would collect the larger side.
///
/// It runs before distribution is enforced, so that the exchanges follow from what it did. Null-aware anti joins and
/// full outer joins without keys run in one task.
#[derive(Debug)]
pub(crate) struct JoinSides {
    broadcast_bytes_max: f64,
    distribution: JoinDistribution,
    dynamic_filters: bool,
}

impl PhysicalOptimizerRule for JoinSides {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.choose(plan, &mut 0)?.0)
    }

    fn name(&self) -> &str {
        "join_sides"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// How a hash join may be run.
#[derive(Clone, Copy)]
struct Choice {
    swap: bool,
    mode: PartitionMode,
    is_filtered: bool,
    cost: f64,
}

/// The inputs of a join as they would be built and looked up.
struct Sides<'a> {
    swap: bool,
    join_type: JoinType,
    build: Option<&'a Estimate>,
    probe: Option<&'a Estimate>,
    /// By place: the keys of the build side and of the probe side.
    keys: Option<Vec<(usize, usize)>>,
}

impl JoinSides {
    pub(crate) fn new(options: &PlannerOptions) -> Self {
        JoinSides {
            broadcast_bytes_max: options.broadcast_bytes_max as f64,
            distribution: options.join_distribution,
            dynamic_filters: options.dynamic_filters,
        }
    }

    /// The plan with its joins chosen, and an estimate of its rows. `filters`: how many dynamic filters there are.
    fn choose(
        &self,
        node: Arc<dyn ExecutionPlan>,
        filters: &mut usize,
    ) -> Result<(Arc<dyn ExecutionPlan>, Option<Estimate>)> {
        let mut children = Vec::new();
        let mut inputs = Vec::new();
        for child in node.children() {
            let (child, rows) = on_enough_stack(|| self.choose(Arc::clone(child), filters))?;
            children.push(child);
            inputs.push(rows);
        }
        let node = replace_children_if_necessary(node, children)?;
        let rows = estimate(&node, &inputs);
        let [left, right] = inputs.as_slice() else {
            return Ok((node, rows));
        };
        let sizes = left.as_ref().map(Estimate::bytes).zip(right.as_ref().map(Estimate::bytes));
        let better = if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            Some(self.of_hash_join(join, left.as_ref(), right.as_ref(), filters)?)
        } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            of_nested_loop_join(join, sizes)?
        } else if let Some(join) = node.downcast_ref::<CrossJoinExec>() {
            let swap = sizes.is_some_and(|(left, right)| right < left);
            if swap { Some(join.swap_inputs()?) } else { None }
        } else {
            None
        };
        Ok((better.unwrap_or(node), rows))
    }

    fn of_hash_join(
        &self,
        join: &HashJoinExec,
        left: Option<&Estimate>,
        right: Option<&Estimate>,
        filters: &mut usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if join.null_aware {
            // Whether a NULL was seen anywhere decides about every row.
            return in_mode(join, false, PartitionMode::CollectLeft);
        }
        let keys = dynamic_filter::key_columns(join);
        let join_type = *join.join_type();
        let as_written = Sides { swap: false, join_type, build: left, probe: right, keys: keys.clone() };
        let mut choices = self.choices(&as_written);
        if join_type.supports_swap() {
            let keys = keys.clone().map(|keys| keys.into_iter().map(|(left, right)| (right, left)).collect());
            let join_type = join_type.swap();
            choices.extend(self.choices(&Sides { swap: true, join_type, build: right, probe: left, keys }));
        }
        let best = choices.into_iter().min_by(|one, other| one.cost.total_cmp(&other.cost));
        let Some(best) = best else {
            return in_mode(join, false, PartitionMode::Partitioned);
        };
        let (true, Some(keys)) = (best.is_filtered, keys) else {
            return in_mode(join, best.swap, best.mode);
        };
        let number = *filters;
        *filters += 1;
        let (left_keys, right_keys): (Vec<usize>, Vec<usize>) = keys.into_iter().unzip();
        let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
        let children = if best.swap {
            let source = dynamic_filter::source(right, number, &right_keys);
            vec![dynamic_filter::filtered(left, number, &left_keys)?, source]
        } else {
            let source = dynamic_filter::source(left, number, &left_keys);
            vec![source, dynamic_filter::filtered(right, number, &right_keys)?]
        };
        in_mode(&join.builder().with_new_children(children)?.build()?, best.swap, best.mode)
    }

    /// The ways to run a join with these sides.
    fn choices(&self, sides: &Sides<'_>) -> Vec<Choice> {
        let mut choices = Vec::new();
        let bytes_max = self.broadcast_bytes_max;
        let is_small = match self.distribution {
            JoinDistribution::Automatic => sides.build.is_some_and(|build| build.bytes() < bytes_max),
            JoinDistribution::Partitioned => false,
            JoinDistribution::Broadcast => true,
        };
        // What is not known is taken to be large; the sides stay as they are if neither is known.
        let larger = |known: Side| Side { bytes: bytes_max.max(known.bytes) * 2.0, rows: known.rows * 2.0 };
        let (build, probe) = match (sides.build.map(Side::of), sides.probe.map(Side::of)) {
            (Some(build), Some(probe)) => (build, probe),
            (Some(build), None) => (build, larger(build)),
            (None, Some(probe)) => (larger(probe), probe),
            (None, None) => (Side { rows: 1.0, bytes: 1.0 }, Side { rows: 1.0, bytes: 1.0 }),
        };
        let mut choice = |mode, is_filtered, cost| choices.push(Choice { swap: sides.swap, mode, is_filtered, cost });
        let is_broadcast = is_small && is_decided_by_probe_row(sides.join_type);
        if is_broadcast {
            choice(PartitionMode::CollectLeft, false, join_cost::broadcast(build, probe));
        }
        let broadcast_is_wished = self.distribution == JoinDistribution::Broadcast;
        if broadcast_is_wished && is_broadcast {
            return choices;
        }
        // A join that must be spread comes after those that are sent to every task as was wished.
        let cost = |cost| if broadcast_is_wished { f64::MAX } else { cost };
        choice(PartitionMode::Partitioned, false, cost(join_cost::partitioned(build, probe)));
        if let Some(kept) = self.kept_by_filter(sides) {
            choice(PartitionMode::Partitioned, true, cost(join_cost::filtered(build, probe, kept)));
        }
        choices
    }

    /// The part of the probe side that a filter by the keys of the build side keeps, if there may be one.
    fn kept_by_filter(&self, sides: &Sides<'_>) -> Option<f64> {
        if !self.dynamic_filters || !dynamic_filter::may_filter_right(sides.join_type) {
            return None;
        }
        let (build, probe) = (sides.build?, sides.probe?);
        let columns = |(own, other): &(usize, usize)| Some((probe.columns.get(*other)?, build.columns.get(*own)?));
        let columns: Vec<_> = sides.keys.as_ref()?.iter().map(columns).collect::<Option<_>>()?;
        Some(match_fraction(&columns, build.rows, 1.0))
    }
}

fn in_mode(join: &HashJoinExec, swap: bool, mode: PartitionMode) -> Result<Arc<dyn ExecutionPlan>> {
    if swap {
        return join.swap_inputs(mode);
    }
    Ok(Arc::new(join.builder().with_partition_mode(mode).build()?))
}

fn of_nested_loop_join(
    join: &NestedLoopJoinExec,
    sizes: Option<(f64, f64)>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let join_type = *join.join_type();
    let larger = sizes.map(|(left, right)| right.total_cmp(&left));
    let swap = match join_type {
        JoinType::Inner => larger.is_some_and(|order| order.is_lt()),
        JoinType::Full => false,
        _ if is_decided_by_probe_row(join_type) => false,
        _ => larger.is_none_or(|order| order.is_le()),
    };
    if swap { join.swap_inputs().map(Some) } else { Ok(None) }
}
