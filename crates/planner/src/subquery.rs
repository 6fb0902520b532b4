//! Scalar subqueries: each is a fragment of its own, and every fragment that uses one reads its row.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::physical_planning_context::{ScalarSubqueryResults, SubqueryIndex};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::scalar_subquery::{ScalarSubqueryExec, ScalarSubqueryLink};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

/// The subqueries that the operators of one level of the plan may use.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub results: ScalarSubqueryResults,
    /// What reads the row of each subquery, by its index.
    pub sources: Vec<Arc<dyn ExecutionPlan>>,
}

impl Scope {
    /// The plan with the subqueries it uses attached. Slots keep their numbers, so one that is not used here gets an
    /// empty plan.
    pub(crate) fn attach(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let used = used_in_plan(&plan)?;
        if used.is_empty() {
            return Ok(plan);
        }
        let link = |(at, source): (usize, &Arc<dyn ExecutionPlan>)| {
            let plan = if used.contains(&at) {
                Arc::clone(source)
            } else {
                Arc::new(EmptyExec::new(source.schema()))
            };
            ScalarSubqueryLink {
                plan,
                index: SubqueryIndex::new(at),
            }
        };
        let links = self.sources.iter().enumerate().map(link).collect();
        Ok(Arc::new(ScalarSubqueryExec::new(
            plan,
            links,
            self.results.clone(),
        )))
    }
}

/// Whether an expression uses the result of a scalar subquery.
pub(crate) fn uses_subquery(expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    Ok(!used_in_expr(expr)?.is_empty())
}

fn used_in_expr(expr: &Arc<dyn PhysicalExpr>) -> Result<BTreeSet<usize>> {
    let mut used = BTreeSet::new();
    expr.apply(|part| {
        if let Some(subquery) = part.downcast_ref::<ScalarSubqueryExpr>() {
            used.insert(subquery.index().as_usize());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(used)
}

fn used_in_plan(plan: &Arc<dyn ExecutionPlan>) -> Result<BTreeSet<usize>> {
    let mut used = BTreeSet::new();
    plan.apply(|node| {
        // What is attached already has slots of its own.
        if node.is::<ScalarSubqueryExec>() {
            return Ok(TreeNodeRecursion::Jump);
        }
        node.apply_expressions(&mut |expr| {
            used.extend(used_in_expr(expr)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(used)
}
