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

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, Result, Spans};
use datafusion::functions_aggregate::min_max::max;
use datafusion::logical_expr::expr::{BinaryExpr, Exists, InSubquery};
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
    let may_qualify = qualifies(value, value_may_be_null, among, &join.right)?;
    join.left = Arc::new(LogicalPlan::Filter(Filter::try_new(may_qualify, join.left)?));
    Ok(LogicalPlan::Join(join))
}

/// The condition under which a value that is not among those of a subquery is known not to be.
fn qualifies(
    value: &Expr,
    value_may_be_null: bool,
    among: &Expr,
    subquery: &Arc<LogicalPlan>,
) -> Result<Expr> {
    let given = when(among.clone().is_null(), lit(NULLS)).otherwise(lit(VALUES))?;
    let given = LogicalPlanBuilder::from(Arc::clone(subquery))
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
    Ok(given.gt_eq(forbidden).is_not_true())
}

/// The plan with each `NOT IN` in a condition of a filter that DataFusion would not plan, or plan without regard to
/// NULL, as one that it plans rightly:
///
/// - One whose subquery depends on the row as `NOT EXISTS` of a value that equals or may equal. There NULL takes part
///   row by row.
/// - One in an alternative, which becomes a mark join, together with the condition for its values to qualify.
pub(crate) fn with_planned_not_in(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(mut filter) = node else {
            return Ok(Transformed::no(node));
        };
        let predicate = planned(filter.predicate, filter.input.schema(), false)?;
        filter.predicate = predicate.data;
        Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), predicate.transformed))
    });
    rewritten.data()
}

/// Rewrites a condition of which only counts whether it is true.
fn planned(condition: Expr, schema: &DFSchema, in_alternative: bool) -> Result<Transformed<Expr>> {
    match condition {
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => {
            let in_alternative = in_alternative || binary.op == Operator::Or;
            let left = planned(*binary.left, schema, in_alternative)?;
            let right = planned(*binary.right, schema, in_alternative)?;
            let transformed = left.transformed || right.transformed;
            let (left, right) = (Box::new(left.data), Box::new(right.data));
            let binary = Expr::BinaryExpr(BinaryExpr { left, op: binary.op, right });
            Ok(Transformed::new_transformed(binary, transformed))
        }
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(not_in) if !not_in.negated => {
                planned(Expr::InSubquery(InSubquery { negated: true, ..not_in }), schema, in_alternative)
            }
            other => Ok(Transformed::no(Expr::Not(Box::new(other)))),
        },
        Expr::InSubquery(not_in) if not_in.negated && !has_subquery(&not_in.expr) => {
            let depends = !not_in.subquery.outer_ref_columns.is_empty();
            if depends {
                as_not_exists(not_in, schema)
            } else if in_alternative && is_repeatable(&not_in.subquery.subquery)? {
                let plan = Arc::clone(&not_in.subquery.subquery);
                let qualifies = qualifies(&not_in.expr, true, &only_column(&plan), &plan)?;
                Ok(Transformed::yes(Expr::InSubquery(not_in).and(qualifies)))
            } else {
                Ok(Transformed::no(Expr::InSubquery(not_in)))
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

fn as_not_exists(not_in: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if not_in.expr.contains_outer() || !keeps_rows_apart(&not_in.subquery.subquery)? {
        return Ok(Transformed::no(Expr::InSubquery(not_in)));
    }
    let mut outer_ref_columns = not_in.subquery.outer_ref_columns.clone();
    let value = not_in.expr.as_ref().clone().transform_up(|part| {
        let Expr::Column(column) = part else {
            return Ok(Transformed::no(part));
        };
        let field = schema.field_from_column(&column)?;
        let outer = Expr::OuterReferenceColumn(Arc::clone(field), column);
        if !outer_ref_columns.contains(&outer) {
            outer_ref_columns.push(outer.clone());
        }
        Ok(Transformed::yes(outer))
    });
    let plan = Arc::clone(&not_in.subquery.subquery);
    let may_equal = value.data()?.eq(only_column(&plan)).is_not_false();
    let plan = LogicalPlanBuilder::from(plan).filter(may_equal)?.build()?;
    let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: not_in.subquery.spans };
    Ok(Transformed::yes(Expr::Exists(Exists { subquery, negated: true })))
}

/// Whether the rows of a plan are what they are whichever others there are. Only below such operators can a condition
/// be told apart from those on the row that a subquery is for: an aggregation gives a row even where nothing is left.
fn keeps_rows_apart(plan: &LogicalPlan) -> Result<bool> {
    let mut apart = true;
    plan.apply(|node| {
        apart &= match node {
            LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
            LogicalPlan::Join(join) => join.join_type == JoinType::Inner,
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => true,
            _ => false,
        };
        Ok(if apart { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(apart)
}

fn only_column(plan: &LogicalPlan) -> Expr {
    let (qualifier, field) = plan.schema().qualified_field(0);
    Expr::Column(Column::new(qualifier.cloned(), field.name()))
}

fn has_subquery(expr: &Expr) -> bool {
    let is_subquery =
        |expr: &Expr| Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)));
    expr.exists(is_subquery).unwrap_or(true)
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
