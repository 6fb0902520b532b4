//! Creates records in the store, a bounded number at once.

use std::sync::Arc;
use std::time::Duration;

use base::QueryId;
use exchange::{CommitRecord, ExchangeManager};
use protocol::state::TasksContent;
use scheduler::Record;
use tokio::sync::Semaphore;

use super::{Dispatcher, Input};
use crate::state::StateStore;

/// How many records are created at once.
const CREATE_COUNT_MAX: usize = 16;
/// How long to wait before a commit is tried again, at first and at most.
const RETRY_DELAY_FIRST: Duration = Duration::from_millis(20);
const RETRY_DELAY_LONGEST: Duration = Duration::from_secs(2);

/// Creates records in the store, and tells the event loop what is there then.
#[derive(Debug)]
pub(super) struct Persister {
    state: StateStore,
    exchange: Arc<ExchangeManager>,
    dispatcher: Dispatcher,
    permits: Arc<Semaphore>,
}

impl Persister {
    pub(super) fn new(state: StateStore, exchange: Arc<ExchangeManager>, dispatcher: Dispatcher) -> Self {
        Persister { state, exchange, dispatcher, permits: Arc::new(Semaphore::new(CREATE_COUNT_MAX)) }
    }

    /// The records.
    pub(super) fn state(&self) -> &StateStore {
        &self.state
    }

    /// Creates a record. Nothing is told if this life of the coordinator leads no more.
    pub(super) fn start(&self, query: QueryId, record: Record, splits: TasksContent) {
        let (state, dispatcher) = (self.state.clone(), self.dispatcher.clone());
        let permits = Arc::clone(&self.permits);
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _permit = permits.acquire_owned().await;
            let created = state.create_record(query, &record, splits).await;
            if state.leadership().is_superseded() {
                return;
            }
            dispatcher.send(Input::Persisted { query, created: Box::new(created) }).await;
        });
    }

    /// Commits an output on behalf of the attempt that wrote it, again and again until it is known who has. Nothing is
    /// told if this life of the coordinator leads no more.
    pub(super) fn start_commit(&self, query: QueryId, record: CommitRecord) {
        let (state, dispatcher) = (self.state.clone(), self.dispatcher.clone());
        let (exchange, permits) = (Arc::clone(&self.exchange), Arc::clone(&self.permits));
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _permit = permits.acquire_owned().await;
            let attempt = record.attempt();
            let mut delay = RETRY_DELAY_FIRST;
            while state.leadership().confirm().await.is_ok() {
                match exchange.commit(record.clone()).await {
                    Ok(found) => {
                        let found = Box::new(found);
                        return dispatcher.send(Input::Committed { query, attempt, found }).await;
                    }
                    Err(error) => tracing::warn!(%attempt, %error, "an output cannot be committed yet"),
                }
                tokio::time::sleep(delay).await;
                delay = (2 * delay).min(RETRY_DELAY_LONGEST);
            }
        });
    }

    /// Keeps what the scheduler was told before a query failed. It is no record: if it cannot be kept, it is not.
    pub(super) fn keep_recording(&self, query: QueryId, content: Vec<u8>) {
        let state = self.state.clone();
        tokio::spawn(async move {
            if let Err(error) = state.keep_recording(query, content.into()).await {
                tracing::warn!(%query, %error, "the flight recording of a failed query cannot be kept");
            }
        });
    }
}
