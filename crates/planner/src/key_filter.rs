//! Groups that no row of a join asks for are not computed.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, NullEquality, Result};
use datafusion::logical_expr::{
    Aggregate, Expr, Join, JoinConstraint, LogicalPlan, LogicalPlanBuilder, Projection,
};
use datafusion::optimizer::OptimizerConfig;

use crate::estimate::logical::estimate;
use crate::estimate::match_fraction;
use crate::reorder::graph::{JoinGraph, Member};

/// Reading the keys may cost this part of what it saves at most.
const COST: f64 = 0.5;
/// If no condition left any of a table's rows out, its keys may be so many times larger than what is sent to every
/// task.
const MISJUDGED: f64 = 4.0;

/// Where an operand of the joins is an aggregation by a column that must equal one of a small table, only rows with
/// keys of that table are aggregated: the operand's input is semi-joined with the table's keys, which are read once
/// more. A subquery that depends on the row it is in has become such an operand.
///
/// The operand may also be what a semi, anti or mark join compares with: which rows it would have told of others, no
/// longer matters, since the join with the table drops them.
///
/// Whether there is one that this was done to.
pub(crate) fn with_key_filters(
    graph: &mut JoinGraph,
    broadcast_bytes_max: f64,
    config: &dyn OptimizerConfig,
) -> Result<bool> {
    let mut any = false;
    for number in 0..graph.operands.len() {
        let Some(grouping) = Grouping::of(&graph.operands[number].plan) else {
            continue;
        };
        let Some((column, keys)) = best_keys(graph, number, &grouping, broadcast_bytes_max)? else {
            continue;
        };
        let alias = config.alias_generator().next("__key_filter");
        let plan = std::mem::take(&mut graph.operands[number].plan);
        graph.operands[number].plan = filter_input(plan, &column, &keys, &alias)?;
        any = true;
    }
    Ok(any)
}

/// An aggregation below operators that keep its rows or leave some out.
struct Grouping<'a> {
    input: &'a LogicalPlan,
    /// By column of the operand: the column of the input that it is grouped by, if it is.
    keys: Vec<Option<Column>>,
}

impl<'a> Grouping<'a> {
    fn of(plan: &'a LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => Grouping::of(&alias.input),
            LogicalPlan::Filter(filter) if !filter.predicate.is_volatile() => Grouping::of(&filter.input),
            LogicalPlan::Projection(projection) => {
                if projection.expr.iter().any(Expr::is_volatile) {
                    return None;
                }
                let inner = Grouping::of(&projection.input)?;
                let key = |expr: &Expr| {
                    let Expr::Column(column) = expr.clone().unalias() else { return None };
                    let index = projection.input.schema().maybe_index_of_column(&column)?;
                    inner.keys.get(index).cloned().flatten()
                };
                let keys = projection.expr.iter().map(key).collect();
                Some(Grouping { keys, ..inner })
            }
            LogicalPlan::Aggregate(aggregate) => Some(Grouping {
                input: &aggregate.input,
                keys: aggregate
                    .schema
                    .fields()
                    .iter()
                    .enumerate()
                    .map(|(at, _)| key(aggregate, at))
                    .collect(),
            }),
            _ => None,
        }
    }
}

fn key(aggregate: &Aggregate, at: usize) -> Option<Column> {
    match aggregate.group_expr.get(at)? {
        Expr::Column(column) => Some(column.clone()),
        _ => None,
    }
}

/// The keys that leave least to be aggregated, if it is worth it: the column of the aggregation's input, and a plan
/// whose only column they are.
fn best_keys(
    graph: &JoinGraph,
    number: usize,
    grouping: &Grouping<'_>,
    broadcast_bytes_max: f64,
) -> Result<Option<(Column, LogicalPlan)>> {
    let Some(input) = estimate(grouping.input) else {
        return Ok(None);
    };
    let work = rows_scanned(grouping.input);
    let mut best: Option<(f64, Column, LogicalPlan)> = None;
    for (at, column) in grouping.keys.iter().enumerate() {
        let Some(column) = column else { continue };
        let own = grouping.input.schema().maybe_index_of_column(column);
        let Some(own) = own.and_then(|own| input.columns.get(own)) else { continue };
        for (plan, place) in key_sources(graph, number, at) {
            let Some(rows) = estimate(plan) else { continue };
            let key = &rows.columns[place];
            let kept = match_fraction(&[(own, key)], rows.rows, 1.0);
            let scanned = rows_scanned(plan);
            let pays = scanned < work * (1.0 - kept) * COST
                && scanned * key.width_bytes <= broadcast_bytes_max * MISJUDGED;
            if pays && best.as_ref().is_none_or(|(least, ..)| kept < *least) {
                let (qualifier, field) = plan.schema().qualified_field(place);
                let key = Expr::Column(Column::new(qualifier.cloned(), field.name()));
                let keys = LogicalPlan::Projection(Projection::try_new(vec![key], Arc::new(plan.clone()))?);
                best = Some((kept, column.clone(), keys));
            }
        }
    }
    Ok(best.map(|(_, column, keys)| (column, keys)))
}

/// The columns that an operand's column equals in every row of the result.
fn equals_of(graph: &JoinGraph, operand: usize, column: usize) -> Vec<Member> {
    let Some(filter) = &graph.operands[operand].filter else {
        return graph.equals_of(Member { operand, column });
    };
    if filter.null_equality != NullEquality::NullEqualsNothing {
        return Vec::new();
    }
    let schema = graph.operands[operand].plan.schema();
    let left = filter.on.iter().find_map(|pair| match pair {
        (Expr::Column(left), Expr::Column(right)) if schema.maybe_index_of_column(right) == Some(column) => {
            graph.member(left)
        }
        _ => None,
    });
    left.map(|left| graph.equals_of(left)).unwrap_or_default()
}

/// The operands that have all the values that matter of a column of another, and where.
fn key_sources(graph: &JoinGraph, number: usize, column: usize) -> Vec<(&LogicalPlan, usize)> {
    let equals = equals_of(graph, number, column);
    let mut sources = Vec::new();
    for (other, operand) in graph.operands.iter().enumerate() {
        if other == number || !is_filtered_scan(&operand.plan) {
            continue;
        }
        let Some(filter) = &operand.filter else {
            let own = equals.iter().filter(|equal| equal.operand == other);
            sources.extend(own.map(|equal| (&operand.plan, equal.column)));
            continue;
        };
        // What a semi join keeps has the values of its right side.
        if filter.join_type != JoinType::LeftSemi || filter.null_equality != NullEquality::NullEqualsNothing {
            continue;
        }
        for (left, right) in &filter.on {
            let (Expr::Column(left), Expr::Column(right)) = (left, right) else { continue };
            let is_equal = graph.member(left).is_some_and(|member| equals.contains(&member));
            let place = operand.plan.schema().maybe_index_of_column(right);
            if let (true, Some(place)) = (is_equal, place) {
                sources.push((&operand.plan, place));
            }
        }
    }
    sources
}

/// Whether a plan is a table with conditions, so that reading it twice is cheap and gives the same rows.
fn is_filtered_scan(plan: &LogicalPlan) -> bool {
    let has_subquery = |expr: &Expr| {
        expr.exists(|part| {
            let is_subquery = matches!(
                part,
                Expr::ScalarSubquery(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(..)
            );
            Ok(is_subquery)
        })
        .unwrap_or(true)
    };
    let is_stable = |expr: &Expr| !expr.is_volatile() && !has_subquery(expr);
    match plan {
        LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
        LogicalPlan::Filter(filter) => is_stable(&filter.predicate) && is_filtered_scan(&filter.input),
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().all(is_stable) && is_filtered_scan(&projection.input)
        }
        LogicalPlan::SubqueryAlias(alias) => is_filtered_scan(&alias.input),
        _ => false,
    }
}

/// The rows of all tables that a plan reads.
fn rows_scanned(plan: &LogicalPlan) -> f64 {
    let mut rows = 0.0;
    let walked = plan.apply(|node| {
        if let LogicalPlan::TableScan(_) = node {
            rows += estimate(node).map_or(0.0, |scanned| scanned.rows);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if walked.is_ok() { rows } else { 0.0 }
}

/// The operand with the input of its aggregation semi-joined with the keys.
fn filter_input(plan: LogicalPlan, column: &Column, keys: &LogicalPlan, alias: &str) -> Result<LogicalPlan> {
    if let LogicalPlan::Aggregate(mut aggregate) = plan {
        let keys = LogicalPlanBuilder::from(keys.clone()).alias(alias)?.build()?;
        let key = keys.schema().columns().swap_remove(0);
        let join = Join::try_new(
            aggregate.input,
            Arc::new(keys),
            vec![(Expr::Column(column.clone()), Expr::Column(key))],
            None,
            JoinType::LeftSemi,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        aggregate.input = Arc::new(LogicalPlan::Join(join));
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let filtered =
        plan.map_children(|child| Ok(Transformed::yes(filter_input(child, column, keys, alias)?)))?;
    Ok(filtered.data)
}
