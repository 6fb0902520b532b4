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

/// How many tasks a join is taken to have. Each of them reads a build side that is sent to all, and builds its own hash
/// table.
const TASKS: f64 = 4.0;

// What the steps of a join take on one processor, in nanoseconds, as measured on joins of millions of narrow rows.

/// Putting a row into a hash table.
const BUILD_ROW: f64 = 80.0;
/// Looking a row up.
const PROBE_ROW: f64 = 12.0;
/// Writing a row into the exchange.
const WRITE_ROW: f64 = 25.0;
/// Writing a byte of a row, beside that.
const WRITE_BYTE: f64 = 2.5;
/// Reading a byte from the exchange.
const READ_BYTE: f64 = 0.7;
/// Having the probe side scanned by tasks of their own, before those that join.
const STAGE: f64 = 10e6;
/// A build side may well be so many times larger than it is taken to be. Sent to all, it then costs each of them more.
const MISJUDGED: f64 = 2.0;

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

/// How much there is of one side of a join.
#[derive(Clone, Copy)]
struct Size {
    rows: f64,
    bytes: f64,
}

impl Size {
    fn of(rows: &Estimate) -> Self {
        Size { rows: rows.rows, bytes: rows.bytes() }
    }

    /// So many bytes of rows that are as wide as those.
    fn like(other: Size, bytes: f64) -> Self {
        Size { rows: other.rows * bytes / other.bytes.max(1.0), bytes }
    }

    fn write(self) -> f64 {
        self.rows * WRITE_ROW + self.bytes * WRITE_BYTE
    }

    fn read(self) -> f64 {
        self.bytes * READ_BYTE
    }

    fn build(self) -> f64 {
        self.rows * BUILD_ROW
    }

    fn probe(self) -> f64 {
        self.rows * PROBE_ROW
    }
}

/// How a hash join may be run.
struct Choice {
    swap: bool,
    mode: PartitionMode,
    /// In nanoseconds.
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
        let sizes: Vec<Option<Size>> = inputs.iter().map(|input| input.as_ref().map(Size::of)).collect();
        let [left, right] = sizes.as_slice() else {
            return Ok((node, rows));
        };
        let better = if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            Some(self.of_hash_join(join, *left, *right)?)
        } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            of_nested_loop_join(join, *left, *right)?
        } else if let Some(join) = node.downcast_ref::<CrossJoinExec>() {
            let swap = left.zip(*right).is_some_and(|(left, right)| right.bytes < left.bytes);
            if swap { Some(join.swap_inputs()?) } else { None }
        } else {
            None
        };
        Ok((better.unwrap_or(node), rows))
    }

    fn of_hash_join(
        &self,
        join: &HashJoinExec,
        left: Option<Size>,
        right: Option<Size>,
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

    /// The ways to run a join of this type with this build side.
    fn choices(
        &self,
        join_type: JoinType,
        swap: bool,
        build: Option<Size>,
        probe: Option<Size>,
    ) -> Vec<Choice> {
        let mut choices = Vec::new();
        let is_small = match self.distribution {
            JoinDistribution::Automatic => build.is_some_and(|build| build.bytes < self.broadcast_bytes_max),
            JoinDistribution::Partitioned => false,
            JoinDistribution::Broadcast => true,
        };
        // What is not known is taken to be large; the sides stay as they are if neither is known.
        let unknown = |known: Size| Size::like(known, self.broadcast_bytes_max.max(known.bytes) * 2.0);
        let (build, probe) = match (build, probe) {
            (Some(build), Some(probe)) => (build, probe),
            (Some(build), None) => (build, unknown(build)),
            (None, Some(probe)) => (unknown(probe), probe),
            (None, None) => (Size { rows: 1.0, bytes: 1.0 }, Size { rows: 1.0, bytes: 1.0 }),
        };
        if is_small && is_decided_by_probe_row(join_type) {
            let all = build.write() + TASKS * (build.read() + build.build());
            let cost = MISJUDGED * all + probe.probe();
            choices.push(Choice { swap, mode: PartitionMode::CollectLeft, cost });
        }
        if self.distribution != JoinDistribution::Broadcast || choices.is_empty() {
            let exchange = build.write() + build.read() + probe.write() + probe.read();
            let cost = STAGE + exchange + build.build() + probe.probe();
            // A join that must be spread comes after those that are sent to every task as was wished.
            let cost = if self.distribution == JoinDistribution::Broadcast { f64::MAX } else { cost };
            choices.push(Choice { swap, mode: PartitionMode::Partitioned, cost });
        }
        choices
    }
}

fn of_nested_loop_join(
    join: &NestedLoopJoinExec,
    left: Option<Size>,
    right: Option<Size>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let join_type = *join.join_type();
    let larger = left.zip(right).map(|(left, right)| right.bytes.total_cmp(&left.bytes));
    let swap = match join_type {
        JoinType::Inner => larger.is_some_and(|order| order.is_lt()),
        JoinType::Full => false,
        _ if is_decided_by_probe_row(join_type) => false,
        _ => larger.is_none_or(|order| order.is_le()),
    };
    if swap { join.swap_inputs().map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the sides change places and the build side is sent to every task, by the number and the width in bytes
    /// of the rows on both sides.
    fn best(join_type: JoinType, left: (f64, f64), right: (f64, f64)) -> (bool, bool) {
        let sides = JoinSides::new(&PlannerOptions::default());
        let size = |(rows, width)| Some(Size { rows, bytes: rows * width });
        let mut choices = sides.choices(join_type, false, size(left), size(right));
        choices.extend(sides.choices(join_type.swap(), true, size(right), size(left)));
        let best = choices.into_iter().min_by(|one, other| one.cost.total_cmp(&other.cost)).unwrap();
        (best.swap, best.mode == PartitionMode::CollectLeft)
    }

    #[test]
    fn a_build_side_goes_to_every_task_where_that_is_cheaper_than_spreading_the_probe_side() {
        assert_eq!(best(JoinType::Inner, (100.0, 8.0), (1_000.0, 8.0)), (false, true));
        assert_eq!(best(JoinType::Inner, (3e5, 46.0), (8e6, 16.0)), (false, true));
        assert_eq!(best(JoinType::Inner, (8e6, 16.0), (3e5, 46.0)), (true, true));
        // It is small enough to be sent, and every task would build a table of as many rows as it looks up.
        assert_eq!(best(JoinType::Inner, (1e6, 8.0), (1.5e6, 24.0)), (false, false));
        assert_eq!(best(JoinType::Inner, (60e6, 16.0), (15e6, 16.0)), (true, false));
    }

    #[test]
    fn a_join_that_tells_of_its_build_rows_is_turned_round_or_spread() {
        assert_eq!(best(JoinType::LeftSemi, (15e6, 30.0), (1e4, 8.0)), (true, true));
        assert_eq!(best(JoinType::LeftSemi, (5e5, 30.0), (1.5e6, 8.0)), (false, false));
        assert_eq!(best(JoinType::LeftAnti, (2e5, 40.0), (15e6, 8.0)), (false, false));
    }
}
