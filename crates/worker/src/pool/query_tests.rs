use datafusion::execution::memory_pool::MemoryPool;

use super::*;
use crate::pool::{AttemptPool, WorkerMemory};

/// What the tests hand out, in bytes: divisible by all there is to divide by.
const LIMIT: u64 = 96_000;

fn pool() -> (Arc<QueryPool>, Arc<dyn MemoryPool>) {
    let pool = QueryPool::new(LIMIT);
    let attempt = AttemptPool::of_query(Arc::clone(&pool), &WorkerMemory::new(u64::MAX));
    (pool, attempt)
}

fn consumer(pool: &Arc<dyn MemoryPool>, name: &str, can_spill: bool) -> MemoryReservation {
    MemoryConsumer::new(name).with_can_spill(can_spill).register(pool)
}

/// The most that a consumer gets.
fn fill(reservation: &MemoryReservation) -> u64 {
    let before = reservation.size();
    while reservation.try_grow(100).is_ok() {}
    (reservation.size() - before) as u64
}

#[test]
fn what_cannot_spill_gets_all_there_is() {
    let (pool, attempt) = pool();
    let join = consumer(&attempt, "HashJoinInput", false);
    assert_eq!(fill(&join), LIMIT);
    assert_eq!(join.free(), LIMIT as usize);
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn a_sort_that_is_alone_leaves_room_for_buffers_only() {
    let (_, attempt) = pool();
    let sort = consumer(&attempt, "ExternalSorter[0]", true);
    assert_eq!(fill(&sort), LIMIT / 8 * 7);
}

#[test]
fn sorts_that_have_not_begun_have_one_share_together() {
    let (_, attempt) = pool();
    let sorts: Vec<_> = (0..20).map(|_| consumer(&attempt, "ExternalSorter", true)).collect();
    assert_eq!(fill(&sorts[0]), LIMIT / 8 * 7 / 2);
    assert_eq!(fill(&sorts[1]), LIMIT / 8 * 7 / 3);
    // The first has more than its share now: it spills, and the third gets its share.
    sorts[0].try_grow(100).unwrap_err();
    sorts[0].free();
    assert_eq!(fill(&sorts[2]), LIMIT / 8 * 7 / 3);
    // Those that are over do not count any more.
    drop(sorts);
    assert_eq!(fill(&consumer(&attempt, "ExternalSorter", true)), LIMIT / 8 * 7);
}

#[test]
fn joins_shrink_the_shares_of_sorts() {
    let (_, attempt) = pool();
    let (join, sort) = (consumer(&attempt, "HashJoinInput", false), consumer(&attempt, "sort", true));
    join.try_grow(LIMIT as usize / 2).unwrap();
    assert_eq!(fill(&sort), LIMIT / 8 * 3);
    assert_eq!(fill(&join), LIMIT / 8);
}

#[test]
fn buffers_have_a_quarter_and_small_ones_always_go_on() {
    let (pool, attempt) = pool();
    let join = consumer(&attempt, "HashJoinInput", false);
    pool.try_grow_buffer(0, LIMIT / 4).unwrap();
    pool.try_grow_buffer(LIMIT / 4, 1).unwrap_err();
    assert_eq!(fill(&join), LIMIT / 4 * 3);
    pool.shrink_buffer(LIMIT / 4);
    assert_eq!(fill(&join), LIMIT / 4);
    // The pool is full. Another buffer gets its first frame, and little more.
    pool.try_grow_buffer(0, 1_000).unwrap();
    pool.try_grow_buffer(1_000, 100).unwrap_err();
    pool.shrink_buffer(1_000);
    pool.try_grow_buffer(0, 200).unwrap();
    pool.try_grow_buffer(200, 100).unwrap();
    pool.try_grow_buffer(300, 100).unwrap_err();
    pool.try_grow_buffer(0, LIMIT + 1).unwrap_err();
}

#[test]
fn an_error_names_the_limit_and_who_holds_what() {
    let pool = QueryPool::new(1 << 30);
    let attempt: Arc<dyn MemoryPool> = AttemptPool::of_query(Arc::clone(&pool), &WorkerMemory::new(u64::MAX));
    let joins: Vec<_> =
        (0..2).map(|number| consumer(&attempt, &format!("HashJoinInput[{number}]"), false)).collect();
    joins.iter().for_each(|join| join.try_grow(400 << 20).unwrap());
    pool.try_grow_buffer(0, 200 << 20).unwrap();
    let error = joins[0].try_grow(100 << 20).unwrap_err();
    let error = connector::error::from_datafusion(&error);
    assert_eq!(error.code(), base::ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT);
    assert_eq!(
        error.message(),
        "Query exceeded per-node memory limit of 1GB (query.max-memory-per-node) \
         [Allocated: 1000MB, Delta: 100MB, Top Consumers: {HashJoinInput=800MB, DirectExchange=200MB}]"
    );
}

#[test]
fn the_attempts_of_a_query_share_a_pool_that_goes_with_the_last() {
    let pools = QueryPools::default();
    let queries =
        ["20261120_061411_00001_abcde", "20261120_061411_00002_abcde"].map(|id| id.parse().unwrap());
    let (first, second) = (pools.of(queries[0], 10), pools.of(queries[0], 10));
    assert!(Arc::ptr_eq(&first, &second));
    let other = pools.of(queries[1], 20);
    assert!(!Arc::ptr_eq(&first, &other));
    drop((first, second));
    assert_eq!(pools.of(queries[0], 30).limit_bytes(), 30);
    drop(other);
    pools.of(queries[1], 20);
    assert_eq!(pools.0.lock().unwrap().len(), 1);
}
