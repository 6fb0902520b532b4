//! Bugs that other engines have shipped, to be planted by tests that must find them.

/// A planted bug. Never set outside of tests of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// The memory of some ended attempts is never given back.
    LeakLease,
    /// An attempt that a worker has not heard of yet is taken for lost.
    AbsenceIsLoss,
    /// A query is released although a worker has not heard of its end yet.
    ReleaseUnheard,
    /// Whoever reports a commit is taken for its author.
    ReporterIsWinner,
    /// That no worker is left is noticed only on one of the ways that lead there.
    NoWorkersOnOnePathOnly,
    /// A batch of splits that is the last one is dropped.
    DropLastSplits,
    /// A worker reports the end of an attempt only once.
    ReportEndOnce,
}
