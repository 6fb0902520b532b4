use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};

use super::*;
use crate::pool::{AttemptPool, WorkerMemory};

/// What the tests hand out, in bytes: divisible by all there is to divide by.
const LIMIT: u64 = 96_000;

/// A pool, and the parts of so many attempts.
fn pool(attempts: u64) -> (Arc<QueryPool>, Vec<Arc<dyn MemoryPool>>) {
    let pool = QueryPool::new(LIMIT, attempts);
    let part = |_| AttemptPool::of_query(&pool, &WorkerMemory::new(u64::MAX)) as Arc<dyn MemoryPool>;
    let parts = (0..attempts).map(part).collect();
    (pool, parts)
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
    let (pool, parts) = pool(4);
    let join = consumer(&parts[2], "HashJoinInput", false);
    assert_eq!(fill(&join), LIMIT);
    assert_eq!(join.free(), LIMIT as usize);
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn a_sort_leaves_to_every_other_attempt_what_that_is_sure_of() {
    let (pool, mut parts) = pool(4);
    let guarantee = LIMIT / 2 / 4;
    let sort = consumer(&parts[0], "ExternalSorter[0]", true);
    assert_eq!(fill(&sort), (LIMIT - 3 * guarantee) / 3 * 2);
    let late = consumer(&parts[1], "ExternalSorter[0]", true);
    assert_eq!(fill(&late), guarantee);
    // An attempt that is over needs nothing.
    drop((late, parts.pop()));
    assert_eq!(fill(&sort), guarantee / 3 * 2);
    drop((sort, parts));
    assert_eq!(pool.used_bytes(), 0);
    assert_eq!(pool.state().unused_guarantees, 0);
}

#[test]
fn what_a_merge_of_collected_rows_needs_is_kept_for_it() {
    let (_, parts) = pool(2);
    let sort = consumer(&parts[0], "ExternalSorter[0]", true);
    let collected = fill(&sort);
    assert_eq!(collected, LIMIT / 4 * 3 / 3 * 2);
    let join = consumer(&parts[1], "HashJoinInput", false);
    assert_eq!(fill(&join), LIMIT - collected / 2 * 3);
    let merge = consumer(&parts[0], "ExternalSorterMerge[0]", false);
    assert_eq!(fill(&merge), collected / 2);
    sort.free();
    assert_eq!(fill(&join), collected);
}

#[test]
fn who_comes_late_can_begin_even_where_joins_hold_everything() {
    let (pool, parts) = pool(4);
    let guarantee = LIMIT / 2 / 4;
    let join = consumer(&parts[0], "HashJoinInput", false);
    assert_eq!(fill(&join), LIMIT);
    let late = consumer(&parts[1], "ExternalSorter[0]", true);
    assert_eq!(fill(&late), guarantee);
    assert_eq!(fill(&join), 0);
    assert_eq!(pool.used_bytes(), LIMIT + guarantee);
    let MemoryLimit::Finite(part) = parts[1].memory_limit() else { panic!("there is a limit") };
    assert_eq!(part as u64 / 3, guarantee / 2);
}

#[test]
fn sorts_that_have_not_begun_have_one_share_together() {
    let (_, parts) = pool(1);
    let sorts: Vec<_> = (0..20).map(|_| consumer(&parts[0], "ExternalSorter", true)).collect();
    let for_sorts = LIMIT / 3 * 2;
    assert_eq!(fill(&sorts[0]), LIMIT / 2, "it is sure of that");
    sorts[0].shrink(LIMIT as usize / 6);
    assert_eq!(fill(&sorts[1]), for_sorts / 3 / 100 * 100);
    // The first has more than its share now: it spills, and the third gets its share.
    sorts[0].try_grow(100).unwrap_err();
    sorts[0].free();
    assert_eq!(fill(&sorts[2]), LIMIT / 2 - for_sorts / 3 / 100 * 100, "it is sure of that");
    // Those that are over do not count any more.
    drop(sorts);
    assert_eq!(fill(&consumer(&parts[0], "ExternalSorter", true)), for_sorts);
}

#[test]
fn joins_shrink_the_shares_of_sorts() {
    let (_, parts) = pool(1);
    let (join, sort) = (consumer(&parts[0], "HashJoinInput", false), consumer(&parts[0], "sort", true));
    join.try_grow(LIMIT as usize / 2).unwrap();
    assert_eq!(fill(&sort), LIMIT / 3);
    assert_eq!(fill(&join), LIMIT / 6);
}

#[test]
fn buffers_have_a_quarter_and_small_ones_always_go_on() {
    let (pool, parts) = pool(1);
    let buffers = pool.join();
    let join = consumer(&parts[0], "HashJoinInput", false);
    buffers.try_grow_buffer(0, LIMIT / 4).unwrap();
    buffers.try_grow_buffer(LIMIT / 4, 1).unwrap_err();
    assert_eq!(fill(&join), LIMIT / 4 * 3);
    buffers.shrink_buffer(LIMIT / 4);
    assert_eq!(fill(&join), LIMIT / 4);
    // The pool is full. Another buffer gets its first frame, and little more.
    buffers.try_grow_buffer(0, 1_000).unwrap();
    buffers.try_grow_buffer(1_000, 100).unwrap_err();
    buffers.shrink_buffer(1_000);
    buffers.try_grow_buffer(0, 200).unwrap();
    buffers.try_grow_buffer(200, 100).unwrap();
    buffers.try_grow_buffer(300, 100).unwrap_err();
    buffers.try_grow_buffer(0, LIMIT + 1).unwrap_err();
}

#[test]
fn an_error_names_the_limit_and_who_holds_what() {
    let pool = QueryPool::new(1 << 30, 1);
    let attempt: Arc<dyn MemoryPool> = AttemptPool::of_query(&pool, &WorkerMemory::new(u64::MAX));
    let joins: Vec<_> =
        (0..2).map(|number| consumer(&attempt, &format!("HashJoinInput[{number}]"), false)).collect();
    joins.iter().for_each(|join| join.try_grow(400 << 20).unwrap());
    let buffers = pool.join();
    buffers.try_grow_buffer(0, 200 << 20).unwrap();
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
    let (first, second) = (pools.of(queries[0], 10, 2), pools.of(queries[0], 10, 2));
    assert!(Arc::ptr_eq(&first, &second));
    let other = pools.of(queries[1], 20, 1);
    assert!(!Arc::ptr_eq(&first, &other));
    drop((first, second));
    assert_eq!(pools.of(queries[0], 30, 1).limit_bytes, 30);
    drop(other);
    pools.of(queries[1], 20, 1);
    assert_eq!(pools.0.lock().unwrap().len(), 1);
}
