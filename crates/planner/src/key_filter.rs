//! Rows whose keys no row of a join asks for are not grouped, nor sent to where they would be compared.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, Expr, Filter, Join, JoinConstraint, LogicalPlan, LogicalPlanBuilder, Projection,
};
use datafusion::optimizer::OptimizerConfig;

use crate::estimate::logical::{certain_fraction, estimate};
use crate::estimate::{Estimate, match_fraction};
use crate::reorder::graph::{JoinGraph, Member};

/// Reading the keys may cost this part of what it saves at most.
const COST: f64 = 0.5;
/// What it costs to send a row to where it is compared, and to compare it, in rows that are read.
const COMPARED_ROW: f64 = 3.0;
/// If conditions of which little is known left none of a table's rows out, its keys may be so many times larger than
/// what is sent to every task.
const MISJUDGED: f64 = 4.0;
/// Keys that only save an exchange may be this part of what is sent to every task.
const COMPARED_KEYS: f64 = 0.5;

/// Filters operands by the keys of a small table, which are read once more.
///
/// - An operand that is an aggregation by a column that must equal one of the table: only rows with keys of the table
///   are aggregated. A subquery that depends on the row it is in has become such an operand.
/// - What a semi, anti or mark join compares with, if it is large: which rows it would have told of others does not
///   matter, since these are dropped.
///
/// Whether there is one that this was done to.
pub(crate) fn with_key_filters(
    graph: &mut JoinGraph,
    broadcast_bytes_max: f64,
    config: &dyn OptimizerConfig,
) -> Result<bool> {
    let mut any = false;
    for number in 0..graph.operands.len() {
        let keys = KeySearch { graph, number, broadcast_bytes_max };
        let found = match Grouping::of(&graph.operands[number].plan) {
            Some(grouping) => keys.for_groups(&grouping)?,
            None => keys.for_compared()?,
        };
        let Some(KeyFilter { column, keys, .. }) = found else {
            continue;
        };
        let alias = config.alias_generator().next("__key_filter");
        let plan = std::mem::take(&mut graph.operands[number].plan);
        let is_grouping = Grouping::of(&plan).is_some();
        graph.operands[number].plan = if is_grouping {
            filter_input(plan, &column, &keys, &alias)?
        } else {
            semi_join(Arc::new(plan), &column, &keys, &alias)?
        };
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

/// A filter by keys.
struct KeyFilter {
    /// The column that must equal a key.
    column: Column,
    /// A plan whose only column the keys are.
    keys: LogicalPlan,
    /// The part of the rows that it keeps.
    kept: f64,
}

/// The search for keys that filter an operand.
struct KeySearch<'a> {
    graph: &'a JoinGraph,
    number: usize,
    broadcast_bytes_max: f64,
}

impl KeySearch<'_> {
    /// The filter that leaves least to be aggregated, if it is worth it.
    fn for_groups(&self, grouping: &Grouping<'_>) -> Result<Option<KeyFilter>> {
        let Some(input) = estimate(grouping.input) else {
            return Ok(None);
        };
        let work = rows_scanned(grouping.input);
        let keys = grouping.keys.iter().enumerate();
        let columns = keys.filter_map(|(at, column)| Some((at, column.clone()?)));
        let keys_bytes_max = self.broadcast_bytes_max * MISJUDGED;
        self.best(columns, grouping.input.schema(), &input, keys_bytes_max, |scanned, kept| {
            scanned < work * (1.0 - kept) * COST
        })
    }

    /// The filter that leaves least to be compared with, if it is worth it.
    fn for_compared(&self) -> Result<Option<KeyFilter>> {
        let operand = &self.graph.operands[self.number];
        let (Some(filter), Some(rows)) = (&operand.filter, estimate(&operand.plan)) else {
            return Ok(None);
        };
        if rows.bytes() <= self.broadcast_bytes_max {
            return Ok(None);
        }
        let schema = operand.plan.schema();
        let columns = filter.on.iter().filter_map(|(_, right)| match right {
            Expr::Column(right) => Some((schema.maybe_index_of_column(right)?, right.clone())),
            _ => None,
        });
        let keys_bytes_max = self.broadcast_bytes_max * COMPARED_KEYS;
        self.best(columns, schema, &rows, keys_bytes_max, |scanned, kept| {
            scanned + rows.rows < rows.rows * (1.0 - kept) * COMPARED_ROW
        })
    }

    /// The filter that keeps least, of those that pay: given are columns of the operand with what they are called in
    /// the rows that are to be filtered.
    fn best(
        &self,
        columns: impl Iterator<Item = (usize, Column)>,
        schema: &DFSchema,
        input: &Estimate,
        keys_bytes_max: f64,
        pays: impl Fn(f64, f64) -> bool,
    ) -> Result<Option<KeyFilter>> {
        let mut best: Option<KeyFilter> = None;
        for (at, column) in columns {
            let own = schema.maybe_index_of_column(&column).and_then(|own| input.columns.get(own));
            let Some(own) = own else { continue };
            for (plan, place) in key_sources(self.graph, self.number, at) {
                let Some(rows) = estimate(&plan) else { continue };
                let key = &rows.columns[place];
                let kept = match_fraction(&[(own, key)], rows.rows, 1.0);
                let is_small = certain_rows(&plan) * key.width_bytes <= keys_bytes_max;
                let is_better = best.as_ref().is_none_or(|best| kept < best.kept);
                if is_small && is_better && pays(rows_scanned(&plan), kept) {
                    let (qualifier, field) = plan.schema().qualified_field(place);
                    let key = Expr::Column(Column::new(qualifier.cloned(), field.name()));
                    let keys = Projection::try_new(vec![key], Arc::new(plan))?;
                    let keys = LogicalPlan::Projection(keys);
                    best = Some(KeyFilter { column: column.clone(), keys, kept });
                }
            }
        }
        Ok(best)
    }
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
fn key_sources(graph: &JoinGraph, number: usize, column: usize) -> Vec<(LogicalPlan, usize)> {
    let equals = equals_of(graph, number, column);
    let mut sources = Vec::new();
    for (other, operand) in graph.operands.iter().enumerate() {
        if other == number {
            continue;
        }
        let Some(plan) = repeatable(&operand.plan) else { continue };
        let Some(filter) = &operand.filter else {
            let own = equals.iter().filter(|equal| equal.operand == other);
            sources.extend(own.map(|equal| (plan.clone(), equal.column)));
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
                sources.push((plan.clone(), place));
            }
        }
    }
    sources
}

/// A plan that gives at least the rows of this one, and is cheap to run once more: a table with conditions, without
/// those that depend on chance or on subqueries.
fn repeatable(plan: &LogicalPlan) -> Option<LogicalPlan> {
    let over = |input: &LogicalPlan| -> Option<LogicalPlan> {
        plan.with_new_exprs(plan.expressions(), vec![repeatable(input)?]).ok()
    };
    match plan {
        LogicalPlan::TableScan(scan) => scan.fetch.is_none().then(|| plan.clone()),
        LogicalPlan::Filter(filter) => {
            let input = repeatable(&filter.input)?;
            let conditions = split_conjunction(&filter.predicate).into_iter();
            match conjunction(conditions.filter(|condition| is_repeatable(condition)).cloned()) {
                Some(predicate) => {
                    Some(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input)).ok()?))
                }
                None => Some(input),
            }
        }
        LogicalPlan::Projection(projection) => {
            if projection.expr.iter().all(is_repeatable) {
                over(&projection.input)
            } else {
                None
            }
        }
        LogicalPlan::SubqueryAlias(alias) => over(&alias.input),
        _ => None,
    }
}

fn is_repeatable(expr: &Expr) -> bool {
    let has_subquery = expr.exists(|part| {
        let is_subquery = matches!(
            part,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        );
        Ok(is_subquery)
    });
    !expr.is_volatile() && !has_subquery.unwrap_or(true)
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

/// The rows of a table with conditions, where only those conditions are believed that compare values with a range.
fn certain_rows(plan: &LogicalPlan) -> f64 {
    match plan {
        LogicalPlan::Filter(filter) => {
            let rows = estimate(&filter.input);
            let kept =
                rows.map_or(1.0, |rows| certain_fraction(&rows, &filter.predicate, filter.input.schema()));
            certain_rows(&filter.input) * kept
        }
        LogicalPlan::Projection(projection) => certain_rows(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => certain_rows(&alias.input),
        other => estimate(other).map_or(f64::INFINITY, |rows| rows.rows),
    }
}

/// The operand with the input of its aggregation semi-joined with the keys.
fn filter_input(plan: LogicalPlan, column: &Column, keys: &LogicalPlan, alias: &str) -> Result<LogicalPlan> {
    if let LogicalPlan::Aggregate(mut aggregate) = plan {
        aggregate.input = Arc::new(semi_join(aggregate.input, column, keys, alias)?);
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let filtered =
        plan.map_children(|child| Ok(Transformed::yes(filter_input(child, column, keys, alias)?)))?;
    Ok(filtered.data)
}

fn semi_join(
    input: Arc<LogicalPlan>,
    column: &Column,
    keys: &LogicalPlan,
    alias: &str,
) -> Result<LogicalPlan> {
    let keys = LogicalPlanBuilder::from(keys.clone()).alias(alias)?.build()?;
    let key = keys.schema().columns().swap_remove(0);
    let join = Join::try_new(
        input,
        Arc::new(keys),
        vec![(Expr::Column(column.clone()), Expr::Column(key))],
        None,
        JoinType::LeftSemi,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )?;
    Ok(LogicalPlan::Join(join))
}
