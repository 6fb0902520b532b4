//! What the planner behind this crate does otherwise with operators, aggregates and window functions than Trino.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawWindowExpr,
};
use datafusion::logical_expr::{Expr, WindowFunctionDefinition, cast};
use sqlparser::ast::BinaryOperator;

use crate::decimal_types::division;

/// Window functions that count in unsigned numbers, which Trino does not have: arithmetic on them would be in
/// decimals, or could not go below zero.
const UNSIGNED_WINDOW_FUNCTIONS: [&str; 4] = ["row_number", "rank", "dense_rank", "ntile"];
/// The same, of aggregates.
const UNSIGNED_AGGREGATES: [&str; 2] = ["approx_distinct", "regr_count"];

/// Makes what counts a `bigint`, keeps apart calls that differ only in a cast, and gives quotients of decimals
/// Trino's types.
#[derive(Debug)]
pub(crate) struct TrinoExprPlanner;

impl ExprPlanner for TrinoExprPlanner {
    fn plan_binary_op(
        &self,
        operation: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let quotient = match operation.op {
            BinaryOperator::Divide => division(&operation.left, &operation.right, schema),
            _ => None,
        };
        Ok(match quotient {
            Some(quotient) => PlannerResult::Planned(quotient),
            None => PlannerResult::Original(operation),
        })
    }

    fn plan_aggregate(&self, call: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let is_unsigned = UNSIGNED_AGGREGATES.contains(&call.func.name());
        let mut call = call;
        call.args = with_casts_named(call.args)?;
        if !is_unsigned {
            return Ok(PlannerResult::Original(call));
        }
        let aggregate = AggregateFunction::new_udf(
            call.func,
            call.args,
            call.distinct,
            call.filter,
            call.order_by,
            call.null_treatment,
        );
        Ok(PlannerResult::Planned(cast(Expr::AggregateFunction(aggregate), DataType::Int64)))
    }

    fn plan_window(&self, call: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let is_unsigned = match &call.func_def {
            WindowFunctionDefinition::WindowUDF(function) => {
                UNSIGNED_WINDOW_FUNCTIONS.contains(&function.name())
            }
            WindowFunctionDefinition::AggregateUDF(function) => {
                UNSIGNED_AGGREGATES.contains(&function.name())
            }
        };
        let mut call = call;
        call.args = with_casts_named(call.args)?;
        if !is_unsigned {
            return Ok(PlannerResult::Original(call));
        }
        let mut window = WindowFunction::new(call.func_def, call.args);
        window.params.partition_by = call.partition_by;
        window.params.order_by = call.order_by;
        window.params.window_frame = call.window_frame;
        window.params.filter = call.filter;
        window.params.null_treatment = call.null_treatment;
        window.params.distinct = call.distinct;
        Ok(PlannerResult::Planned(cast(Expr::from(window), DataType::Int64)))
    }
}

/// The planner names a cast as what it casts, and wants the calls of one query to have different names.
fn with_casts_named(arguments: Vec<Expr>) -> Result<Vec<Expr>> {
    let named = |argument: Expr| {
        let has_cast = argument.exists(|part| Ok(matches!(part, Expr::Cast(_) | Expr::TryCast(_))))?;
        Ok(if has_cast {
            let name = argument.to_string();
            argument.alias(name)
        } else {
            argument
        })
    };
    arguments.into_iter().map(named).collect()
}
