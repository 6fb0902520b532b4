//! Deletes what queries left in the store, and looks again until it is gone.
//!
//! A query is cleaned when it is released. First its plan goes, after which nobody goes on with it, and its output;
//! some seconds after its client was told its records, the outcome last: a client that lost the last answer can ask
//! again, even another coordinator. Of a query that ended well and whose answer could not be given, everything stays as
//! long: from the outcome alone another coordinator would conclude that its client has got everything. A coordinator may die in between, a worker that was taken for lost may still
//! write, and the store may refuse a removal. So the store is swept from time to time, often as long as there is a
//! reason to, for queries of this life and those before it that nobody runs.
//!
//! Only the coordinator that leads deletes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use base::{QueryId, Result};
use exchange::ExchangeManager;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Dispatcher;
use crate::query::QueryRegistry;
use crate::state::StateStore;

/// How many queries are cleaned at once.
const REMOVAL_COUNT_MAX: usize = 8;
/// How many queries may wait to be cleaned. A sweep finds those beyond.
const WAITING_COUNT_MAX: usize = 10_000;
/// How many requests to clean a query may wait to be taken note of. A sweep finds those beyond.
const REQUEST_COUNT_MAX: usize = 1024;

/// When what is deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct SweepTimes {
    /// How often the store is swept while there is no reason to.
    pub interval: Duration,
    /// How often while there is a reason.
    pub interval_in_distrust: Duration,
    /// How long after its last sign a reason holds.
    pub distrust_period: Duration,
    /// How long the outcome of a query stays after everybody is done with it.
    pub done_retention: Duration,
    /// How long it stays if the client has not asked for it.
    pub untold_retention: Duration,
}

impl Default for SweepTimes {
    fn default() -> Self {
        SweepTimes {
            interval: Duration::from_secs(60),
            interval_in_distrust: Duration::from_secs(1),
            distrust_period: Duration::from_secs(60),
            done_retention: Duration::from_secs(2),
            untold_retention: Duration::from_secs(30),
        }
    }
}

/// Deletes what queries left in the store.
#[derive(Debug)]
pub(super) struct Cleaner {
    requests: mpsc::Sender<Request>,
    distrust: Arc<Distrust>,
}

/// A part of a query is to be deleted.
#[derive(Debug)]
struct Request {
    query: QueryId,
    part: Part,
    /// Who waits until it is.
    waiting: Option<oneshot::Sender<()>>,
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
    /// What the ids of all queries of this life and those before it end in. Others may share the store.
    pub coordinator_ids: Vec<String>,
    /// The queries that are remembered.
    pub queries: Arc<QueryRegistry>,
    /// Who runs them.
    pub dispatcher: Dispatcher,
}

impl KnownQueries {
    /// Those of this life and those before it that do not run any more.
    async fn retain_gone(&self, mut queries: Vec<QueryId>) -> Result<Vec<QueryId>> {
        queries.retain(|query| {
            let is_ours = self.coordinator_ids.iter().any(|id| query.as_str().ends_with(id.as_str()));
            is_ours && self.queries.get(query).is_none_or(|known| known.state().is_final())
        });
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
    pub(super) fn start(
        exchange: Arc<ExchangeManager>,
        state: StateStore,
        known: KnownQueries,
        times: SweepTimes,
        stop: CancellationToken,
    ) -> Self {
        let (requests, requested) = mpsc::channel(REQUEST_COUNT_MAX);
        let distrust =
            Arc::new(Distrust { until: watch::Sender::new(Instant::now()), period: times.distrust_period });
        let sweeper = Sweeper {
            remover: Remover { exchange, state },
            known,
            times,
            distrust: Arc::clone(&distrust),
            waiting: BTreeMap::new(),
            is_failing: false,
        };
        tokio::spawn(async move { stop.run_until_cancelled(sweeper.run(requested)).await });
        Cleaner { requests, distrust }
    }

    /// Makes sure that nobody goes on with a query: its client has got everything, or wants nothing.
    pub(super) fn forget_plan(&self, query: QueryId) {
        self.request(query, Part::Plan);
    }

    /// Deletes what a query left that does not run any more.
    pub(super) fn clean(&self, query: QueryId) {
        self.request(query, Part::Output);
    }

    /// Deletes everything of a query at once, and tells when nothing is there.
    pub(super) fn purge(&self, query: QueryId, answer: oneshot::Sender<()>) {
        self.send(Request { query, part: Part::All, waiting: Some(answer) });
    }

    fn request(&self, query: QueryId, part: Part) {
        self.send(Request { query, part, waiting: None });
    }

    fn send(&self, request: Request) {
        if self.requests.try_send(request).is_err() {
            self.distrust();
        }
    }

    /// Something may be left, or be written yet, that nobody asks to delete.
    pub(super) fn distrust(&self) {
        self.distrust.extend();
    }
}

/// What is deleted of a query, and when.
#[derive(Debug)]
struct Removal {
    at: Instant,
    part: Part,
    /// Whether it is being deleted now.
    is_running: bool,
    /// What was asked for while it was.
    asked: Option<Part>,
    /// Who waits until everything is deleted.
    waiting: Vec<oneshot::Sender<()>>,
}

/// A part of what a query has in the store. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Its plan.
    Plan,
    /// Its output.
    Output,
    /// Everything.
    All,
}

#[derive(Clone)]
struct Remover {
    exchange: Arc<ExchangeManager>,
    state: StateStore,
}

impl Remover {
    async fn remove(&self, query: QueryId, part: Part) -> Result<()> {
        match part {
            Part::Plan => self.state.forget_plan(query).await,
            Part::Output => {
                self.state.forget_plan(query).await?;
                self.state.leadership().confirm().await?;
                self.exchange.remove_output(query).await
            }
            Part::All => {
                self.state.remove_query(query).await?;
                // The records may be elsewhere than the output.
                self.state.leadership().confirm().await?;
                self.exchange.remove_query(query).await
            }
        }
    }

    /// Whether a query that nobody runs left something that is to go: all but the record of a query that was not
    /// ended.
    async fn is_left(&self, query: QueryId) -> Result<bool> {
        let found = self.state.look(query).await?;
        Ok(!found.has_query || found.is_done)
    }

    async fn queries(&self) -> Result<Vec<QueryId>> {
        let mut queries = self.exchange.queries().await?;
        queries.extend(self.state.queries().await?);
        queries.sort();
        queries.dedup();
        Ok(queries)
    }
}

struct Sweeper {
    remover: Remover,
    known: KnownQueries,
    times: SweepTimes,
    distrust: Arc<Distrust>,
    waiting: BTreeMap<QueryId, Removal>,
    /// Whether the last request to the store failed. Only the first failure in a row is told.
    is_failing: bool,
}

impl Sweeper {
    async fn run(mut self, mut requested: mpsc::Receiver<Request>) {
        let mut changes = self.distrust.until.subscribe();
        let mut removals = JoinSet::new();
        let mut swept = Instant::now();
        loop {
            let interval = match Instant::now() < *changes.borrow_and_update() {
                true => self.times.interval_in_distrust,
                false => self.times.interval,
            };
            let due = self.start_due(&mut removals);
            tokio::select! {
                request = requested.recv() => match request {
                    Some(Request { query, part, waiting }) => self.clean(query, part, waiting),
                    None => return,
                },
                // A removal that panicked is done again by a sweep.
                Some(removed) = removals.join_next() => match removed {
                    Ok((query, part, outcome)) => self.removed(query, part, outcome),
                    Err(_) => self.distrust.extend(),
                },
                _ = changes.changed() => {}
                () = sleep_until(due.unwrap_or(swept + interval)), if due.is_some() => {}
                () = sleep_until(swept + interval) => {
                    let outcome = self.sweep().await;
                    self.judge(&outcome);
                    swept = Instant::now();
                }
            }
        }
    }

    /// Starts the removals whose time has come, and says when the next one is to start.
    fn start_due(&mut self, removals: &mut JoinSet<(QueryId, Part, Result<()>)>) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        for (query, removal) in self.waiting.iter_mut().filter(|(_, removal)| !removal.is_running) {
            if removals.len() >= REMOVAL_COUNT_MAX {
                // The end of one of them is noticed.
                return None;
            }
            if removal.at > now {
                next = Some(next.map_or(removal.at, |next: Instant| next.min(removal.at)));
                continue;
            }
            let known = self.known.queries.get(query);
            if removal.part == Part::All
                && known.is_some_and(|known| known.is_awaited(self.times.untold_retention))
            {
                removal.at = now + self.times.interval_in_distrust;
                next = Some(next.map_or(removal.at, |next: Instant| next.min(removal.at)));
                continue;
            }
            removal.is_running = true;
            let (query, part, remover) = (*query, removal.part, self.remover.clone());
            removals.spawn(async move { (query, part, remover.remove(query, part).await) });
        }
        next
    }

    fn clean(&mut self, query: QueryId, part: Part, waiting: Option<oneshot::Sender<()>>) {
        if self.waiting.len() >= WAITING_COUNT_MAX {
            return self.distrust.extend();
        }
        let now = Instant::now();
        let is_undelivered = self.known.queries.get(&query).is_some_and(|known| known.is_undelivered());
        let (part, at) = match part {
            Part::Plan | Part::Output if is_undelivered => (Part::All, now + self.times.done_retention),
            part => (part, now),
        };
        let removal = match self.waiting.entry(query) {
            Entry::Vacant(vacant) => {
                vacant.insert(Removal { at, part, is_running: false, asked: None, waiting: Vec::new() })
            }
            // The plan goes with whatever else goes.
            Entry::Occupied(_) if part == Part::Plan => return,
            Entry::Occupied(known) => {
                let known = known.into_mut();
                match known.is_running {
                    true => known.asked = Some(part),
                    // What is asked for again was written since: it begins again.
                    false => (known.at, known.part, known.asked) = (at, part, None),
                }
                known
            }
        };
        removal.waiting.extend(waiting);
    }

    fn removed(&mut self, query: QueryId, part: Part, outcome: Result<()>) {
        self.judge(&outcome);
        let Entry::Occupied(mut entry) = self.waiting.entry(query) else {
            return;
        };
        let removal = entry.get_mut();
        removal.is_running = false;
        let now = Instant::now();
        match (outcome, removal.asked.take(), part) {
            (Err(_), asked, _) => {
                removal.part = asked.map_or(part, |asked| asked.max(part));
                removal.at = now + self.times.interval_in_distrust;
            }
            (Ok(()), Some(asked), _) => (removal.part, removal.at) = (asked, now),
            (Ok(()), None, Part::Output) => {
                (removal.part, removal.at) = (Part::All, now + self.times.done_retention);
            }
            (Ok(()), None, Part::Plan | Part::All) => {
                for waiting in entry.remove().waiting {
                    // Whoever waited may have gone away; then nobody misses the answer.
                    let _ = waiting.send(());
                }
            }
        }
    }

    /// Cleans queries that are gone.
    async fn sweep(&mut self) -> Result<()> {
        let listed = self.remover.queries().await?;
        for query in self.known.retain_gone(listed).await? {
            if !self.waiting.contains_key(&query) && self.remover.is_left(query).await? {
                tracing::info!(%query, "a query that is gone has left something in the store");
                self.clean(query, Part::Output, None);
            }
        }
        Ok(())
    }

    fn judge(&mut self, outcome: &Result<()>) {
        match outcome {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                self.distrust.extend();
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "cleaning the store failed and is tried again");
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "cleaner_tests.rs"]
mod tests;
