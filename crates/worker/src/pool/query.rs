//! The memory pool that all attempts of a query share that have no lease of their own.
//!
//! Attempts that run at the same time and stream rows to each other are many, and most of them need little at any
//! moment. So they share one pool, limited by `query.max-memory-per-node`:
//!
//! - *What cannot spill* (the build side of a hash join) takes whatever is free.
//! - *What can spill* (sorts, aggregations) may hold an equal share of the rest. Shares are counted by those that hold
//!   something just now, plus one for those that do not yet: of the many operators of a query few are at work at once,
//!   and a share for each of them would make all of them spill for nothing. Who collects rows to sort them needs half as
//!   much again to merge them, in an operator that cannot spill: that is kept for its attempt.
//! - *Each attempt is sure of a little*, so that who comes late can begin: what can spill leaves that much free for every
//!   attempt that does not hold it yet. Where others hold even that, it is granted beyond the limit.
//! - *The buffers between attempts* may hold a quarter together. One that holds little gets what it asks for in any
//!   case: where no row moves, no operator ever gives anything back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base::{DataSize, QueryId};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use protocol::client::succinct::succinct_data_size;

/// This part of the pool is divided among all attempts, so that each can be sure of something.
const GUARANTEE_DIVISOR: u64 = 2;

/// For what a consumer that can spill holds, this part of it is kept for its attempt.
const MERGE_DIVISOR: u64 = 2;

/// Buffers may hold this part of the pool together.
const BUFFERS_DIVISOR: u64 = 4;

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
    /// How many attempts share it.
    attempts: u64,
    state: Mutex<State>,
}

/// The part of one attempt.
#[derive(Debug)]
pub(super) struct Member {
    pool: Arc<QueryPool>,
    number: u64,
}

#[derive(Debug, Default)]
struct State {
    consumers: HashMap<usize, Consumer>,
    /// The attempts that are there.
    members: HashMap<u64, Part>,
    members_seen: u64,
    /// What attempts may be sure of and do not hold yet, in bytes.
    unused_guarantees: u64,
    /// What is held by consumers that cannot spill, by those that can, and by buffers, in bytes.
    unspillable: u64,
    spillable: u64,
    buffers: u64,
    /// How many consumers there are that can spill, and how many of them hold something.
    spillable_count: u64,
    spillable_active: u64,
}

/// What an attempt holds, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    held: u64,
    /// What of it can be spilled.
    spillable: u64,
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

    fn part(&self, number: u64) -> Part {
        self.members.get(&number).copied().unwrap_or_default()
    }

    /// Takes note of what an attempt holds from now on.
    fn set_part(&mut self, number: u64, part: Part, guarantee: u64) {
        let before = self.members.insert(number, part).unwrap_or_default();
        self.unused_guarantees += guarantee.saturating_sub(part.held);
        self.unused_guarantees -= guarantee.saturating_sub(before.held);
    }

    fn grow(&mut self, consumer: &MemoryConsumer, bytes: u64) {
        if let Some(known) = self.consumers.get_mut(&consumer.id()).filter(|_| bytes > 0) {
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
        if let Some(known) = self.consumers.get_mut(&consumer.id()).filter(|known| known.held > 0) {
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
    /// A pool of so many bytes for so many attempts.
    pub(crate) fn new(limit_bytes: u64, attempts: u64) -> Arc<Self> {
        let attempts = attempts.max(1);
        let pool = QueryPool { limit_bytes, attempts, state: Mutex::default() };
        pool.state().unused_guarantees = pool.guarantee() * attempts;
        Arc::new(pool)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an attempt can be sure of, in bytes.
    fn guarantee(&self) -> u64 {
        self.limit_bytes / GUARANTEE_DIVISOR / self.attempts
    }

    /// An attempt that shares it from now on.
    pub(super) fn join(self: &Arc<Self>) -> Member {
        let mut state = self.state();
        let number = state.members_seen;
        state.members_seen += 1;
        // One more than were expected shares what is there.
        if number >= self.attempts {
            state.unused_guarantees += self.guarantee();
        }
        state.members.insert(number, Part::default());
        Member { pool: Arc::clone(self), number }
    }

    /// Whether an attempt may have more in a consumer.
    fn fits(&self, state: &State, part: Part, consumer: &MemoryConsumer, bytes: u64) -> bool {
        let used = state.used().saturating_add(bytes);
        if !consumer.can_spill() {
            let kept_for_others = (state.spillable - part.spillable) / MERGE_DIVISOR;
            return used.saturating_add(kept_for_others) <= self.limit_bytes;
        }
        let unused = state.unused_guarantees - bytes.min(self.guarantee().saturating_sub(part.held));
        let kept = (state.spillable + bytes) / MERGE_DIVISOR + unused;
        let for_spillable = self.limit_bytes.saturating_sub(state.unspillable + state.buffers + unused);
        let held = state.held(consumer);
        let active = state.spillable_active + u64::from(held == 0);
        let others = u64::from(state.spillable_count > active);
        let share = for_spillable / (MERGE_DIVISOR + 1) * MERGE_DIVISOR / (active + others).max(1);
        held.saturating_add(bytes) <= share && used.saturating_add(kept) <= self.limit_bytes
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

    #[cfg(test)]
    pub(super) fn used_bytes(&self) -> u64 {
        self.state().used()
    }
}

impl Member {
    /// `query.max-memory-per-node`, in bytes.
    pub(super) fn limit_bytes(&self) -> u64 {
        self.pool.limit_bytes
    }

    /// What an operator of the attempt may reckon with, in bytes. A sort sets a third of it aside before it takes in
    /// anything, which is half of what the attempt is sure of.
    pub(super) fn part_bytes(&self) -> u64 {
        match self.pool.attempts {
            1 => self.pool.limit_bytes,
            _ => self.pool.guarantee() / 2 * 3,
        }
    }

    pub(super) fn register(&self, consumer: &MemoryConsumer) {
        let mut state = self.pool.state();
        state.spillable_count += u64::from(consumer.can_spill());
        let (name, can_spill) = (consumer.name().to_owned(), consumer.can_spill());
        state.consumers.insert(consumer.id(), Consumer { name, can_spill, held: 0 });
    }

    pub(super) fn unregister(&self, consumer: &MemoryConsumer) {
        let mut state = self.pool.state();
        state.spillable_count -= u64::from(consumer.can_spill());
        state.consumers.remove(&consumer.id());
    }

    fn set_part(&self, state: &mut State, part: Part) {
        state.set_part(self.number, part, self.pool.guarantee());
    }

    pub(super) fn try_grow(&self, reservation: &MemoryReservation, bytes: u64) -> Result<()> {
        let consumer = reservation.consumer();
        let mut state = self.pool.state();
        let part = state.part(self.number);
        let is_sure = part.held.saturating_add(bytes) <= self.pool.guarantee();
        if !is_sure && !self.pool.fits(&state, part, consumer, bytes) {
            return Err(self.pool.refused(&state, bytes));
        }
        self.grow_in(&mut state, consumer, bytes);
        Ok(())
    }

    pub(super) fn grow(&self, reservation: &MemoryReservation, bytes: u64) {
        self.grow_in(&mut self.pool.state(), reservation.consumer(), bytes);
    }

    fn grow_in(&self, state: &mut State, consumer: &MemoryConsumer, bytes: u64) {
        state.grow(consumer, bytes);
        let mut part = state.part(self.number);
        part.held += bytes;
        part.spillable += if consumer.can_spill() { bytes } else { 0 };
        self.set_part(state, part);
    }

    pub(super) fn shrink(&self, reservation: &MemoryReservation, bytes: u64) {
        let consumer = reservation.consumer();
        let mut state = self.pool.state();
        state.shrink(consumer, bytes);
        let mut part = state.part(self.number);
        part.held -= bytes;
        part.spillable -= if consumer.can_spill() { bytes } else { 0 };
        self.set_part(&mut state, part);
    }

    /// Whether a buffer is to get what it asks for whatever others hold.
    pub(super) fn is_buffer_small(&self, held: u64, bytes: u64) -> bool {
        let limit = self.pool.limit_bytes;
        let floor = BUFFER_FLOOR_BYTES.min(limit / BUFFER_FLOOR_DIVISOR);
        bytes <= limit && (held == 0 || held.saturating_add(bytes) <= floor)
    }

    /// Lets a buffer that holds so many bytes have more.
    pub(super) fn try_grow_buffer(&self, held: u64, bytes: u64) -> Result<()> {
        let limit = self.pool.limit_bytes;
        let mut state = self.pool.state();
        let kept = state.spillable / MERGE_DIVISOR;
        let fits = state.used().saturating_add(bytes).saturating_add(kept) <= limit
            && state.buffers.saturating_add(bytes) <= limit / BUFFERS_DIVISOR;
        if !fits && !self.is_buffer_small(held, bytes) {
            return Err(self.pool.refused(&state, bytes));
        }
        state.buffers += bytes;
        let part = state.part(self.number);
        self.set_part(&mut state, Part { held: part.held + bytes, ..part });
        Ok(())
    }

    pub(super) fn shrink_buffer(&self, bytes: u64) {
        let mut state = self.pool.state();
        state.buffers -= bytes;
        let part = state.part(self.number);
        self.set_part(&mut state, Part { held: part.held - bytes, ..part });
    }
}

impl Drop for Member {
    /// Whoever is gone need not be sure of anything.
    fn drop(&mut self) {
        let mut state = self.pool.state();
        let part = state.members.remove(&self.number).unwrap_or_default();
        state.unused_guarantees -= self.pool.guarantee().saturating_sub(part.held);
    }
}

/// The pools of the queries that have attempts here. A pool goes with the last of them.
#[derive(Debug, Default)]
pub(crate) struct QueryPools(Mutex<HashMap<QueryId, Weak<QueryPool>>>);

impl QueryPools {
    /// The pool of a query, of so many bytes for so many attempts if it is new.
    pub(crate) fn of(&self, query: QueryId, limit_bytes: u64, attempts: u64) -> Arc<QueryPool> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&query).and_then(Weak::upgrade) {
            return pool;
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let pool = QueryPool::new(limit_bytes, attempts);
        pools.insert(query, Arc::downgrade(&pool));
        pool
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
