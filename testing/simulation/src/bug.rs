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
];
