//! What ends a query that nobody ends: time limits, and clients that went away.

use std::sync::Arc;
use std::time::Duration;

use base::{Error, ErrorCode};
use chrono::{DateTime, Utc};

use super::Query;

/// The time limits of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// `query.max-execution-time`: from the end of planning.
    pub execution: Option<base::Duration>,
    /// `query.max-run-time`: from acceptance.
    pub run: Option<base::Duration>,
}

impl TimeLimits {
    /// Waits until a limit is passed. Never returns if there is none.
    pub async fn passed(self) -> Error {
        let execution = wait(self.execution);
        let run = wait(self.run);
        tokio::select! {
            limit = execution => exceeded("maximum execution time", limit),
            limit = run => exceeded("maximum run time", limit),
        }
    }
}

async fn wait(limit: Option<base::Duration>) -> base::Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit.as_std()).await;
            limit
        }
        None => std::future::pending().await,
    }
}

fn exceeded(which: &str, limit: base::Duration) -> Error {
    let text = format!("Query exceeded the {which} limit of {}", trino_duration(limit));
    Error::new(ErrorCode::EXCEEDED_TIME_LIMIT, text)
}

/// A duration with two digits after the point in the largest unit it fills, as Trino writes it.
pub fn trino_duration(length: base::Duration) -> String {
    const UNITS: [(&str, f64); 7] =
        [("d", 86400e9), ("h", 3600e9), ("m", 60e9), ("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0)];
    let nanos = length.0 as f64;
    let (unit, size) = UNITS.into_iter().find(|(_, size)| nanos >= *size).unwrap_or(("ns", 1.0));
    format!("{:.2}{unit}", nanos / size)
}

/// The error of a query whose client went away, if it did: it was not heard of for `timeout`.
pub fn abandoned(query: &Arc<Query>, timeout: Duration) -> Option<Error> {
    let status = query.status();
    if status.state.is_final() || status.times.heard_at.elapsed() < timeout {
        return None;
    }
    let heard = DateTime::<Utc>::from(status.times.heard).format("%Y-%m-%dT%H:%M:%S%.3fZ");
    let now = Utc::now().format("%Y-%m-%dT%H:%M:%S%.3fZ");
    let text = format!("Query {} has not been accessed since {heard}: currentTime {now}", query.id);
    Some(Error::new(ErrorCode::ABANDONED_QUERY, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_trino() {
        for (length, text) in [
            (base::Duration::minutes(5), "5.00m"),
            (base::Duration::millis(1500), "1.50s"),
            (base::Duration::millis(20), "20.00ms"),
            (base::Duration(0), "0.00ns"),
        ] {
            assert_eq!(trino_duration(length), text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_shorter_limit_is_the_one_that_is_told() {
        let limits =
            TimeLimits { execution: Some(base::Duration::seconds(2)), run: Some(base::Duration::seconds(1)) };
        let error = limits.passed().await;
        assert_eq!(error.code(), ErrorCode::EXCEEDED_TIME_LIMIT);
        assert_eq!(error.message(), "Query exceeded the maximum run time limit of 1.00s");
    }
}
