//! Bugs to be planted: each must be found, or the simulator is not worth much.

use scheduler::PlantedBug;

/// A planted bug, in the scheduler or in the model of what is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// In the core or the runner.
    Scheduler(PlantedBug),
    /// A commit overwrites the one before it (SPARK-24552).
    UnconditionalCommit,
    /// An attempt that finds its own commit believes that somebody else was first (SlateDB #766).
    LostAnswerIsDefeat,
    /// A commit whose answer did not come is taken for failed (Trino #31246).
    DoubtIsFailure,
    /// A refusal that is gone a moment later is taken for an error of the statement (Trino #27069).
    RefusalIsFatal,
    /// An attempt gives up soon although the store is away for everybody (Trino #19879).
    OutageIsFatal,
    /// What cannot be read is reported as any other failure (Ballista #2027).
    UntypedDataLoss,
    /// Nobody looks whether what was read is what was written (Trino #23531).
    NoChecksum,
    /// An object that is not there is read as one without rows.
    MissingIsEmpty,
    /// Only what a life of the coordinator made itself is deleted (Trino #25707).
    CleanupKnowsItsOwnOnly,
    /// A query without a plan is planned, without a look whether it has ended.
    PlansWhatHasEnded,
    /// A query that a life of the coordinator did not find at its start is none (Trino's coordinator knows its own).
    UnknownIsGone,
    /// A leader that stood still goes on without a look (the classic of all leases).
    NoFence,
    /// What is under a record's key is taken for one's own record.
    ExistsIsOurs,
    /// A page is forgotten when it was served (Trino's protocol keeps it).
    PageServedOnce,
    /// A query that nobody asks for is kept.
    AbandonedForEver,
    /// A client that was heard of once is taken for one that is being served (Trino's leaked requests).
    AttendedForEver,
    /// A late request for an old page is answered with what comes after the newest.
    LateRequestMovesOn,
    /// A worker whose coordinator cannot be heard waits for ever (no keep-alive on a connection).
    NeverHangsUp,
    /// The end of an old stream of a worker is taken for that of its new one.
    LateGoodbye,
    /// A worker that stood still believes that its attempts hang.
    StandstillIsHang,
    /// The workers that there are stand on a list that was made at the start.
    FixedListOfWorkers,
    /// That rivals are wanted is not passed on (an option without a wire).
    RivalsNotAskedFor,
    /// Names of queries are counted from the beginning when the coordinator starts again.
    QueryIdsStartAgain,
    /// A leader whose lease is fresh does not look whether there is a newer one.
    FreshLeaseIsLeadership,
    /// A record that cannot be read is taken for none.
    UnreadableIsAbsent,
    /// An attempt whose worker is gone is taken for one that has no more rows (a connection that ends early).
    ProducerGoneIsEnd,
    /// A client that has read all rows that there are is told that it has, before it is known that they are right.
    LastPageEarly,
    /// A short query whose coordinator died is not run again.
    CapsuleIgnored,
    /// When a query gets its records, what is only in the memory of the coordinator stays there.
    LateOutputStaysHere,
    /// The record that says that a query is there is written before the others.
    QueryRecordFirst,
    /// What comes only in a report counts although the query has records by now.
    LateReportCounts,
}

/// Every bug, by name.
pub const BUGS: &[(&str, Bug)] = &[
    ("leak-lease", Bug::Scheduler(PlantedBug::LeakLease)),
    ("absence-is-loss", Bug::Scheduler(PlantedBug::AbsenceIsLoss)),
    ("release-unheard", Bug::Scheduler(PlantedBug::ReleaseUnheard)),
    ("reporter-is-winner", Bug::Scheduler(PlantedBug::ReporterIsWinner)),
    ("no-workers-on-one-path-only", Bug::Scheduler(PlantedBug::NoWorkersOnOnePathOnly)),
    ("drop-last-splits", Bug::Scheduler(PlantedBug::DropLastSplits)),
    ("report-end-once", Bug::Scheduler(PlantedBug::ReportEndOnce)),
    ("desired-sent-once", Bug::Scheduler(PlantedBug::DesiredSentOnce)),
    ("silence-forgiven", Bug::Scheduler(PlantedBug::SilenceForgiven)),
    ("old-epoch-obeyed", Bug::Scheduler(PlantedBug::OldEpochObeyed)),
    ("indeterminate-rerun-ignored", Bug::Scheduler(PlantedBug::IndeterminateRerunIgnored)),
    ("difference-ignored", Bug::Scheduler(PlantedBug::DifferenceIgnored)),
    ("user-error-retried", Bug::Scheduler(PlantedBug::UserErrorRetried)),
    ("losses-never-count", Bug::Scheduler(PlantedBug::LossesNeverCount)),
    ("handed-back-is-failure", Bug::Scheduler(PlantedBug::HandedBackIsFailure)),
    ("cancel-forgotten", Bug::Scheduler(PlantedBug::CancelForgotten)),
    ("orders-as-they-come", Bug::Scheduler(PlantedBug::OrdersAsTheyCome)),
    ("restart-unnoticed", Bug::Scheduler(PlantedBug::RestartUnnoticed)),
    ("standstill-held-against-workers", Bug::Scheduler(PlantedBug::StandstillHeldAgainstWorkers)),
    ("backoff-never-ends", Bug::Scheduler(PlantedBug::BackoffNeverEnds)),
    ("unreadable-commit-tried-again", Bug::Scheduler(PlantedBug::UnreadableCommitTriedAgain)),
    ("unconditional-commit", Bug::UnconditionalCommit),
    ("lost-answer-is-defeat", Bug::LostAnswerIsDefeat),
    ("doubt-is-failure", Bug::DoubtIsFailure),
    ("refusal-is-fatal", Bug::RefusalIsFatal),
    ("outage-is-fatal", Bug::OutageIsFatal),
    ("untyped-data-loss", Bug::UntypedDataLoss),
    ("no-checksum", Bug::NoChecksum),
    ("missing-is-empty", Bug::MissingIsEmpty),
    ("cleanup-knows-its-own-only", Bug::CleanupKnowsItsOwnOnly),
    ("plans-what-has-ended", Bug::PlansWhatHasEnded),
    ("unknown-is-gone", Bug::UnknownIsGone),
    ("no-fence", Bug::NoFence),
    ("exists-is-ours", Bug::ExistsIsOurs),
    ("page-served-once", Bug::PageServedOnce),
    ("abandoned-for-ever", Bug::AbandonedForEver),
    ("attended-for-ever", Bug::AttendedForEver),
    ("late-request-moves-on", Bug::LateRequestMovesOn),
    ("never-hangs-up", Bug::NeverHangsUp),
    ("late-goodbye", Bug::LateGoodbye),
    ("standstill-is-hang", Bug::StandstillIsHang),
    ("fixed-list-of-workers", Bug::FixedListOfWorkers),
    ("rivals-not-asked-for", Bug::RivalsNotAskedFor),
    ("query-ids-start-again", Bug::QueryIdsStartAgain),
    ("fresh-lease-is-leadership", Bug::FreshLeaseIsLeadership),
    ("unreadable-is-absent", Bug::UnreadableIsAbsent),
    ("try-keeps-generation", Bug::Scheduler(PlantedBug::TryKeepsGeneration)),
    ("delivered-is-tried-again", Bug::Scheduler(PlantedBug::DeliveredIsTriedAgain)),
    ("region-served-early", Bug::Scheduler(PlantedBug::RegionServedEarly)),
    ("producer-gone-is-end", Bug::ProducerGoneIsEnd),
    ("last-page-early", Bug::LastPageEarly),
    ("quiet-is-not-slow", Bug::Scheduler(PlantedBug::QuietIsNotSlow)),
    ("slow-nodes-first", Bug::Scheduler(PlantedBug::SlowNodesFirst)),
    ("capsule-ignored", Bug::CapsuleIgnored),
    ("late-output-stays-here", Bug::LateOutputStaysHere),
    ("query-record-first", Bug::QueryRecordFirst),
    ("late-report-counts", Bug::LateReportCounts),
];
