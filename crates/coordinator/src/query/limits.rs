//! What ends a query that nobody ends: time limits, and clients that went away.

use std::sync::Arc;

use base::{Duration, Error, ErrorCode};
use chrono::{DateTime, Utc};
use protocol::client::succinct::succinct_duration;

use super::{Query, QueryState};

/// The time limits of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// `query.max-planning-time`: until it is planned.
    pub planning: Duration,
    /// `query.max-execution-time`: from the end of planning.
    pub execution: Duration,
    /// `query.max-run-time`: from acceptance.
    pub run: Duration,
}

impl TimeLimits {
    /// Waits until a query has passed a limit. None: it ended before.
    pub async fn passed_by(self, query: &Query) -> Option<Error> {
        let planning = async {
            if !within(self.planning, query.reached(QueryState::Starting)).await {
                return exceeded("maximum planning time", self.planning);
            }
            tokio::time::sleep(self.execution.as_std()).await;
            exceeded("maximum execution time", self.execution)
        };
        // It may have been accepted by another coordinator.
        let run_left = self.run.as_std().saturating_sub(query.status().times.created_at.elapsed());
        tokio::select! {
            error = planning => Some(error),
            () = tokio::time::sleep(run_left) => Some(exceeded("maximum run time", self.run)),
            () = query.reached(QueryState::Finished) => None,
        }
    }
}

async fn within(limit: Duration, happens: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(limit.as_std(), happens).await.is_ok()
}

fn exceeded(which: &str, limit: Duration) -> Error {
    let text = format!("Query exceeded the {which} limit of {}", succinct_duration(limit));
    Error::new(ErrorCode::EXCEEDED_TIME_LIMIT, text)
}

/// The error of a query whose client went away, if it did: it was not heard of for `timeout`.
pub fn abandoned(query: &Arc<Query>, timeout: std::time::Duration) -> Option<Error> {
    // Whoever waits for a page is there, however long the page takes.
    if query.is_attended() || query.state().is_final() {
        return None;
    }
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
    use protocol::client::ClientContext;

    fn query() -> Query {
        let id = "20261120_061411_00007_abcde".parse().unwrap();
        Query::new(id, "SELECT 1".into(), ClientContext::default())
    }

    fn limits(planning: Duration, execution: Duration, run: Duration) -> TimeLimits {
        TimeLimits { planning, execution, run }
    }

    #[tokio::test]
    async fn the_limit_that_is_passed_is_the_one_that_is_told() {
        let (short, long) = (Duration::millis(10), Duration::minutes(60));
        let planning = limits(short, long, long).passed_by(&query()).await.unwrap();
        assert_eq!(planning.code(), ErrorCode::EXCEEDED_TIME_LIMIT);
        assert_eq!(planning.message(), "Query exceeded the maximum planning time limit of 10.00ms");
        let run = limits(long, long, short).passed_by(&query()).await.unwrap();
        assert_eq!(run.message(), "Query exceeded the maximum run time limit of 10.00ms");
        let planned = query();
        planned.advance(QueryState::Running);
        let execution = limits(short, short, long).passed_by(&planned).await.unwrap();
        assert_eq!(execution.message(), "Query exceeded the maximum execution time limit of 10.00ms");
    }

    #[test]
    fn a_client_that_waits_for_a_page_has_not_gone_away() {
        let query = Arc::new(query());
        let at_once = std::time::Duration::ZERO;
        assert_eq!(abandoned(&query, at_once).map(|error| error.code()), Some(ErrorCode::ABANDONED_QUERY));
        let attendance = query.attend();
        assert_eq!(abandoned(&query, at_once), None);
        drop(attendance);
        assert!(abandoned(&query, at_once).is_some());
        assert_eq!(abandoned(&query, std::time::Duration::from_secs(60)), None);
    }

    #[tokio::test]
    async fn a_query_that_has_ended_passes_no_limit() {
        let ended = query();
        ended.advance(QueryState::Finished);
        let long = Duration::minutes(60);
        assert_eq!(limits(long, long, long).passed_by(&ended).await, None);
    }
}
