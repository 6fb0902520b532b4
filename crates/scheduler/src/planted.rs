//! Bugs that other engines have shipped, to be planted by tests that must find them.
//!
//! Without the feature `planted-bugs` there is none to plant, and every look for one is compiled away.

/// A planted bug. Never set outside of tests of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// The memory of some ended attempts is never given back (Trino #17305, #11876).
    LeakLease,
    /// An attempt that a worker has not heard of yet is taken for lost.
    AbsenceIsLoss,
    /// A query is released although a worker has not heard of its end yet (Trino #30411).
    ReleaseUnheard,
    /// Whoever reports a commit is taken for its author (SPARK-4879).
    ReporterIsWinner,
    /// That no worker is left is noticed only on one of the ways that lead there (Ballista #2226).
    NoWorkersOnOnePathOnly,
    /// A batch of splits that is the last one is dropped (Trino #11825).
    DropLastSplits,
    /// A worker reports the end of an attempt only once (Trino #22472).
    ReportEndOnce,
    /// What a worker should hold is told once (Ballista #2029).
    DesiredSentOnce,
    /// A worker that says nothing is never taken for lost (Ballista #2212).
    SilenceForgiven,
    /// A worker obeys whoever spoke last, of whatever epoch.
    OldEpochObeyed,
    /// Only the lost task is run again, whatever it writes then (SPARK-23207, SPARK-23243).
    IndeterminateRerunIgnored,
    /// A determinate task that writes something else the second time is not noticed (SPARK-38160).
    DifferenceIgnored,
    /// An error of the statement is tried again like any other (Trino #27069).
    UserErrorRetried,
    /// A task may take any number of workers with it (Ballista #1908).
    LossesNeverCount,
    /// What a draining worker gives back counts as failed (Trino #19137).
    HandedBackIsFailure,
    /// A query that is cancelled while attempts of it run goes on (Trino #16029).
    CancelForgotten,
    /// A worker obeys orders as they come, not as they were given (Trino #25217).
    OrdersAsTheyCome,
    /// A worker that was started again is taken for what it was before.
    RestartUnnoticed,
    /// That nobody was heard of while the coordinator stood still is held against the workers.
    StandstillHeldAgainstWorkers,
    /// A task that waits for its backoff to pass is looked at only if something else happens (Trino #22472).
    BackoffNeverEnds,
    /// A task whose commit record is there and cannot be read is tried again as it was (SlateDB #766).
    UnreadableCommitTriedAgain,
    /// A query that is tried again as a whole takes what its first try has written for its own (SPARK-24552).
    TryKeepsGeneration,
    /// A query is tried again although its rows were given to the client as they came (Trino #26968).
    DeliveredIsTriedAgain,
    /// Of a query that is tried again as a whole rows are given out before all are there (Trino #22472).
    RegionServedEarly,
    /// A worker that says nothing is as good as any until it is taken for lost (Trino's first minute).
    QuietIsNotSlow,
    /// Slow workers are used like any other.
    SlowNodesFirst,
}

/// Which bug is planted, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<PlantedBug>,
}

impl Planted {
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn set(&mut self, bug: PlantedBug) {
        self.bug = Some(bug);
    }

    /// Whether this one is.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn is(self, bug: PlantedBug) -> bool {
        self.bug == Some(bug)
    }

    /// None is.
    #[cfg(not(feature = "planted-bugs"))]
    pub(crate) fn is(self, _: PlantedBug) -> bool {
        false
    }
}
