//! What failures of each class do. Rows ME of Trino's acceptance tables, as far as they are about the core.

use alloc::format;
use alloc::vec;

use base::{Error, ErrorCode};

use crate::retry::LOST_WORKERS_FREE_MAX;
use crate::testing::*;
use crate::*;

fn two_nodes() -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.add_worker("n2", 64 * GB, 4);
    cluster
}

fn internal(text: &str) -> Error {
    Error::internal(text)
}

#[test]
fn user_error_ends_the_query_at_once() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 3, GB);
    let error = Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero");
    cluster.fail(1, 0, 0, error.clone(), 0);
    assert_eq!(cluster.error(1), error);
    assert!(cluster.placed().is_empty(), "what ran is dropped");
}

#[test]
fn lost_input_that_the_task_does_not_read_is_a_failure_like_others() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 2, GB);
    for _ in 0..5 {
        assert_eq!(cluster.outcome(1), None);
        cluster.fail(1, 0, 0, Error::lost(output(1, (0, 1), 0), "gone"), 0);
        cluster.pass(60_000);
    }
    assert_eq!(cluster.error(1).code(), ErrorCode::EXCHANGE_DATA_LOST);
    assert_eq!(cluster.stage_view(1, 0).counts.failed_attempts, 5);
}

#[test]
fn first_retry_goes_elsewhere_at_once_and_later_ones_wait() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 2, GB);
    let (first, _) = cluster.attempt(1, 0, 0).unwrap();
    cluster.fail(1, 0, 0, internal("once"), 0);
    let (second, spec) = cluster.attempt(1, 0, 0).unwrap();
    assert_ne!(first, second);
    assert_eq!(spec.attempt.number, 1);
    cluster.fail(1, 0, 0, internal("twice"), 0);
    assert!(cluster.attempt(1, 0, 0).is_none());
    assert!(cluster.attempt(1, 0, 1).is_some(), "nothing else of the query waits");
    cluster.pass(9_000);
    assert!(cluster.attempt(1, 0, 0).is_none());
    cluster.pass(1_000);
    assert_eq!(cluster.attempt(1, 0, 0).unwrap().1.attempt.number, 2);
}

#[test]
fn on_a_single_node_the_first_retry_waits_a_second() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.submit_tasks(1, 1, GB);
    cluster.fail(1, 0, 0, internal("once"), 0);
    assert!(cluster.attempt(1, 0, 0).is_none());
    assert_eq!(cluster.core.next_deadline().unwrap().0, cluster.now + 1_000);
    cluster.pass(1_000);
    assert!(cluster.attempt(1, 0, 0).is_some());
}

#[test]
fn node_on_which_attempts_keep_failing_is_avoided_for_a_while() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 1);
    cluster.add_worker("n2", 32 * GB, 1);
    cluster.submit_tasks(1, 6, GB);
    for failures in 1..=2 {
        let (_, spec) = cluster.attempt(1, 0, failures - 1).unwrap();
        cluster.report(
            &node("n1"),
            vec![AttemptReport {
                attempt: cluster.held("n1")[0].attempt,
                status: AttemptStatus::Failed(internal("bad disk").into()),
                peak_memory_bytes: 0,
                memory_bytes: 0,
            }],
        );
        let _ = spec;
    }
    assert!(cluster.held("n1").is_empty(), "avoided, though it is free and tasks wait");
    assert_eq!(cluster.held("n2").len(), 1);
    cluster.pass(10_000);
    assert_eq!(cluster.held("n1").len(), 1);
}

#[test]
fn attempts_of_a_task_are_limited_and_the_last_cause_is_told() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 1, GB);
    for failure in 0..4 {
        cluster.fail(1, 0, 0, internal(&format!("failure {failure}")), 0);
        assert_eq!(cluster.outcome(1), None);
        cluster.pass(60_000);
    }
    cluster.fail(1, 0, 0, internal("failure 4"), 0);
    assert_eq!(cluster.error(1), internal("failure 4"));
    let view = cluster.stage_view(1, 0);
    assert_eq!((view.counts.failed_attempts, view.counts.started_attempts), (5, 5));
}

#[test]
fn attempts_of_a_query_are_limited_and_the_budget_is_told() {
    let mut cluster = two_nodes();
    let options =
        QueryOptions { task_split_count_max: 1, failed_tasks_max: Some(2), ..QueryOptions::default() };
    cluster.submit(1, vec![scan_stage(1)], options);
    cluster.splits(1, 0, &[1; 6], true);
    cluster.kill("n2");
    cluster.add_worker("n2", 64 * GB, 4);
    for partition in 0..2 {
        cluster.fail(1, 0, partition, Error::new(ErrorCode::HIVE_CANNOT_OPEN_SPLIT, "cannot open"), 0);
        assert_eq!(cluster.outcome(1), None, "two are allowed, and a lost worker is no failure");
    }
    cluster.fail(1, 0, 2, Error::new(ErrorCode::HIVE_CANNOT_OPEN_SPLIT, "cannot open"), 0);
    let error = cluster.error(1);
    assert_eq!(error.code(), ErrorCode::HIVE_CANNOT_OPEN_SPLIT);
    assert_eq!(
        error.message(),
        "cannot open (3 task attempts of the query have failed; max-failed-tasks is 2)"
    );
}

#[test]
fn me_3_and_12_lease_grows_up_to_the_largest_node() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 1, 10 * GB);
    for expected in [10, 30, 64] {
        let (_, spec) = cluster.attempt(1, 0, 0).expect("retried at once");
        assert_eq!(spec.memory_bytes, expected * GB);
        cluster.fail(1, 0, 0, memory_error(), expected * GB);
    }
    let error = cluster.error(1);
    assert_eq!(error.code(), ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT);
    assert_eq!(
        error.message(),
        "Cannot allocate enough memory for task 20260101_000000_00001_aaaaa.0.0.2-g0e1. \
         Reported peak memory reservation: 64GB. Maximum possible reservation: 64GB."
    );
}

#[test]
fn me_12_last_attempt_gets_a_whole_node() {
    let mut cluster = two_nodes();
    let options = QueryOptions {
        task_memory_bytes: Some(GB),
        task_memory_growth_factor: 1.5,
        task_retry_attempts_per_task: 2,
        ..QueryOptions::default()
    };
    cluster.submit(1, vec![stage(Distribution::Single, vec![])], options);
    cluster.fail(1, 0, 0, memory_error(), 0);
    assert_eq!(cluster.attempt(1, 0, 0).unwrap().1.memory_bytes, 3 * GB / 2);
    cluster.fail(1, 0, 0, memory_error(), 0);
    assert_eq!(cluster.attempt(1, 0, 0).unwrap().1.memory_bytes, 64 * GB);
}

#[test]
fn me_7_new_tasks_learn_from_finished_ones() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 12, GB);
    for partition in 0..3 {
        cluster.commit_sized(1, 0, partition, &[1], 5 * GB);
    }
    let (_, spec) = cluster.attempt(1, 0, 10).unwrap();
    assert_eq!(spec.memory_bytes, 5 * GB);
}

#[test]
fn other_resources_are_retried_without_more_memory() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 1, GB);
    cluster.fail(1, 0, 0, Error::new(ErrorCode::EXCEEDED_SPILL_LIMIT, "disk"), 0);
    assert_eq!(cluster.attempt(1, 0, 0).unwrap().1.memory_bytes, GB);
}

#[test]
fn lost_worker_does_not_count_until_the_task_is_the_likely_cause() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n0", 64 * GB, 1);
    cluster.submit_tasks(1, 1, GB);
    let free = LOST_WORKERS_FREE_MAX + 4;
    for loss in 0..=free {
        assert_eq!(cluster.outcome(1), None, "after {loss} losses");
        cluster.add_worker(&format!("n{}", loss + 1), 64 * GB, 1);
        cluster.report_all();
        let (at, spec) = cluster.attempt(1, 0, 0).expect("replaced at once");
        assert_eq!(spec.attempt.number, loss);
        cluster.kill(at.as_str());
    }
    let error = cluster.error(1);
    assert_eq!(error.code(), ErrorCode::REMOTE_HOST_GONE);
    assert_eq!(cluster.stage_view(1, 0).counts.lost_attempts, free + 1);
}

#[test]
fn me_4_lease_grows_when_a_second_worker_is_lost_under_a_task() {
    let mut cluster = TestCluster::new();
    for name in ["n1", "n2", "n3"] {
        cluster.add_worker(name, 64 * GB, 4);
    }
    let options = QueryOptions { task_memory_bytes: Some(5 * GB), ..QueryOptions::default() };
    cluster.submit(1, vec![stage(Distribution::Single, vec![])], options);
    for expected in [5, 5, 15] {
        cluster.report_all();
        let (at, spec) = cluster.attempt(1, 0, 0).unwrap();
        assert_eq!(spec.memory_bytes, expected * GB);
        cluster.kill(at.as_str());
    }
}

#[test]
fn commit_of_another_output_is_a_failure_of_the_worker() {
    let mut cluster = two_nodes();
    cluster.submit_tasks(1, 2, GB);
    let (at, spec) = cluster.attempt(1, 0, 0).unwrap();
    let mut other = spec.attempt;
    other.task.partition = 1;
    cluster.report(&at, vec![committed(spec.attempt, other, &[1], 0)]);
    assert_eq!(cluster.stage_view(1, 0).counts.committed, 0);
    assert_eq!(cluster.stage_view(1, 0).counts.failed_attempts, 1);
}
