//! Dates, times and intervals.

use arrow::datatypes::TimeUnit;
use base::{Error, Result};
use chrono::{DateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use super::number::{write_display, write_padded};
use crate::arrow_form::unit_precision;

const PICOS_PER_SECOND: u64 = 1_000_000_000_000;
/// The digits of a fraction counted in picoseconds.
const PICO_DIGITS: u8 = 12;
const SECONDS_PER_DAY: i64 = 86_400;
/// The digits that a client without parametric date-times reads.
const LEGACY_DIGITS: u8 = 3;

/// How many digits of a second are shown, and whether the value is rounded to them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fraction {
    digits: u8,
    rounded: bool,
}

impl Fraction {
    /// For a type of that precision.
    pub(super) fn new(precision: u8, parametric_datetime: bool) -> Self {
        match parametric_datetime {
            true => Fraction { digits: precision, rounded: false },
            false => Fraction { digits: LEGACY_DIGITS, rounded: true },
        }
    }
}

/// A point on the time line, or a time of day.
#[derive(Clone, Copy)]
struct Instant {
    seconds: i64,
    /// Less than a second.
    picos: u64,
}

impl Instant {
    fn new(value: i64, unit: TimeUnit, fraction: Fraction) -> Self {
        let per_second = 10i64.pow(u32::from(unit_precision(unit)));
        let seconds = value.div_euclid(per_second);
        let picos =
            value.rem_euclid(per_second).unsigned_abs() * (PICOS_PER_SECOND / per_second.unsigned_abs());
        if !fraction.rounded {
            return Instant { seconds, picos };
        }
        let step = 10u64.pow(u32::from(PICO_DIGITS - fraction.digits));
        let picos = (picos + step / 2) / step * step;
        let carry = i64::from(picos >= PICOS_PER_SECOND);
        Instant { seconds: seconds.saturating_add(carry), picos: picos % PICOS_PER_SECOND }
    }
}

/// The zone of a column.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    Utc,
    /// Seconds east of UTC, and the name.
    Fixed(i64, String),
    Named(Tz),
}

impl Zone {
    /// Reads the zone of an Arrow type.
    pub(super) fn new(name: &str) -> Result<Zone> {
        if matches!(name, "UTC" | "Z" | "utc" | "+00:00" | "-00:00" | "+0000" | "+00") {
            return Ok(Zone::Utc);
        }
        if let Some(seconds) = fixed_offset(name) {
            let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
            return Ok(Zone::Fixed(seconds, format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)));
        }
        name.parse().map(Zone::Named).map_err(|_| Error::internal(format!("unknown time zone: {name}")))
    }

    /// Seconds east of UTC at a point of time.
    fn offset_seconds(&self, seconds: i64) -> i64 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed(offset, _) => *offset,
            Zone::Named(zone) => {
                // Beyond the calendar of the zone's rules, its last rule would hold; nobody can tell.
                let instant = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default();
                i64::from(zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc())
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Zone::Utc => "UTC",
            Zone::Fixed(_, name) => name,
            Zone::Named(zone) => zone.name(),
        }
    }
}

/// Seconds east of UTC of `+05:30`, `-0800`, `+05`.
fn fixed_offset(name: &str) -> Option<i64> {
    let sign = match name.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = name[1..].chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        2 => (digits.as_str(), "0"),
        4 => digits.split_at(2),
        _ => return None,
    };
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

/// Writes a `date` as a JSON string.
pub(super) fn write_date(days: i64, out: &mut String) {
    out.push('"');
    write_calendar_date(days, out);
    out.push('"');
}

/// Writes a `time` as a JSON string.
pub(super) fn write_time(value: i64, unit: TimeUnit, fraction: Fraction, out: &mut String) {
    let instant = Instant::new(value, unit, fraction);
    out.push('"');
    // Rounding may carry midnight's second, which is 0 o'clock.
    write_time_of_day(instant, fraction, out);
    out.push('"');
}

/// Writes a `timestamp` as a JSON string; with its zone, if it has one.
pub(super) fn write_timestamp(
    value: i64,
    unit: TimeUnit,
    fraction: Fraction,
    zone: Option<&Zone>,
    out: &mut String,
) {
    let mut instant = Instant::new(value, unit, fraction);
    if let Some(zone) = zone {
        instant.seconds = instant.seconds.saturating_add(zone.offset_seconds(instant.seconds));
    }
    out.push('"');
    write_calendar_date(instant.seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(' ');
    write_time_of_day(instant, fraction, out);
    if let Some(zone) = zone {
        out.push(' ');
        out.push_str(zone.name());
    }
    out.push('"');
}

/// Writes an `interval day to second` as a JSON string.
pub(super) fn write_day_to_second(millis: i64, out: &mut String) {
    out.push_str(if millis < 0 { "\"-" } else { "\"" });
    let millis = millis.unsigned_abs();
    let seconds = millis / 1000;
    write_display(seconds / SECONDS_PER_DAY.unsigned_abs(), out);
    out.push(' ');
    write_clock(seconds % SECONDS_PER_DAY.unsigned_abs(), out);
    out.push('.');
    write_padded(millis % 1000, 3, out);
    out.push('"');
}

/// Writes an `interval year to month` as a JSON string.
pub(super) fn write_year_to_month(months: i32, out: &mut String) {
    out.push_str(if months < 0 { "\"-" } else { "\"" });
    let months = months.unsigned_abs();
    write_display(months / 12, out);
    out.push('-');
    write_display(months % 12, out);
    out.push('"');
}

fn write_time_of_day(instant: Instant, fraction: Fraction, out: &mut String) {
    write_clock(instant.seconds.rem_euclid(SECONDS_PER_DAY).unsigned_abs(), out);
    if fraction.digits > 0 {
        out.push('.');
        let shown = instant.picos / 10u64.pow(u32::from(PICO_DIGITS - fraction.digits));
        write_padded(shown, usize::from(fraction.digits), out);
    }
}

fn write_clock(seconds: u64, out: &mut String) {
    write_padded(seconds / 3600, 2, out);
    out.push(':');
    write_padded(seconds / 60 % 60, 2, out);
    out.push(':');
    write_padded(seconds % 60, 2, out);
}

/// Writes `2020-01-31`. Years beyond four digits have a sign.
fn write_calendar_date(days: i64, out: &mut String) {
    let (year, month, day) = civil_from_days(days);
    if year < 0 {
        out.push('-');
    } else if year > 9999 {
        out.push('+');
    }
    write_padded(year.unsigned_abs(), 4, out);
    out.push('-');
    write_padded(month, 2, out);
    out.push('-');
    write_padded(day, 2, out);
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar drawn out to both sides.
///
/// Years are counted from March here: then the leap day is the last of its year, and the months before it have
/// lengths that one formula gives.
fn civil_from_days(days: i64) -> (i64, u64, u64) {
    const DAYS_PER_ERA: i64 = 146_097;
    const DAYS_FROM_YEAR_0_MARCH: i64 = 719_468;
    let shifted = days + DAYS_FROM_YEAR_0_MARCH;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month.unsigned_abs(), day.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate};

    #[test]
    fn calendar_agrees_with_another_one() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for days in (-2_000_000..2_000_000).step_by(37) {
            let date = epoch + chrono::Duration::days(days);
            let expected = (i64::from(date.year()), u64::from(date.month()), u64::from(date.day()));
            assert_eq!(civil_from_days(days), expected);
        }
    }

    #[test]
    fn dates_of_every_size_are_written() {
        for (days, expected) in [
            (0, "\"1970-01-01\""),
            (18_292, "\"2020-01-31\""),
            (2_932_897, "\"+10000-01-01\""),
            (-719_529, "\"-0001-12-31\""),
            (-719_528, "\"0000-01-01\""),
            (i64::from(i32::MAX), "\"+5881580-07-11\""),
            (i64::from(i32::MIN), "\"-5877641-06-23\""),
        ] {
            let mut out = String::new();
            write_date(days, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn zones_are_read() {
        for (name, expected) in [
            ("UTC", "UTC"),
            ("+00:00", "UTC"),
            ("+05:30", "+05:30"),
            ("-0800", "-08:00"),
            ("Europe/Paris", "Europe/Paris"),
        ] {
            assert_eq!(Zone::new(name).unwrap().name(), expected);
        }
        for bad in ["", "Middle/Earth", "+1", "+ab:cd", "-é00"] {
            assert!(Zone::new(bad).is_err(), "{bad}");
        }
    }
}
