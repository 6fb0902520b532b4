//! Kinds that many properties share.

use base::{DataSize, Duration};

use crate::kind::Kind;

const INTEGER_MAX: i64 = i32::MAX as i64;

pub(super) const BOOLEAN: Kind = Kind::Boolean;
pub(super) const COUNT: Kind = integer(0);
pub(super) const POSITIVE: Kind = integer(1);
pub(super) const BIG_COUNT: Kind = Kind::Integer { min: 0, max: i64::MAX };
pub(super) const SIZE: Kind = size_from(DataSize(0));
pub(super) const DURATION: Kind = duration_from(Duration(0));
/// From 0 to 1.
pub(super) const RATIO: Kind = double(0.0, 1.0);

pub(super) const fn integer(min: i64) -> Kind {
    Kind::Integer { min, max: INTEGER_MAX }
}

pub(super) const fn integer_between(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

pub(super) const fn double(min: f64, max: f64) -> Kind {
    Kind::Double { min, max }
}

pub(super) const fn size_from(min: DataSize) -> Kind {
    Kind::DataSize { min, max: DataSize(u64::MAX) }
}

pub(super) const fn duration_from(min: Duration) -> Kind {
    Kind::Duration { min, max: Duration(u64::MAX) }
}
