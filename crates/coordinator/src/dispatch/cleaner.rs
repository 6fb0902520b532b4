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

/// How often the exchange is swept while there is a reason to, and while there is none.
const DISTRUST_SWEEP_INTERVAL: Duration = Duration::from_secs(1);
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How long after its last sign a reason holds.
const DISTRUST_PERIOD: Duration = Duration::from_secs(60);
/// How many queries are cleaned at once.
const REMOVAL_COUNT_MAX: usize = 8;
/// How many queries may wait to be cleaned. The next sweep finds those beyond.
const REQUEST_COUNT_MAX: usize = 1024;

/// Deletes what queries left in the exchange.
#[derive(Debug)]
pub(super) struct Cleaner {
    requests: mpsc::Sender<QueryId>,
    distrust: Distrust,
}

/// Until when there is a reason to look whether something was left.
type Distrust = Arc<watch::Sender<Instant>>;

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
    pub(super) fn start(exchange: Arc<ExchangeManager>, known: KnownQueries) -> Self {
        let (requests, requested) = mpsc::channel(REQUEST_COUNT_MAX);
        let distrust = Arc::new(watch::Sender::new(Instant::now()));
        let sweeper = Sweeper {
            exchange,
            known,
            distrust: Arc::clone(&distrust),
            is_failing: false,
        };
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
        distrust(&self.distrust);
    }
}

fn distrust(until: &Distrust) {
    until.send_replace(Instant::now() + DISTRUST_PERIOD);
}

struct Sweeper {
    exchange: Arc<ExchangeManager>,
    known: KnownQueries,
    distrust: Distrust,
    /// Whether the last request to the store failed. Only the first failure in a row is told.
    is_failing: bool,
}

impl Sweeper {
    async fn run(mut self, mut requested: mpsc::Receiver<QueryId>) {
        let mut changes = self.distrust.subscribe();
        let mut removals = JoinSet::new();
        let mut swept = Instant::now();
        loop {
            let interval = match Instant::now() < *changes.borrow_and_update() {
                true => DISTRUST_SWEEP_INTERVAL,
                false => SWEEP_INTERVAL,
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
                    Err(_) => distrust(&self.distrust),
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
                distrust(&self.distrust);
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
