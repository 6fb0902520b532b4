//! The queries that are remembered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base::QueryId;

use super::Query;

/// The queries that are remembered: all that run, and the newest of those that have ended.
pub struct QueryRegistry {
    queries: Mutex<BTreeMap<QueryId, Arc<Query>>>,
    /// `query.max-history`: how many ended queries are remembered.
    history_count_max: usize,
    /// `query.min-expire-age`: how long an ended query is remembered in any case.
    expire_age_min: Duration,
}

impl QueryRegistry {
    /// None yet.
    pub fn new(history_count_max: usize, expire_age_min: Duration) -> Self {
        QueryRegistry { queries: Mutex::default(), history_count_max, expire_age_min }
    }

    /// Remembers a query.
    pub fn insert(&self, query: Arc<Query>) {
        self.lock().insert(query.id, query);
    }

    /// Forgets a query.
    pub fn remove(&self, id: &QueryId) {
        self.lock().remove(id);
    }

    /// A query, if it is remembered.
    pub fn get(&self, id: &QueryId) -> Option<Arc<Query>> {
        self.lock().get(id).cloned()
    }

    /// All that are remembered, oldest first.
    pub fn all(&self) -> Vec<Arc<Query>> {
        self.lock().values().cloned().collect()
    }

    /// Forgets ended queries that are old enough and too many.
    pub fn expire(&self) {
        let mut queries = self.lock();
        let ended: Vec<(QueryId, Duration)> = queries
            .values()
            .filter_map(|query| Some((query.id, query.status().times.ended_at?.elapsed())))
            .collect();
        let excess = ended.len().saturating_sub(self.history_count_max);
        for (id, age) in ended.into_iter().take(excess) {
            if age >= self.expire_age_min {
                queries.remove(&id);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<QueryId, Arc<Query>>> {
        self.queries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
