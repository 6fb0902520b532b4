//! How many attempts there were, also of queries that the core has forgotten.

use std::collections::BTreeSet;

use base::QueryId;
use scheduler::{Core, QueryView};

/// How many attempts there were, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptCounts {
    /// Placed on a worker.
    pub started: u64,
    /// Failed.
    pub failed: u64,
    /// Their worker vanished.
    pub lost: u64,
    /// Nobody wanted them any more.
    pub aborted: u64,
}

impl AttemptCounts {
    fn of(query: QueryView<'_>) -> Self {
        let mut sum = AttemptCounts::default();
        for stage in query.stages() {
            sum = sum.and(AttemptCounts {
                started: stage.counts.started_attempts.into(),
                failed: stage.counts.failed_attempts.into(),
                lost: stage.counts.lost_attempts.into(),
                aborted: stage.counts.aborted_attempts.into(),
            });
        }
        sum
    }

    fn and(self, other: Self) -> Self {
        AttemptCounts {
            started: self.started + other.started,
            failed: self.failed + other.failed,
            lost: self.lost + other.lost,
            aborted: self.aborted + other.aborted,
        }
    }
}

/// The attempts of queries that were closed, and which of those the core still knows.
#[derive(Debug, Default)]
pub(super) struct AttemptTotals {
    closed: AttemptCounts,
    known: BTreeSet<QueryId>,
}

impl AttemptTotals {
    /// The query is about to be closed. Nothing of it is started any more.
    pub(super) fn close(&mut self, core: &Core, query: QueryId) {
        if let Some(view) = core.query(&query)
            && self.known.insert(query)
        {
            self.closed = self.closed.and(AttemptCounts::of(view));
        }
    }

    /// The core has forgotten the query.
    pub(super) fn release(&mut self, query: &QueryId) {
        self.known.remove(query);
    }

    /// All attempts since the start.
    pub(super) fn counts(&self, core: &Core) -> AttemptCounts {
        let open = core.queries().filter(|query| !self.known.contains(&query.id()));
        open.fold(self.closed, |sum, query| sum.and(AttemptCounts::of(query)))
    }
}
