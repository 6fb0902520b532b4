//! `NOT IN (subquery)` in more than one task.
//!
//! Whether the subquery gave a NULL, and whether it gave anything, decides about every row. A null-aware anti join
//! finds that out while it joins, so it must see all rows of both sides. Here it is asked before: a scalar subquery
//! tells which values are in, and a filter keeps the rows that may qualify at all. What remains is an anti join like any
//! other, which is broadcast or spread by its keys, and takes part in the order of joins.
//!
//! | the subquery gave | value is NULL | value is not NULL |
//! |---|---|---|
//! | nothing | kept | kept |
//! | values, none of them NULL | dropped | kept unless it is one of them |
//! | values and NULL | dropped | dropped |

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Result, Spans};
use datafusion::functions_aggregate::min_max::max;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder,
    Operator, Subquery, lit, when,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The name under which plans show what the subquery gave.
const GIVEN: &str = "given";
/// The subquery gave values.
const VALUES: i64 = 1;
/// The subquery gave NULL.
const NULLS: i64 = 2;

/// Aggregate functions that give the same in whatever order rows come, if that is no sum of floating-point numbers.
const REPEATABLE_AGGREGATES: [&str; 4] = ["count", "max", "min", "sum"];

/// Makes plain anti joins of null-aware ones.
///
/// The subquery is planned twice, so one whose rows may be others the second time stays as it is, as does one that
/// depends on the row it is for.
#[derive(Debug)]
pub(crate) struct PlainAntiJoins;

impl OptimizerRule for PlainAntiJoins {
    fn name(&self) -> &str {
        "plain_anti_joins"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Join(join) if can_be_plain(&join)? => plain(join).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        }
    }
}

fn can_be_plain(join: &Join) -> Result<bool> {
    let [(value, _)] = join.on.as_slice() else {
        return Ok(false);
    };
    let is_not_in = join.null_aware && join.join_type == JoinType::LeftAnti && join.filter.is_none();
    Ok(is_not_in && !value.is_volatile() && is_repeatable(&join.right)?)
}

fn plain(mut join: Join) -> Result<LogicalPlan> {
    join.null_aware = false;
    let (value, among) = &join.on[0];
    let value_may_be_null = value.nullable(join.left.schema())?;
    let may_give_null = among.nullable(join.right.schema())?;
    if !value_may_be_null && !may_give_null {
        return Ok(LogicalPlan::Join(join));
    }
    let given = when(among.clone().is_null(), lit(NULLS)).otherwise(lit(VALUES))?;
    let given = LogicalPlanBuilder::from(Arc::clone(&join.right))
        .aggregate(Vec::<Expr>::new(), [max(given).alias(GIVEN)])?;
    let given = Expr::ScalarSubquery(Subquery {
        subquery: Arc::new(given.build()?),
        outer_ref_columns: Vec::new(),
        spans: Spans::new(),
    });
    let forbidden = if value_may_be_null {
        when(value.clone().is_null(), lit(VALUES)).otherwise(lit(NULLS))?
    } else {
        lit(NULLS)
    };
    // Where the subquery gave nothing, this compares with NULL.
    let may_qualify = given.gt_eq(forbidden).is_not_true();
    join.left = Arc::new(LogicalPlan::Filter(Filter::try_new(may_qualify, join.left)?));
    Ok(LogicalPlan::Join(join))
}

/// Whether a condition is one that this rule made. It nearly always keeps all rows.
pub(crate) fn may_qualify(condition: &Expr) -> bool {
    let Expr::IsNotTrue(compared) = condition else {
        return false;
    };
    matches!(compared.as_ref(), Expr::BinaryExpr(BinaryExpr { left, op: Operator::GtEq, .. })
        if matches!(left.as_ref(), Expr::ScalarSubquery(_)))
}

/// Whether a plan gives the same rows whenever it is run.
fn is_repeatable(plan: &LogicalPlan) -> Result<bool> {
    let mut repeatable = true;
    plan.apply_with_subqueries(|node| {
        repeatable &= match node {
            LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
            LogicalPlan::Aggregate(aggregate) => has_repeatable_functions(aggregate)?,
            LogicalPlan::Sort(sort) => sort.fetch.is_none(),
            LogicalPlan::Distinct(distinct) => matches!(distinct, Distinct::All(_)),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::EmptyRelation(_) => true,
            _ => false,
        };
        repeatable &= !node.expressions().iter().any(Expr::is_volatile);
        Ok(if repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(repeatable)
}

fn has_repeatable_functions(aggregate: &Aggregate) -> Result<bool> {
    for expr in &aggregate.aggr_expr {
        let Expr::AggregateFunction(call) = expr.clone().unalias() else {
            return Ok(false);
        };
        let is_floating = call.func.name() == "sum" && expr.get_type(aggregate.input.schema())?.is_floating();
        if is_floating || !REPEATABLE_AGGREGATES.contains(&call.func.name()) {
            return Ok(false);
        }
    }
    Ok(true)
}
