//! The states of a query, and what is known of it in each.

use std::time::{Instant, SystemTime};

use base::Error;
use protocol::client::SessionUpdate;
use sql::OutputColumn;

/// The states of a query, in their order. The last two are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueryState {
    /// Accepted, not begun.
    Queued,
    /// Being parsed, analysed and planned.
    Planning,
    /// Handed to the scheduler; no task has been heard of.
    Starting,
    /// Tasks run, or rows are being delivered.
    Running,
    /// All tasks are done; the client has not fetched everything.
    Finishing,
    /// Everything was delivered.
    Finished,
    /// It failed, or was cancelled.
    Failed,
}

impl QueryState {
    /// Trino's name.
    pub fn as_str(self) -> &'static str {
        match self {
            QueryState::Queued => "QUEUED",
            QueryState::Planning => "PLANNING",
            QueryState::Starting => "STARTING",
            QueryState::Running => "RUNNING",
            QueryState::Finishing => "FINISHING",
            QueryState::Finished => "FINISHED",
            QueryState::Failed => "FAILED",
        }
    }

    /// Whether nothing can follow.
    pub fn is_final(self) -> bool {
        matches!(self, QueryState::Finished | QueryState::Failed)
    }
}

/// When things happened to a query.
#[derive(Clone, Debug)]
pub struct QueryTimes {
    /// When it was accepted.
    pub created: SystemTime,
    /// The same on the clock that only goes forward.
    pub created_at: Instant,
    /// When its planning began.
    pub planning_at: Option<Instant>,
    /// When its planning was done.
    pub planned_at: Option<Instant>,
    /// When it reached a final state.
    pub ended: Option<SystemTime>,
    /// The same on the clock that only goes forward.
    pub ended_at: Option<Instant>,
    /// When its client was last heard of.
    pub heard: SystemTime,
    /// The same on the clock that only goes forward.
    pub heard_at: Instant,
}

impl QueryTimes {
    /// The times of a query that was accepted then, maybe by another coordinator.
    pub fn since(created: SystemTime) -> Self {
        let (heard, heard_at) = (SystemTime::now(), Instant::now());
        let age = heard.duration_since(created).unwrap_or_default();
        QueryTimes {
            created,
            created_at: heard_at.checked_sub(age).unwrap_or(heard_at),
            planning_at: None,
            planned_at: None,
            ended: None,
            ended_at: None,
            heard,
            heard_at,
        }
    }

    /// Another coordinator began it. When, is not known; it was hardly long after it had accepted it.
    pub fn was_begun(&mut self) {
        self.planning_at = Some(self.created_at);
    }
}

/// What is known of a query, apart from what it was asked with.
#[derive(Clone, Debug)]
pub struct QueryStatus {
    /// Its state.
    pub state: QueryState,
    /// Why it failed.
    pub error: Option<Error>,
    /// When things happened.
    pub times: QueryTimes,
    /// The columns of its result, once known.
    pub columns: Option<Vec<OutputColumn>>,
    /// What kind of statement it is, if it is not a query for rows.
    pub update_type: Option<&'static str>,
    /// What the client is to change in its session.
    pub session_update: SessionUpdate,
}

impl QueryStatus {
    /// The status of a query that was accepted then.
    pub fn new(created: SystemTime) -> Self {
        QueryStatus {
            state: QueryState::Queued,
            error: None,
            times: QueryTimes::since(created),
            columns: None,
            update_type: None,
            session_update: SessionUpdate::default(),
        }
    }

    /// Moves on to a later state. Says whether it did: a final state stays, and no state comes back.
    pub fn advance(&mut self, state: QueryState) -> bool {
        if self.state.is_final() || state <= self.state {
            return false;
        }
        let now = Instant::now();
        match state {
            QueryState::Planning => {
                self.times.planning_at.get_or_insert(now);
            }
            QueryState::Starting => self.times.planned_at = Some(now),
            QueryState::Finished | QueryState::Failed => {
                self.times.ended = Some(SystemTime::now());
                self.times.ended_at = Some(now);
            }
            QueryState::Queued | QueryState::Running | QueryState::Finishing => {}
        }
        self.state = state;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_under_another_coordinator_is_not_spent_in_the_queue() {
        let mut status = QueryStatus::new(SystemTime::now() - Duration::from_secs(7));
        assert!(status.times.created_at.elapsed() >= Duration::from_secs(7));
        status.times.was_begun();
        assert!(status.advance(QueryState::Planning));
        assert_eq!(status.times.planning_at, Some(status.times.created_at));
    }

    #[test]
    fn a_final_state_stays() {
        let mut status = QueryStatus::new(SystemTime::now());
        assert!(status.advance(QueryState::Running));
        assert!(!status.advance(QueryState::Planning));
        assert!(status.advance(QueryState::Finished));
        assert!(!status.advance(QueryState::Failed));
        assert_eq!(status.state, QueryState::Finished);
    }
}
