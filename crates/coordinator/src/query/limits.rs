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
    let text = format!("Query {} has not been accessed since {heard}: currentTime {now}", query.id);
    Some(Error::new(ErrorCode::ABANDONED_QUERY, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_shorter_limit_is_the_one_that_is_told() {
        let limits =
            TimeLimits { execution: Some(base::Duration::seconds(2)), run: Some(base::Duration::seconds(1)) };
        let error = limits.passed().await;
        assert_eq!(error.code(), ErrorCode::EXCEEDED_TIME_LIMIT);
        assert_eq!(error.message(), "Query exceeded the maximum run time limit of 1.00s");
    }
}
