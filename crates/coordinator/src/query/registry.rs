//! The queries that are remembered.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base::QueryId;

use super::{Query, QueryState};

/// The queries that are remembered: all that run, and the newest of those that have ended.
pub struct QueryRegistry {
    remembered: Mutex<Remembered>,
    /// `query.max-history`: how many ended queries are remembered.
    history_count_max: usize,
    /// `query.min-expire-age`: how long an ended query is remembered in any case.
    expire_age_min: Duration,
}

#[derive(Default)]
struct Remembered {
    queries: BTreeMap<QueryId, Arc<Query>>,
    /// How many are not remembered any more, by the state they ended in.
    forgotten: BTreeMap<QueryState, u64>,
}

impl QueryRegistry {
    /// None yet.
    pub fn new(history_count_max: usize, expire_age_min: Duration) -> Self {
        QueryRegistry { remembered: Mutex::default(), history_count_max, expire_age_min }
    }

    /// Remembers a query.
    pub fn insert(&self, query: Arc<Query>) {
        self.lock().queries.insert(query.id, query);
    }

    /// Remembers a query unless there is one of that id, and says whether it did. Tells the one that is remembered.
    pub fn get_or_insert(&self, query: Arc<Query>) -> (Arc<Query>, bool) {
        match self.lock().queries.entry(query.id) {
            Entry::Occupied(known) => (Arc::clone(known.get()), false),
            Entry::Vacant(vacant) => (Arc::clone(vacant.insert(query)), true),
        }
    }

    /// A query, if it is remembered.
    pub fn get(&self, id: &QueryId) -> Option<Arc<Query>> {
        self.lock().queries.get(id).cloned()
    }

    /// All that are remembered, oldest first.
    pub fn all(&self) -> Vec<Arc<Query>> {
        self.lock().queries.values().cloned().collect()
    }

    /// How many queries there are and were since the start, by state.
    pub fn counts(&self) -> BTreeMap<QueryState, u64> {
        let remembered = self.lock();
        let mut counts = remembered.forgotten.clone();
        for query in remembered.queries.values() {
            *counts.entry(query.state()).or_default() += 1;
        }
        counts
    }

    /// Forgets ended queries that are old enough and too many.
    pub fn expire(&self) {
        let mut remembered = self.lock();
        let mut ended = 0_usize;
        let mut old = Vec::new();
        for query in remembered.queries.values() {
            let Some(at) = query.ended_at() else { continue };
            ended += 1;
            if at.elapsed() >= self.expire_age_min {
                old.push((ended, query.id, query.state()));
            }
        }
        let excess = ended.saturating_sub(self.history_count_max);
        for (_, id, state) in old.into_iter().filter(|(number, ..)| *number <= excess) {
            remembered.queries.remove(&id);
            *remembered.forgotten.entry(state).or_default() += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
