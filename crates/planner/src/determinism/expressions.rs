//! Which expressions give the same value for the same row in every run.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Volatility;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LambdaExpr,
    LambdaVariable, LikeExpr, Literal, NegativeExpr, NoOp, NotExpr, TryCastExpr,
};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{HigherOrderFunctionExpr, ScalarFunctionExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

/// The expressions of an operator.
pub(super) fn expressions_of(node: &Arc<dyn ExecutionPlan>) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    if let Some(sort) = node.downcast_ref::<SortExec>() {
        // A sort that keeps the first rows has a filter for itself besides, which changes nothing.
        return Ok(sort.expr().iter().map(|key| Arc::clone(&key.expr)).collect());
    }
    let mut expressions = Vec::new();
    node.apply_expressions(&mut |expression| {
        expressions.push(Arc::clone(expression));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(expressions)
}

/// Whether every expression gives the same value for the same row in every run.
pub(super) fn are_determinate(expressions: &[Arc<dyn PhysicalExpr>]) -> Result<bool> {
    let mut determinate = true;
    for expression in expressions {
        expression.apply(|part| {
            determinate &= is_part_determinate(part);
            Ok(if determinate { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })?;
    }
    Ok(determinate)
}

fn is_part_determinate(part: &Arc<dyn PhysicalExpr>) -> bool {
    // What is stable, as the time of the query is, is a literal by now.
    if let Some(call) = part.downcast_ref::<ScalarFunctionExpr>() {
        return call.fun().signature().volatility == Volatility::Immutable;
    }
    if let Some(call) = part.downcast_ref::<HigherOrderFunctionExpr>() {
        return call.fun().signature().volatility == Volatility::Immutable;
    }
    part.is::<Column>()
        || part.is::<Literal>()
        || part.is::<BinaryExpr>()
        || part.is::<CaseExpr>()
        || part.is::<CastExpr>()
        || part.is::<TryCastExpr>()
        || part.is::<InListExpr>()
        || part.is::<IsNullExpr>()
        || part.is::<IsNotNullExpr>()
        || part.is::<LikeExpr>()
        || part.is::<NegativeExpr>()
        || part.is::<NotExpr>()
        || part.is::<NoOp>()
        || part.is::<LambdaExpr>()
        || part.is::<LambdaVariable>()
        || part.is::<ScalarSubqueryExpr>()
}
