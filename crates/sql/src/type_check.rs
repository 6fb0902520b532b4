//! Trino's strictness: operators do not turn text into numbers and dates on their own.

use arrow::datatypes::DataType;
use base::{Error, ErrorCode, Result};
use connector::error::from_datafusion;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use types::Type;

/// Refuses comparisons and arithmetic between text and what is not text, anywhere in a plan whose types have not been
/// coerced yet.
///
/// # Errors
/// `TYPE_MISMATCH`.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    let walked = plan.apply_with_subqueries(|node| {
        let schema = input_schema(node);
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if found.is_none() {
                    found = mismatch(part, &schema);
                }
                Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    });
    match (walked, found) {
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(from_datafusion(&error)),
        (Ok(_), None) => Ok(()),
    }
}

fn input_schema(node: &LogicalPlan) -> DFSchemaRef {
    match node.inputs().as_slice() {
        [] => DFSchemaRef::clone(node.schema()),
        [input] => DFSchemaRef::clone(input.schema()),
        inputs => DFSchemaRef::new(merge_schema(inputs)),
    }
}

fn mismatch(expression: &Expr, schema: &DFSchema) -> Option<Error> {
    let pairs: Vec<(&Expr, &str, &Expr)> = match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            vec![(left.as_ref(), symbol(*op)?, right.as_ref())]
        }
        Expr::Between(between) => vec![
            (between.expr.as_ref(), "<=", between.low.as_ref()),
            (between.expr.as_ref(), "<=", between.high.as_ref()),
        ],
        Expr::InList(list) => list.list.iter().map(|item| (list.expr.as_ref(), "=", item)).collect(),
        _ => return None,
    };
    pairs.into_iter().find_map(|(left, operator, right)| {
        // Columns of outer queries are not in the schema: what cannot be typed here is typed by the coercion.
        let left = left.get_type(schema).ok()?;
        let right = right.get_type(schema).ok()?;
        if is_compatible(&left, &right) {
            return None;
        }
        let (left, right) = (Type::from_arrow(&left), Type::from_arrow(&right));
        let text = format!("Cannot apply operator: {left} {operator} {right}");
        Some(Error::new(ErrorCode::TYPE_MISMATCH, text))
    })
}

fn is_compatible(left: &DataType, right: &DataType) -> bool {
    let is_text =
        |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
    let is_other = |data_type: &DataType| {
        data_type.is_numeric() || data_type.is_temporal() || *data_type == DataType::Boolean
    };
    let mixes_text = (is_text(left) && is_other(right)) || (is_other(left) && is_text(right));
    let is_boolean = |data_type: &DataType| *data_type == DataType::Boolean;
    let mixes_boolean = (is_boolean(left) && right.is_numeric()) || (left.is_numeric() && is_boolean(right));
    !mixes_text && !mixes_boolean
}

fn symbol(operator: Operator) -> Option<&'static str> {
    Some(match operator {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        Operator::Plus => "+",
        Operator::Minus => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Modulo => "%",
        Operator::StringConcat => "||",
        _ => return None,
    })
}
