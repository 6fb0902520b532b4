//! Which window functions give the same value for the same row in any order of rows that are equal in theirs.

use std::sync::Arc;

use datafusion::logical_expr::{Volatility, WindowFrame, WindowFrameUnits};
use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::{WindowExpr, WindowUDFExpr};

use super::aggregates::{Needs, needs_of};
use super::{Inputs, unique};

/// Functions that give rows which are equal in the order the same value.
const OF_PEERS: [&str; 4] = ["cume_dist", "dense_rank", "percent_rank", "rank"];

/// Functions that tell rows apart which are equal in the order.
const OF_ROWS: [&str; 7] = ["first_value", "lag", "last_value", "lead", "nth_value", "ntile", "row_number"];

/// Whether every function gives each row of the input the same value in every run.
pub(super) fn are_determinate(
    functions: &[Arc<dyn WindowExpr>],
    input: &Arc<dyn ExecutionPlan>,
    inputs: &Inputs<'_>,
) -> bool {
    functions.iter().all(|function| {
        let order = function.order_by().iter().map(|key| &key.expr);
        let is_total = unique::is_total(function.partition_by().iter().chain(order), input, inputs);
        is_function_determinate(function, is_total)
    })
}

/// `is_total`: no two rows of a partition are equal in the order, unless they are the same.
fn is_function_determinate(function: &Arc<dyn WindowExpr>, is_total: bool) -> bool {
    let function = function.as_any();
    let (aggregate, frame) = if let Some(plain) = function.downcast_ref::<PlainAggregateWindowExpr>() {
        (plain.get_aggregate_expr(), plain.get_window_frame())
    } else if let Some(sliding) = function.downcast_ref::<SlidingAggregateWindowExpr>() {
        (sliding.get_aggregate_expr(), sliding.get_window_frame())
    } else {
        let Some(standard) = function.downcast_ref::<StandardWindowExpr>() else {
            return false;
        };
        let standard = standard.get_standard_func_expr().as_any();
        let Some(call) = standard.downcast_ref::<WindowUDFExpr>() else {
            return false;
        };
        let name = call.fun().name();
        return call.fun().signature().volatility == Volatility::Immutable
            && (OF_PEERS.contains(&name) || (is_total && OF_ROWS.contains(&name)));
    };
    // What rounds does so by batches too, which are others each time even if the order is the same.
    needs_of(aggregate).is_ok_and(|needs| needs == Needs::SameRows) && (is_total || has_whole_peers(frame))
}

/// Whether rows that are equal in the order have the same frame, which has all of them or none.
fn has_whole_peers(frame: &WindowFrame) -> bool {
    match frame.units {
        WindowFrameUnits::Range | WindowFrameUnits::Groups => true,
        WindowFrameUnits::Rows => frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded(),
    }
}
