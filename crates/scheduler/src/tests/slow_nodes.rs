//! Nodes that are slower than others: how that is found out, and what follows from it.

use alloc::vec;
use alloc::vec::Vec;

use crate::slowness::SLOWNESS_HALF_LIFE;
use crate::testing::*;
use crate::*;

fn options() -> QueryOptions {
    QueryOptions { task_split_count_max: 1, task_memory_bytes: Some(GB), ..QueryOptions::default() }
}

/// Lets an attempt that runs on a node commit.
fn commit_on(cluster: &mut TestCluster, name: &str, number: u32) {
    let spec = cluster.held(name).into_iter().find(|spec| spec.attempt.task.query == query_id(number));
    let attempt = spec.expect("an attempt of the query is there").attempt;
    cluster.report(&node(name), vec![committed(attempt, attempt, &[1], 0)]);
}

/// Workers with so many slots each, of which `n1` is known to be slow: its attempt was overtaken.
fn cluster_with_slow_n1(workers: usize, slots: u32) -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, slots);
    cluster.submit(9, vec![scan_stage(1)], options());
    cluster.splits(9, 0, &[GB; 2], false);
    cluster.splits(9, 0, &[], true);
    for number in 2..=workers {
        cluster.add_worker(["n2", "n3", "n4"][number - 2], 64 * GB, slots);
    }
    // With one slot each, the second task runs on n2; with more of them, on n1 as well.
    if slots > 1 {
        commit_on(&mut cluster, "n1", 9);
    } else {
        commit_on(&mut cluster, "n2", 9);
    }
    cluster.pass(1_000);
    assert_eq!(cluster.stage_view(9, 0).counts.running_attempts, 2, "there is a rival");
    cluster.pass(100);
    commit_on(&mut cluster, "n2", 9);
    assert_eq!(cluster.outcome(9), Some(Ok(())));
    assert!(cluster.core.node(&node("n1")).unwrap().is_slow);
    cluster
}

fn slow_nodes(cluster: &TestCluster) -> Vec<&str> {
    cluster.core.nodes().filter(|node| node.is_slow).map(|node| node.node.as_str()).collect()
}

#[test]
fn node_whose_attempt_was_overtaken_is_used_last() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.submit_tasks(1, 2, GB);
    assert_eq!(cluster.placed(), ["1.0.0@n2", "1.0.1@n2"], "although n1 has more room");
}

#[test]
fn few_tasks_wait_for_other_nodes_but_not_for_long() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.submit_tasks(1, 3, GB);
    assert_eq!(cluster.placed(), ["1.0.0@n2", "1.0.1@n2"]);
    assert!(cluster.core.next_deadline().unwrap().0 <= cluster.now + 1_000);
    cluster.pass(999);
    assert_eq!(cluster.placed().len(), 2);
    cluster.pass(1);
    assert_eq!(cluster.placed(), ["1.0.0@n2", "1.0.1@n2", "1.0.2@n1"]);
}

#[test]
fn task_that_waits_takes_room_elsewhere_when_there_is_some() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.submit_tasks(1, 4, GB);
    cluster.pass(900);
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.placed(), ["1.0.1@n2", "1.0.2@n2"]);
    cluster.pass(900);
    assert_eq!(cluster.placed().len(), 2, "the wait begins again with each task that is placed");
}

#[test]
fn many_tasks_take_slow_nodes_too() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.submit_tasks(1, 100, GB);
    assert_eq!(cluster.placed().iter().filter(|it| it.ends_with("@n1")).count(), 2);
}

#[test]
fn task_of_a_stage_that_is_not_complete_yet_takes_slow_nodes_too() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.submit(1, vec![scan_stage(1)], options());
    cluster.splits(1, 0, &[GB; 3], false);
    assert_eq!(cluster.placed(), ["1.0.0@n2", "1.0.1@n2", "1.0.2@n1"]);
}

#[test]
fn task_that_fits_nowhere_else_does_not_wait() {
    let mut cluster = cluster_with_slow_n1(1 + 1, 2);
    cluster.kill("n2");
    cluster.add_worker("n2", 16 * GB, 2);
    cluster.submit_tasks(2, 1, 64 * GB);
    assert_eq!(cluster.placed(), ["2.0.0@n1"]);
}

#[test]
fn single_task_on_a_slow_node_gets_a_rival_as_soon_as_there_is_room() {
    let mut cluster = cluster_with_slow_n1(2, 1);
    cluster.submit_tasks(1, 1, GB);
    cluster.submit_tasks(2, 1, GB);
    assert_eq!(cluster.placed(), ["1.0.0@n2"]);
    cluster.pass(1_000);
    assert_eq!(cluster.placed(), ["1.0.0@n2", "2.0.0@n1"], "it has waited for long enough");
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.placed(), ["2.0.0@n1"], "it has hardly begun");
    cluster.pass(50);
    assert_eq!(cluster.placed(), ["2.0.0@n1", "2.0.0@n2"]);
}

#[test]
fn every_attempt_on_a_slow_node_may_have_a_rival() {
    let mut cluster = cluster_with_slow_n1(2, 4);
    cluster.submit_tasks(1, 40, GB);
    assert_eq!(cluster.placed().len(), 8);
    for partition in 0..40 {
        let on_n2 = |cluster: &TestCluster| {
            cluster.attempt(1, 0, partition).is_some_and(|(name, _)| name == node("n2"))
        };
        if on_n2(&cluster) {
            cluster.commit(1, 0, partition);
        }
    }
    let on_n1 = cluster.placed().iter().filter(|it| it.ends_with("@n1")).count();
    assert!(on_n1 > 1);
    cluster.pass(100);
    assert_eq!(cluster.stage_view(1, 0).counts.running_attempts, 2 * on_n1 as u32);
}

#[test]
fn rivals_that_are_switched_off_stay_off_on_slow_nodes() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    let off = QueryOptions { rivals_enabled: false, ..options() };
    cluster.submit(1, vec![scan_stage(1)], off);
    cluster.splits(1, 0, &[GB; 3], false);
    assert_eq!(cluster.placed().len(), 3);
    cluster.pass(5_000);
    cluster.commit(1, 0, 0);
    cluster.pass(5_000);
    assert_eq!(cluster.stage_view(1, 0).counts.running_attempts, 2);
}

#[test]
fn slow_node_gets_no_rivals_of_others() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.submit_tasks(1, 2, GB);
    cluster.pass(100);
    cluster.commit(1, 0, 0);
    cluster.pass(20_000);
    assert_eq!(cluster.placed(), ["1.0.1@n2"]);
}

#[test]
fn node_that_was_slow_once_is_used_again() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.pass(4 * SLOWNESS_HALF_LIFE.0);
    assert_eq!(slow_nodes(&cluster), [""; 0]);
    cluster.submit_tasks(1, 2, GB);
    assert_eq!(cluster.placed(), ["1.0.0@n1", "1.0.1@n2"]);
}

#[test]
fn node_that_is_as_quick_as_others_again_is_not_slow() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.submit_tasks(1, 100, GB);
    for partition in 0..40 {
        cluster.pass(500);
        for name in ["n2", "n1"] {
            if !cluster.held(name).is_empty() {
                commit_on(&mut cluster, name, 1);
            }
        }
        assert!(partition < 20 || slow_nodes(&cluster).is_empty(), "{partition}");
    }
}

#[test]
fn commits_that_take_longer_than_all_elsewhere_make_a_node_slow() {
    let mut cluster = TestCluster::new();
    for name in ["n1", "n2", "n3"] {
        cluster.add_worker(name, 64 * GB, 1);
    }
    cluster.submit(1, vec![scan_stage(1)], QueryOptions { rivals_enabled: false, ..options() });
    cluster.splits(1, 0, &[GB; 60], true);
    let mut rounds = 0;
    while slow_nodes(&cluster).is_empty() {
        for _ in 0..5 {
            cluster.pass(200);
            commit_on(&mut cluster, "n2", 1);
            commit_on(&mut cluster, "n3", 1);
        }
        commit_on(&mut cluster, "n1", 1);
        rounds += 1;
    }
    assert_eq!((slow_nodes(&cluster), rounds), (vec!["n1"], 3));
}

/// One task in three takes ten times as long as the others, wherever it runs.
#[test]
fn uneven_data_makes_no_node_slow() {
    let mut cluster = TestCluster::new();
    for name in ["n1", "n2", "n3"] {
        cluster.add_worker(name, 64 * GB, 1);
    }
    cluster.submit(1, vec![scan_stage(1)], QueryOptions { rivals_enabled: false, ..options() });
    cluster.splits(1, 0, &[GB; 60], true);
    let mut started = [0; 3];
    for tick in 0..200 {
        cluster.pass(100);
        for (at, name) in ["n1", "n2", "n3"].into_iter().enumerate() {
            let Some(spec) = cluster.held(name).into_iter().next() else {
                continue;
            };
            let ticks = if spec.attempt.task.partition % 3 == 0 { 20 } else { 2 };
            if tick - started[at] >= ticks {
                commit_on(&mut cluster, name, 1);
                started[at] = tick;
            }
        }
        assert_eq!(slow_nodes(&cluster), [""; 0], "after {tick} ticks");
    }
}

#[test]
fn most_nodes_are_not_slow() {
    let mut cluster = cluster_with_slow_n1(3, 2);
    cluster.submit_tasks(1, 100, GB);
    cluster.pass(1_000);
    for _ in 0..3 {
        commit_on(&mut cluster, "n3", 1);
    }
    cluster.pass(10_000);
    for _ in 0..2 {
        commit_on(&mut cluster, "n2", 1);
    }
    assert_eq!(slow_nodes(&cluster), ["n1"], "of three, one can be");
}

#[test]
fn if_only_slow_nodes_are_left_none_is() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.kill("n2");
    assert_eq!(slow_nodes(&cluster), [""; 0]);
    cluster.submit_tasks(1, 2, GB);
    assert_eq!(cluster.placed(), ["1.0.0@n1", "1.0.1@n1"]);
}

#[test]
fn new_life_of_a_slow_node_begins_with_a_clean_record() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.add_worker("n1", 64 * GB, 2);
    assert_eq!(slow_nodes(&cluster), [""; 0]);
}

#[test]
fn short_tasks_have_rivals_early() {
    let mut cluster = TestCluster::new();
    for name in ["n1", "n2", "n3", "n4"] {
        cluster.add_worker(name, 64 * GB, 1);
    }
    cluster.submit(1, vec![scan_stage(1)], options());
    cluster.splits(1, 0, &[GB; 4], true);
    cluster.pass(50);
    for name in ["n2", "n3", "n4"] {
        commit_on(&mut cluster, name, 1);
    }
    cluster.pass(150);
    assert_eq!(cluster.placed().len(), 1);
    cluster.pass(1);
    assert_eq!(cluster.placed().len(), 2);
}

#[test]
fn half_of_the_tasks_of_a_small_stage_tell_what_is_slow() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.add_worker("n2", 64 * GB, 2);
    cluster.submit(1, vec![scan_stage(1)], options());
    cluster.splits(1, 0, &[GB; 4], true);
    cluster.pass(100);
    commit_on(&mut cluster, "n2", 1);
    cluster.pass(1_000);
    assert_eq!(cluster.stage_view(1, 0).counts.running_attempts, 3);
    commit_on(&mut cluster, "n2", 1);
    cluster.pass(3_000);
    assert_eq!(cluster.stage_view(1, 0).counts.running_attempts, 3, "two on n1, and a rival");
}

#[test]
fn attempts_that_run_together_keep_off_slow_nodes_and_have_no_rivals() {
    let mut cluster = cluster_with_slow_n1(3, 2);
    let together = QueryOptions { retry_policy: RetryPolicy::Query, ..options() };
    cluster.submit(1, vec![scan_stage(1)], together);
    cluster.splits(1, 0, &[GB; 6], true);
    let placed = cluster.placed();
    assert!(placed.len() > 3 && placed.iter().all(|it| !it.ends_with("@n1")), "{placed:?}");
    for _ in 0..placed.len() - 1 {
        cluster.pass(100);
        let name = if cluster.held("n2").is_empty() { "n3" } else { "n2" };
        commit_on(&mut cluster, name, 1);
    }
    cluster.pass(10_000);
    assert_eq!(cluster.placed().len(), 1);
}

#[test]
fn worker_that_says_nothing_is_slow_until_it_does() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.add_worker("n2", 64 * GB, 2);
    cluster.submit_tasks(1, 1, GB);
    assert_eq!(cluster.placed(), ["1.0.0@n1"]);
    cluster.now += 1_000;
    cluster.report(&node("n2"), vec![]);
    let due = cluster.core.next_deadline().unwrap().0;
    assert!(due <= cluster.now + 500, "the core says when to look");
    cluster.tick_at(due);
    assert_eq!(slow_nodes(&cluster), ["n1"]);
    assert_eq!(cluster.placed(), ["1.0.0@n1", "1.0.0@n2"], "what it runs has a rival");
    cluster.submit_tasks(2, 1, GB);
    assert_eq!(cluster.attempt(2, 0, 0).unwrap().0, node("n2"));
    cluster.report(&node("n1"), vec![]);
    assert_eq!(slow_nodes(&cluster), [""; 0]);
}

#[test]
fn silence_while_the_coordinator_stood_still_makes_nobody_slow() {
    let mut cluster = cluster_with_slow_n1(2, 2);
    cluster.now += 4_000;
    cluster.step(Event::Resumed);
    assert_eq!(slow_nodes(&cluster), ["n1"]);
    cluster.pass(1_000);
    assert_eq!(slow_nodes(&cluster), ["n1"]);
}
