//! What part of the rows a predicate keeps.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_plan::PhysicalExpr;

use super::column::{ColumnEstimate, as_number};
use super::{Estimate, plain_column};

/// Equality with a value, where it is not known how many values there are.
const EQUAL: f64 = 0.1;
/// A comparison with a value, where it is not known between what values the column lies.
const LESS: f64 = 1.0 / 3.0;
/// A comparison of two columns: as likely as its opposite.
const LESS_THAN_COLUMN: f64 = 0.5;
/// A pattern.
const LIKE: f64 = 0.1;
/// A list of values never keeps more than this where it is not known how many values there are.
const LIST_MAX: f64 = 0.5;
/// A condition of which nothing is known.
pub(crate) const UNKNOWN_FRACTION: f64 = 1.0 / 3.0;

/// The rows that a predicate keeps.
pub(crate) fn filtered(mut rows: Estimate, predicate: &Arc<dyn PhysicalExpr>) -> Estimate {
    for condition in split_conjunction(predicate) {
        let kept = fraction(&rows, condition);
        let narrowed = narrowed_column(&rows, condition, kept);
        rows = rows.part(kept);
        if let Some((index, column)) = narrowed {
            rows.columns[index] = column;
        }
    }
    rows
}

/// The part of the rows that a condition keeps, from 0 to 1.
pub(crate) fn fraction(rows: &Estimate, condition: &Arc<dyn PhysicalExpr>) -> f64 {
    let fraction = if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        of_binary(rows, binary)
    } else if let Some(not) = condition.downcast_ref::<NotExpr>() {
        1.0 - fraction(rows, not.arg())
    } else if let Some(list) = condition.downcast_ref::<InListExpr>() {
        let any = of_list(rows, list);
        if list.negated() { 1.0 - any } else { any }
    } else if let Some(like) = condition.downcast_ref::<LikeExpr>() {
        if like.negated() { 1.0 - LIKE } else { LIKE }
    } else if let Some(null) = condition.downcast_ref::<IsNullExpr>() {
        nulls(rows, null.arg())
    } else if let Some(not_null) = condition.downcast_ref::<IsNotNullExpr>() {
        1.0 - nulls(rows, not_null.arg())
    } else if let Some(literal) = condition.downcast_ref::<Literal>() {
        if *literal.value() == ScalarValue::Boolean(Some(true)) { 1.0 } else { 0.0 }
    } else {
        UNKNOWN_FRACTION
    };
    fraction.clamp(0.0, 1.0)
}

/// Whether a condition compares a column with a value, and it is known between what values the column lies.
pub(crate) fn is_certain(rows: &Estimate, condition: &Arc<dyn PhysicalExpr>) -> bool {
    let binary = condition.downcast_ref::<BinaryExpr>().filter(|binary| is_comparison(*binary.op()));
    let compared = binary.and_then(|binary| column_and_value(*binary.op(), binary.left(), binary.right()));
    compared.is_some_and(|(column, _, value)| {
        let range = rows.columns.get(column).and_then(|column| column.range);
        range.is_some() && as_number(value).is_some()
    })
}

fn nulls(rows: &Estimate, of: &Arc<dyn PhysicalExpr>) -> f64 {
    column(rows, of).map_or(EQUAL, |column| column.nulls)
}

fn column<'a>(rows: &'a Estimate, expr: &Arc<dyn PhysicalExpr>) -> Option<&'a ColumnEstimate> {
    rows.columns.get(plain_column(expr)?)
}

fn of_binary(rows: &Estimate, binary: &BinaryExpr) -> f64 {
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        Operator::And => {
            let all: Arc<dyn PhysicalExpr> = Arc::new(binary.clone());
            filtered(rows.clone(), &all).rows / rows.rows
        }
        Operator::Or => {
            let (one, other) = (fraction(rows, left), fraction(rows, right));
            one + other - one * other
        }
        Operator::LikeMatch | Operator::ILikeMatch => LIKE,
        op if is_comparison(*op) => of_comparison(rows, *op, left, right),
        _ => UNKNOWN_FRACTION,
    }
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn of_comparison(
    rows: &Estimate,
    op: Operator,
    left: &Arc<dyn PhysicalExpr>,
    right: &Arc<dyn PhysicalExpr>,
) -> f64 {
    let is_equality = matches!(op, Operator::Eq | Operator::IsNotDistinctFrom);
    let is_inequality = matches!(op, Operator::NotEq | Operator::IsDistinctFrom);
    if let Some((index, op, value)) = column_and_value(op, left, right) {
        return rows.columns.get(index).map_or(UNKNOWN_FRACTION, |column| compared(column, op, value));
    }
    let equal = match (column(rows, left), column(rows, right)) {
        (Some(one), Some(other)) => 1.0 / one.distinct.max(other.distinct),
        _ => EQUAL,
    };
    if is_equality {
        equal
    } else if is_inequality {
        1.0 - equal
    } else if left.is::<Literal>() || right.is::<Literal>() {
        LESS
    } else {
        LESS_THAN_COLUMN
    }
}

/// A column, what it is compared by, and with what value, if that is what is compared.
fn column_and_value<'a>(
    op: Operator,
    left: &'a Arc<dyn PhysicalExpr>,
    right: &'a Arc<dyn PhysicalExpr>,
) -> Option<(usize, Operator, &'a ScalarValue)> {
    if let (Some(index), Some(literal)) = (plain_column(left), right.downcast_ref::<Literal>()) {
        return Some((index, op, literal.value()));
    }
    if let (Some(literal), Some(index)) = (left.downcast_ref::<Literal>(), plain_column(right)) {
        return Some((index, op.swap()?, literal.value()));
    }
    None
}

fn compared(column: &ColumnEstimate, op: Operator, value: &ScalarValue) -> f64 {
    let not_null = 1.0 - column.nulls;
    let number = as_number(value);
    match op {
        Operator::Eq | Operator::IsNotDistinctFrom => not_null * equal(column, number),
        Operator::NotEq | Operator::IsDistinctFrom => not_null * (1.0 - equal(column, number)),
        _ => match (column.bell, column.range, number) {
            (Some(bell), _, Some(number)) => part_of_bell(bell, op, number),
            (None, Some(range), Some(number)) => not_null * part_of_range(range, op, number),
            _ => not_null * LESS,
        },
    }
}

fn equal(column: &ColumnEstimate, value: Option<f64>) -> f64 {
    match (column.range, value) {
        (Some((min, max)), Some(value)) if value < min || value > max => 0.0,
        (Some(_), _) => 1.0 / column.distinct,
        _ if column.counted => 1.0 / column.distinct,
        _ => EQUAL.max(1.0 / column.distinct),
    }
}

fn part_of_range((min, max): (f64, f64), op: Operator, value: f64) -> f64 {
    let below = if max > min { ((value - min) / (max - min)).clamp(0.0, 1.0) } else { 0.5 };
    match op {
        Operator::Lt | Operator::LtEq if value < min => 0.0,
        Operator::Lt | Operator::LtEq if value >= max => 1.0,
        Operator::Gt | Operator::GtEq if value > max => 0.0,
        Operator::Gt | Operator::GtEq if value <= min => 1.0,
        Operator::Lt | Operator::LtEq => below,
        _ => 1.0 - below,
    }
}

/// The logistic function with this factor is close to the normal distribution.
const LOGISTIC: f64 = 1.702;

fn part_of_bell((mean, deviation): (f64, f64), op: Operator, value: f64) -> f64 {
    let below = 1.0 / (1.0 + (-LOGISTIC * (value - mean) / deviation).exp());
    if matches!(op, Operator::Lt | Operator::LtEq) { below } else { 1.0 - below }
}

fn of_list(rows: &Estimate, list: &InListExpr) -> f64 {
    let values = list.list().len() as f64;
    match column(rows, list.expr()) {
        Some(column) if column.counted || column.range.is_some() => {
            (1.0 - column.nulls) * values / column.distinct
        }
        _ => (values * EQUAL).min(LIST_MAX),
    }
}

/// The column that a condition is about, if it is about one only, as it is in the rows that it keeps.
fn narrowed_column(
    rows: &Estimate,
    condition: &Arc<dyn PhysicalExpr>,
    kept: f64,
) -> Option<(usize, ColumnEstimate)> {
    let mut used = datafusion::physical_expr::utils::collect_columns(condition).into_iter();
    let (index, None) = (used.next()?.index(), used.next()) else {
        return None;
    };
    let before = rows.columns.get(index)?;
    let mut column = before.clone();
    let binary = condition.downcast_ref::<BinaryExpr>();
    match binary.and_then(|binary| column_and_value(*binary.op(), binary.left(), binary.right())) {
        Some((_, Operator::Eq, value)) => {
            let number = as_number(value);
            column.keep_values(1.0, number.map(|number| (number, number)));
        }
        Some((_, op, value)) => {
            let range = before.range.map(|(min, max)| match (op, as_number(value)) {
                (Operator::Lt | Operator::LtEq, Some(value)) => (min, max.min(value).max(min)),
                (Operator::Gt | Operator::GtEq, Some(value)) => (min.max(value).min(max), max),
                _ => (min, max),
            });
            column.keep_values(before.distinct * kept, range);
        }
        None => column.keep_values(before.distinct * kept, before.range),
    }
    Some((index, column))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::{DFSchema, Statistics};
    use datafusion::logical_expr::{Expr, col, in_list, lit};

    use super::*;
    use crate::estimate::logical::with_condition;

    /// A thousand rows: `counted` has 50 values from 0 to 99, `bounded` lies there too, `unknown` is text.
    fn rows() -> (Estimate, DFSchema) {
        let fields =
            [("counted", DataType::Int64), ("bounded", DataType::Int64), ("unknown", DataType::Utf8)];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        let schema = Schema::new(fields.to_vec());
        let mut rows = Estimate::from_statistics(
            &Statistics {
                num_rows: datafusion::common::stats::Precision::Inexact(1000),
                ..Statistics::new_unknown(&schema)
            },
            &schema,
        )
        .unwrap();
        rows.columns[0] = ColumnEstimate {
            distinct: 50.0,
            domain: 50.0,
            counted: true,
            range: Some((0.0, 99.0)),
            ..rows.columns[0].clone()
        };
        rows.columns[1].range = Some((0.0, 99.0));
        rows.columns[1].nulls = 0.5;
        (rows, DFSchema::try_from(schema).unwrap())
    }

    fn kept(condition: &Expr) -> f64 {
        let (rows, schema) = rows();
        with_condition(rows, condition, &schema).rows.round()
    }

    #[test]
    fn conditions_keep_what_statistics_say() {
        let (counted, bounded, unknown) = (col("counted"), col("bounded"), col("unknown"));
        for (condition, expected) in [
            (counted.clone().eq(lit(7_i64)), 20.0),
            (lit(7_i64).eq(counted.clone()), 20.0),
            (counted.clone().not_eq(lit(7_i64)), 980.0),
            // Outside of the range: nothing, but an estimate is never none.
            (counted.clone().eq(lit(100_i64)), 1.0),
            (counted.clone().gt(lit(100_i64)), 1.0),
            (counted.clone().lt(lit(0_i64)), 1.0),
            (counted.clone().lt_eq(lit(1000_i64)), 1000.0),
            (counted.clone().lt(lit(33_i64)), 333.0),
            (lit(33_i64).gt(counted.clone()), 333.0),
            (counted.clone().gt_eq(lit(33_i64)).and(counted.clone().lt(lit(66_i64))), 333.0),
            (in_list(counted.clone(), vec![lit(1_i64), lit(2_i64), lit(3_i64)], false), 60.0),
            (in_list(counted.clone(), vec![lit(1_i64), lit(2_i64), lit(3_i64)], true), 940.0),
            (counted.clone().eq(lit(1_i64)).or(counted.clone().eq(lit(2_i64))), 40.0),
            (bounded.clone().is_null(), 500.0),
            (bounded.clone().is_not_null(), 500.0),
            (bounded.clone().lt(lit(33_i64)), 167.0),
            (counted.lt(bounded), 500.0),
            (unknown.clone().eq(lit("x")), 100.0),
            (unknown.clone().like(lit("x%")), 100.0),
            (unknown.clone().not_like(lit("x%")), 900.0),
            (unknown.lt(lit("x")), 333.0),
            (lit(false), 1.0),
            (lit(true), 1000.0),
        ] {
            let found = kept(&condition);
            assert!((found - expected).abs() <= 1.0, "{condition}: {found} instead of {expected}");
        }
    }

    #[test]
    fn a_condition_narrows_the_column_it_is_about_and_no_other() {
        let (rows, schema) = rows();
        let narrowed = with_condition(rows, &col("counted").lt(lit(33_i64)), &schema);
        let (counted, unknown) = (&narrowed.columns[0], &narrowed.columns[2]);
        assert_eq!(counted.range, Some((0.0, 33.0)));
        assert!((counted.domain - 16.7).abs() < 0.1, "{counted:?}");
        // All values of the other column may still be met on the other side of a join.
        assert!((unknown.domain - 1000.0).abs() < 0.1 && unknown.distinct < 350.0, "{unknown:?}");
    }
}
