//! What a statement takes from the session it runs in.

use base::{Error, ErrorCode, Result};
use chrono::{DateTime, FixedOffset, Utc};
use chrono_tz::Tz;

/// No zone is further from UTC, in seconds.
const OFFSET_SECONDS_MAX: i32 = 14 * 60 * 60;

/// What a statement takes from the session it runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionContext {
    /// The catalog of names without one.
    pub catalog: Option<String>,
    /// The schema of names without one.
    pub schema: Option<String>,
    /// `current_user`
    pub user: String,
    /// `current_timezone()`: a zone name as clients send it.
    pub time_zone: String,
    /// The start of the query, in milliseconds since 1970 UTC: what `now()` gives.
    pub start_time_millis: i64,
    /// `version()`
    pub version: String,
}

impl Default for SessionContext {
    fn default() -> Self {
        SessionContext {
            catalog: None,
            schema: None,
            user: String::from("user"),
            time_zone: String::from("UTC"),
            start_time_millis: 0,
            version: String::from("483"),
        }
    }
}

impl SessionContext {
    /// Refuses a time zone that does not exist.
    ///
    /// # Errors
    /// `INVALID_SESSION_PROPERTY`.
    pub fn check_time_zone(zone: &str) -> Result<()> {
        match in_zone(DateTime::<Utc>::default(), zone) {
            Some(_) => Ok(()),
            None => {
                let text = format!("Time zone not supported: {zone}");
                Err(Error::new(ErrorCode::INVALID_SESSION_PROPERTY, text))
            }
        }
    }

    /// The start of the query in the session's zone; in UTC if there is no such zone.
    pub(crate) fn start_time(&self) -> DateTime<FixedOffset> {
        let instant = DateTime::from_timestamp_millis(self.start_time_millis).unwrap_or_default();
        in_zone(instant, &self.time_zone).unwrap_or_else(|| instant.fixed_offset())
    }
}

/// An instant in a zone: one with a name, or an offset such as `+05:30` or `UTC-08:00`.
fn in_zone(instant: DateTime<Utc>, zone: &str) -> Option<DateTime<FixedOffset>> {
    if let Ok(zone) = zone.parse::<Tz>() {
        return Some(instant.with_timezone(&zone).fixed_offset());
    }
    let offset = ["UTC", "GMT", "UT"].iter().find_map(|prefix| zone.strip_prefix(prefix));
    let offset: FixedOffset = offset.unwrap_or(zone).parse().ok()?;
    let is_near = offset.local_minus_utc().abs() <= OFFSET_SECONDS_MAX;
    is_near.then(|| instant.with_timezone(&offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_names_or_offsets() {
        for (zone, expected) in [
            ("UTC", "00:00"),
            ("Europe/Berlin", "01:00"),
            ("Asia/Kathmandu", "05:30"),
            ("+05:30", "05:30"),
            ("-08:00", "16:00"),
            ("UTC-08:00", "16:00"),
        ] {
            let session = SessionContext { time_zone: zone.into(), ..SessionContext::default() };
            assert_eq!(session.start_time().format("%H:%M").to_string(), expected, "{zone}");
            assert!(SessionContext::check_time_zone(zone).is_ok(), "{zone}");
        }
        for zone in ["", "Mars/Phobos", "+99:00", "UTC+", "5"] {
            let error = SessionContext::check_time_zone(zone).unwrap_err();
            assert_eq!(error.code(), ErrorCode::INVALID_SESSION_PROPERTY, "{zone}");
        }
    }
}
