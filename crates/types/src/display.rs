//! The text forms of types: as `typeof()` says it, and as the client protocol says it.

use std::fmt;

use crate::capability::ClientCapabilities;
use crate::trino_type::Type;

/// Words that cannot be identifiers without quotes.
const RESERVED_WORDS: &[&str] = &[
    "alter",
    "and",
    "as",
    "auto",
    "between",
    "by",
    "case",
    "cast",
    "constraint",
    "create",
    "cross",
    "cube",
    "current_catalog",
    "current_date",
    "current_path",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "deallocate",
    "delete",
    "describe",
    "distinct",
    "drop",
    "else",
    "end",
    "escape",
    "except",
    "exists",
    "extract",
    "false",
    "for",
    "from",
    "full",
    "group",
    "grouping",
    "having",
    "in",
    "inner",
    "insert",
    "intersect",
    "into",
    "is",
    "join",
    "json_array",
    "json_exists",
    "json_object",
    "json_query",
    "json_table",
    "json_value",
    "left",
    "like",
    "listagg",
    "localtime",
    "localtimestamp",
    "natural",
    "normalize",
    "not",
    "null",
    "on",
    "or",
    "order",
    "outer",
    "prepare",
    "recursive",
    "right",
    "rollup",
    "select",
    "skip",
    "table",
    "then",
    "trim",
    "true",
    "uescape",
    "union",
    "unnest",
    "using",
    "values",
    "when",
    "where",
    "with",
];

/// Whether SQL reads the text back as the same identifier without quotes.
pub(crate) fn is_plain_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && RESERVED_WORDS.binary_search(&name).is_err()
}

/// Which text form is wanted.
#[derive(Clone, Copy)]
enum Form {
    Typeof,
    Wire(ClientCapabilities),
}

impl Form {
    /// The parameter of a type with a fractional second, where this form has it.
    fn precision(self, precision: u8) -> Precision {
        match self {
            Form::Wire(ClientCapabilities { parametric_datetime: false, .. }) => Precision(None),
            _ => Precision(Some(precision)),
        }
    }
}

/// `(3)`, or nothing.
struct Precision(Option<u8>);

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |precision| write!(f, "({precision})"))
    }
}

/// A type in one of its text forms.
struct Text<'a>(&'a Type, Form);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Text(trino_type, form) = *self;
        match trino_type {
            Type::Unknown => f.write_str("unknown"),
            Type::Boolean => f.write_str("boolean"),
            Type::Tinyint => f.write_str("tinyint"),
            Type::Smallint => f.write_str("smallint"),
            Type::Integer => f.write_str("integer"),
            Type::Bigint => f.write_str("bigint"),
            Type::Real => f.write_str("real"),
            Type::Double => f.write_str("double"),
            Type::Decimal { precision, scale } => match form {
                Form::Typeof => write!(f, "decimal({precision},{scale})"),
                Form::Wire(_) => write!(f, "decimal({precision}, {scale})"),
            },
            Type::Varchar { length: None } => f.write_str("varchar"),
            Type::Varchar { length: Some(length) } => write!(f, "varchar({length})"),
            Type::Char { length } => write!(f, "char({length})"),
            Type::Varbinary => f.write_str("varbinary"),
            Type::Json => f.write_str("json"),
            Type::Date => f.write_str("date"),
            Type::Time { precision } => write!(f, "time{}", form.precision(*precision)),
            Type::Timestamp { precision } => write!(f, "timestamp{}", form.precision(*precision)),
            Type::TimestampWithTimeZone { precision } => {
                write!(f, "timestamp{} with time zone", form.precision(*precision))
            }
            Type::IntervalDayToSecond => f.write_str("interval day to second"),
            Type::IntervalYearToMonth => f.write_str("interval year to month"),
            Type::Uuid => f.write_str("uuid"),
            Type::Array(element) => write!(f, "array({})", Text(element, form)),
            Type::Map(key, value) => write!(f, "map({}, {})", Text(key, form), Text(value, form)),
            Type::Row(fields) => {
                f.write_str("row(")?;
                for (at, field) in fields.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    match &field.name {
                        Some(name) if is_plain_identifier(name) => write!(f, "{name} ")?,
                        Some(name) => write!(f, "\"{}\" ", name.replace('"', "\"\""))?,
                        None => {}
                    }
                    Text(&field.field_type, form).fmt(f)?;
                }
                f.write_str(")")
            }
        }
    }
}

/// The form that `typeof()` and `DESCRIBE` give: `decimal(10,2)`. [`str::parse`] reads it back.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text(self, Form::Typeof).fmt(f)
    }
}

impl Type {
    /// The form of the client protocol: `decimal(10, 2)`. A client without parametric date-times is told
    /// `timestamp` for every `timestamp(p)`. [`str::parse`] reads it.
    pub fn wire_name(&self, capabilities: ClientCapabilities) -> String {
        Text(self, Form::Wire(capabilities)).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_sorted() {
        assert!(RESERVED_WORDS.is_sorted());
    }

    #[test]
    fn wire_name_differs_in_decimals_and_for_old_clients() {
        let shown: Type =
            "row(a decimal(10,2), b array(timestamp(6) with time zone), time(9))".parse().unwrap();
        assert_eq!(
            shown.wire_name(ClientCapabilities::ALL),
            "row(a decimal(10, 2), b array(timestamp(6) with time zone), time(9))"
        );
        assert_eq!(
            shown.wire_name(ClientCapabilities::default()),
            "row(a decimal(10, 2), b array(timestamp with time zone), time)"
        );
    }

    #[test]
    fn names_of_fields_are_quoted_when_they_must_be() {
        let shown: Type = r#"row("Select" bigint, "select" bigint, "a""b" bigint, "x1" bigint, "1x" bigint)"#
            .parse()
            .unwrap();
        assert_eq!(
            shown.to_string(),
            r#"row("Select" bigint, "select" bigint, "a""b" bigint, x1 bigint, "1x" bigint)"#
        );
    }
}
