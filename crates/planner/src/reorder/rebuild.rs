//! From an order of joins to a plan.

use std::sync::Arc;

use datafusion::common::{JoinType, NullEquality, Result, internal_datafusion_err};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Filter, Join, JoinConstraint, LogicalPlan};

use super::graph::JoinGraph;
use super::order::{Mask, Tree, is_within};

/// The joins in this order, every condition as deep as it can be. The columns are those of the tree as it was
/// written, in another order, and maybe more.
pub(super) fn rebuild(graph: &JoinGraph, tree: &Tree) -> Result<LogicalPlan> {
    let operands = tree.operands();
    match tree {
        Tree::Leaf(number) => {
            let operand = graph
                .operands
                .get(*number)
                .ok_or_else(|| internal_datafusion_err!("a join has no operand {number}"))?;
            filtered(operand.plan.clone(), conditions(graph, operands, &[]))
        }
        Tree::Join(left, right) => {
            let sides = [left.operands(), right.operands()];
            let (left, right) = (rebuild(graph, left)?, rebuild(graph, right)?);
            let mut on = keys_of_classes(graph, sides);
            let mut rest = Vec::new();
            for condition in
                graph.conditions.iter().filter(|condition| is_new(condition.operands, operands, &sides))
            {
                match &condition.keys {
                    Some([(one, first), (other, second)])
                        if is_within(*first, sides[0]) && is_within(*second, sides[1]) =>
                    {
                        on.push((one.clone(), other.clone()));
                    }
                    Some([(one, first), (other, second)])
                        if is_within(*first, sides[1]) && is_within(*second, sides[0]) =>
                    {
                        on.push((other.clone(), one.clone()));
                    }
                    _ => rest.push(condition.expr.clone()),
                }
            }
            joined(left, right, on, conjunction(rest), JoinType::Inner, NullEquality::NullEqualsNothing)
        }
        Tree::Filtered(input, number) => {
            let operand = &graph.operands[*number];
            let filter = operand
                .filter
                .as_ref()
                .ok_or_else(|| internal_datafusion_err!("operand {number} of a join does not filter"))?;
            let kept = input.operands();
            let on = filter.on.iter().map(|(left, right)| (graph.over(left, kept), right.clone())).collect();
            let plan = joined(
                rebuild(graph, input)?,
                operand.plan.clone(),
                on,
                filter.filter.clone(),
                filter.join_type,
                filter.null_equality,
            )?;
            filtered(plan, conditions(graph, operands, &[kept]))
        }
    }
}

/// Whether a condition can be checked on these operands, and on no part of them before.
fn is_new(condition: Mask, operands: Mask, before: &[Mask]) -> bool {
    is_within(condition, operands) && !before.iter().any(|before| is_within(condition, *before))
}

fn conditions(graph: &JoinGraph, operands: Mask, before: &[Mask]) -> Vec<Expr> {
    let new = graph.conditions.iter().filter(|condition| is_new(condition.operands, operands, before));
    new.map(|condition| condition.expr.clone()).collect()
}

/// One pair of columns of each class that both sides have: within a side they equal each other already.
fn keys_of_classes(graph: &JoinGraph, sides: [Mask; 2]) -> Vec<(Expr, Expr)> {
    let column_in = |class: &[super::graph::Member], side: Mask| {
        let member = class.iter().find(|member| is_within(1 << member.operand, side))?;
        Some(graph.column(*member))
    };
    graph
        .classes
        .iter()
        .filter_map(|class| column_in(class, sides[0]).zip(column_in(class, sides[1])))
        .collect()
}

fn filtered(plan: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    match conjunction(conditions) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?)),
        None => Ok(plan),
    }
}

fn joined(
    left: LogicalPlan,
    right: LogicalPlan,
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
    join_type: JoinType,
    null_equality: NullEquality,
) -> Result<LogicalPlan> {
    let (left, right) = (Arc::new(left), Arc::new(right));
    let constraint = JoinConstraint::On;
    let join = Join::try_new(left, right, on, filter, join_type, constraint, null_equality, false)?;
    Ok(LogicalPlan::Join(join))
}
