//! Creates records in the store, a bounded number at once.

use std::sync::Arc;

use base::QueryId;
use protocol::state::TasksContent;
use scheduler::Record;
use tokio::sync::Semaphore;

use super::{Dispatcher, Input};
use crate::state::StateStore;

/// How many records are created at once.
const CREATE_COUNT_MAX: usize = 16;

/// Creates records in the store, and tells the event loop what is there then.
#[derive(Debug)]
pub(super) struct Persister {
    state: StateStore,
    dispatcher: Dispatcher,
    permits: Arc<Semaphore>,
}

impl Persister {
    pub(super) fn new(state: StateStore, dispatcher: Dispatcher) -> Self {
        Persister { state, dispatcher, permits: Arc::new(Semaphore::new(CREATE_COUNT_MAX)) }
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
