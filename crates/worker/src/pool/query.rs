//! The memory pool that all attempts of a query share that have no lease of their own.
//!
//! Attempts that run at the same time and stream rows to each other are many, and most of them need little at any
//! moment. So they share one pool, limited by `query.max-memory-per-node`:
//!
//! - *What cannot spill* (the build side of a hash join) takes whatever is free.
//! - *What can spill* (sorts, aggregations) may hold an equal share of the rest. Shares are counted by those that hold
//!   something just now, plus one for those that do not yet: of the many operators of a query few are at work at once,
//!   and a share for each of them would make all of them spill for nothing.
//! - *The buffers between attempts* may hold a quarter together, and an eighth is kept for them. One that holds little
//!   gets what it asks for in any case: where no row moves, no operator ever gives anything back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base::{DataSize, QueryId};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use protocol::client::succinct::succinct_data_size;

/// Buffers may hold this part of the pool together.
const BUFFERS_DIVISOR: u64 = 4;

/// This part of the pool is not for operators that can spill: it is for buffers, and for the merges of what was spilled.
const HEADROOM_DIVISOR: u64 = 8;

/// A buffer that holds no more than this, or than this part of the pool, gets what it asks for.
const BUFFER_FLOOR_BYTES: u64 = 1 << 20;
const BUFFER_FLOOR_DIVISOR: u64 = 256;

/// How many of the largest consumers an error names.
const CONSUMERS_IN_ERROR: usize = 5;

/// What an error calls the buffers between attempts.
const BUFFERS_NAME: &str = "DirectExchange";

/// The pool of a query.
#[derive(Debug)]
pub(crate) struct QueryPool {
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    consumers: HashMap<usize, Consumer>,
    /// What is held by consumers that cannot spill, by those that can, and by buffers, in bytes.
    unspillable: u64,
    spillable: u64,
    buffers: u64,
    /// How many consumers there are that can spill, and how many of them hold something.
    spillable_count: u64,
    spillable_active: u64,
}

#[derive(Debug)]
struct Consumer {
    name: String,
    can_spill: bool,
    held: u64,
}

impl State {
    fn used(&self) -> u64 {
        self.unspillable + self.spillable + self.buffers
    }

    fn held(&self, consumer: &MemoryConsumer) -> u64 {
        self.consumers.get(&consumer.id()).map_or(0, |known| known.held)
    }

    /// What one consumer that can spill may hold.
    fn share(&self, limit: u64, consumer: &MemoryConsumer) -> u64 {
        let kept = self.buffers.max(limit / HEADROOM_DIVISOR);
        let for_spillable = limit.saturating_sub(self.unspillable + kept);
        let active = self.spillable_active + u64::from(self.held(consumer) == 0);
        let others = u64::from(self.spillable_count > active);
        for_spillable / (active + others).max(1)
    }

    fn grow(&mut self, consumer: &MemoryConsumer, bytes: u64) {
        if bytes == 0 {
            return;
        }
        if let Some(known) = self.consumers.get_mut(&consumer.id()) {
            if known.can_spill && known.held == 0 {
                self.spillable_active += 1;
            }
            known.held += bytes;
        }
        match consumer.can_spill() {
            true => self.spillable += bytes,
            false => self.unspillable += bytes,
        }
    }

    fn shrink(&mut self, consumer: &MemoryConsumer, bytes: u64) {
        if bytes == 0 {
            return;
        }
        if let Some(known) = self.consumers.get_mut(&consumer.id()) {
            known.held = known.held.saturating_sub(bytes);
            if known.can_spill && known.held == 0 {
                self.spillable_active -= 1;
            }
        }
        match consumer.can_spill() {
            true => self.spillable -= bytes,
            false => self.unspillable -= bytes,
        }
    }

    /// The largest consumers as Trino lists them, those of one name together.
    fn top_consumers(&self) -> String {
        let mut by_name: HashMap<&str, u64> = HashMap::from([(BUFFERS_NAME, self.buffers)]);
        for known in self.consumers.values() {
            // What follows a bracket tells instances of an operator apart.
            let name = known.name.split(['[', '(']).next().unwrap_or_default().trim_end();
            *by_name.entry(name).or_default() += known.held;
        }
        let mut largest: Vec<_> = by_name.into_iter().filter(|(_, held)| *held > 0).collect();
        largest.sort_by_key(|(name, held)| (std::cmp::Reverse(*held), *name));
        let listed = largest.iter().take(CONSUMERS_IN_ERROR);
        let listed: Vec<_> = listed.map(|(name, held)| format!("{name}={}", size(*held))).collect();
        format!("{{{}}}", listed.join(", "))
    }
}

fn size(bytes: u64) -> String {
    succinct_data_size(DataSize(bytes))
}

impl QueryPool {
    /// A pool of so many bytes.
    pub(crate) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(QueryPool { limit_bytes, state: Mutex::default() })
    }

    /// `query.max-memory-per-node`, in bytes.
    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, state: &State, bytes: u64) -> DataFusionError {
        DataFusionError::ResourcesExhausted(format!(
            "Query exceeded per-node memory limit of {} (query.max-memory-per-node) \
             [Allocated: {}, Delta: {}, Top Consumers: {}]",
            size(self.limit_bytes),
            size(state.used()),
            size(bytes),
            state.top_consumers()
        ))
    }

    pub(super) fn register(&self, consumer: &MemoryConsumer) {
        let mut state = self.state();
        state.spillable_count += u64::from(consumer.can_spill());
        let (name, can_spill) = (consumer.name().to_owned(), consumer.can_spill());
        state.consumers.insert(consumer.id(), Consumer { name, can_spill, held: 0 });
    }

    pub(super) fn unregister(&self, consumer: &MemoryConsumer) {
        let mut state = self.state();
        state.spillable_count -= u64::from(consumer.can_spill());
        state.consumers.remove(&consumer.id());
    }

    pub(super) fn try_grow(&self, reservation: &MemoryReservation, bytes: u64) -> Result<()> {
        let consumer = reservation.consumer();
        let mut state = self.state();
        let fits = state.used().saturating_add(bytes) <= self.limit_bytes;
        let is_due = !consumer.can_spill()
            || state.held(consumer).saturating_add(bytes) <= state.share(self.limit_bytes, consumer);
        if !fits || !is_due {
            return Err(self.refused(&state, bytes));
        }
        state.grow(consumer, bytes);
        Ok(())
    }

    pub(super) fn grow(&self, reservation: &MemoryReservation, bytes: u64) {
        self.state().grow(reservation.consumer(), bytes);
    }

    pub(super) fn shrink(&self, reservation: &MemoryReservation, bytes: u64) {
        self.state().shrink(reservation.consumer(), bytes);
    }

    /// Whether a buffer is to get what it asks for whatever others hold.
    pub(super) fn is_buffer_small(&self, held: u64, bytes: u64) -> bool {
        let floor = BUFFER_FLOOR_BYTES.min(self.limit_bytes / BUFFER_FLOOR_DIVISOR);
        bytes <= self.limit_bytes && (held == 0 || held.saturating_add(bytes) <= floor)
    }

    /// Lets a buffer that holds so many bytes have more.
    pub(super) fn try_grow_buffer(&self, held: u64, bytes: u64) -> Result<()> {
        let mut state = self.state();
        let fits = state.used().saturating_add(bytes) <= self.limit_bytes
            && state.buffers.saturating_add(bytes) <= self.limit_bytes / BUFFERS_DIVISOR;
        if !fits && !self.is_buffer_small(held, bytes) {
            return Err(self.refused(&state, bytes));
        }
        state.buffers += bytes;
        Ok(())
    }

    pub(super) fn shrink_buffer(&self, bytes: u64) {
        self.state().buffers -= bytes;
    }

    #[cfg(test)]
    pub(super) fn used_bytes(&self) -> u64 {
        self.state().used()
    }
}

/// The pools of the queries that have attempts here. A pool goes with the last of them.
#[derive(Debug, Default)]
pub(crate) struct QueryPools(Mutex<HashMap<QueryId, Weak<QueryPool>>>);

impl QueryPools {
    /// The pool of a query, of so many bytes if it is new.
    pub(crate) fn of(&self, query: QueryId, limit_bytes: u64) -> Arc<QueryPool> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&query).and_then(Weak::upgrade) {
            return pool;
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let pool = QueryPool::new(limit_bytes);
        pools.insert(query, Arc::downgrade(&pool));
        pool
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
