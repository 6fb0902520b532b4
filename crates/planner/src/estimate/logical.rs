//! The rows of logical plans.

use std::sync::Arc;

use datafusion::common::{DFSchema, JoinType};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, Join, LogicalPlan, TableProviderFilterPushDown, TableScan,
};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::PhysicalExpr;

use super::predicate::{UNKNOWN_FRACTION, filtered, fraction, is_certain};
use super::{ColumnEstimate, Computed, Estimate, KeyColumns, grouped, joined};
use crate::null_aware::may_qualify;
use crate::stack::on_enough_stack;

/// The rows of a plan. None if a table's rows are not known, or an operator's.
pub(crate) fn estimate(plan: &LogicalPlan) -> Option<Estimate> {
    on_enough_stack(|| of_operator(plan))
}

fn of_operator(plan: &LogicalPlan) -> Option<Estimate> {
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan),
        LogicalPlan::Filter(filter) => {
            Some(with_condition(estimate(&filter.input)?, &filter.predicate, filter.input.schema()))
        }
        LogicalPlan::Projection(projection) => {
            let input = estimate(&projection.input)?;
            let columns = projection.expr.iter().zip(projection.schema.fields()).map(|(expr, field)| {
                match physical(without_alias(expr), projection.input.schema()) {
                    Some(expr) => {
                        let schema = arrow::datatypes::Schema::new(vec![Arc::clone(field)]);
                        input.projected(&[expr], &schema).columns.swap_remove(0)
                    }
                    None => ColumnEstimate::unknown(field.data_type(), input.rows),
                }
            });
            Some(Estimate { rows: input.rows, columns: columns.collect() })
        }
        LogicalPlan::SubqueryAlias(alias) => estimate(&alias.input),
        LogicalPlan::Subquery(subquery) => estimate(&subquery.subquery),
        LogicalPlan::Repartition(repartition) => estimate(&repartition.input),
        LogicalPlan::Join(join) => of_join(join),
        LogicalPlan::Aggregate(aggregate) => of_aggregate(aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let rows = estimate(input)?;
            let count = rows.columns.iter().map(|column| column.distinct).product::<f64>();
            Some(rows.at_most(count.max(1.0)))
        }
        LogicalPlan::Sort(sort) => {
            let rows = estimate(&sort.input)?;
            Some(sort.fetch.map_or(rows.clone(), |fetch| rows.at_most(fetch as f64)))
        }
        LogicalPlan::Limit(limit) => {
            let rows = estimate(&limit.input)?;
            match limit.get_fetch_type() {
                Ok(FetchType::Literal(Some(fetch))) => Some(rows.at_most(fetch as f64)),
                _ => Some(rows),
            }
        }
        LogicalPlan::Window(window) => {
            let mut rows = estimate(&window.input)?;
            let fields = window.schema.fields().iter().skip(rows.columns.len());
            let added: Vec<_> =
                fields.map(|field| ColumnEstimate::unknown(field.data_type(), rows.rows)).collect();
            rows.columns.extend(added);
            Some(rows)
        }
        LogicalPlan::Union(union) => {
            let counts: Option<Vec<f64>> =
                union.inputs.iter().map(|input| Some(estimate(input)?.rows)).collect();
            Some(Estimate::of_rows(counts?.iter().sum(), union.schema.as_arrow()))
        }
        LogicalPlan::Values(values) => {
            Some(Estimate::of_rows(values.values.len() as f64, values.schema.as_arrow()))
        }
        LogicalPlan::EmptyRelation(empty) => Some(Estimate::of_rows(1.0, empty.schema.as_arrow())),
        _ => None,
    }
}

/// The rows that a condition keeps.
pub(crate) fn with_condition(rows: Estimate, condition: &Expr, schema: &DFSchema) -> Estimate {
    split_conjunction(condition).into_iter().fold(rows, |rows, condition| match physical(condition, schema) {
        Some(condition) => filtered(rows, &condition),
        None if may_qualify(condition) => rows,
        None => rows.part(UNKNOWN_FRACTION),
    })
}

/// The part of the rows that a condition keeps.
pub(crate) fn condition_fraction(rows: &Estimate, condition: &Expr, schema: &DFSchema) -> f64 {
    match physical(condition, schema) {
        Some(condition) => fraction(rows, &condition),
        None if may_qualify(condition) => 1.0,
        None => UNKNOWN_FRACTION,
    }
}

/// The part of the rows that those conditions keep which compare a column with values, and its range is known.
pub(crate) fn certain_fraction(rows: &Estimate, condition: &Expr, schema: &DFSchema) -> f64 {
    let certain = |rows: Estimate, condition| match physical(condition, schema) {
        Some(condition) if is_certain(&rows, &condition) => filtered(rows, &condition),
        _ => rows,
    };
    split_conjunction(condition).into_iter().fold(rows.clone(), certain).rows / rows.rows
}

/// The place of the column that an expression is, if it is nothing else.
pub(crate) fn column_of(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    }
}

/// The expression over the columns of the schema by their places. None if it depends on more than these.
fn physical(expr: &Expr, schema: &DFSchema) -> Option<Arc<dyn PhysicalExpr>> {
    let context = PhysicalPlanningContext::default();
    create_physical_expr(expr, schema, &ExecutionProps::new(), &context).ok()
}

fn without_alias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => without_alias(&alias.expr),
        other => other,
    }
}

fn of_scan(scan: &TableScan) -> Option<Estimate> {
    let provider = source_as_provider(&scan.source).ok()?;
    let table_schema = provider.schema();
    let all = Estimate::from_statistics(&provider.statistics()?, &table_schema)?;
    // A filter that the table does not apply itself is still in the plan.
    let filters: Vec<&Expr> = scan.filters.iter().collect();
    let applied = scan.source.supports_filters_pushdown(&filters).unwrap_or_default();
    let table = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &table_schema).ok()?;
    let mut rows = all;
    for (filter, applied) in filters.into_iter().zip(applied) {
        if applied == TableProviderFilterPushDown::Exact {
            rows = with_condition(rows, filter, &table);
        }
    }
    if let Some(projection) = &scan.projection {
        rows = rows.with_columns(projection.iter().copied());
    }
    Some(scan.fetch.map_or(rows.clone(), |fetch| rows.at_most(fetch as f64)))
}

fn of_join(join: &Join) -> Option<Estimate> {
    let (left, right) = (estimate(&join.left)?, estimate(&join.right)?);
    let keys: Vec<KeyColumns> = join
        .on
        .iter()
        .map(|(one, other)| (column_of(one, join.left.schema()), column_of(other, join.right.schema())))
        .collect();
    let filter_fraction = match &join.filter {
        None => 1.0,
        Some(filter) => {
            let pairs = joined(&left, &right, &keys, 1.0, JoinType::Inner);
            let schema = join.left.schema().join(join.right.schema()).ok()?;
            with_condition(pairs.clone(), filter, &schema).rows / pairs.rows
        }
    };
    Some(joined(&left, &right, &keys, filter_fraction, join.join_type))
}

fn of_aggregate(aggregate: &Aggregate) -> Option<Estimate> {
    let rows = estimate(&aggregate.input)?;
    let schema = aggregate.schema.as_arrow();
    if let [Expr::GroupingSet(_)] = aggregate.group_expr.as_slice() {
        return Some(Estimate::of_rows(rows.rows, schema));
    }
    let keys: Option<Vec<_>> = aggregate
        .group_expr
        .iter()
        .map(|key| physical(without_alias(key), aggregate.input.schema()))
        .collect();
    match keys {
        Some(keys) => {
            let of = |expr| computed(expr, aggregate.input.schema());
            let computed: Vec<Computed> = aggregate.aggr_expr.iter().map(of).collect();
            Some(grouped(&rows, &keys, &computed, schema))
        }
        None => Some(Estimate::of_rows(rows.rows, schema)),
    }
}

fn computed(aggregate: &Expr, schema: &DFSchema) -> Computed {
    match without_alias(aggregate) {
        Expr::AggregateFunction(call) if call.params.filter.is_none() && !call.params.distinct => {
            let columns: Vec<_> =
                call.params.args.iter().map(|argument| column_of(argument, schema)).collect();
            Computed::of(call.func.name(), &columns)
        }
        _ => Computed::Other,
    }
}
