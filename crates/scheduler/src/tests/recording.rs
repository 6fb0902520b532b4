//! Decisions take effect when their records are there, whoever wrote them.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use base::{Error, ErrorCode, Millis, StageId};

use crate::testing::*;
use crate::*;

fn cluster() -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster
}

fn one_split_each() -> QueryOptions {
    QueryOptions { task_split_count_max: 1, ..QueryOptions::default() }
}

fn read_splits(numbers: &[u32]) -> Arc<TaskInput> {
    Arc::new(TaskInput { splits: vec![numbers.to_vec()], ..TaskInput::default() })
}

fn tasks_record(number: u32, tasks: Vec<Arc<TaskInput>>, sealed: bool) -> Record {
    Record::Tasks { stage: StageId(0), number, tasks, sealed }
}

#[test]
fn no_attempt_is_started_before_its_task_is_recorded() {
    let mut cluster = cluster();
    cluster.holds_records = true;
    cluster.submit(1, vec![scan_stage(1)], one_split_each());
    cluster.splits(1, 0, &[GB; 2], true);
    assert!(cluster.placed().is_empty());
    let [(_, Record::Tasks { number: 0, tasks, sealed: true, .. })] = &cluster.held_records[..] else {
        panic!("{:?}", cluster.held_records)
    };
    assert_eq!(tasks.len(), 2);
    assert_eq!(cluster.stage_view(1, 0).tasks_total, 0);
    cluster.answer_records();
    assert_eq!(cluster.placed(), ["1.0.0@n1", "1.0.1@n1"]);
    assert!(cluster.said.contains(&Command::StageSealed { query: query_id(1), stage: StageId(0), tasks: 2 }));
}

#[test]
fn one_record_of_a_stage_is_asked_for_at_a_time() {
    let mut cluster = cluster();
    cluster.holds_records = true;
    cluster.submit(1, vec![scan_stage(1)], one_split_each());
    cluster.splits(1, 0, &[GB; 2], false);
    cluster.splits(1, 0, &[GB; 2], false);
    cluster.splits(1, 0, &[GB; 2], true);
    assert_eq!(cluster.held_records.len(), 1);
    cluster.answer_records();
    let keys: Vec<_> = cluster.held_records.iter().map(|(_, record)| record.key()).collect();
    assert_eq!(keys, [RecordKey::Tasks { stage: StageId(0), number: 1 }]);
    cluster.answer_records();
    assert_eq!(cluster.placed().len(), 4);
    assert_eq!(cluster.stage_view(1, 0).tasks_total, 6);
}

#[test]
fn query_that_is_not_durable_waits_for_no_record() {
    let mut cluster = cluster();
    cluster.holds_records = true;
    cluster.submit(1, vec![scan_stage(1)], QueryOptions { is_durable: false, ..one_split_each() });
    cluster.splits(1, 0, &[GB; 2], true);
    cluster.commit(1, 0, 0);
    cluster.commit(1, 0, 1);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    assert!(cluster.held_records.is_empty());
}

/// What another coordinator has recorded replaces what was formed here; the other splits are read by later tasks.
#[test]
fn tasks_of_another_coordinator_are_adopted() {
    let mut cluster = cluster();
    cluster.foreign_record(1, tasks_record(0, vec![read_splits(&[0, 1, 2])], false));
    cluster.submit(1, vec![scan_stage(1)], one_split_each());
    cluster.splits(1, 0, &[GB; 5], true);
    let read: Vec<_> = cluster.stage_view(1, 0).tasks().map(|it| it.input.splits[0].clone()).collect();
    assert_eq!(read, [vec![0, 1, 2], vec![3], vec![4]]);
    for partition in 0..3 {
        cluster.commit(1, 0, partition);
    }
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

/// Another coordinator may know splits that have not arrived here.
#[test]
fn splits_that_are_in_a_record_are_not_read_again_when_they_arrive() {
    let mut cluster = cluster();
    cluster.foreign_record(1, tasks_record(0, vec![read_splits(&[0, 1, 2])], false));
    cluster.submit(1, vec![scan_stage(1)], one_split_each());
    cluster.splits(1, 0, &[GB], false);
    cluster.splits(1, 0, &[GB; 3], true);
    let read: Vec<_> = cluster.stage_view(1, 0).tasks().map(|it| it.input.splits[0].clone()).collect();
    assert_eq!(read, [vec![0, 1, 2], vec![3]]);
}

#[test]
fn stage_that_another_coordinator_has_sealed_is_sealed() {
    let mut cluster = cluster();
    cluster.foreign_record(1, tasks_record(0, vec![read_splits(&[0, 1])], true));
    cluster.submit(1, vec![scan_stage(1)], one_split_each());
    cluster.splits(1, 0, &[GB], false);
    assert!(cluster.stage_view(1, 0).sealed);
    cluster.splits(1, 0, &[GB], true);
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn repeated_answers_change_nothing() {
    let mut cluster = cluster();
    cluster.submit(1, vec![scan_stage(1)], one_split_each());
    cluster.splits(1, 0, &[GB; 2], false);
    let records: Vec<Record> = cluster.records.values().cloned().collect();
    for record in records {
        cluster.step(Event::RecordPersisted { query: query_id(1), record });
    }
    assert_eq!(cluster.stage_view(1, 0).tasks_total, 2);
}

#[test]
fn outcome_is_told_when_it_is_recorded_and_what_runs_stops_at_once() {
    let mut cluster = cluster();
    cluster.submit_tasks(1, 2, GB);
    cluster.holds_records = true;
    let error = Error::new(ErrorCode::USER_CANCELED, "enough");
    cluster.step(Event::QueryCancelled { query: query_id(1), error: error.clone() });
    assert!(cluster.placed().is_empty());
    assert_eq!(cluster.outcome(1), None);
    cluster.step(Event::QueryClosed { query: query_id(1) });
    cluster.report_all();
    assert!(!cluster.said.contains(&Command::QueryReleased { query: query_id(1) }));
    cluster.answer_records();
    assert_eq!(cluster.error(1), error);
    assert!(cluster.core.is_empty());
}

#[test]
fn outcome_of_another_coordinator_counts() {
    let mut cluster = cluster();
    cluster.submit_tasks(1, 1, GB);
    let error = Error::new(ErrorCode::USER_CANCELED, "enough");
    cluster.foreign_record(1, Record::Done { outcome: Err(error.clone()) });
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.error(1), error);
}

/// A query that did not find workers here in time ended well elsewhere.
fn ended_well_elsewhere() -> TestCluster {
    let options = CoreOptions { required_workers_wait_max: Millis(100_000), ..CoreOptions::default() };
    let mut cluster = TestCluster::with_options(options);
    cluster.foreign_record(1, Record::Done { outcome: Ok(()) });
    cluster.submit(1, vec![stage(Distribution::Single, vec![])], QueryOptions::default());
    cluster.tick_at(cluster.now + 100_000);
    cluster
}

#[test]
fn query_that_ended_well_elsewhere_waits_for_workers_and_cannot_be_cancelled() {
    for cancelled in [false, true] {
        let mut cluster = ended_well_elsewhere();
        cluster.tick_at(cluster.now + 119_000);
        assert_eq!(cluster.outcome(1), None);
        if cancelled {
            let error = Error::new(ErrorCode::USER_CANCELED, "enough");
            cluster.step(Event::QueryCancelled { query: query_id(1), error });
        } else {
            cluster.add_worker("n1", 64 * GB, 4);
            cluster.commit(1, 0, 0);
        }
        assert_eq!(cluster.outcome(1), Some(Ok(())));
    }
}

/// Somebody may wait for the result, and nobody comes who could compute what is missing of it.
#[test]
fn query_that_ended_well_elsewhere_does_not_wait_for_ever() {
    let mut cluster = ended_well_elsewhere();
    cluster.tick_at(cluster.now + 120_000);
    let error = cluster.error(1);
    assert_eq!(error.code(), ErrorCode::EXCHANGE_DATA_LOST);
    assert!(error.cause().is_some_and(|cause| cause.message.contains("No nodes")), "{error:?}");
    assert!(cluster.held_records.is_empty(), "how it ended is recorded already");
}

/// Whoever saw the result complete had heard of commits that this life has not.
#[test]
fn what_else_is_found_of_a_query_that_ended_well_elsewhere_counts() {
    let mut cluster = cluster();
    cluster.submit(1, vec![scan_stage(1)], one_split_each());
    cluster.splits(1, 0, &[GB; 2], true);
    let winners = [0, 1].map(|partition| cluster.attempt(1, 0, partition).unwrap().1.attempt);
    let shape = QueryShape { stages: vec![scan_stage(1)] };
    let size = OutputSize { rows: 1, partition_bytes: [1].into(), checksum: 0 };
    let commits = winners.map(|winner| RecoveredCommit { winner, output: size.clone() });
    cluster.step(Event::QueryRecovered {
        query: query_id(1),
        shape,
        options: one_split_each(),
        records: vec![Record::Done { outcome: Ok(()) }],
        commits: commits.to_vec(),
    });
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    assert!(cluster.placed().is_empty(), "nothing of it is run again");
}

/// Answers that come after the query was stopped must not be missing when it goes on after all.
#[test]
fn records_count_while_the_end_is_recorded() {
    let mut cluster = cluster();
    cluster.holds_records = true;
    cluster.submit(1, vec![scan_stage(1)], one_split_each());
    cluster.splits(1, 0, &[GB; 2], true);
    cluster.foreign_record(1, Record::Done { outcome: Ok(()) });
    let error = Error::new(ErrorCode::NO_NODES_AVAILABLE, "No nodes available to run query");
    cluster.step(Event::QueryCancelled { query: query_id(1), error });
    cluster.holds_records = false;
    cluster.answer_records();
    assert_eq!(cluster.placed().len(), 2);
    for partition in 0..2 {
        cluster.commit(1, 0, partition);
    }
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

/// The other one has seen the whole result: it can be had here too.
#[test]
fn query_that_failed_here_and_ended_well_elsewhere_goes_on() {
    let mut cluster = cluster();
    cluster.submit_tasks(1, 2, GB);
    cluster.commit(1, 0, 0);
    cluster.foreign_record(1, Record::Done { outcome: Ok(()) });
    cluster.fail(1, 0, 1, Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero"), 0);
    assert_eq!(cluster.outcome(1), None);
    assert_eq!(cluster.placed(), ["1.0.1@n1"]);
    cluster.commit(1, 0, 1);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}
