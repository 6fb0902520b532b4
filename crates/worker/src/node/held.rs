//! The attempts that a node holds.

use std::sync::Arc;
use std::time::Duration;

use base::{AttemptId, Error, Failure};
use exchange::Committed;
use exchange::direct::OutputHandle;
use protocol::node::{AttemptDetails, wire};
use scheduler::{AttemptStatus, OutputSize};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::{AttemptProgress, Output};
use crate::watchdog::Watchdog;

/// What an attempt did is looked up this often while it runs: it takes a walk over its plan.
const STATS_INTERVAL: Duration = Duration::from_millis(250);

/// An attempt that the node holds.
pub(super) enum Held {
    Running(Box<Running>),
    Ended(Box<Ended>),
}

/// An attempt that runs.
pub(super) struct Running {
    pub(super) progress: Arc<AttemptProgress>,
    pub(super) memory_bytes: u64,
    pub(super) watchdog: Watchdog,
    pub(super) cancel: CancellationToken,
    pub(super) task: AbortHandle,
    pub(super) ending: Option<Ending>,
    stats: wire::AttemptStats,
    stats_at: Instant,
}

/// An attempt was told to end.
pub(super) struct Ending {
    pub(super) since: Instant,
    /// What it failed with, if it is the node that ended it.
    pub(super) error: Option<Error>,
}

/// An attempt that has ended.
pub(super) struct Ended {
    pub(super) details: AttemptDetails,
    /// Its output, for consumers that ask late.
    pub(super) _output: Option<OutputHandle>,
}

impl Running {
    /// An attempt that has just been started.
    pub(super) fn new(
        progress: Arc<AttemptProgress>,
        memory_bytes: u64,
        no_progress_timeout: Duration,
        cancel: CancellationToken,
        task: AbortHandle,
    ) -> Self {
        let now = Instant::now();
        Running {
            progress,
            memory_bytes,
            watchdog: Watchdog::new(no_progress_timeout, now),
            cancel,
            task,
            ending: None,
            stats: wire::AttemptStats::default(),
            stats_at: now,
        }
    }

    /// Tells it to end.
    pub(super) fn end(&mut self, now: Instant, error: Option<Error>) {
        self.cancel.cancel();
        // An attempt that computes without a pause notices late that it is to end; its files need not wait for that.
        self.progress.spill.close();
        if self.ending.is_none() {
            self.ending = Some(Ending { since: now, error });
        }
    }

    /// The error to end it with if it does nothing, and waits for nobody.
    pub(super) fn observe(&mut self, now: Instant) -> Option<Error> {
        let waits = self.progress.counters.waits.is_any();
        self.watchdog.observe(now, self.progress.progress(), waits)
    }

    /// Looks what it did, now and then.
    pub(super) fn look(&mut self, now: Instant) {
        if now.duration_since(self.stats_at) >= STATS_INTERVAL {
            self.stats_at = now;
            self.stats = self.progress.stats();
        }
    }
}

impl Held {
    /// What a report tells of it.
    pub(super) fn details(&self) -> AttemptDetails {
        match self {
            Held::Running(running) => {
                AttemptDetails { stats: running.stats.clone(), ..AttemptDetails::default() }
            }
            Held::Ended(ended) => ended.details.clone(),
        }
    }
}

/// What is told of an attempt that has ended so.
pub(super) fn ended(
    attempt: AttemptId,
    outcome: Result<Output, Failure>,
    stats: wire::AttemptStats,
) -> (AttemptStatus, Ended) {
    let mut details = AttemptDetails { stats, ..AttemptDetails::default() };
    match outcome {
        Ok(Output::Committed(Committed { winner, record, is_inline })) => {
            details.commit_record = record.encode();
            details.is_inline = is_inline;
            let output = OutputSize {
                rows: record.rows(),
                partition_bytes: record.partition_bytes(),
                checksum: record.checksum(),
            };
            (AttemptStatus::Committed { winner, output }, Ended { details, _output: None })
        }
        Ok(Output::Streamed { handle }) => {
            let output = OutputSize {
                rows: handle.metrics().rows,
                partition_bytes: handle.partition_bytes(),
                // Nobody writes it again, so there is nothing to compare.
                checksum: 0,
            };
            (AttemptStatus::Committed { winner: attempt, output }, Ended { details, _output: Some(handle) })
        }
        Err(failure) => (AttemptStatus::Failed(failure), Ended { details, _output: None }),
    }
}
