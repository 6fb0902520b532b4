//! Deletes what queries left in the exchange, and looks again until it is gone.
//!
//! A query is cleaned when it is released. That is enough as long as everybody does what they are told. A worker
//! that was taken for lost may still write, and the store may refuse a removal. So the exchange is swept from time
//! to time, often as long as there is a reason to, for queries of this coordinator that it does not run.

use std::sync::Arc;
use std::time::Duration;

use base::{QueryId, Result};
use exchange::ExchangeManager;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Dispatcher;

/// How many queries are cleaned at once.
const REMOVAL_COUNT_MAX: usize = 8;
/// How many queries may wait to be cleaned. The next sweep finds those beyond.
const REQUEST_COUNT_MAX: usize = 1024;

/// When the exchange is swept.
#[derive(Clone, Copy, Debug)]
pub(super) struct SweepTimes {
    /// How often while there is no reason to.
    pub interval: Duration,
    /// How often while there is a reason.
    pub interval_in_distrust: Duration,
    /// How long after its last sign a reason holds.
    pub distrust_period: Duration,
}

impl Default for SweepTimes {
    fn default() -> Self {
        SweepTimes {
            interval: Duration::from_secs(60),
            interval_in_distrust: Duration::from_secs(1),
            distrust_period: Duration::from_secs(60),
        }
    }
}

/// Deletes what queries left in the exchange.
#[derive(Debug)]
pub(super) struct Cleaner {
    requests: mpsc::Sender<QueryId>,
    distrust: Arc<Distrust>,
}

/// Until when there is a reason to look whether something was left.
#[derive(Debug)]
struct Distrust {
    until: watch::Sender<Instant>,
    period: Duration,
}

impl Distrust {
    fn extend(&self) {
        self.until.send_replace(Instant::now() + self.period);
    }
}

/// Which queries are alive.
pub(super) struct KnownQueries {
    /// What the ids of all queries of this coordinator end in. Others may share the exchange.
    pub coordinator_id: String,
    /// Who runs them.
    pub dispatcher: Dispatcher,
}

impl KnownQueries {
    /// Those of this coordinator that do not run any more. No query leaves anything before it runs.
    async fn retain_gone(&self, mut queries: Vec<QueryId>) -> Result<Vec<QueryId>> {
        queries.retain(|query| query.as_str().ends_with(&self.coordinator_id));
        if queries.is_empty() {
            return Ok(queries);
        }
        self.dispatcher
            .inspect(|state| {
                queries.retain(|query| state.execution(query).is_none());
                queries
            })
            .await
    }
}

impl Cleaner {
    pub(super) fn start(exchange: Arc<ExchangeManager>, known: KnownQueries, times: SweepTimes) -> Self {
        let (requests, requested) = mpsc::channel(REQUEST_COUNT_MAX);
        let distrust =
            Arc::new(Distrust { until: watch::Sender::new(Instant::now()), period: times.distrust_period });
        let sweeper = Sweeper { exchange, known, times, distrust: Arc::clone(&distrust), is_failing: false };
        tokio::spawn(sweeper.run(requested));
        Cleaner { requests, distrust }
    }

    /// Deletes what a query left that does not run any more.
    pub(super) fn clean(&self, query: QueryId) {
        if self.requests.try_send(query).is_err() {
            self.distrust();
        }
    }

    /// Something may be left, or be written yet, that nobody asks to delete.
    pub(super) fn distrust(&self) {
        self.distrust.extend();
    }
}

struct Sweeper {
    exchange: Arc<ExchangeManager>,
    known: KnownQueries,
    times: SweepTimes,
    distrust: Arc<Distrust>,
    /// Whether the last request to the store failed. Only the first failure in a row is told.
    is_failing: bool,
}

impl Sweeper {
    async fn run(mut self, mut requested: mpsc::Receiver<QueryId>) {
        let mut changes = self.distrust.until.subscribe();
        let mut removals = JoinSet::new();
        let mut swept = Instant::now();
        loop {
            let interval = match Instant::now() < *changes.borrow_and_update() {
                true => self.times.interval_in_distrust,
                false => self.times.interval,
            };
            tokio::select! {
                query = requested.recv(), if removals.len() < REMOVAL_COUNT_MAX => {
                    let Some(query) = query else { return };
                    let exchange = Arc::clone(&self.exchange);
                    removals.spawn(async move { exchange.remove_query(query).await });
                }
                // A removal that panicked is as good as a failed one: the next sweep does it again.
                Some(removed) = removals.join_next() => match removed {
                    Ok(outcome) => self.judge(outcome),
                    Err(_) => self.distrust.extend(),
                },
                _ = changes.changed() => {}
                () = sleep_until(swept + interval) => {
                    let outcome = self.sweep().await;
                    self.judge(outcome);
                    swept = Instant::now();
                }
            }
        }
    }

    /// Deletes everything of queries that are gone.
    async fn sweep(&self) -> Result<()> {
        let listed = self.exchange.queries().await?;
        for query in self.known.retain_gone(listed).await? {
            tracing::info!(%query, "a query that is gone has left something in the exchange");
            self.exchange.remove_query(query).await?;
        }
        Ok(())
    }

    fn judge(&mut self, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                self.distrust.extend();
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "cleaning the exchange failed and is tried again");
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "cleaner_tests.rs"]
mod tests;
