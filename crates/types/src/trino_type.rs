//! The types of SQL values, as Trino names them.

/// A Trino type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// The type of a bare `NULL`.
    Unknown,
    /// `boolean`
    Boolean,
    /// `tinyint`
    Tinyint,
    /// `smallint`
    Smallint,
    /// `integer`
    Integer,
    /// `bigint`
    Bigint,
    /// `real`
    Real,
    /// `double`
    Double,
    /// `decimal(precision, scale)`
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `varchar` or `varchar(length)`
    Varchar {
        /// The most code points. None: no limit.
        length: Option<u32>,
    },
    /// `char(length)`
    Char {
        /// Code points; values are padded with blanks to it.
        length: u32,
    },
    /// `varbinary`
    Varbinary,
    /// `json`
    Json,
    /// `date`
    Date,
    /// `time(precision)`
    Time {
        /// Digits of the fraction of a second, 0 to 12.
        precision: u8,
    },
    /// `timestamp(precision)`
    Timestamp {
        /// Digits of the fraction of a second, 0 to 12.
        precision: u8,
    },
    /// `timestamp(precision) with time zone`
    TimestampWithTimeZone {
        /// Digits of the fraction of a second, 0 to 12.
        precision: u8,
    },
    /// `interval day to second`
    IntervalDayToSecond,
    /// `interval year to month`
    IntervalYearToMonth,
    /// `uuid`
    Uuid,
    /// `array(element)`
    Array(Box<Type>),
    /// `map(key, value)`
    Map(Box<Type>, Box<Type>),
    /// `row(field, …)`
    Row(Vec<RowField>),
}

/// A field of a [`Type::Row`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowField {
    /// The name; anonymous fields have none.
    pub name: Option<String>,
    /// The type.
    pub field_type: Type,
}

impl Type {
    /// `varchar` without a limit.
    pub const VARCHAR: Type = Type::Varchar { length: None };

    /// The length that says "no limit" where a number must stand.
    pub const VARCHAR_LENGTH_UNBOUNDED: u32 = i32::MAX as u32;

    /// The longest `char`, in code points.
    pub const CHAR_LENGTH_MAX: u32 = 65_536;

    /// The most digits of a `decimal`.
    pub const DECIMAL_PRECISION_MAX: u8 = 38;

    /// The most digits of a fraction of a second.
    pub const DATETIME_PRECISION_MAX: u8 = 12;

    /// The digits of a fraction of a second where the type does not say.
    pub const DATETIME_PRECISION_DEFAULT: u8 = 3;
}
