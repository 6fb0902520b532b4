//! The Arrow forms of types.
//!
//! Arrow cannot say `varchar(25)`, `char`, `json` or `timestamp(4)`. A field whose Arrow type says too little
//! carries the type in its metadata. The metadata is believed only where it agrees with the Arrow type: plans copy
//! the metadata of a field to expressions that change its type.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};

use crate::trino_type::{RowField, Type};

/// The key of the field metadata that names the Trino type.
pub const TRINO_TYPE_METADATA_KEY: &str = "trino.type";

/// The zone of every `timestamp with time zone` that this engine makes.
const UTC: &str = "UTC";

/// The width of a `uuid`, in bytes.
const UUID_BYTES: i32 = 16;

/// What Arrow calls an anonymous field of a row. Arrow's fields must have names, and different ones.
fn anonymous_field_name(at: usize) -> String {
    format!("#{at}")
}

/// The Arrow field that carries a column of a Trino type. Its metadata keeps what Arrow's type cannot say.
pub fn arrow_field(name: &str, column_type: &Type, nullable: bool) -> Field {
    let data_type = column_type.to_arrow();
    let says_all = Type::from_arrow(&data_type) == *column_type;
    let field = Field::new(name, data_type, nullable);
    if says_all {
        return field;
    }
    field.with_metadata(HashMap::from([(TRINO_TYPE_METADATA_KEY.to_owned(), column_type.to_string())]))
}

/// The unit that holds so many digits of a second. Beyond nine, digits are lost.
fn time_unit(precision: u8) -> TimeUnit {
    match precision {
        0 => TimeUnit::Second,
        1..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

/// The digits of a second that a unit holds.
pub(crate) fn unit_precision(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

impl Type {
    /// The Arrow type that carries values of this type.
    ///
    /// Fields within it have no metadata, so that Arrow types made in different places are equal.
    pub fn to_arrow(&self) -> DataType {
        match self {
            Type::Unknown => DataType::Null,
            Type::Boolean => DataType::Boolean,
            Type::Tinyint => DataType::Int8,
            Type::Smallint => DataType::Int16,
            Type::Integer => DataType::Int32,
            Type::Bigint => DataType::Int64,
            Type::Real => DataType::Float32,
            Type::Double => DataType::Float64,
            Type::Decimal { precision, scale } => DataType::Decimal128(*precision, scale.cast_signed()),
            Type::Varchar { .. } | Type::Char { .. } | Type::Json => DataType::Utf8,
            Type::Varbinary => DataType::Binary,
            Type::Date => DataType::Date32,
            Type::Time { precision } => match time_unit(*precision) {
                unit @ (TimeUnit::Second | TimeUnit::Millisecond) => DataType::Time32(unit),
                unit => DataType::Time64(unit),
            },
            Type::Timestamp { precision } => DataType::Timestamp(time_unit(*precision), None),
            Type::TimestampWithTimeZone { precision } => {
                DataType::Timestamp(time_unit(*precision), Some(UTC.into()))
            }
            Type::IntervalDayToSecond => DataType::Duration(TimeUnit::Millisecond),
            Type::IntervalYearToMonth => DataType::Interval(IntervalUnit::YearMonth),
            Type::Uuid => DataType::FixedSizeBinary(UUID_BYTES),
            Type::Array(element) => DataType::List(Arc::new(Field::new_list_field(element.to_arrow(), true))),
            Type::Map(key, value) => {
                let key = Field::new("key", key.to_arrow(), false);
                let value = Field::new("value", value.to_arrow(), true);
                let entries = DataType::Struct(Fields::from(vec![key, value]));
                DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
            }
            Type::Row(fields) => DataType::Struct(
                fields
                    .iter()
                    .enumerate()
                    .map(|(at, field)| {
                        let name = field.name.clone().unwrap_or_else(|| anonymous_field_name(at));
                        Field::new(name, field.field_type.to_arrow(), true)
                    })
                    .collect(),
            ),
        }
    }

    /// The type that an Arrow type carries, for every Arrow type that the executor may return.
    pub fn from_arrow(data_type: &DataType) -> Type {
        match data_type {
            DataType::Null => Type::Unknown,
            DataType::Boolean => Type::Boolean,
            DataType::Int8 => Type::Tinyint,
            DataType::Int16 => Type::Smallint,
            DataType::Int32 | DataType::UInt8 | DataType::UInt16 => Type::Integer,
            // Counts and ranks are unsigned in the executor and bigint in SQL.
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Type::Bigint,
            DataType::Float16 | DataType::Float32 => Type::Real,
            DataType::Float64 => Type::Double,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => decimal(*precision, *scale),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::VARCHAR,
            DataType::FixedSizeBinary(UUID_BYTES) => Type::Uuid,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Type::Varbinary,
            DataType::Date32 | DataType::Date64 => Type::Date,
            DataType::Time32(unit) | DataType::Time64(unit) => {
                Type::Time { precision: unit_precision(*unit) }
            }
            DataType::Timestamp(unit, None) => Type::Timestamp { precision: unit_precision(*unit) },
            DataType::Timestamp(unit, Some(_)) => {
                Type::TimestampWithTimeZone { precision: unit_precision(*unit) }
            }
            DataType::Interval(IntervalUnit::YearMonth) => Type::IntervalYearToMonth,
            DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano)
            | DataType::Duration(_) => Type::IntervalDayToSecond,
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => Type::Array(Box::new(Type::from_field(item))),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    Type::Map(Box::new(Type::from_field(&fields[0])), Box::new(Type::from_field(&fields[1])))
                }
                _ => Type::Unknown,
            },
            DataType::Struct(fields) => Type::Row(fields.iter().enumerate().map(row_field).collect()),
            DataType::Dictionary(_, values) => Type::from_arrow(values),
            DataType::RunEndEncoded(_, values) => Type::from_field(values),
            DataType::Union(..) => Type::VARCHAR,
        }
    }

    /// The type of a column: what its metadata says where that agrees with its Arrow type, else what the Arrow
    /// type says.
    pub fn from_field(field: &Field) -> Type {
        field
            .metadata()
            .get(TRINO_TYPE_METADATA_KEY)
            .and_then(|text| text.parse::<Type>().ok())
            .filter(|said| said.is_carried_by(field.data_type()))
            .unwrap_or_else(|| Type::from_arrow(field.data_type()))
    }

    /// Whether a column of that Arrow type can be one of this type.
    fn is_carried_by(&self, data_type: &DataType) -> bool {
        match (self, data_type) {
            (_, DataType::Dictionary(_, values)) => self.is_carried_by(values),
            (_, DataType::RunEndEncoded(_, values)) => self.is_carried_by(values.data_type()),
            (
                Type::Varchar { .. } | Type::Char { .. } | Type::Json,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View,
            ) => true,
            (Type::Varbinary, DataType::FixedSizeBinary(_)) => true,
            (Type::Time { precision }, DataType::Time32(unit) | DataType::Time64(unit)) => {
                time_unit(*precision) == *unit
            }
            (Type::Timestamp { precision }, DataType::Timestamp(unit, None))
            | (Type::TimestampWithTimeZone { precision }, DataType::Timestamp(unit, Some(_))) => {
                time_unit(*precision) == *unit
            }
            (
                Type::Array(element),
                DataType::List(item)
                | DataType::LargeList(item)
                | DataType::FixedSizeList(item, _)
                | DataType::ListView(item)
                | DataType::LargeListView(item),
            ) => element.is_carried_by(item.data_type()),
            (Type::Map(key, value), DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    key.is_carried_by(fields[0].data_type()) && value.is_carried_by(fields[1].data_type())
                }
                _ => false,
            },
            (Type::Row(said), DataType::Struct(fields)) => {
                said.len() == fields.len()
                    && said.iter().zip(fields).enumerate().all(|(at, (said, field))| {
                        let name = said.name.clone().unwrap_or_else(|| anonymous_field_name(at));
                        name == *field.name() && said.field_type.is_carried_by(field.data_type())
                    })
            }
            _ => *self == Type::from_arrow(data_type),
        }
    }
}

fn row_field((at, field): (usize, &FieldRef)) -> RowField {
    let anonymous = field.name().is_empty() || *field.name() == anonymous_field_name(at);
    RowField { name: (!anonymous).then(|| field.name().clone()), field_type: Type::from_field(field) }
}

/// The nearest Trino decimal: at most 38 digits, and a scale that is not negative.
fn decimal(precision: u8, scale: i8) -> Type {
    let max = Type::DECIMAL_PRECISION_MAX;
    let scale_up = if scale < 0 { scale.unsigned_abs() } else { 0 };
    let scale = u8::try_from(scale).unwrap_or(0).min(max);
    let precision = precision.saturating_add(scale_up).clamp(scale.max(1), max);
    Type::Decimal { precision, scale }
}

#[cfg(test)]
#[path = "arrow_form_tests.rs"]
mod tests;
