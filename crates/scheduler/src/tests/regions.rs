//! Pipelined queries: all attempts at once, one failure ends the try.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use base::{Error, ErrorCode, NodeId, StageId};

use crate::testing::*;
use crate::*;

fn options(retry_policy: RetryPolicy) -> QueryOptions {
    QueryOptions { retry_policy, ..QueryOptions::default() }
}

/// A scan that hashes into as many partitions as there are slots, an aggregation, and one task that gathers it.
fn stages() -> Vec<StageShape> {
    vec![
        stage(Distribution::Single, vec![input(Edge::Single, &[1])]),
        stage(Distribution::Hash { partitions: 4 }, vec![input(Edge::Hash, &[2])]),
        scan_stage(4),
    ]
}

/// Two workers of two slots, and the query with eight splits.
fn running(retry_policy: RetryPolicy) -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.add_worker("n2", 64 * GB, 2);
    cluster.submit(1, stages(), options(retry_policy));
    cluster.splits(1, 2, &[GB; 3], false);
    assert!(cluster.placed().is_empty(), "nothing runs before all splits are known");
    cluster.splits(1, 2, &[GB; 5], true);
    cluster
}

/// The last region that was started: where each attempt runs, by stage, partition and generation.
fn region(cluster: &TestCluster) -> BTreeMap<(u32, u32, u32), NodeId> {
    let started = cluster.said.iter().rev().find_map(|command| match command {
        Command::RegionStarted { attempts, .. } => Some(attempts.clone()),
        _ => None,
    });
    let place = |(attempt, node, _): (base::AttemptId, NodeId, base::Incarnation)| {
        ((attempt.task.stage.0, attempt.task.partition, attempt.generation), node)
    };
    started.unwrap_or_default().into_iter().map(place).collect()
}

fn selected(cluster: &TestCluster) -> usize {
    cluster.said.iter().filter(|command| matches!(command, Command::OutputSelected { .. })).count()
}

#[test]
fn all_attempts_start_together_and_are_spread_evenly_without_slots() {
    for policy in [RetryPolicy::None, RetryPolicy::Query] {
        let cluster = running(policy);
        let places = region(&cluster);
        assert_eq!(places.len(), 1 + 4 + 4, "{policy:?}");
        for stage in [1, 2] {
            let here = places.iter().filter(|(key, node)| key.0 == stage && node.as_str() == "n1");
            assert_eq!(here.count(), 2, "stage {stage} under {policy:?}");
        }
        let held: Vec<AttemptSpec> = cluster.held("n1").into_iter().chain(cluster.held("n2")).collect();
        assert_eq!(held.len(), places.len());
        assert!(held.iter().all(|spec| spec.is_pipelined && spec.memory_bytes == 0));
        let splits: Vec<Vec<u32>> = (0..4)
            .map(|partition| cluster.attempt(1, 2, partition).unwrap().1.input.splits[0].clone())
            .collect();
        assert_eq!(splits, [[0, 1], [2, 3], [4, 5], [6, 7]]);
        assert!(cluster.records.is_empty(), "nothing is recorded");
    }
}

#[test]
fn region_does_not_take_what_others_lease() {
    let mut cluster = running(RetryPolicy::None);
    cluster.submit_tasks(2, 4, 32 * GB);
    assert_eq!(cluster.placed().iter().filter(|name| name.starts_with("2.")).count(), 4);
}

#[test]
fn query_policy_tells_the_result_only_when_it_is_whole() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.submit(1, vec![scan_stage(1)], options(RetryPolicy::Query));
    cluster.splits(1, 0, &[GB; 2], true);
    cluster.commit(1, 0, 1);
    assert_eq!((selected(&cluster), cluster.outcome(1)), (0, None));
    cluster.commit(1, 0, 0);
    assert_eq!((selected(&cluster), cluster.outcome(1)), (2, Some(Ok(()))));
}

#[test]
fn result_is_told_once() {
    let mut cluster = running(RetryPolicy::Query);
    cluster.commit(1, 0, 0);
    cluster.commit(1, 1, 0);
    assert_eq!((selected(&cluster), cluster.outcome(1)), (1, None));
}

#[test]
fn query_ends_when_its_root_has_and_what_still_runs_had_time_to_tell_what_it_did() {
    let mut cluster = running(RetryPolicy::None);
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), None, "the other attempts are about to end");
    for (stage, partition) in [1, 2].into_iter().flat_map(|stage| (0..4).map(move |at| (stage, at))) {
        assert_eq!(cluster.outcome(1), None);
        cluster.commit(1, stage, partition);
    }
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    assert_eq!(selected(&cluster), 0, "the client has read it already");
    // Some compute on although nobody wants it.
    let mut cluster = running(RetryPolicy::None);
    cluster.commit(1, 2, 0);
    cluster.commit(1, 0, 0);
    cluster.pass(100);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    assert!(cluster.placed().is_empty());
    assert_eq!(cluster.stage_view(1, 1).counts.aborted_attempts, 4);
}

#[test]
fn nothing_that_happens_after_the_result_is_complete_fails_the_query() {
    for policy in [RetryPolicy::None, RetryPolicy::Query] {
        let mut cluster = running(policy);
        cluster.commit(1, 0, 0);
        cluster.kill("n2");
        assert_eq!(cluster.outcome(1), Some(Ok(())), "{policy:?}");
        let mut cluster = running(policy);
        cluster.commit(1, 0, 0);
        cluster.fail(1, 1, 0, Error::internal("out of luck"), 0);
        assert_eq!(cluster.outcome(1), Some(Ok(())), "{policy:?}");
    }
}

#[test]
fn lost_worker_ends_a_query_without_retries_and_starts_one_with_them_again() {
    let mut cluster = running(RetryPolicy::None);
    cluster.kill("n2");
    assert_eq!(cluster.error(1).code(), ErrorCode::REMOTE_HOST_GONE);

    let mut cluster = running(RetryPolicy::Query);
    cluster.commit(1, 2, 0);
    cluster.kill("n2");
    let places = region(&cluster);
    assert_eq!(places.len(), 9, "what had ended runs again too");
    assert!(places.iter().all(|(key, node)| key.2 == 1 && node.as_str() == "n1"), "{places:?}");
    cluster.commit(1, 0, 0);
    cluster.pass(100);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn late_commit_of_an_earlier_try_does_not_count() {
    let mut cluster = running(RetryPolicy::Query);
    let (node, root) = cluster.attempt(1, 0, 0).unwrap();
    cluster.fail(1, 1, 0, Error::internal("out of luck"), 0);
    assert_eq!(cluster.generation(1, 0, 0), 1);
    cluster.report(&node, vec![committed(root.attempt, root.attempt, &[1], 0)]);
    assert_eq!(cluster.outcome(1), None);
    cluster.commit(1, 0, 0);
    cluster.pass(100);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn failures_are_retried_with_growing_delays_up_to_the_limit() {
    let mut cluster = running(RetryPolicy::Query);
    let mut delays = Vec::new();
    for _ in 0..4 {
        cluster.fail(1, 1, 0, Error::internal("out of luck"), 0);
        let failed_at = cluster.now;
        while cluster.attempt(1, 1, 0).is_none() {
            assert_eq!(cluster.outcome(1), None);
            cluster.pass(1_000);
        }
        delays.push((cluster.now - failed_at) / 1_000);
    }
    assert_eq!(delays, [0, 10, 20, 40]);
    cluster.fail(1, 1, 0, Error::internal("out of luck"), 0);
    assert_eq!(cluster.error(1).message(), "out of luck");
}

#[test]
fn errors_that_the_next_try_would_meet_too_are_not_retried() {
    let user = Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero");
    for error in [user, memory_error()] {
        let mut cluster = running(RetryPolicy::Query);
        cluster.fail(1, 1, 0, error.clone(), 0);
        assert_eq!(cluster.error(1), error);
    }
    let mut cluster = running(RetryPolicy::None);
    cluster.fail(1, 1, 0, Error::internal("out of luck"), 0);
    assert_eq!(cluster.error(1).message(), "out of luck");
}

#[test]
fn worker_that_hands_an_attempt_back_does_not_count_as_a_failure() {
    for (policy, ends) in [(RetryPolicy::None, true), (RetryPolicy::Query, false)] {
        let mut cluster = running(policy);
        let (node, spec) = cluster.attempt(1, 1, 0).unwrap();
        let status = AttemptStatus::HandedBack;
        let report = AttemptReport { attempt: spec.attempt, status, peak_memory_bytes: 0, memory_bytes: 0 };
        cluster.set_state(&node, NodeState::Draining);
        cluster.report(&node, vec![report]);
        match ends {
            true => assert_eq!(cluster.error(1).code(), ErrorCode::SERVER_SHUTTING_DOWN),
            false => assert_eq!(region(&cluster).values().filter(|other| **other == node).count(), 0),
        }
    }
}

#[test]
fn workers_that_keep_dying_under_a_query_end_it() {
    let mut cluster = running(RetryPolicy::Query);
    cluster.kill("n1");
    let mut victim = String::from("n2");
    let mut deaths = 1;
    while cluster.outcome(1).is_none() {
        let next = alloc::format!("m{deaths}");
        cluster.add_worker(&next, 64 * GB, 2);
        cluster.kill(&victim);
        (victim, deaths) = (next, deaths + 1);
    }
    assert_eq!(deaths, 3 + 4 + 1);
    assert_eq!(cluster.error(1).code(), ErrorCode::REMOTE_HOST_GONE);
}

#[test]
fn region_waits_for_workers_and_gives_up_after_the_period() {
    let mut cluster = running(RetryPolicy::Query);
    cluster.kill("n1");
    cluster.kill("n2");
    assert_eq!(cluster.outcome(1), None);
    cluster.add_worker("n3", 64 * GB, 1);
    assert_eq!(region(&cluster).len(), 9);
    cluster.kill("n3");
    cluster.tick_at(cluster.now + 120_000);
    assert_eq!(cluster.error(1).code(), ErrorCode::NO_NODES_AVAILABLE);
}

#[test]
fn producers_of_united_inputs_are_shared_by_their_readers() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    let stages = vec![
        stage(Distribution::Single, vec![input(Edge::Single, &[1])]),
        stage(Distribution::Arbitrary, vec![input(Edge::Arbitrary, &[2, 3])]),
        scan_stage(1),
        scan_stage(1),
    ];
    cluster.submit(1, stages, options(RetryPolicy::None));
    cluster.splits(1, 2, &[1; 2], true);
    cluster.splits(1, 3, &[1; 2], true);
    let sources: Vec<String> = (0..2)
        .map(|partition| alloc::format!("{:?}", cluster.attempt(1, 1, partition).unwrap().1.input.sources))
        .collect();
    assert_eq!(sources, ["[[0..2, 0..0]]", "[[0..0, 0..2]]"]);
    assert_eq!(cluster.stage_view(1, 2).counts.running, 2);
    assert_eq!(cluster.core.query(&query_id(1)).unwrap().stage(StageId(1)).unwrap().counts.running, 2);
}

/// Whoever reads the result finds out before the other attempts have ended.
#[test]
fn lost_result_of_a_region_is_made_again_as_a_whole_unless_rows_of_it_were_given_out() {
    for is_read in [false, true] {
        let mut cluster = running(RetryPolicy::Query);
        cluster.report_all();
        cluster.commit(1, 0, 0);
        assert_eq!((selected(&cluster), cluster.outcome(1)), (1, None), "the others have not ended");
        if is_read {
            cluster.step(Event::ResultRead { query: query_id(1), partition: 0 });
        }
        let lost = output(1, (0, 0), 0);
        cluster.step(Event::OutputLost { output: lost, error: Error::lost(lost, "it cannot be read") });
        if is_read {
            assert_eq!(cluster.error(1).code(), ErrorCode::EXCHANGE_DATA_LOST);
            continue;
        }
        assert_eq!(cluster.rolled_back(), ["0.0-0"]);
        cluster.pass(60_000);
        assert!(region(&cluster).keys().all(|(_, _, generation)| *generation == 1));
        cluster.commit(1, 0, 0);
        cluster.pass(1_000);
        assert_eq!(cluster.outcome(1), Some(Ok(())));
    }
}
