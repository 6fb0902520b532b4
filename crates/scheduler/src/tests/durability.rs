//! Queries that run without records at first.

use alloc::vec;
use alloc::vec::Vec;

use crate::testing::*;
use crate::*;

fn unrecorded() -> QueryOptions {
    QueryOptions { is_durable: false, task_split_count_max: 1, ..QueryOptions::default() }
}

fn stages() -> Vec<StageShape> {
    vec![stage(Distribution::Single, vec![input(Edge::Single, &[1])]), scan_stage(1)]
}

fn started() -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.submit(1, stages(), unrecorded());
    cluster
}

fn request(cluster: &mut TestCluster) {
    cluster.step(Event::DurabilityRequested { query: query_id(1) });
}

fn is_durable(cluster: &TestCluster) -> bool {
    cluster.said.contains(&Command::QueryDurable { query: query_id(1) })
}

#[test]
fn short_query_ends_without_a_record() {
    let mut cluster = started();
    cluster.splits(1, 1, &[1; 2], true);
    (0..2).for_each(|partition| cluster.commit(1, 1, partition));
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    assert!(cluster.records.is_empty());
}

#[test]
fn what_was_decided_is_recorded_late_and_the_next_life_goes_on_with_it() {
    let mut cluster = started();
    cluster.splits(1, 1, &[1; 2], false);
    cluster.commit(1, 1, 0);
    cluster.holds_records = true;
    request(&mut cluster);
    assert!(!is_durable(&cluster), "its record is not there yet");
    cluster.splits(1, 1, &[1; 2], true);
    assert_eq!(cluster.held_records.len(), 1, "what is decided next waits for it");
    cluster.holds_records = false;
    cluster.answer_records();
    assert!(is_durable(&cluster));
    let keys: Vec<RecordKey> = cluster.records.keys().map(|(_, key)| *key).collect();
    let tasks = |number| RecordKey::Tasks { stage: base::StageId(1), number };
    assert_eq!(keys, [tasks(0), tasks(1)]);
    cluster.restart_coordinator();
    cluster.report_all();
    cluster.splits(1, 1, &[1; 4], true);
    cluster.pass(1_000);
    (1..4).for_each(|partition| cluster.commit(1, 1, partition));
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())), "task 0 was not run again");
}

#[test]
fn rollback_before_there_were_records_is_recorded_too() {
    let mut cluster = started();
    cluster.splits(1, 1, &[1], true);
    cluster.commit(1, 1, 0);
    cluster.miss_input(1, (0, 0), (1, 0), 0);
    assert_eq!(cluster.generation(1, 1, 0), 1);
    request(&mut cluster);
    assert!(is_durable(&cluster));
    assert!(cluster.records.contains_key(&(query_id(1), RecordKey::Rollback { number: 0 })));
    cluster.commit(1, 1, 0);
    cluster.restart_coordinator();
    assert_eq!(cluster.generation(1, 1, 0), 1);
}

#[test]
fn query_that_has_ended_can_still_get_its_records() {
    let mut cluster = started();
    cluster.splits(1, 1, &[1], true);
    cluster.commit(1, 1, 0);
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    request(&mut cluster);
    assert!(is_durable(&cluster));
    assert!(cluster.records.contains_key(&(query_id(1), RecordKey::Done)));
    cluster.restart_coordinator();
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn query_that_ends_while_it_gets_records_is_recorded_as_ended() {
    let mut cluster = started();
    cluster.splits(1, 1, &[1], true);
    cluster.commit(1, 1, 0);
    cluster.holds_records = true;
    request(&mut cluster);
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), None, "it ends when that is on record");
    cluster.holds_records = false;
    cluster.answer_records();
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    assert!(is_durable(&cluster));
}

#[test]
fn request_is_of_no_effect_where_there_are_records_or_never_will_be() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.submit(1, stages(), QueryOptions { retry_policy: RetryPolicy::None, ..unrecorded() });
    cluster.splits(1, 1, &[1], true);
    request(&mut cluster);
    assert!(!is_durable(&cluster) && cluster.records.is_empty());
    let mut cluster = started();
    request(&mut cluster);
    request(&mut cluster);
    let told = cluster.said.iter().filter(|command| matches!(command, Command::QueryDurable { .. })).count();
    assert_eq!(told, 1);
}

/// A query that nobody was promised anything of is begun again by the next life under its old name.
#[test]
fn what_a_former_life_had_run_of_a_query_that_is_begun_again_does_not_count() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    let options = QueryOptions { is_durable: false, ..QueryOptions::default() };
    cluster.submit(1, vec![scan_stage(1)], options.clone());
    cluster.splits(1, 0, &[GB], true);
    let (_, stranger) = cluster.attempt(1, 0, 0).unwrap();
    let mut core = Core::new(base::Epoch(2), CoreOptions::default());
    ::core::mem::swap(&mut cluster.core, &mut core);
    cluster.submit(1, vec![scan_stage(1)], options);
    cluster.splits(1, 0, &[GB], true);
    let n1 = node("n1");
    cluster.report(&n1, vec![committed(stranger.attempt, stranger.attempt, &[1], 0)]);
    assert_eq!(cluster.outcome(1), None);
    let (_, ours) = cluster.attempt(1, 0, 0).unwrap();
    assert_eq!((ours.attempt.generation, ours.attempt.epoch), (1, base::Epoch(2)));
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}
