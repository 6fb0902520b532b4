//! Arithmetic as Trino has it: on integers it fails instead of wrapping around, on decimals it rounds instead of
//! cutting off.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;
use operators::{DecimalDivision, IntegerArithmetic, IntegerOperator, integer_arithmetic, is_trino_integer};

/// Puts [functions that fail on overflow](IntegerArithmetic) where integers are added, subtracted, multiplied or
/// negated, and [one that rounds](DecimalDivision) where decimals are divided. It runs after types are coerced, and
/// before constants are folded.
#[derive(Debug)]
pub(crate) struct TrinoArithmetic;

impl AnalyzerRule for TrinoArithmetic {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite_node).data()
    }

    fn name(&self) -> &str {
        "trino_arithmetic"
    }
}

fn rewrite_node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&node.inputs());
    if let LogicalPlan::TableScan(scan) = &node {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|part| rewrite_expression(part, &schema))?;
        Ok(rewritten.update_data(|rewritten| name.restore(rewritten)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}

fn rewrite_expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(binary) => {
            if let Some(operator) = IntegerOperator::of(binary.op)
                && is_integer(&binary.left, schema)?
                && is_integer(&binary.right, schema)?
            {
                let arguments = vec![*binary.left, *binary.right];
                return Ok(Transformed::yes(integer_arithmetic(operator, arguments)));
            }
            if binary.op == Operator::Divide
                && is_decimal(&binary.left, schema)?
                && is_decimal(&binary.right, schema)?
            {
                let division = Arc::new(ScalarUDF::from(DecimalDivision::default()));
                return Ok(Transformed::yes(division.call(vec![*binary.left, *binary.right])));
            }
            Ok(Transformed::no(Expr::BinaryExpr(binary)))
        }
        Expr::Negative(argument) if is_integer(&argument, schema)? => {
            Ok(Transformed::yes(integer_arithmetic(IntegerOperator::Negate, vec![*argument])))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Whether the type is an integer. Long chains are not walked again for each of their links.
fn is_integer(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    match expr {
        Expr::ScalarFunction(call) if call.func.inner().is::<IntegerArithmetic>() => Ok(true),
        other => Ok(is_trino_integer(&other.get_type(schema)?)),
    }
}

fn is_decimal(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    match expr {
        Expr::ScalarFunction(call) if call.func.inner().is::<DecimalDivision>() => Ok(true),
        other => Ok(matches!(other.get_type(schema)?, DataType::Decimal128(..))),
    }
}
