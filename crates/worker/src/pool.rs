//! The memory pool of an attempt.
//!
//! Each attempt has a pool of the size of its lease, so that nothing another attempt does can fail it. Within the
//! pool, DataFusion's [`FairSpillPool`] divides: an operator that cannot spill (a hash join's build side, the
//! exchange sink) takes whatever is free, first come first served, and what it takes shrinks the shares of those
//! that can spill (sorts, aggregations), each of which may hold an equal share of the rest. A greedy pool would let
//! the first sort or aggregation take everything, so that the next spills batch by batch and a join gets nothing.
//! Whoever is refused and cannot spill fails the attempt with `INSUFFICIENT_RESOURCES`, and the next attempt gets a
//! larger lease.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, TrackConsumersPool,
};

/// How many of the largest consumers an error names.
const CONSUMERS_IN_ERROR: NonZeroUsize = NonZeroUsize::new(5).expect("it is not zero");

/// A pool of the size of a lease, which remembers the most that was reserved at once.
#[derive(Debug)]
pub(crate) struct AttemptPool {
    inner: TrackConsumersPool<FairSpillPool>,
    peak_bytes: AtomicUsize,
    changes: AtomicU64,
}

impl AttemptPool {
    /// A pool of so many bytes.
    pub(crate) fn new(lease_bytes: u64) -> Arc<Self> {
        let limit = usize::try_from(lease_bytes).unwrap_or(usize::MAX);
        Arc::new(AttemptPool {
            inner: TrackConsumersPool::new(FairSpillPool::new(limit), CONSUMERS_IN_ERROR),
            peak_bytes: AtomicUsize::new(0),
            changes: AtomicU64::new(0),
        })
    }

    /// The most that was reserved at once, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed) as u64
    }

    /// How often a reservation grew or shrank. It changes as long as operators work.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.peak_bytes.fetch_max(self.inner.reserved(), Ordering::Relaxed);
    }
}

impl fmt::Display for AttemptPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl MemoryPool for AttemptPool {
    fn name(&self) -> &str {
        "attempt"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.inner.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.inner.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.inner.grow(reservation, additional);
        self.changed();
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.inner.shrink(reservation, shrink);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.inner.try_grow(reservation, additional)?;
        self.changed();
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.inner.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.inner.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(pool: &Arc<AttemptPool>, name: &str, can_spill: bool) -> MemoryReservation {
        let pool: Arc<dyn MemoryPool> = Arc::clone(pool) as _;
        MemoryConsumer::new(name).with_can_spill(can_spill).register(&pool)
    }

    #[test]
    fn peak_is_of_the_pool_and_stays() {
        let pool = AttemptPool::new(100);
        let (join, sort) = (consumer(&pool, "join", false), consumer(&pool, "sort", true));
        join.try_grow(40).unwrap();
        sort.try_grow(50).unwrap();
        join.shrink(40);
        sort.try_grow(10).unwrap();
        assert_eq!((pool.reserved(), pool.peak_bytes()), (60, 90));
        drop((join, sort));
        assert_eq!((pool.reserved(), pool.peak_bytes()), (0, 90));
        assert!(pool.changes() >= 4);
    }

    #[test]
    fn a_sort_cannot_take_what_another_sort_is_due() {
        let pool = AttemptPool::new(100);
        let (first, second) = (consumer(&pool, "first", true), consumer(&pool, "second", true));
        assert!(first.try_grow(60).is_err());
        first.try_grow(50).unwrap();
        second.try_grow(50).unwrap();
    }

    #[test]
    fn what_cannot_spill_takes_all_that_is_free_and_an_error_names_who_has_the_rest() {
        let pool = AttemptPool::new(100);
        let (join, sort) = (consumer(&pool, "hash join", false), consumer(&pool, "sort", true));
        join.try_grow(80).unwrap();
        let error = sort.try_grow(30).unwrap_err();
        assert!(error.to_string().contains("hash join"), "{error}");
        let error = connector::error::from_datafusion(&error);
        assert_eq!(base::Failure::of(error).class, base::FailureClass::InsufficientResources);
    }
}
