//! Scalar subqueries: each is a fragment of its own, and every fragment that uses one reads its row.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::functions::core;
use datafusion::functions_aggregate::count::count_all;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::physical_planning_context::{ScalarSubqueryResults, SubqueryIndex};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
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
            ScalarSubqueryLink { plan, index: SubqueryIndex::new(at) }
        };
        let links = self.sources.iter().enumerate().map(link).collect();
        Ok(Arc::new(ScalarSubqueryExec::new(plan, links, self.results.clone())))
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
            #[expect(deprecated, reason = "nothing else tells the slot")]
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

/// The plan with every uncorrelated scalar subquery made nullable: without rows its value is NULL, but DataFusion
/// takes it to be as nullable as the column it selects.
pub(crate) fn with_nullable_subqueries(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let node = node.map_expressions(|expr| expr.transform_up(nullable_subquery))?;
        if node.transformed { node.map_data(LogicalPlan::recompute_schema) } else { Ok(node) }
    });
    rewritten.data()
}

/// The plan with every `EXISTS` that is no condition of a filter or a join as a count: DataFusion plans it nowhere
/// else.
pub(crate) fn with_counted_exists(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_)) {
            return Ok(Transformed::no(node));
        }
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let counted = expr.transform_up(counted_exists)?;
            Ok(counted.update_data(|counted| name.restore(counted)))
        })?;
        if node.transformed { node.map_data(LogicalPlan::recompute_schema) } else { Ok(node) }
    });
    rewritten.data()
}

fn counted_exists(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::Exists(exists) = &expr else {
        return Ok(Transformed::no(expr));
    };
    let mut counted = LogicalPlanBuilder::from(Arc::clone(&exists.subquery.subquery));
    // What is below a limit cannot be joined to the rows it depends on.
    if exists.subquery.outer_ref_columns.is_empty() {
        counted = counted.limit(0, Some(1))?;
    }
    let counted = counted.aggregate(Vec::<Expr>::new(), [count_all()])?.build()?;
    let count = Expr::ScalarSubquery(exists.subquery.with_plan(Arc::new(counted)));
    let counted = if exists.negated { count.eq(lit(0_i64)) } else { count.gt(lit(0_i64)) };
    Ok(Transformed::yes(counted))
}

fn nullable_subquery(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarSubquery(subquery) = &expr else {
        return Ok(Transformed::no(expr));
    };
    let schema = subquery.subquery.schema();
    let is_fine = schema.fields().len() != 1 || schema.field(0).is_nullable();
    if is_fine || !subquery.outer_ref_columns.is_empty() {
        return Ok(Transformed::no(expr));
    }
    let (qualifier, field) = schema.qualified_field(0);
    let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
    let nothing = Expr::Literal(ScalarValue::try_from(field.data_type())?, None);
    let nullable = core::expr_fn::nullif(column, nothing).alias_qualified(qualifier.cloned(), field.name());
    let plan = LogicalPlanBuilder::from(Arc::clone(&subquery.subquery)).project([nullable])?.build()?;
    Ok(Transformed::yes(Expr::ScalarSubquery(subquery.with_plan(Arc::new(plan)))))
}
