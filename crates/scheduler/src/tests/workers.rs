//! The protocol with workers: stale messages, lost lives, zombies, release.

use alloc::vec;
use alloc::vec::Vec;

use base::{Epoch, ErrorCode, Millis};

use crate::testing::*;
use crate::*;

fn sent(core: &mut Core, now: u64, event: Event) -> Vec<Command> {
    let mut commands = Vec::new();
    core.step(Millis(now), event, &mut commands);
    core.check_invariants();
    commands
}

fn one_node() -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster
}

#[test]
fn silent_worker_is_lost_after_the_heartbeat_timeout() {
    let mut cluster = one_node();
    // A worker that says nothing is slow before it is lost.
    let options = QueryOptions { rivals_enabled: false, ..QueryOptions::default() };
    cluster.submit(1, vec![scan_stage(1)], options);
    cluster.splits(1, 0, &[1], true);
    let seen = cluster.now;
    cluster.add_worker("n2", 64 * GB, 2);
    cluster.tick_at(seen + 3_000);
    cluster.report(&node("n2"), vec![]);
    cluster.tick_at(seen + 4_999);
    assert!(cluster.held("n2").is_empty());
    assert!(cluster.core.next_deadline().unwrap().0 <= seen + 5_000);
    cluster.tick_at(seen + 5_000);
    assert_eq!(cluster.held("n2").len(), 1);
    let states: Vec<_> = cluster.core.nodes().map(|node| node.state).collect();
    assert_eq!(states, [None, Some(NodeState::Active)]);
}

#[test]
fn silence_while_the_coordinator_stood_still_is_not_held_against_workers() {
    let mut cluster = one_node();
    cluster.submit_tasks(1, 1, GB);
    let resumed = cluster.now + 8_000;
    cluster.now = resumed;
    cluster.step(Event::Resumed);
    cluster.tick_at(resumed + 4_999);
    assert_eq!(cluster.placed(), ["1.0.0@n1"]);
    assert_eq!(cluster.core.node(&node("n1")).unwrap().state, Some(NodeState::Active));
    cluster.tick_at(resumed + 5_000);
    let state = cluster.core.node(&node("n1")).unwrap().state;
    assert_eq!(state, None, "silence counts again from then on");
}

#[test]
fn new_life_of_a_worker_ends_the_old_one() {
    let mut cluster = one_node();
    cluster.submit_tasks(1, 1, GB);
    cluster.report_all();
    cluster.add_worker("n1", 64 * GB, 2);
    let (_, spec) = cluster.attempt(1, 0, 0).unwrap();
    assert_eq!(spec.attempt.number, 1, "the attempt of the old life is replaced");
}

#[test]
fn late_reports_and_reports_of_old_lives_are_ignored() {
    let mut cluster = one_node();
    cluster.submit_tasks(1, 1, GB);
    let n1 = node("n1");
    let (_, spec) = cluster.attempt(1, 0, 0).unwrap();
    let late = cluster.make_report(&n1, vec![committed(spec.attempt, spec.attempt, &[1], 0)]);
    cluster.report(&n1, vec![]);
    cluster.step(Event::WorkerReported { node: n1.clone(), report: late.clone() });
    assert_eq!(cluster.outcome(1), None, "an older sequence");
    cluster.add_worker("n1", 64 * GB, 2);
    let late = WorkerReport { sequence: 99, ..late };
    cluster.step(Event::WorkerReported { node: n1, report: late });
    assert_eq!(cluster.outcome(1), None, "an older life");
}

#[test]
fn disconnect_of_an_old_life_does_not_touch_the_new_one() {
    let mut cluster = one_node();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.submit_tasks(1, 1, GB);
    cluster.step(Event::WorkerDisconnected { node: node("n1"), incarnation: base::Incarnation(1) });
    assert_eq!(cluster.placed(), ["1.0.0@n1"]);
}

#[test]
fn not_yet_heard_of_is_told_from_lost() {
    let mut cluster = one_node();
    let n1 = node("n1");
    let before = cluster.make_report(&n1, vec![]);
    cluster.submit_tasks(1, 1, GB);
    let first = cluster.attempt(1, 0, 0).unwrap().1.attempt;
    cluster.step(Event::WorkerReported { node: n1.clone(), report: before });
    assert_eq!(cluster.attempt(1, 0, 0).unwrap().1.attempt, first, "the worker has not heard of it");
    let empty = WorkerReport { attempts: vec![], ..cluster.make_report(&n1, vec![]) };
    cluster.step(Event::WorkerReported { node: n1, report: empty });
    assert_eq!(cluster.attempt(1, 0, 0).unwrap().1.attempt.number, 1, "the worker has lost it");
}

#[test]
fn what_is_not_confirmed_is_sent_again_after_a_second() {
    let mut core = Core::new(Epoch(3), CoreOptions::default());
    let report = |sequence, desired_seen| Event::WorkerReported {
        node: node("n1"),
        report: WorkerReport {
            incarnation: base::Incarnation(1),
            sequence,
            desired_seen,
            capacity: Capacity { memory_bytes: GB, slots: 1 },
            state: NodeState::Active,
            attempts: vec![],
        },
    };
    assert_eq!(sent(&mut core, 0, report(1, None)).len(), 1, "a worker that comes is told");
    assert!(sent(&mut core, 999, report(2, None)).is_empty());
    let again = sent(&mut core, 1_000, report(3, Some((Epoch(2), 77))));
    let Some(Command::SetDesired { epoch, sequence, .. }) = again.first() else { panic!("{again:?}") };
    assert_eq!((*epoch, *sequence), (Epoch(3), 1));
    assert!(sent(&mut core, 1_500, report(4, Some((Epoch(3), 1)))).is_empty());
    assert!(sent(&mut core, 3_000, report(5, Some((Epoch(3), 1)))).is_empty(), "it has seen the newest");
}

#[test]
fn an_attempt_that_died_between_its_commit_and_its_report_stays_lost() {
    let mut cluster = one_node();
    cluster.submit_tasks(1, 1, GB);
    cluster.report_all();
    let dead = cluster.attempt(1, 0, 0).unwrap().1.attempt;
    cluster.add_worker("n2", 64 * GB, 2);
    cluster.kill("n1");
    let (n2, replacement) = cluster.attempt(1, 0, 0).unwrap();
    cluster.report(&n2, vec![committed(replacement.attempt, dead, &[1], 0)]);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    let view = cluster.stage_view(1, 0);
    let states: Vec<_> = view.task(0).unwrap().attempts.iter().map(|it| it.state).collect();
    assert_eq!(states, [AttemptState::Lost, AttemptState::Aborted]);
}

#[test]
fn zombie_that_commits_beats_its_running_replacement() {
    let mut cluster = one_node();
    cluster.submit_tasks(1, 1, GB);
    let (n1, spec) = cluster.attempt(1, 0, 0).unwrap();
    cluster.add_worker("n2", 64 * GB, 2);
    let zombie = spec.attempt;
    let report = cluster.make_report(&n1, vec![committed(zombie, zombie, &[1], 0)]);
    cluster.step(Event::WorkerDisconnected { node: n1.clone(), incarnation: report.incarnation });
    assert_eq!(cluster.held("n2").len(), 1, "replaced");
    cluster.step(Event::WorkerReported { node: n1, report });
    assert!(cluster.held("n2").is_empty(), "the replacement is dropped");
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    let task = cluster.stage_view(1, 0).task(0).unwrap();
    let states: Vec<_> = task.attempts.iter().map(|attempt| attempt.state).collect();
    assert_eq!(states, [AttemptState::Committed, AttemptState::Aborted]);
}

#[test]
fn query_is_released_when_no_worker_holds_any_of_it() {
    let mut cluster = one_node();
    cluster.submit_tasks(1, 2, GB);
    let n1 = node("n1");
    cluster.report(&n1, vec![]);
    let still_held = cluster.make_report(&n1, vec![]);
    let error = base::Error::new(ErrorCode::USER_CANCELED, "enough");
    cluster.step(Event::QueryCancelled { query: query_id(1), error: error.clone() });
    cluster.step(Event::QueryCancelled { query: query_id(1), error: error.clone() });
    assert_eq!(cluster.error(1), error, "ended once");
    cluster.step(Event::QueryClosed { query: query_id(1) });
    let released =
        |cluster: &TestCluster| cluster.said.contains(&Command::QueryReleased { query: query_id(1) });
    cluster.step(Event::WorkerReported { node: n1.clone(), report: still_held.clone() });
    assert!(!released(&cluster), "it has not heard of the end");
    let stopping = WorkerReport { attempts: still_held.attempts, ..cluster.make_report(&n1, vec![]) };
    cluster.step(Event::WorkerReported { node: n1.clone(), report: stopping });
    assert!(!released(&cluster), "it has heard, and is still stopping");
    cluster.report(&n1, vec![]);
    assert!(released(&cluster) && cluster.core.is_empty());
}

#[test]
fn lost_worker_does_not_hold_up_a_release() {
    let mut cluster = one_node();
    cluster.submit_tasks(1, 1, GB);
    cluster.step(Event::QueryClosed { query: query_id(1) });
    assert_eq!(cluster.error(1).code(), ErrorCode::ABANDONED_QUERY);
    assert!(!cluster.core.is_empty());
    cluster.kill("n1");
    assert!(cluster.core.is_empty());
}

#[test]
fn attempts_of_a_query_that_is_gone_are_not_desired() {
    let mut core = Core::new(Epoch(2), CoreOptions::default());
    let task = base::TaskId { query: query_id(9), stage: base::StageId(0), partition: 0 };
    let stray = base::AttemptId { task, generation: 0, epoch: Epoch(1), number: 0 };
    let report = WorkerReport {
        incarnation: base::Incarnation(1),
        sequence: 1,
        desired_seen: Some((Epoch(1), 500)),
        capacity: Capacity { memory_bytes: GB, slots: 1 },
        state: NodeState::Active,
        attempts: vec![AttemptReport {
            attempt: stray,
            status: AttemptStatus::Running,
            peak_memory_bytes: 0,
            memory_bytes: 0,
        }],
    };
    let commands = sent(&mut core, 0, Event::WorkerReported { node: node("n1"), report });
    let [Command::SetDesired { attempts, epoch, .. }] = &commands[..] else { panic!("{commands:?}") };
    assert!(attempts.is_empty() && *epoch == Epoch(2));
}

#[test]
fn query_waits_for_its_first_workers() {
    let options = CoreOptions { required_workers: 2, ..CoreOptions::default() };
    let mut cluster = TestCluster::with_options(options);
    let start = cluster.now;
    cluster.submit(1, vec![stage(Distribution::Single, vec![])], QueryOptions::default());
    cluster.add_worker("n1", 64 * GB, 2);
    assert!(cluster.placed().is_empty());
    cluster.pass(299_000);
    assert_eq!(cluster.outcome(1), None);
    cluster.submit(2, vec![stage(Distribution::Single, vec![])], QueryOptions::default());
    cluster.pass(1_000);
    assert_eq!(cluster.now, start + 300_000);
    let error = cluster.error(1);
    assert_eq!(error.code(), ErrorCode::GENERIC_INSUFFICIENT_RESOURCES);
    assert_eq!(
        error.message(),
        "Insufficient active worker nodes. Waited 5.00m for at least 2 workers, but only 1 workers are active"
    );
    cluster.add_worker("n2", 64 * GB, 2);
    assert_eq!(cluster.placed(), ["2.0.0@n1"]);
}

#[test]
fn idle_core_has_no_deadline_but_those_of_its_workers() {
    let mut cluster = TestCluster::new();
    assert_eq!(cluster.core.next_deadline(), None);
    cluster.add_worker("n1", 64 * GB, 2);
    assert!(cluster.core.next_deadline().is_some());
}

/// A message that was on its way when the worker was taken for lost may still arrive.
#[test]
fn worker_that_returns_holds_up_the_release_until_it_has_heard_of_the_end() {
    let mut cluster = one_node();
    cluster.submit_tasks(1, 1, GB);
    let n1 = node("n1");
    let unheard = WorkerReport { attempts: vec![], desired_seen: None, ..cluster.make_report(&n1, vec![]) };
    cluster.step(Event::WorkerDisconnected { node: n1.clone(), incarnation: unheard.incarnation });
    let error = base::Error::new(ErrorCode::USER_CANCELED, "enough");
    cluster.step(Event::QueryCancelled { query: query_id(1), error });
    cluster.add_worker("n2", 64 * GB, 2);
    cluster.step(Event::WorkerReported { node: n1.clone(), report: unheard });
    cluster.step(Event::QueryClosed { query: query_id(1) });
    assert!(!cluster.core.is_empty(), "n1 has not heard of it");
    cluster.report(&n1, vec![]);
    assert!(cluster.core.is_empty());
}

#[test]
fn worker_that_returns_goes_on_with_what_nobody_else_was_given() {
    let mut cluster = one_node();
    cluster.submit_tasks(1, 2, GB);
    let n1 = node("n1");
    cluster.report(&n1, vec![]);
    let back = cluster.make_report(&n1, vec![]);
    cluster.step(Event::WorkerDisconnected { node: n1.clone(), incarnation: back.incarnation });
    assert_eq!(cluster.stage_view(1, 0).counts.lost_attempts, 2);
    cluster.add_worker("n2", GB, 1);
    cluster.step(Event::WorkerReported { node: n1, report: back });
    assert_eq!(cluster.placed(), ["1.0.0@n2", "1.0.1@n1"], "one was replaced, the other goes on");
    assert_eq!(cluster.attempt(1, 0, 1).unwrap().1.attempt.number, 0);
    assert_eq!(cluster.stage_view(1, 0).counts.lost_attempts, 1);
    cluster.commit(1, 0, 0);
    cluster.commit(1, 0, 1);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}
