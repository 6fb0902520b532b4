//! What is known of the values of a column.

use arrow::datatypes::{DataType, Field};
use datafusion::common::{ColumnStatistics, ScalarValue};

/// What a value of a type without a fixed width is taken to have, in bytes.
const VARIABLE_WIDTH_BYTES: f64 = 24.0;

/// The values of a column.
#[derive(Clone, Debug)]
pub(crate) struct ColumnEstimate {
    /// How many different ones there are in the rows.
    pub(crate) distinct: f64,
    /// How many different ones there were before conditions on other columns took rows away. The keys of a table and
    /// those that refer to it have the same domain, so one of so many rows of the other side has a given key.
    pub(crate) domain: f64,
    /// Whether these numbers were counted. If not, they are bounds from above.
    pub(crate) counted: bool,
    /// The part of the rows that have none, from 0 to 1.
    pub(crate) nulls: f64,
    /// Between what numbers they lie, both included.
    pub(crate) range: Option<(f64, f64)>,
    /// If they lie like a bell around their mean, as sums of many values do: the mean and the standard deviation.
    pub(crate) bell: Option<(f64, f64)>,
    /// The size of one in bytes.
    pub(crate) width_bytes: f64,
}

impl ColumnEstimate {
    /// A column of which nothing is known.
    pub(crate) fn unknown(data_type: &DataType, rows: f64) -> Self {
        let domain = if *data_type == DataType::Boolean { rows.min(2.0) } else { rows };
        ColumnEstimate {
            distinct: domain,
            domain,
            counted: false,
            nulls: 0.0,
            range: None,
            bell: None,
            width_bytes: width_bytes(data_type),
        }
    }

    pub(super) fn from_statistics(known: &ColumnStatistics, field: &Field, rows: f64) -> Self {
        let unknown = ColumnEstimate::unknown(field.data_type(), rows);
        let min = known.min_value.get_value().and_then(as_number);
        let max = known.max_value.get_value().and_then(as_number);
        let range = min.zip(max).filter(|(min, max)| min <= max);
        let counted = known.distinct_count.get_value().map(|count| (*count as f64).clamp(1.0, rows));
        let is_stepped = field.data_type().is_integer() || field.data_type() == &DataType::Date32;
        let bound = match range {
            Some((min, max)) if is_stepped => unknown.domain.min(max - min + 1.0),
            _ => unknown.domain,
        };
        let domain = counted.unwrap_or(bound).max(1.0);
        let nulls = known.null_count.get_value().map_or(0.0, |count| (*count as f64 / rows).clamp(0.0, 1.0));
        ColumnEstimate { distinct: domain, domain, counted: counted.is_some(), nulls, range, ..unknown }
    }

    /// Only this part of the rows is left, which were so many, and which ones has nothing to do with this column.
    pub(super) fn thin_out(&mut self, rows: f64, kept: f64) {
        let rows_per_value = (rows / self.distinct).max(1.0);
        let value_is_left = 1.0 - (1.0 - kept.min(1.0)).powf(rows_per_value);
        self.distinct = (self.distinct * value_is_left).clamp(1.0, (rows * kept).max(1.0));
    }

    /// Only these values are left.
    pub(super) fn keep_values(&mut self, distinct: f64, range: Option<(f64, f64)>) {
        let kept = (distinct / self.distinct).min(1.0);
        self.distinct = distinct.clamp(1.0, self.distinct.max(1.0));
        self.domain = (self.domain * kept).max(1.0);
        self.nulls = 0.0;
        self.range = range;
        self.bell = None;
    }
}

/// The size of a value in bytes.
fn width_bytes(data_type: &DataType) -> f64 {
    match data_type {
        DataType::Boolean => 1.0,
        other => other.primitive_width().map_or(VARIABLE_WIDTH_BYTES, |width| width as f64),
    }
}

/// A value as a number that is greater for greater values, if its type has such numbers.
pub(super) fn as_number(value: &ScalarValue) -> Option<f64> {
    match value {
        ScalarValue::Decimal128(Some(value), _, scale) => {
            Some(*value as f64 / 10_f64.powi(i32::from(*scale)))
        }
        ScalarValue::Date32(Some(days)) => Some(f64::from(*days)),
        ScalarValue::TimestampSecond(Some(value), _)
        | ScalarValue::TimestampMillisecond(Some(value), _)
        | ScalarValue::TimestampMicrosecond(Some(value), _)
        | ScalarValue::TimestampNanosecond(Some(value), _) => Some(*value as f64),
        other if other.data_type().is_numeric() => match other.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(value)) => value.filter(|value| value.is_finite()),
            _ => None,
        },
        _ => None,
    }
}
