//! Workers that drain, and how many workers are wanted.

use alloc::vec;
use alloc::vec::Vec;

use crate::testing::*;
use crate::*;

fn handed_back(spec: &AttemptSpec) -> AttemptReport {
    AttemptReport {
        attempt: spec.attempt,
        status: AttemptStatus::HandedBack,
        peak_memory_bytes: 0,
        memory_bytes: spec.memory_bytes,
    }
}

#[test]
fn attempt_that_is_handed_back_runs_elsewhere_at_once_and_has_not_failed() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.submit_tasks(1, 2, GB);
    cluster.report_all();
    cluster.add_worker("n2", 64 * GB, 2);
    let held = cluster.held("n1");
    cluster.set_state(&node("n1"), NodeState::Draining);
    cluster.report(&node("n1"), vec![handed_back(&held[1])]);
    assert_eq!(cluster.placed(), ["1.0.0@n1", "1.0.1@n2"]);
    let view = cluster.stage_view(1, 0);
    assert_eq!(
        (view.counts.failed_attempts, view.counts.lost_attempts, view.counts.aborted_attempts),
        (0, 0, 1)
    );
    assert_eq!(cluster.core.query(&query_id(1)).unwrap().failed_attempts(), 0);
    assert_eq!(cluster.attempt(1, 0, 1).unwrap().1.attempt.number, 1);
}

#[test]
fn handing_back_again_and_again_never_ends_a_query() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 1);
    cluster.add_worker("n2", 64 * GB, 1);
    cluster.submit_tasks(1, 1, GB);
    for _ in 0..20 {
        let (at, spec) = cluster.attempt(1, 0, 0).expect("it is placed at once");
        cluster.set_state(&at, NodeState::Draining);
        cluster.report(&at, vec![handed_back(&spec)]);
        cluster.set_state(&at, NodeState::Drained);
        cluster.report(&at, vec![]);
        assert_eq!(cluster.core.node(&at).unwrap().state, Some(NodeState::Drained));
        cluster.set_state(&at, NodeState::Active);
        cluster.report(&at, vec![]);
    }
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn drained_worker_that_is_active_again_gets_work_at_once() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 1);
    for state in [NodeState::Draining, NodeState::Drained] {
        cluster.set_state(&node("n1"), state);
        cluster.report(&node("n1"), vec![]);
    }
    cluster.submit_tasks(1, 1, GB);
    assert!(cluster.placed().is_empty());
    cluster.set_state(&node("n1"), NodeState::Active);
    cluster.report(&node("n1"), vec![]);
    assert_eq!(cluster.placed(), ["1.0.0@n1"]);
}

#[test]
fn wanted_workers_would_run_everything_at_once() {
    let mut cluster = TestCluster::new();
    assert_eq!(cluster.core.wanted_workers(), 0);
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.submit_tasks(1, 10, GB);
    assert_eq!(cluster.core.wanted_workers(), 3, "ten slots of four");
    cluster.submit_tasks(2, 2, 64 * GB);
    assert_eq!(cluster.core.wanted_workers(), 3, "74 and 64 GB of 64 in memory, twelve slots");
    cluster.submit_tasks(3, 2, 64 * GB);
    assert_eq!(cluster.core.wanted_workers(), 5, "memory counts");
    cluster.kill("n1");
    assert_eq!(cluster.core.wanted_workers(), 5, "also if nobody is there");
    for number in 1..=3 {
        cluster.step(Event::QueryClosed { query: query_id(number) });
    }
    assert_eq!(cluster.core.wanted_workers(), 0);
}

#[test]
fn attempts_that_wait_on_a_draining_worker_are_told_from_those_that_run() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.submit_tasks(1, 4, GB);
    let held = cluster.held("n1");
    cluster.set_state(&node("n1"), NodeState::ShuttingDown);
    cluster.report(&node("n1"), vec![handed_back(&held[2]), handed_back(&held[3])]);
    let held: Vec<u32> = cluster.held("n1").iter().map(|spec| spec.attempt.task.partition).collect();
    assert_eq!(held, [0, 1]);
    assert_eq!(cluster.core.queued_tasks(), 2);
}
