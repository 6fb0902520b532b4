//! Statistics of the tables, from what is known of how their rows are made.

use connector::{ColumnStatistics, TableStatistics};
use datafusion::common::ScalarValue;

use crate::config::MoneyType;
use crate::table::{Column, Distinct, Kind, Range, Table};

/// Statistics of a table at a scale factor.
pub(crate) fn of_table(table: Table, scale: f64, money: MoneyType) -> TableStatistics {
    let row_count = table.row_count(scale);
    let columns = table.columns().iter().map(|column| of_column(column, row_count, scale, money)).collect();
    TableStatistics { row_count: Some(row_count), total_bytes: Some(table.total_bytes(scale)), columns }
}

fn of_column(column: &Column, row_count: u64, scale: f64, money: MoneyType) -> ColumnStatistics {
    let distinct_count = match column.distinct {
        Distinct::Count(count) => count,
        Distinct::PerScale(count) => ((count as f64 * scale) as u64).max(1),
    };
    let (min, max) = match column.range {
        Range::Unknown => (None, None),
        Range::Fixed(min, max) => (number(column, min), number(column, max)),
        Range::Keys(per_scale) => (number(column, 1), number(column, (per_scale as f64 * scale) as i64)),
        Range::Amounts(min, max) => (Some(amount(min, money)), Some(amount(max, money))),
        Range::Days(min, max) => (Some(ScalarValue::Date32(Some(min))), Some(ScalarValue::Date32(Some(max)))),
    };
    ColumnStatistics { distinct_count: Some(distinct_count.min(row_count)), null_count: Some(0), min, max }
}

fn number(column: &Column, value: i64) -> Option<ScalarValue> {
    match column.kind {
        Kind::Integer => i32::try_from(value).ok().map(|value| ScalarValue::Int32(Some(value))),
        _ => Some(ScalarValue::Int64(Some(value))),
    }
}

fn amount(hundredths: i64, money: MoneyType) -> ScalarValue {
    match money {
        MoneyType::Double => ScalarValue::Float64(Some(hundredths as f64 / 100.0)),
        MoneyType::Decimal => ScalarValue::Decimal128(Some(i128::from(hundredths)), 12, 2),
    }
}
