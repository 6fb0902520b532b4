//! The order of joins.
//!
//! A tree of inner joins is [taken apart](graph) into what is joined and what must hold. Semi, anti and mark joins
//! over it are operands like the others, which only say which rows are kept: so they come to stand below the joins
//! where that is worth it, on whichever side has their keys or columns that equal them. Of all [orders](order) the
//! one that costs least by the [estimates](measure) is [put in the place](rebuild) of the one that was written, if it
//! is better by a clear margin.

pub(crate) mod graph;
pub(crate) mod measure;
mod order;
mod rebuild;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{LogicalPlan, Projection};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use graph::{JoinGraph, is_join};
use order::{Costs, Tree};

use crate::key_filter::with_key_filters;
use crate::stack::on_enough_stack;

/// An order must cost less than this part of the written one to be taken.
const GAIN: f64 = 0.9;

/// Puts joins in the order that costs least.
#[derive(Debug)]
pub(crate) struct ReorderJoins {
    /// A build side of no more bytes than these is sent to every task.
    pub(crate) broadcast_bytes_max: usize,
}

impl OptimizerRule for ReorderJoins {
    fn name(&self) -> &str {
        "reorder_joins"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        Ok(Transformed::yes(self.reorder(plan, config)?))
    }
}

impl ReorderJoins {
    fn reorder(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<LogicalPlan> {
        if is_join(&plan)
            && let Some((graph, written)) = JoinGraph::of(&plan)?
            && let Some(reordered) = self.reordered(&plan, graph, &written, config)?
        {
            return Ok(reordered);
        }
        self.below(plan, config)
    }

    /// The plan as it is, with what is below its joins reordered.
    fn below(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<LogicalPlan> {
        let in_tree = is_join(&plan);
        let plan = self.in_subqueries(plan, config)?;
        let plan = plan.map_children(|child| {
            let child = on_enough_stack(|| {
                if in_tree && is_join(&child) {
                    self.below(child, config)
                } else {
                    self.reorder(child, config)
                }
            });
            Ok(Transformed::yes(child?))
        })?;
        plan.data.recompute_schema()
    }

    fn in_subqueries(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<LogicalPlan> {
        let plan = plan
            .map_uncorrelated_subqueries(|subquery| Ok(Transformed::yes(self.reorder(subquery, config)?)))?;
        Ok(plan.data)
    }

    /// The plan with its joins in another order. None if the written one is good.
    fn reordered(
        &self,
        plan: &LogicalPlan,
        mut graph: JoinGraph,
        written: &Tree,
        config: &dyn OptimizerConfig,
    ) -> Result<Option<LogicalPlan>> {
        let filtered = with_key_filters(&mut graph, self.broadcast_bytes_max as f64, config)?;
        let Some(tree) = self.better_order(&graph, written) else {
            if !filtered {
                return Ok(None);
            }
            return self.built(plan, graph, written, config).map(Some);
        };
        self.built(plan, graph, &tree, config).map(Some)
    }

    fn better_order(&self, graph: &JoinGraph, written: &Tree) -> Option<Tree> {
        let measured = measure::measured(graph, self.broadcast_bytes_max as f64)?;
        let costs = Costs::new(&measured);
        let best = costs.best().filter(|best| best != written)?;
        let avoids_product = costs.has_cross_join(written) && !costs.has_cross_join(&best);
        (avoids_product || costs.of(&best) < costs.of(written) * GAIN).then_some(best)
    }

    fn built(
        &self,
        plan: &LogicalPlan,
        mut graph: JoinGraph,
        tree: &Tree,
        config: &dyn OptimizerConfig,
    ) -> Result<LogicalPlan> {
        for operand in &mut graph.operands {
            operand.plan = self.reorder(std::mem::take(&mut operand.plan), config)?;
        }
        let joins = self.in_subqueries_of_tree(rebuild::rebuild(&graph, tree)?, config)?;
        let projection = Projection::new_from_schema(Arc::new(joins), Arc::clone(plan.schema()));
        LogicalPlan::Projection(projection).recompute_schema()
    }

    /// Subqueries within the conditions of joins.
    fn in_subqueries_of_tree(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<LogicalPlan> {
        if !is_join(&plan) {
            return Ok(plan);
        }
        let plan = self.in_subqueries(plan, config)?;
        Ok(plan.map_children(|child| Ok(Transformed::yes(self.in_subqueries_of_tree(child, config)?)))?.data)
    }
}
