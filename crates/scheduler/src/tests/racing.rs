//! Rivals of slow attempts.

use alloc::vec;
use alloc::vec::Vec;

use base::Error;

use crate::testing::*;
use crate::*;

fn options() -> QueryOptions {
    QueryOptions { task_split_count_max: 1, task_memory_bytes: Some(GB), ..QueryOptions::default() }
}

/// Four tasks on two nodes. Three have committed after a second each; task 3 still runs.
fn one_is_slow(options: QueryOptions) -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.add_worker("n2", 64 * GB, 2);
    cluster.submit(1, vec![scan_stage(1)], options);
    cluster.splits(1, 0, &[GB; 4], true);
    cluster.pass(1_000);
    for partition in 0..3 {
        cluster.commit(1, 0, partition);
    }
    cluster
}

#[test]
fn slow_attempt_gets_a_rival_on_another_node_and_the_first_commit_wins() {
    let mut cluster = one_is_slow(options());
    let (slow_node, slow) = cluster.attempt(1, 0, 3).unwrap();
    cluster.pass(1_000);
    assert_eq!(cluster.placed().len(), 1, "two seconds are not more than two seconds");
    assert!(cluster.core.next_deadline().unwrap().0 <= cluster.now + 1, "the core says when to look");
    cluster.pass(1);
    assert_eq!(cluster.placed(), ["1.0.3@n1", "1.0.3@n2"]);
    let counts = cluster.stage_view(1, 0).counts;
    assert_eq!((counts.running, counts.running_attempts), (1, 2), "tasks and attempts are told apart");
    let rival_node = if slow_node == node("n1") { node("n2") } else { node("n1") };
    let rival = cluster.held(rival_node.as_str())[0].attempt;
    assert_eq!((rival.number, rival.task), (1, slow.attempt.task));
    cluster.report(&rival_node, vec![committed(rival, rival, &[1], 0)]);
    assert!(cluster.placed().is_empty(), "the slow one is stopped");
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    let states: Vec<_> =
        cluster.stage_view(1, 0).task(3).unwrap().attempts.iter().map(|attempt| attempt.state).collect();
    assert_eq!(states, [AttemptState::Aborted, AttemptState::Committed]);
}

#[test]
fn rivals_can_be_switched_off() {
    let mut cluster = one_is_slow(QueryOptions { rivals_enabled: false, ..options() });
    cluster.pass(60_000);
    assert_eq!(cluster.placed().len(), 1);
}

#[test]
fn rival_that_fails_or_is_lost_leaves_the_first_attempt_alone() {
    let mut cluster = one_is_slow(QueryOptions { task_retry_attempts_per_task: 0, ..options() });
    let (slow_node, slow) = cluster.attempt(1, 0, 3).unwrap();
    cluster.pass(1_001);
    let other = if slow_node == node("n1") { "n2" } else { "n1" };
    let rival = cluster.held(other)[0].attempt;
    let status = AttemptStatus::Failed(Error::internal("it happens").into());
    cluster.report(
        &node(other),
        vec![AttemptReport { attempt: rival, status, peak_memory_bytes: 0, memory_bytes: 0 }],
    );
    assert_eq!(cluster.outcome(1), None, "somebody still tries");
    assert_eq!(cluster.held(slow_node.as_str())[0].attempt, slow.attempt);
    assert_eq!(cluster.stage_view(1, 0).counts.running_attempts, 1);
    cluster.commit(1, 0, 3);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn attempt_that_fails_beside_its_rival_is_not_replaced() {
    let mut cluster = one_is_slow(options());
    let (slow_node, slow) = cluster.attempt(1, 0, 3).unwrap();
    cluster.pass(1_001);
    cluster.kill(slow_node.as_str());
    assert_eq!(cluster.placed().len(), 1);
    assert_ne!(cluster.attempt(1, 0, 3).unwrap().1.attempt, slow.attempt);
    cluster.commit(1, 0, 3);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn rivals_do_not_take_what_waiting_tasks_want() {
    let mut cluster = one_is_slow(options());
    cluster.submit_tasks(2, 8, GB);
    cluster.pass(10_000);
    assert_eq!(cluster.placed().iter().filter(|it| it.starts_with("1.")).count(), 1);
    for partition in 0..8 {
        cluster.commit(2, 0, partition);
    }
    cluster.pass(1_000);
    assert_eq!(cluster.placed(), ["1.0.3@n1", "1.0.3@n2"], "soon after there is room");
}

#[test]
fn there_is_one_rival_at_a_time_in_a_small_stage() {
    let mut cluster = TestCluster::new();
    for name in ["n1", "n2", "n3"] {
        cluster.add_worker(name, 64 * GB, 4);
    }
    cluster.submit(1, vec![scan_stage(1)], options());
    cluster.splits(1, 0, &[GB; 6], true);
    cluster.pass(1_000);
    for partition in 0..3 {
        cluster.commit(1, 0, partition);
    }
    cluster.pass(30_000);
    assert_eq!(cluster.stage_view(1, 0).counts.running_attempts, 4, "three tasks, one rival");
}

#[test]
fn on_a_single_node_nobody_gets_a_rival_and_the_core_does_not_spin() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.submit(1, vec![scan_stage(1)], options());
    cluster.splits(1, 0, &[GB; 4], true);
    cluster.pass(1_000);
    for partition in 0..3 {
        cluster.commit(1, 0, partition);
    }
    cluster.pass(10_000);
    assert_eq!(cluster.placed(), ["1.0.3@n1"]);
    assert!(cluster.core.next_deadline().unwrap().0 > cluster.now);
}

#[test]
fn last_task_of_a_pair_needs_one_sibling_only() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.add_worker("n2", 64 * GB, 2);
    cluster.submit(1, vec![scan_stage(1)], options());
    cluster.splits(1, 0, &[GB; 2], true);
    cluster.pass(1_000);
    cluster.commit(1, 0, 0);
    cluster.pass(1_001);
    assert_eq!(cluster.placed().len(), 2);
}

/// Of a stage that has few tasks half of them are enough to compare with, but that they are few is known late.
#[test]
fn slow_attempt_gets_a_rival_when_it_comes_to_be_known_that_there_are_no_more_tasks() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.add_worker("n2", 64 * GB, 2);
    cluster.submit(1, vec![scan_stage(1)], options());
    cluster.splits(1, 0, &[GB; 3], false);
    cluster.pass(1_000);
    for partition in 0..2 {
        cluster.commit(1, 0, partition);
    }
    cluster.pass(5_000);
    assert_eq!(cluster.placed().len(), 1, "there may be more");
    cluster.splits(1, 0, &[], true);
    cluster.pass(1_000);
    assert_eq!(cluster.placed(), ["1.0.2@n1", "1.0.2@n2"]);
}
