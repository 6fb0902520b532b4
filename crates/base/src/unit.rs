//! Amounts with their units, written as Trino writes them: `64MB`, `10s`, `1.50h`.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

/// A point in time, or a length of time, in milliseconds. What the zero point is, the shell decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Millis(pub u64);

impl Millis {
    /// This point plus a length.
    pub fn plus(self, length: Millis) -> Millis {
        Millis(self.0.saturating_add(length.0))
    }

    /// The length from an earlier point to this one; zero if it is not earlier.
    pub fn since(self, earlier: Millis) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// The text is not an amount with a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseUnitError {
    /// What was read.
    pub text: String,
    /// What was expected, in words.
    pub expected: &'static str,
}

impl fmt::Display for ParseUnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not {}", self.text, self.expected)
    }
}

impl core::error::Error for ParseUnitError {}

/// An amount of data in bytes. `kB`, `MB`, `GB`, `TB`, `PB` are powers of 1024, as in Trino.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataSize(pub u64);

const DATA_UNITS: [(&str, u64); 6] =
    [("PB", 1 << 50), ("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];

impl DataSize {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        DataSize(bytes)
    }

    /// So many times 1024 bytes.
    pub const fn kilobytes(count: u64) -> Self {
        DataSize(count << 10)
    }

    /// So many times 1024² bytes.
    pub const fn megabytes(count: u64) -> Self {
        DataSize(count << 20)
    }

    /// So many times 1024³ bytes.
    pub const fn gigabytes(count: u64) -> Self {
        DataSize(count << 30)
    }
}

/// Splits `12.5MB` into the number and the unit.
fn number_and_unit<'a>(text: &'a str, expected: &'static str) -> Result<(f64, &'a str), ParseUnitError> {
    let error = || ParseUnitError { text: text.to_string(), expected };
    let trimmed = text.trim();
    let at = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
    let number: f64 = trimmed[..at].parse().map_err(|_| error())?;
    Ok((number, trimmed[at..].trim_start()))
}

impl FromStr for DataSize {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "a size such as 64MB (units: B, kB, MB, GB, TB, PB)";
        let (number, unit) = number_and_unit(text, EXPECTED)?;
        let error = || ParseUnitError { text: text.to_string(), expected: EXPECTED };
        let (_, bytes) = DATA_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        let size = number * *bytes as f64;
        if size < 9.2e18 { Ok(DataSize(size as u64)) } else { Err(error()) }
    }
}

impl fmt::Display for DataSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = DATA_UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        let (unit, bytes) = exact.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

/// A length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub u64);

const TIME_UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Duration {
    /// So many milliseconds.
    pub const fn millis(count: u64) -> Self {
        Duration(count * 1_000_000)
    }

    /// So many seconds.
    pub const fn seconds(count: u64) -> Self {
        Duration(count * 1_000_000_000)
    }

    /// So many minutes.
    pub const fn minutes(count: u64) -> Self {
        Duration::seconds(count * 60)
    }

    /// In milliseconds, rounded down.
    pub const fn as_millis(self) -> Millis {
        Millis(self.0 / 1_000_000)
    }

    /// As the standard library's type.
    pub const fn as_std(self) -> core::time::Duration {
        core::time::Duration::from_nanos(self.0)
    }
}

impl FromStr for Duration {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "a duration such as 10s (units: ns, us, ms, s, m, h, d)";
        let (number, unit) = number_and_unit(text, EXPECTED)?;
        let error = || ParseUnitError { text: text.to_string(), expected: EXPECTED };
        let (_, nanos) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        let length = number * *nanos as f64;
        if length < 9.2e18 { Ok(Duration(length as u64)) } else { Err(error()) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = TIME_UNITS.iter().find(|(_, nanos)| self.0 >= *nanos && self.0.is_multiple_of(*nanos));
        let (unit, nanos) = exact.copied().unwrap_or(("s", 1));
        write!(f, "{}{unit}", self.0 / nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_trip() {
        for (text, bytes, shown) in [
            ("64MB", 64 << 20, "64MB"),
            ("1.5GB", 1536 << 20, "1536MB"),
            ("1kB", 1024, "1kB"),
            ("0B", 0, "0B"),
            (" 5 GB ", 5 << 30, "5GB"),
        ] {
            let size: DataSize = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), shown);
        }
        for bad in ["", "64", "MB", "64mb", "-1MB", "1e3MB", "99999999PB"] {
            assert!(bad.parse::<DataSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_round_trip() {
        for (text, nanos, shown) in [
            ("10s", 10_000_000_000, "10s"),
            ("5.00m", 300_000_000_000, "5m"),
            ("500ms", 500_000_000, "500ms"),
        ] {
            let length: Duration = text.parse().unwrap();
            assert_eq!(length.0, nanos, "{text}");
            assert_eq!(length.to_string(), shown);
        }
        for bad in ["", "10", "s", "10sec", "-1s"] {
            assert!(bad.parse::<Duration>().is_err(), "{bad}");
        }
    }
}
