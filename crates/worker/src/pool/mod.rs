//! The memory pools of attempts.
//!
//! An attempt with a lease has a pool of the size of its lease, so that nothing another attempt does can fail it. Within
//! the pool, DataFusion's [`FairSpillPool`] divides: an operator that cannot spill (a hash join's build side, the
//! exchange sink) takes whatever is free, first come first served, and what it takes shrinks the shares of those
//! that can spill (sorts, aggregations), each of which may hold an equal share of the rest. A greedy pool would let
//! the first sort or aggregation take everything, so that the next spills batch by batch and a join gets nothing.
//! Whoever is refused and cannot spill fails the attempt with `INSUFFICIENT_RESOURCES`, and the next attempt gets a
//! larger lease.
//!
//! Attempts without a lease share the pool of their query: see [`query`].
//!
//! All pools together hold no more than the worker has. Leases alone never do; queries that share a pool may.

mod charge;
mod query;
mod worker;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base::{DataSize, Error, ErrorCode};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, TrackConsumersPool,
};
use protocol::client::succinct::succinct_data_size;

pub(crate) use self::charge::{BufferCharge, SinkCharge};
use self::query::Member;
pub(crate) use self::query::{QueryPool, QueryPools};
pub(crate) use self::worker::WorkerMemory;

/// How many of the largest consumers an error names.
const CONSUMERS_IN_ERROR: NonZeroUsize = NonZeroUsize::new(5).expect("it is not zero");

/// What bounds an attempt.
#[derive(Debug)]
enum Bound {
    /// A pool of its own, of the size of its lease.
    Lease(Box<TrackConsumersPool<FairSpillPool>>),
    /// The pool of its query.
    Query(Member),
}

/// The pool of an attempt, which remembers the most that was reserved at once.
#[derive(Debug)]
pub(crate) struct AttemptPool {
    bound: Bound,
    worker: Arc<WorkerMemory>,
    reserved_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    changes: AtomicU64,
    /// What was refused last was refused because of what other queries hold.
    is_worker_full: AtomicBool,
}

impl AttemptPool {
    /// A pool of so many bytes.
    pub(crate) fn with_lease(lease_bytes: u64, worker: &Arc<WorkerMemory>) -> Arc<Self> {
        let limit = usize::try_from(lease_bytes).unwrap_or(usize::MAX);
        let pool = TrackConsumersPool::new(FairSpillPool::new(limit), CONSUMERS_IN_ERROR);
        AttemptPool::new(Bound::Lease(Box::new(pool)), worker)
    }

    /// A part of the pool of a query.
    pub(crate) fn of_query(query: &Arc<QueryPool>, worker: &Arc<WorkerMemory>) -> Arc<Self> {
        AttemptPool::new(Bound::Query(query.join()), worker)
    }

    fn new(bound: Bound, worker: &Arc<WorkerMemory>) -> Arc<Self> {
        Arc::new(AttemptPool {
            bound,
            worker: Arc::clone(worker),
            reserved_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            is_worker_full: AtomicBool::new(false),
        })
    }

    /// The most that was reserved at once, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    /// What is reserved now, in bytes.
    pub(crate) fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    /// How often a reservation grew or shrank. It changes as long as operators work.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// The error that an attempt ends with, if it ended for want of memory. Where other queries hold what it was
    /// refused, trying again may help.
    pub(crate) fn judged(&self, error: Error) -> Error {
        let is_worker_full = self.is_worker_full.load(Ordering::Relaxed);
        if !is_worker_full || error.code() != ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT {
            return error;
        }
        let text = "Query killed because the cluster is out of memory. Please try again in a few minutes.";
        Error::new(ErrorCode::CLUSTER_OUT_OF_MEMORY, text).caused_by(error)
    }

    fn grown(&self, bytes: u64) {
        let reserved = self.reserved_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak_bytes.fetch_max(reserved, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn shrunk(&self, bytes: u64) {
        self.worker.shrink(bytes);
        self.reserved_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn worker_refuses(&self, bytes: u64) -> DataFusionError {
        self.is_worker_full.store(true, Ordering::Relaxed);
        let size = |bytes| succinct_data_size(DataSize(bytes));
        DataFusionError::ResourcesExhausted(format!(
            "Worker exceeded its memory of {} [Allocated: {}, Delta: {}]",
            size(self.worker.capacity_bytes()),
            size(self.worker.reserved_bytes()),
            size(bytes)
        ))
    }

    /// Lets a buffer that holds so many bytes have more.
    fn try_grow_buffer(&self, held: u64, bytes: u64) -> Result<()> {
        let Bound::Query(pool) = &self.bound else {
            return Err(DataFusionError::Internal("an attempt with a lease has a buffer".to_owned()));
        };
        pool.try_grow_buffer(held, bytes).inspect_err(|_| self.pool_refused())?;
        if !self.worker.try_grow(bytes) {
            if !pool.is_buffer_small(held, bytes) {
                pool.shrink_buffer(bytes);
                return Err(self.worker_refuses(bytes));
            }
            self.worker.grow(bytes);
        }
        self.grown(bytes);
        Ok(())
    }

    fn shrink_buffer(&self, bytes: u64) {
        if let Bound::Query(pool) = &self.bound {
            pool.shrink_buffer(bytes);
            self.shrunk(bytes);
        }
    }

    fn pool_refused(&self) {
        self.is_worker_full.store(false, Ordering::Relaxed);
    }

    fn shrink_bound(&self, reservation: &MemoryReservation, bytes: usize) {
        match &self.bound {
            Bound::Lease(pool) => pool.shrink(reservation, bytes),
            Bound::Query(pool) => pool.shrink(reservation, bytes as u64),
        }
    }
}

impl fmt::Display for AttemptPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bound {
            Bound::Lease(pool) => pool.fmt(f),
            Bound::Query(pool) => write!(f, "query({})", pool.limit_bytes()),
        }
    }
}

impl MemoryPool for AttemptPool {
    fn name(&self) -> &str {
        "attempt"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        match &self.bound {
            Bound::Lease(pool) => pool.register(consumer),
            Bound::Query(pool) => pool.register(consumer),
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        match &self.bound {
            Bound::Lease(pool) => pool.unregister(consumer),
            Bound::Query(pool) => pool.unregister(consumer),
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        match &self.bound {
            Bound::Lease(pool) => pool.grow(reservation, additional),
            Bound::Query(pool) => pool.grow(reservation, additional as u64),
        }
        self.worker.grow(additional as u64);
        self.grown(additional as u64);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.shrink_bound(reservation, shrink);
        self.shrunk(shrink as u64);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let granted = match &self.bound {
            Bound::Lease(pool) => pool.try_grow(reservation, additional),
            Bound::Query(pool) => pool.try_grow(reservation, additional as u64),
        };
        granted.inspect_err(|_| self.pool_refused())?;
        if !self.worker.try_grow(additional as u64) {
            self.shrink_bound(reservation, additional);
            return Err(self.worker_refuses(additional as u64));
        }
        self.grown(additional as u64);
        Ok(())
    }

    fn reserved(&self) -> usize {
        usize::try_from(self.reserved_bytes()).unwrap_or(usize::MAX)
    }

    /// What an operator may reckon with.
    fn memory_limit(&self) -> MemoryLimit {
        match &self.bound {
            Bound::Lease(pool) => pool.memory_limit(),
            Bound::Query(pool) => {
                MemoryLimit::Finite(usize::try_from(pool.part_bytes()).unwrap_or(usize::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(lease_bytes: u64) -> Arc<AttemptPool> {
        AttemptPool::with_lease(lease_bytes, &WorkerMemory::new(1_000))
    }

    fn consumer(pool: &Arc<AttemptPool>, name: &str, can_spill: bool) -> MemoryReservation {
        let pool: Arc<dyn MemoryPool> = Arc::clone(pool) as _;
        MemoryConsumer::new(name).with_can_spill(can_spill).register(&pool)
    }

    #[test]
    fn peak_is_of_the_pool_and_stays() {
        let pool = pool(100);
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
        let pool = pool(100);
        let (first, second) = (consumer(&pool, "first", true), consumer(&pool, "second", true));
        assert!(first.try_grow(60).is_err());
        first.try_grow(50).unwrap();
        second.try_grow(50).unwrap();
    }

    #[test]
    fn what_cannot_spill_takes_all_that_is_free_and_an_error_names_who_has_the_rest() {
        let pool = pool(100);
        let (join, sort) = (consumer(&pool, "hash join", false), consumer(&pool, "sort", true));
        join.try_grow(80).unwrap();
        let error = sort.try_grow(30).unwrap_err();
        assert!(error.to_string().contains("hash join"), "{error}");
        let error = connector::error::from_datafusion(&error);
        assert_eq!(base::Failure::of(error).class, base::FailureClass::InsufficientResources);
    }

    #[test]
    fn pools_together_hold_no_more_than_the_worker_has() {
        let worker = WorkerMemory::new(150);
        let leased = AttemptPool::with_lease(100, &worker);
        let shared = AttemptPool::of_query(&QueryPool::new(100, 1), &worker);
        let (join, other) = (consumer(&leased, "join", false), consumer(&shared, "join", false));
        other.try_grow(80).unwrap();
        let too_much = Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "no");
        other.try_grow(30).unwrap_err();
        assert_eq!(shared.judged(too_much.clone()), too_much, "it is the query's own limit");
        join.try_grow(70).unwrap();
        join.try_grow(10).unwrap_err();
        let judged = leased.judged(too_much);
        assert_eq!(judged.code(), ErrorCode::CLUSTER_OUT_OF_MEMORY);
        assert_eq!((leased.reserved(), shared.reserved(), worker.reserved_bytes()), (70, 80, 150));
        drop(other);
        join.try_grow(30).unwrap();
        drop(join);
        assert_eq!((leased.peak_bytes(), worker.reserved_bytes()), (100, 0));
    }

    #[test]
    fn a_small_buffer_goes_on_where_the_worker_is_full() {
        let worker = WorkerMemory::new(1_000);
        let (own, others) = (QueryPool::new(10_000, 1), QueryPool::new(10_000, 1));
        let pool = AttemptPool::of_query(&own, &worker);
        let full = consumer(&AttemptPool::of_query(&others, &worker), "join", false);
        full.try_grow(1_000).unwrap();
        pool.try_grow_buffer(0, 500).unwrap();
        pool.try_grow_buffer(500, 1).unwrap_err();
        assert_eq!((own.used_bytes(), worker.reserved_bytes()), (500, 1_500));
        pool.shrink_buffer(500);
        assert_eq!((own.used_bytes(), worker.reserved_bytes(), pool.peak_bytes()), (0, 1_000, 500));
    }
}
