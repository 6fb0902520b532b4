//! What ends a query that nobody ends: time limits, and clients that went away.

use std::sync::Arc;
use std::time::Duration;

use base::{Error, ErrorCode};
use chrono::{DateTime, Utc};
use protocol::client::succinct::succinct_duration;

use super::Query;

/// The time limits of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// `query.max-execution-time`: from the end of planning.
    pub execution: base::Duration,
    /// `query.max-run-time`: from acceptance.
    pub run: base::Duration,
}

impl TimeLimits {
    /// Waits until a limit is passed.
    pub async fn passed(self) -> Error {
        tokio::select! {
            () = tokio::time::sleep(self.execution.as_std()) => exceeded("maximum execution time", self.execution),
            () = tokio::time::sleep(self.run.as_std()) => exceeded("maximum run time", self.run),
        }
    }
}

fn exceeded(which: &str, limit: base::Duration) -> Error {
    let text = format!("Query exceeded the {which} limit of {}", succinct_duration(limit));
    Error::new(ErrorCode::EXCEEDED_TIME_LIMIT, text)
}

/// The error of a query whose client went away, if it did: it was not heard of for `timeout`.
pub fn abandoned(query: &Arc<Query>, timeout: Duration) -> Option<Error> {
    let status = query.status();
    if status.state.is_final() || status.times.heard_at.elapsed() < timeout {
        return None;
    }
    let heard = DateTime::<Utc>::from(status.times.heard).format("%Y-%m-%dT%H:%M:%S%.3fZ");
    let now = Utc::now().format("%Y-%m-%dT%H:%M:%S%.3fZ");
    let text = format!(
        "Query {} has not been accessed since {heard}: currentTime {now}",
        query.id
    );
    Some(Error::new(ErrorCode::ABANDONED_QUERY, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_shorter_limit_is_the_one_that_is_told() {
        let limits = TimeLimits {
            execution: base::Duration::seconds(2),
            run: base::Duration::seconds(1),
        };
        let error = limits.passed().await;
        assert_eq!(error.code(), ErrorCode::EXCEEDED_TIME_LIMIT);
        assert_eq!(
            error.message(),
            "Query exceeded the maximum run time limit of 1.00s"
        );
    }
}
