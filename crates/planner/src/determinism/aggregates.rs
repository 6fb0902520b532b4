//! Which aggregates give the same value for the same rows in any order.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::Volatility;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};

use super::{Inputs, has_fixed_order};

/// Aggregates that do not depend on the order of their rows, if they compute without rounding.
const ORDER_FREE: [&str; 11] =
    ["avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "count", "grouping", "max", "min", "sum"];

/// Those that look at the order or round, and do the same when the order is.
const ORDER_BOUND: [&str; 28] = [
    "any_value",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "array_agg",
    "corr",
    "covar_pop",
    "covar_samp",
    "first_value",
    "last_value",
    "median",
    "nth_value",
    "percentile_cont",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "string_agg",
    "var",
    "var_pop",
];

/// Those that only put values in the order they are told: equal values may change places.
const COLLECTING: [&str; 4] = ["array_agg", "first_value", "last_value", "string_agg"];

/// What an aggregate needs so that it gives the same value again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    /// The same rows.
    SameRows,
    /// The same rows in the same order.
    SameOrder,
    /// More than is known.
    Unknown,
}

/// Whether an operator's groups and their values are the same in every run.
pub(super) fn is_determinate(aggregate: &AggregateExec, inputs: &Inputs<'_>) -> Result<bool> {
    if let Some(limit) = aggregate.limit_options() {
        // The first groups in the order of their keys are the same ones; the first to come are not, and the first in
        // the order of a value may be equal in it.
        let is_by_key = limit.descending().is_some() && aggregate.aggr_expr().is_empty();
        if !is_by_key {
            return Ok(false);
        }
    }
    let mut needs = Needs::SameRows;
    for function in aggregate.aggr_expr() {
        needs = needs.max(needs_of(function)?);
    }
    Ok(match needs {
        Needs::SameRows => true,
        // One that is short of memory adds up what it has spilled in another order.
        Needs::SameOrder => {
            *aggregate.mode() == AggregateMode::Partial && has_fixed_order(aggregate.input(), inputs)
        }
        Needs::Unknown => false,
    })
}

/// What an aggregate function with its arguments needs.
pub(super) fn needs_of(function: &AggregateFunctionExpr) -> Result<Needs> {
    let name = function.fun().name();
    if function.fun().signature().volatility != Volatility::Immutable {
        return Ok(Needs::Unknown);
    }
    if ORDER_FREE.contains(&name) {
        let is_exact = name == "count" || !computes_with_floats(function)?;
        return Ok(if is_exact { Needs::SameRows } else { Needs::SameOrder });
    }
    if !ORDER_BOUND.contains(&name) {
        return Ok(Needs::Unknown);
    }
    let is_ordered_by = |argument: &Arc<dyn PhysicalExpr>| {
        function.order_bys().iter().any(|key| key.expr.eq(argument)) || argument.is::<Literal>()
    };
    let is_total = COLLECTING.contains(&name)
        && !function.order_bys().is_empty()
        && function.expressions().iter().all(is_ordered_by);
    Ok(if is_total { Needs::SameRows } else { Needs::SameOrder })
}

fn computes_with_floats(function: &AggregateFunctionExpr) -> Result<bool> {
    let states = function.state_fields()?;
    Ok(states.iter().any(|state| has_float(state.data_type())) || has_float(function.field().data_type()))
}

/// Whether values of the type are, or hold, floating-point numbers.
fn has_float(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_float(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_float(field.data_type())),
        DataType::Dictionary(_, values) => has_float(values),
        DataType::RunEndEncoded(_, values) => has_float(values.data_type()),
        DataType::Union(..) => true,
        _ => false,
    }
}
