//! The cells of one column, in the form they are written from.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, LargeStringArray, StringArray,
    StringViewArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use base::{Error, ErrorCode, Result};

use super::number::{write_decimal, write_display, write_double, write_real};
use super::temporal::{
    Fraction, Zone, write_date, write_day_to_second, write_time, write_timestamp, write_year_to_month,
};
use super::text::{write_base64, write_escaped, write_padded, write_string, write_uuid};
use crate::capability::ClientCapabilities;
use crate::trino_type::Type;

const MILLIS_PER_DAY: i64 = 86_400_000;
const NANOS_PER_MILLI: i64 = 1_000_000;

/// A column, or what is nested in one.
#[derive(Debug)]
pub(super) struct Cells {
    nulls: Option<NullBuffer>,
    values: Values,
}

/// The values that are not null. Each variant knows how its values are written.
#[derive(Debug)]
enum Values {
    Null,
    Boolean(BooleanBuffer),
    Tinyint(ScalarBuffer<i8>),
    Smallint(ScalarBuffer<i16>),
    Integer(ScalarBuffer<i32>),
    Bigint(ScalarBuffer<i64>),
    Real(ScalarBuffer<f32>),
    Double(ScalarBuffer<f64>),
    Decimal { unscaled: ScalarBuffer<i128>, scale: u8 },
    Varchar(Strings),
    Char { strings: Strings, length: usize },
    Varbinary(BinaryArray),
    Uuid(FixedSizeBinaryArray),
    Date(ScalarBuffer<i32>),
    Time { values: ScalarBuffer<i64>, unit: TimeUnit, fraction: Fraction },
    Timestamp { values: ScalarBuffer<i64>, unit: TimeUnit, fraction: Fraction, zone: Option<Zone> },
    DayToSecond(ScalarBuffer<i64>),
    YearToMonth(ScalarBuffer<i32>),
    Array { offsets: OffsetBuffer<i32>, elements: Box<Cells> },
    Map { offsets: OffsetBuffer<i32>, keys: Box<Cells>, values: Box<Cells> },
    Row(Vec<Cells>),
}

/// The layouts of strings that the executor returns.
#[derive(Debug)]
enum Strings {
    Offsets(StringArray),
    LargeOffsets(LargeStringArray),
    Views(StringViewArray),
}

impl Strings {
    fn new(array: &ArrayRef) -> Option<Strings> {
        Some(match array.data_type() {
            DataType::Utf8 => Strings::Offsets(array.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Strings::LargeOffsets(array.as_string::<i64>().clone()),
            DataType::Utf8View => Strings::Views(array.as_string_view().clone()),
            _ => return None,
        })
    }

    fn value(&self, row: usize) -> &str {
        match self {
            Strings::Offsets(array) => array.value(row),
            Strings::LargeOffsets(array) => array.value(row),
            Strings::Views(array) => array.value(row),
        }
    }
}

impl Cells {
    /// Takes an Arrow array as a column of a type.
    pub(super) fn new(
        column_type: &Type,
        array: &ArrayRef,
        capabilities: ClientCapabilities,
    ) -> Result<Cells> {
        let nested = |inner: &Type, array: &ArrayRef| Cells::new(inner, array, capabilities).map(Box::new);
        let fraction = |precision: &u8| Fraction::new(*precision, capabilities.parametric_datetime);
        let values = match (column_type, array.data_type()) {
            (_, DataType::Null) => Values::Null,
            (_, DataType::Dictionary(_, plain)) => {
                return Cells::new(column_type, &cast(array, plain)?, capabilities);
            }
            (_, DataType::RunEndEncoded(_, plain)) => {
                return Cells::new(column_type, &cast(array, plain.data_type())?, capabilities);
            }
            (Type::Boolean, DataType::Boolean) => Values::Boolean(array.as_boolean().values().clone()),
            (Type::Tinyint, DataType::Int8) => {
                Values::Tinyint(array.as_primitive::<Int8Type>().values().clone())
            }
            (Type::Smallint, DataType::Int16) => {
                Values::Smallint(array.as_primitive::<Int16Type>().values().clone())
            }
            (Type::Integer, DataType::Int32) => {
                Values::Integer(array.as_primitive::<Int32Type>().values().clone())
            }
            (Type::Bigint, DataType::Int64) => {
                Values::Bigint(array.as_primitive::<Int64Type>().values().clone())
            }
            (Type::Real, DataType::Float32) => {
                Values::Real(array.as_primitive::<Float32Type>().values().clone())
            }
            (Type::Double, DataType::Float64) => {
                Values::Double(array.as_primitive::<Float64Type>().values().clone())
            }
            (Type::Decimal { scale, .. }, DataType::Decimal128(_, stored))
                if u8::try_from(*stored) == Ok(*scale) =>
            {
                let unscaled = array.as_primitive::<Decimal128Type>().values().clone();
                Values::Decimal { unscaled, scale: *scale }
            }
            (Type::Uuid, DataType::FixedSizeBinary(16)) => Values::Uuid(array.as_fixed_size_binary().clone()),
            (Type::Varbinary, DataType::Binary) => Values::Varbinary(array.as_binary::<i32>().clone()),
            (Type::Date, DataType::Date32) => {
                Values::Date(array.as_primitive::<Date32Type>().values().clone())
            }
            (Type::Time { precision }, DataType::Time32(unit) | DataType::Time64(unit)) => {
                Values::Time { values: time_ticks(array, *unit), unit: *unit, fraction: fraction(precision) }
            }
            (Type::Timestamp { precision }, DataType::Timestamp(unit, None)) => Values::Timestamp {
                values: timestamp_ticks(array, *unit),
                unit: *unit,
                fraction: fraction(precision),
                zone: None,
            },
            (Type::TimestampWithTimeZone { precision }, DataType::Timestamp(unit, Some(zone))) => {
                Values::Timestamp {
                    values: timestamp_ticks(array, *unit),
                    unit: *unit,
                    fraction: fraction(precision),
                    zone: Some(Zone::new(zone)?),
                }
            }
            (Type::IntervalDayToSecond, DataType::Duration(_) | DataType::Interval(_)) => {
                Values::DayToSecond(interval_millis(array)?)
            }
            (Type::IntervalYearToMonth, DataType::Interval(IntervalUnit::YearMonth)) => {
                Values::YearToMonth(array.as_primitive::<IntervalYearMonthType>().values().clone())
            }
            (Type::Array(element), DataType::List(_)) => {
                let list = array.as_list::<i32>();
                Values::Array { offsets: list.offsets().clone(), elements: nested(element, list.values())? }
            }
            (
                Type::Array(_),
                DataType::LargeList(item)
                | DataType::FixedSizeList(item, _)
                | DataType::ListView(item)
                | DataType::LargeListView(item),
            ) => {
                let list = cast(array, &DataType::List(Arc::clone(item)))?;
                return Cells::new(column_type, &list, capabilities);
            }
            (Type::Map(key, value), DataType::Map(..)) => {
                let map = array.as_map();
                Values::Map {
                    offsets: map.offsets().clone(),
                    keys: nested(key, map.keys())?,
                    values: nested(value, map.values())?,
                }
            }
            (Type::Row(fields), DataType::Struct(stored)) if fields.len() == stored.len() => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let columns =
                    columns.map(|(field, array)| Cells::new(&field.field_type, array, capabilities));
                Values::Row(columns.collect::<Result<_>>()?)
            }
            (Type::Varchar { .. } | Type::Json | Type::Char { .. }, stored) => {
                let strings = Strings::new(array).ok_or_else(|| not_carried(column_type, stored))?;
                match column_type {
                    Type::Char { length } => Values::Char { strings, length: *length as usize },
                    _ => Values::Varchar(strings),
                }
            }
            (_, stored) if may_be_cast(column_type, stored) => {
                return Cells::new(column_type, &cast(array, &column_type.to_arrow())?, capabilities);
            }
            (_, stored) => return Err(not_carried(column_type, stored)),
        };
        Ok(Cells { nulls: array.logical_nulls(), values })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Writes one cell.
    pub(super) fn write(&self, row: usize, out: &mut String) {
        if self.is_null(row) {
            out.push_str("null");
            return;
        }
        match &self.values {
            Values::Null => out.push_str("null"),
            Values::Boolean(values) => out.push_str(if values.value(row) { "true" } else { "false" }),
            Values::Tinyint(values) => write_display(values[row], out),
            Values::Smallint(values) => write_display(values[row], out),
            Values::Integer(values) => write_display(values[row], out),
            Values::Bigint(values) => write_display(values[row], out),
            Values::Real(values) => write_real(values[row], out),
            Values::Double(values) => write_double(values[row], out),
            Values::Decimal { unscaled, scale } => write_decimal(unscaled[row], *scale, out),
            Values::Varchar(strings) => write_string(strings.value(row), out),
            Values::Char { strings, length } => write_padded(strings.value(row), *length, out),
            Values::Varbinary(values) => write_base64(values.value(row), out),
            Values::Uuid(values) => write_uuid(values.value(row), out),
            Values::Date(values) => write_date(i64::from(values[row]), out),
            Values::Time { values, unit, fraction } => write_time(values[row], *unit, *fraction, out),
            Values::Timestamp { values, unit, fraction, zone } => {
                write_timestamp(values[row], *unit, *fraction, zone.as_ref(), out);
            }
            Values::DayToSecond(values) => write_day_to_second(values[row], out),
            Values::YearToMonth(values) => write_year_to_month(values[row], out),
            Values::Array { offsets, elements } => {
                out.push('[');
                for (at, element) in range(offsets, row).enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    elements.write(element, out);
                }
                out.push(']');
            }
            Values::Map { offsets, keys, values } => {
                out.push('{');
                for (at, entry) in range(offsets, row).enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    keys.write_key(entry, out);
                    out.push(':');
                    values.write(entry, out);
                }
                out.push('}');
            }
            Values::Row(fields) => {
                out.push('[');
                for (at, field) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    field.write(row, out);
                }
                out.push(']');
            }
        }
    }

    /// Writes one cell as the key of an object, which is always a string.
    fn write_key(&self, row: usize, out: &mut String) {
        let start = out.len();
        self.write(row, out);
        let is_string = out[start..].starts_with('"');
        if !is_string {
            let value = out.split_off(start);
            out.push('"');
            write_escaped(&value, out);
            out.push('"');
        }
    }
}

fn range(offsets: &OffsetBuffer<i32>, row: usize) -> std::ops::Range<usize> {
    // Offsets in Arrow are never negative.
    offsets[row] as usize..offsets[row + 1] as usize
}

/// Whether a column of another Arrow type may be brought to the type's own.
fn may_be_cast(column_type: &Type, stored: &DataType) -> bool {
    match column_type {
        Type::Tinyint | Type::Smallint | Type::Integer | Type::Bigint => stored.is_integer(),
        Type::Real | Type::Double => stored.is_floating(),
        Type::Decimal { .. } => stored.is_decimal(),
        Type::Varbinary => {
            matches!(stored, DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
        }
        Type::Date => *stored == DataType::Date64,
        _ => false,
    }
}

fn cast(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, target, &options).map_err(|error| {
        let message = format!("Cannot return a value of {} as {target}", array.data_type());
        Error::new(ErrorCode::NUMERIC_VALUE_OUT_OF_RANGE, message).caused_by(error)
    })
}

fn not_carried(column_type: &Type, stored: &DataType) -> Error {
    Error::internal(format!("a column of type {column_type} cannot be carried by Arrow's {stored}"))
}

fn time_ticks(array: &ArrayRef, unit: TimeUnit) -> ScalarBuffer<i64> {
    let widened = |values: &ScalarBuffer<i32>| values.iter().copied().map(i64::from).collect();
    match unit {
        TimeUnit::Second => widened(array.as_primitive::<Time32SecondType>().values()),
        TimeUnit::Millisecond => widened(array.as_primitive::<Time32MillisecondType>().values()),
        TimeUnit::Microsecond => array.as_primitive::<Time64MicrosecondType>().values().clone(),
        TimeUnit::Nanosecond => array.as_primitive::<Time64NanosecondType>().values().clone(),
    }
}

fn timestamp_ticks(array: &ArrayRef, unit: TimeUnit) -> ScalarBuffer<i64> {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values().clone(),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values().clone(),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values().clone(),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values().clone(),
    }
}

/// The lengths of intervals in milliseconds. What is less is cut off.
fn interval_millis(array: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    Ok(match array.data_type() {
        DataType::Duration(TimeUnit::Second) => {
            let values = array.as_primitive::<DurationSecondType>().values();
            values.iter().map(|seconds| seconds.saturating_mul(1000)).collect()
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            array.as_primitive::<DurationMillisecondType>().values().clone()
        }
        DataType::Duration(TimeUnit::Microsecond) => array
            .as_primitive::<DurationMicrosecondType>()
            .values()
            .iter()
            .map(|micros| micros / 1000)
            .collect(),
        DataType::Duration(TimeUnit::Nanosecond) => {
            let values = array.as_primitive::<DurationNanosecondType>().values();
            values.iter().map(|nanos| nanos / NANOS_PER_MILLI).collect()
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let values = array.as_primitive::<IntervalDayTimeType>().values();
            let millis = |days: i32, millis: i32| i64::from(days) * MILLIS_PER_DAY + i64::from(millis);
            values.iter().map(|value| millis(value.days, value.milliseconds)).collect()
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let array = array.as_primitive::<IntervalMonthDayNanoType>();
            if array.iter().flatten().any(|value| value.months != 0) {
                return Err(Error::not_supported(
                    "An interval cannot have months together with days or seconds",
                ));
            }
            let millis = |days: i32, nanos: i64| i64::from(days) * MILLIS_PER_DAY + nanos / NANOS_PER_MILLI;
            array.values().iter().map(|value| millis(value.days, value.nanoseconds)).collect()
        }
        stored => return Err(not_carried(&Type::IntervalDayToSecond, stored)),
    })
}
