//! Rows NA of Trino's acceptance tables.

use alloc::vec;
use alloc::vec::Vec;

use base::{Error, ErrorCode};

use crate::testing::*;
use crate::*;

fn two_nodes() -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 8);
    cluster.add_worker("n2", 64 * GB, 8);
    cluster
}

/// Both nodes hold 32 + 16 + 16 GB (queries 1, 2), then 32 GB (query 3) and 16 GB (query 4) wait.
fn full_with_a_large_and_a_small_waiting() -> TestCluster {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 2, 32 * GB);
    cluster.submit_tasks(2, 4, 16 * GB);
    assert_eq!(cluster.placed(), ["1.0.0@n1", "1.0.1@n2", "2.0.0@n1", "2.0.1@n2", "2.0.2@n1", "2.0.3@n2"]);
    cluster.submit_tasks(3, 1, 32 * GB);
    cluster.submit_tasks(4, 1, 16 * GB);
    assert!(cluster.attempt(3, 0, 0).is_none() && cluster.attempt(4, 0, 0).is_none());
    cluster
}

#[test]
fn na_1_simple() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 6, 32 * GB);
    assert_eq!(cluster.placed(), ["1.0.0@n1", "1.0.1@n2", "1.0.2@n1", "1.0.3@n2"]);
    cluster.commit(1, 0, 1);
    assert_eq!(cluster.placed(), ["1.0.0@n1", "1.0.2@n1", "1.0.3@n2", "1.0.4@n2"]);
    cluster.add_worker("n3", 64 * GB, 8);
    assert_eq!(cluster.attempt(1, 0, 5).unwrap().0, node("n3"));
}

#[test]
fn na_2_queries_take_turns() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 1, 64 * GB);
    cluster.submit_tasks(2, 2, 32 * GB);
    assert_eq!(cluster.placed(), ["1.0.0@n1", "2.0.0@n2", "2.0.1@n2"]);
    cluster.submit_tasks(3, 3, 32 * GB);
    cluster.submit_tasks(4, 2, 32 * GB);
    cluster.commit(2, 0, 0);
    assert!(cluster.attempt(3, 0, 0).is_some());
    cluster.commit(2, 0, 1);
    assert!(
        cluster.attempt(4, 0, 0).is_some() && cluster.attempt(3, 0, 1).is_none(),
        "the other query's turn"
    );
    cluster.commit(1, 0, 0);
    assert!(cluster.attempt(3, 0, 1).is_some() && cluster.attempt(4, 0, 1).is_some());
    assert!(cluster.attempt(3, 0, 2).is_none());
}

#[test]
fn na_3_smaller_requests_do_not_starve_a_large_one() {
    let mut cluster = full_with_a_large_and_a_small_waiting();
    cluster.commit(2, 0, 0);
    assert!(cluster.attempt(4, 0, 0).is_none(), "n1 is kept for the large one");
    cluster.commit(2, 0, 1);
    assert_eq!(cluster.attempt(4, 0, 0).unwrap().0, node("n2"));
    assert!(cluster.attempt(3, 0, 0).is_none());
    cluster.commit(2, 0, 2);
    assert_eq!(cluster.attempt(3, 0, 0).unwrap().0, node("n1"));
}

#[test]
fn na_4_room_elsewhere_is_taken_at_once() {
    let mut cluster = full_with_a_large_and_a_small_waiting();
    cluster.commit(2, 0, 0);
    cluster.commit(1, 0, 1);
    assert_eq!(cluster.attempt(3, 0, 0).unwrap().0, node("n2"), "although its reservation was n1");
    assert_eq!(cluster.attempt(4, 0, 0).unwrap().0, node("n1"));
}

#[test]
fn na_5_query_that_ends_while_it_waits_frees_nothing_but_its_place() {
    let mut cluster = full_with_a_large_and_a_small_waiting();
    let error = Error::new(ErrorCode::USER_CANCELED, "enough");
    cluster.step(Event::QueryCancelled { query: query_id(3), error: error.clone() });
    assert!(cluster.attempt(4, 0, 0).is_none(), "nothing was released");
    cluster.step(Event::QueryCancelled { query: query_id(1), error });
    assert!(cluster.attempt(4, 0, 0).is_some());
}

#[test]
fn na_6_no_node_for_too_long() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 1, 32 * GB);
    cluster.kill("n1");
    cluster.kill("n2");
    let start = cluster.now;
    assert!(cluster.core.next_deadline().unwrap().0 <= start + 120_000);
    cluster.tick_at(start + 119_999);
    assert_eq!(cluster.outcome(1), None);
    cluster.tick_at(start + 120_000);
    let error = cluster.error(1);
    assert_eq!(error.code(), ErrorCode::NO_NODES_AVAILABLE);
    assert_eq!(error.message(), "No nodes available to run query");
}

#[test]
fn na_7_a_node_that_comes_resets_the_wait() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 2, 64 * GB);
    cluster.kill("n1");
    cluster.kill("n2");
    cluster.tick_at(cluster.now + 60_000);
    cluster.add_worker("n3", 64 * GB, 8);
    cluster.commit(1, 0, 0);
    cluster.kill("n3");
    let reset = cluster.now;
    cluster.tick_at(reset + 119_999);
    assert_eq!(cluster.outcome(1), None);
    cluster.tick_at(reset + 120_000);
    assert_eq!(cluster.error(1).code(), ErrorCode::NO_NODES_AVAILABLE);
}

#[test]
fn na_8_query_ends_well_after_its_node_is_gone() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 2, 32 * GB);
    cluster.kill("n1");
    let error = Error::new(ErrorCode::USER_CANCELED, "enough");
    cluster.step(Event::QueryCancelled { query: query_id(1), error });
    cluster.step(Event::QueryClosed { query: query_id(1) });
    cluster.report_all();
    assert!(cluster.core.is_empty());
}

/// NA-17: nothing is left behind by very many leases.
#[test]
fn na_17_stress() {
    let mut cluster = two_nodes();
    for number in 1..200 {
        cluster.submit_tasks(number, 10, (u64::from(number) % 40 + 1) * GB);
        for partition in 0..10 {
            cluster.commit(number, 0, partition);
        }
        assert_eq!(cluster.outcome(number), Some(Ok(())));
        cluster.step(Event::QueryClosed { query: query_id(number) });
    }
    cluster.report_all();
    assert!(cluster.core.is_empty());
    assert!(cluster.core.nodes().all(|node| node.leased_bytes == 0 && node.slots_used == 0));
}

/// NA-21: a lease is computed when the task is placed, so an estimate that changes counts at once.
#[test]
fn na_21_estimates_change_what_waits() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 8);
    cluster.submit_tasks(1, 3, 32 * GB);
    cluster.commit_sized(1, 0, 0, &[1], 40 * GB);
    let (_, spec) = cluster.attempt(1, 0, 1).unwrap();
    assert_eq!(spec.memory_bytes, 32 * GB, "held leases stay");
    assert!(cluster.attempt(1, 0, 2).is_none(), "40 GB do not fit beside 32 GB");
    cluster.commit_sized(1, 0, 1, &[1], 40 * GB);
    assert_eq!(cluster.attempt(1, 0, 2).unwrap().1.memory_bytes, 40 * GB);
}

#[test]
fn na_22_failover_and_no_worker_left() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 1, 32 * GB);
    assert_eq!(cluster.attempt(1, 0, 0).unwrap().0, node("n1"));
    cluster.kill("n1");
    assert_eq!(cluster.attempt(1, 0, 0).unwrap().0, node("n2"));
    cluster.kill("n2");
    cluster.tick_at(cluster.now + 120_000);
    assert_eq!(cluster.error(1).code(), ErrorCode::NO_NODES_AVAILABLE);
}

#[test]
fn na_23_requests_without_memory_need_only_a_slot() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.submit_tasks(1, 1, 64 * GB);
    cluster.submit_tasks(2, 2, 0);
    assert_eq!(cluster.placed(), ["1.0.0@n1", "2.0.0@n1"]);
}

#[test]
fn slots_bound_what_runs_and_share_the_memory() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.submit(
        1,
        vec![scan_stage(1)],
        QueryOptions { task_split_count_max: 1, ..QueryOptions::default() },
    );
    cluster.splits(1, 0, &[1; 6], true);
    let leases: Vec<u64> = cluster.held("n1").iter().map(|spec| spec.memory_bytes).collect();
    assert_eq!(leases, [16 * GB; 4]);
}

#[test]
fn nothing_is_placed_on_a_node_that_is_too_small_for_it() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("big", 64 * GB, 1);
    cluster.add_worker("small", 16 * GB, 4);
    cluster.submit_tasks(1, 1, 64 * GB);
    cluster.submit_tasks(2, 1, 64 * GB);
    cluster.submit_tasks(3, 1, 8 * GB);
    assert_eq!(cluster.placed(), ["1.0.0@big", "3.0.0@small"]);
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.placed(), ["2.0.0@big", "3.0.0@small"]);
}

#[test]
fn draining_worker_ends_what_it_has_and_gets_nothing_new() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 4, 64 * GB);
    cluster.drain("n1");
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.placed(), ["1.0.1@n2"]);
    cluster.drain("n2");
    cluster.commit(1, 0, 1);
    assert!(cluster.placed().is_empty());
    cluster.pass(119_000);
    assert_eq!(cluster.outcome(1), None);
    cluster.pass(2_000);
    assert_eq!(cluster.error(1).code(), ErrorCode::NO_NODES_AVAILABLE);
}

/// The wait is a fact of the state: it begins with the first task that waits, whichever way that came about.
#[test]
fn tasks_that_are_formed_while_no_worker_is_there_wait_no_longer() {
    let mut cluster = two_nodes();
    cluster.submit(1, vec![scan_stage(1)], QueryOptions::default());
    cluster.kill("n1");
    cluster.kill("n2");
    let start = cluster.now;
    cluster.now += 50_000;
    cluster.splits(1, 0, &[1], true);
    assert_eq!(cluster.outcome(1), None);
    while cluster.outcome(1).is_none() {
        let at = cluster.core.next_deadline().expect("somebody must look at it again").0;
        assert!(at <= start + 120_000);
        cluster.tick_at(at);
    }
    assert_eq!(cluster.error(1).code(), ErrorCode::NO_NODES_AVAILABLE);
}
