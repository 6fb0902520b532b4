//! The numbers of a graph of joins, from estimates of its operands.

use datafusion::common::JoinType;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::estimate::logical::{column_of, condition_fraction, estimate, with_condition};
use crate::estimate::predicate::UNKNOWN_FRACTION;
use crate::estimate::{ANTI_MIN, ColumnEstimate, Estimate, UNKNOWN_MATCH, common_domain, match_fraction};

use super::graph::{Condition, FilterJoin, JoinGraph};
use super::order::{Class, Edge, FilterNode, Graph, Mask, Node};

/// The graph in numbers. None if the rows of an operand are not known.
pub(super) fn measured(graph: &JoinGraph, broadcast_bytes_max: f64) -> Option<Graph> {
    let estimates = estimates(graph)?;
    let classes: Vec<Class> = graph
        .classes
        .iter()
        .map(|class| {
            let columns: Vec<&ColumnEstimate> = class
                .iter()
                .filter_map(|member| estimates[member.operand].columns.get(member.column))
                .collect();
            let members = class.iter().fold(0, |mask: Mask, member| mask | 1 << member.operand);
            Class { members, domain: domain(&columns) }
        })
        .collect();
    let nodes = graph.operands.iter().enumerate().map(|(number, operand)| {
        let estimate = &estimates[number];
        let filter = operand.filter.as_ref().map(|filter| {
            let marked = graph.conditions.iter().filter(|condition| condition.operands == 1 << number);
            let by_mark = marked.map(|_| UNKNOWN_MATCH).product::<f64>();
            let fraction = filter_fraction(graph, &estimates, filter, estimate, &operand.plan) * by_mark;
            FilterNode { requires: graph.required(filter), fraction }
        });
        Node { rows: estimate.rows, row_bytes: estimate.row_bytes(), filter }
    });
    let conditions = graph.conditions.iter().map(|condition| Edge {
        operands: condition.operands,
        sides: condition.keys.as_ref().map(|[(_, one), (_, other)]| (*one, *other)),
        fraction: edge_fraction(graph, &estimates, condition),
    });
    Some(Graph { nodes: nodes.collect(), conditions: conditions.collect(), classes, broadcast_bytes_max })
}

/// The rows of each operand after the conditions that it decides alone.
pub(crate) fn estimates(graph: &JoinGraph) -> Option<Vec<Estimate>> {
    let of = |(number, operand): (usize, &super::graph::Operand)| {
        let mut rows = estimate(&operand.plan)?;
        if operand.filter.is_none() {
            for condition in graph.conditions.iter().filter(|condition| condition.operands == 1 << number) {
                rows = with_condition(rows, &condition.expr, operand.plan.schema());
            }
        }
        Some(rows)
    };
    graph.operands.iter().enumerate().map(of).collect()
}

/// How many values the columns of a class have between them.
fn domain(columns: &[&ColumnEstimate]) -> f64 {
    let mut columns = columns.iter();
    let Some(first) = columns.next() else {
        return 1.0;
    };
    let both = |one: ColumnEstimate, other: &&ColumnEstimate| {
        let domain = common_domain(&one, other);
        ColumnEstimate { domain, counted: one.counted || other.counted, ..one }
    };
    columns.fold((*first).clone(), both).domain.max(1.0)
}

fn filter_fraction(
    graph: &JoinGraph,
    estimates: &[Estimate],
    filter: &FilterJoin,
    own: &Estimate,
    plan: &LogicalPlan,
) -> f64 {
    let columns: Option<Vec<_>> = filter
        .on
        .iter()
        .map(|(left, right)| {
            let Expr::Column(left) = left else { return None };
            let member = graph.member(left)?;
            let left = estimates[member.operand].columns.get(member.column)?;
            Some((left, own.columns.get(column_of(right, plan.schema())?)?))
        })
        .collect();
    let by_filter = if filter.filter.is_some() { UNKNOWN_FRACTION } else { 1.0 };
    let fraction = match columns {
        Some(columns) => match_fraction(&columns, own.rows, by_filter),
        None => UNKNOWN_MATCH,
    };
    match filter.join_type {
        JoinType::LeftSemi => fraction,
        JoinType::LeftAnti => (1.0 - fraction).max(ANTI_MIN),
        _ => 1.0,
    }
}

fn edge_fraction(graph: &JoinGraph, estimates: &[Estimate], condition: &Condition) -> f64 {
    if let Some([(_, one), (_, other)]) = &condition.keys {
        // The keys of one side are taken to be different in every row of the smaller side.
        let rows = |mask: &Mask| -> f64 {
            super::order::numbers(*mask).map(|operand| estimates[operand].rows).product()
        };
        return 1.0 / rows(one).min(rows(other)).max(1.0);
    }
    let operands: Vec<usize> = super::order::numbers(condition.operands).collect();
    if operands.iter().any(|operand| graph.operands[*operand].filter.is_some()) {
        return UNKNOWN_FRACTION;
    }
    // The rows side by side.
    let mut schema = None;
    let mut columns = Vec::new();
    for operand in operands {
        let own = graph.operands[operand].plan.schema();
        columns.extend(estimates[operand].columns.iter().cloned());
        schema = match schema {
            None => Some(own.as_ref().clone()),
            Some(schema) => datafusion::common::DFSchema::join(&schema, own).ok(),
        };
        if schema.is_none() {
            return UNKNOWN_FRACTION;
        }
    }
    let rows = columns.iter().map(|column| column.distinct).fold(1.0, f64::max);
    let pairs = Estimate { rows, columns };
    schema.map_or(UNKNOWN_FRACTION, |schema| condition_fraction(&pairs, &condition.expr, &schema))
}
