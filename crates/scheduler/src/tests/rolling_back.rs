//! Lost outputs are recomputed, and what must not be mixed with them goes back too.

use alloc::vec;
use alloc::vec::Vec;

use base::{Error, ErrorCode, StageId};

use crate::testing::*;
use crate::*;

/// Root 0 (single) reads 1 (hash, two tasks), which reads 2 (a scan, two tasks). Both outputs of 2 are committed and
/// the tasks of 1 run.
fn three_stages(determinate: [bool; 3], options: QueryOptions) -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.add_worker("n2", 64 * GB, 4);
    let root = stage(Distribution::Single, vec![input(Edge::Single, &[1])]);
    let middle = stage(Distribution::Hash { partitions: 2 }, vec![input(Edge::Hash, &[2])]);
    let mut stages = vec![root, middle, scan_stage(2)];
    for (stage, determinate) in stages.iter_mut().zip(determinate) {
        stage.determinate = determinate;
    }
    cluster.submit(1, stages, options);
    cluster.splits(1, 2, &[GB; 2], true);
    for partition in 0..2 {
        cluster.commit_sized(1, 2, partition, &[GB, GB], 0);
    }
    cluster
}

fn options() -> QueryOptions {
    QueryOptions { task_split_count_max: 1, rivals_enabled: false, ..QueryOptions::default() }
}

fn generations(cluster: &TestCluster) -> Vec<Vec<u32>> {
    let view = cluster.core.query(&query_id(1)).unwrap();
    view.stages().map(|stage| stage.tasks().map(|task| task.generation).collect()).collect()
}

#[test]
fn only_the_lost_output_of_a_determinate_stage_is_recomputed() {
    let mut cluster = three_stages([true; 3], options());
    cluster.report_all();
    cluster.miss_input(1, (1, 0), (2, 1), 0);
    assert_eq!(cluster.rolled_back(), ["2.1-0"]);
    assert_eq!(generations(&cluster), [vec![], vec![0, 0], vec![0, 1]]);
    assert!(cluster.attempt(1, 1, 0).is_none(), "it waits for its input");
    assert!(cluster.attempt(1, 1, 1).is_some(), "what runs is left alone");
    assert!(cluster.stage_view(1, 1).is_blocked);
    assert_eq!(cluster.attempt(1, 2, 1).unwrap().1.attempt.generation, 1);
    cluster.commit_sized(1, 2, 1, &[GB, GB], 0);
    for partition in 0..2 {
        cluster.commit(1, 1, partition);
    }
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn lost_input_is_no_failure_of_its_reader() {
    let mut cluster = three_stages([true; 3], QueryOptions { failed_tasks_max: Some(0), ..options() });
    cluster.miss_input(1, (1, 0), (2, 1), 0);
    cluster.commit_sized(1, 2, 1, &[GB, GB], 0);
    let counts = cluster.stage_view(1, 1).counts;
    assert_eq!((counts.failed_attempts, cluster.outcome(1)), (0, None));
    let (_, again) = cluster.attempt(1, 1, 0).expect("tried again at once");
    assert_eq!((again.attempt.generation, again.attempt.number), (0, 1));
}

/// Somebody has committed it, and nobody can read who: nobody can commit it under that generation any more.
#[test]
fn output_whose_commit_record_is_unreadable_is_made_under_the_next_generation() {
    for determinate in [true, false] {
        let mut cluster = three_stages([true, determinate, true], options());
        cluster.fail(1, 1, 0, Error::lost(output(1, (1, 0), 0), "its commit record is unreadable"), 0);
        assert_eq!(generations(&cluster), [vec![], vec![1, 0], vec![0, 0]]);
        assert_eq!(cluster.rolled_back(), [""; 0], "it was not decided");
        assert_eq!(cluster.stage_view(1, 1).counts.failed_attempts, 0);
        assert_eq!(cluster.attempt(1, 1, 0).unwrap().1.attempt.generation, 1);
        for partition in 0..2 {
            cluster.commit(1, 1, partition);
        }
        assert_eq!(cluster.generation(1, 0, 0), u32::from(!determinate), "it may have been read");
        cluster.commit(1, 0, 0);
        assert_eq!(cluster.outcome(1), Some(Ok(())));
    }
}

#[test]
fn unreadable_commit_records_are_bounded_too() {
    let mut cluster = three_stages([true; 3], QueryOptions { generations_max: 1, ..options() });
    for generation in 0..2 {
        assert_eq!(cluster.outcome(1), None);
        cluster.fail(1, 1, 0, Error::lost(output(1, (1, 0), generation), "unreadable"), 0);
    }
    assert_eq!(cluster.error(1).code(), ErrorCode::EXCHANGE_DATA_LOST);
}

#[test]
fn reader_that_no_worker_is_known_to_hold_is_told_again_what_to_read() {
    let mut cluster = three_stages([true; 3], options());
    let (_, unheard) = cluster.attempt(1, 1, 1).unwrap();
    cluster.miss_input(1, (1, 0), (2, 1), 0);
    cluster.commit_sized(1, 2, 1, &[GB, GB], 0);
    let (_, again) = cluster.attempt(1, 1, 1).unwrap();
    assert_eq!(again.attempt.number, unheard.attempt.number + 1);
}

#[test]
fn everything_downstream_of_an_indeterminate_output_goes_back_with_it() {
    let mut cluster = three_stages([true, true, false], options());
    cluster.commit(1, 1, 1);
    cluster.report_all();
    cluster.miss_input(1, (1, 0), (2, 0), 0);
    assert_eq!(cluster.rolled_back(), ["2.0-0", "1.1-0"]);
    assert_eq!(generations(&cluster), [vec![], vec![1, 1], vec![1, 0]]);
    let [_, Record::Rollback { number: 0, outputs }] = &cluster
        .records
        .values()
        .filter(|it| !matches!(it.key(), RecordKey::Tasks { stage: StageId(2), .. }))
        .cloned()
        .collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", cluster.records)
    };
    assert_eq!(outputs[..], [output(1, (1, 0), 0), output(1, (1, 1), 0), output(1, (2, 0), 0)]);
    cluster.commit_sized(1, 2, 0, &[GB, GB], 0);
    for partition in 0..2 {
        cluster.commit(1, 1, partition);
    }
    assert_eq!(cluster.generation(1, 0, 0), 1, "a task that comes later belongs to the new version too");
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn late_commit_of_a_void_generation_does_not_count() {
    let mut cluster = three_stages([true, true, false], options());
    cluster.report_all();
    let (n, void) = cluster.attempt(1, 1, 1).unwrap();
    let late = cluster.make_report(&n, vec![committed(void.attempt, void.attempt, &[1], 0)]);
    cluster.miss_input(1, (1, 0), (2, 0), 0);
    let late = WorkerReport { sequence: late.sequence + 100, ..late };
    cluster.step(Event::WorkerReported { node: n, report: late });
    assert_eq!(cluster.stage_view(1, 1).counts.committed, 0);
}

#[test]
fn stale_loss_is_only_a_reason_to_try_again() {
    let mut cluster = three_stages([true; 3], options());
    cluster.report_all();
    cluster.miss_input(1, (1, 0), (2, 1), 0);
    cluster.commit_sized(1, 2, 1, &[GB, GB], 0);
    cluster.miss_input(1, (1, 1), (2, 1), 0);
    assert_eq!(cluster.rolled_back(), ["2.1-0"]);
    assert_eq!(cluster.attempt(1, 1, 1).unwrap().1.attempt.number, 1);
}

/// One reader, four inputs, each of which is lost once under another task's attempt.
#[test]
fn reader_is_not_blamed_for_many_inputs_that_others_found_lost() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 8);
    let hash = Distribution::Hash { partitions: 2 };
    let root = stage(hash, vec![input(Edge::Hash, &[1])]);
    let options = QueryOptions { generations_max: 1, task_retry_attempts_per_task: 0, ..options() };
    cluster.submit(1, vec![root, scan_stage(2)], options);
    cluster.splits(1, 1, &[GB; 4], true);
    for partition in 0..4 {
        cluster.commit_sized(1, 1, partition, &[GB, GB], 0);
    }
    for lost in 0..4 {
        cluster.report_all();
        cluster.miss_input(1, (0, 0), (1, lost), 0);
        cluster.commit_sized(1, 1, lost, &[GB, GB], 0);
        cluster.miss_input(1, (0, 1), (1, lost), 0);
        assert_eq!(cluster.outcome(1), None, "after {lost} losses");
    }
    for partition in 0..2 {
        cluster.commit(1, 0, partition);
    }
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn nothing_is_placed_or_finished_while_a_rollback_is_recorded() {
    let mut cluster = three_stages([true; 3], options());
    cluster.report_all();
    for partition in 0..2 {
        cluster.commit(1, 1, partition);
    }
    cluster.holds_records = true;
    cluster.miss_input(1, (0, 0), (1, 1), 0);
    assert!(cluster.placed().is_empty());
    assert_eq!(generations(&cluster)[1], [0, 0]);
    cluster.holds_records = false;
    cluster.answer_records();
    assert_eq!(cluster.placed(), ["1.1.1@n1"]);
    assert_eq!(generations(&cluster)[1], [0, 1]);
}

#[test]
fn losses_while_a_rollback_is_recorded_are_in_the_next_one() {
    let mut cluster = three_stages([true; 3], options());
    cluster.report_all();
    cluster.holds_records = true;
    cluster.miss_input(1, (1, 0), (2, 0), 0);
    cluster.miss_input(1, (1, 1), (2, 1), 0);
    assert_eq!(cluster.held_records.len(), 1);
    cluster.holds_records = false;
    cluster.answer_records();
    assert_eq!(cluster.rolled_back(), ["2.0-0", "2.1-0"]);
    assert!(cluster.records.contains_key(&(query_id(1), RecordKey::Rollback { number: 1 })));
}

#[test]
fn rollback_of_another_coordinator_is_applied_and_ours_follows_if_it_is_needed() {
    for (theirs, expected) in [(vec![(2, 1)], vec!["2.1-0"]), (vec![(2, 0)], vec!["2.0-0", "2.1-0"])] {
        let mut cluster = three_stages([true; 3], options());
        let outputs = theirs.iter().map(|task| output(1, *task, 0)).collect();
        cluster.foreign_record(1, Record::Rollback { number: 0, outputs });
        cluster.miss_input(1, (1, 0), (2, 1), 0);
        assert_eq!(cluster.rolled_back(), expected);
        let records = cluster.records.keys().filter(|(_, key)| matches!(key, RecordKey::Rollback { .. }));
        assert_eq!(records.count(), expected.len());
    }
}

#[test]
fn output_that_is_lost_too_often_ends_the_query() {
    let mut cluster = three_stages([true; 3], QueryOptions { generations_max: 2, ..options() });
    for generation in 0..2 {
        cluster.miss_input(1, (1, 0), (2, 1), generation);
        assert_eq!(cluster.outcome(1), None);
        cluster.commit_sized(1, 2, 1, &[GB, GB], 0);
    }
    cluster.miss_input(1, (1, 0), (2, 1), 2);
    assert_eq!(cluster.error(1).code(), ErrorCode::EXCHANGE_DATA_LOST);
}

#[test]
fn recomputed_output_that_differs_takes_what_is_downstream_with_it() {
    let mut cluster = three_stages([true; 3], options());
    cluster.report_all();
    cluster.commit(1, 1, 1);
    cluster.miss_input(1, (1, 0), (2, 1), 0);
    cluster.commit_checked(1, 2, 1, 77);
    assert_eq!(cluster.rolled_back(), ["2.1-0", "1.1-0"]);
    assert_eq!(generations(&cluster), [vec![], vec![1, 1], vec![0, 1]]);
    cluster.miss_input(1, (1, 0), (2, 0), 0);
    assert_eq!(generations(&cluster), [vec![], vec![2, 2], vec![1, 1]], "from now on it is not determinate");
    let records: Vec<Record> = cluster.records.values().cloned().collect();
    let before = generations(&cluster);
    cluster.restart_coordinator();
    assert_eq!(generations(&cluster)[1..], before[1..], "{records:?}");
}

#[test]
fn recomputed_output_that_is_the_same_takes_nothing_with_it() {
    let mut cluster = three_stages([true; 3], options());
    cluster.report_all();
    cluster.miss_input(1, (1, 0), (2, 1), 0);
    cluster.commit_sized(1, 2, 1, &[GB, GB], 0);
    assert_eq!(cluster.rolled_back(), ["2.1-0"]);
    assert_eq!(cluster.stage_view(1, 2).output_bytes, 4 * GB, "nothing counts twice");
}

fn root_read_by_client() -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.submit_tasks(1, 2, GB);
    cluster.commit(1, 0, 0);
    cluster
}

#[test]
fn lost_output_of_the_root_is_recomputed_until_the_client_reads_it() {
    let mut cluster = root_read_by_client();
    let lost = |generation| Event::OutputLost {
        output: output(1, (0, 0), generation),
        error: Error::lost(output(1, (0, 0), generation), "it cannot be read"),
    };
    cluster.step(lost(0));
    assert_eq!(cluster.rolled_back(), ["0.0-0"]);
    cluster.commit(1, 0, 0);
    cluster.step(lost(0));
    assert_eq!(cluster.rolled_back(), ["0.0-0"], "that was about the old one");
    cluster.step(Event::ResultRead { query: query_id(1), partition: 0 });
    cluster.step(lost(1));
    assert_eq!(cluster.error(1).code(), ErrorCode::EXCHANGE_DATA_LOST);
}

#[test]
fn result_that_the_client_began_to_get_while_the_rollback_was_recorded_is_lost() {
    let mut cluster = root_read_by_client();
    cluster.holds_records = true;
    let output = output(1, (0, 0), 0);
    cluster.step(Event::OutputLost { output, error: Error::lost(output, "it cannot be read") });
    cluster.step(Event::ResultRead { query: query_id(1), partition: 0 });
    cluster.holds_records = false;
    cluster.answer_records();
    assert_eq!(cluster.error(1).message(), "it cannot be read");
}

#[test]
fn rollback_without_records_takes_effect_at_once() {
    let mut cluster = three_stages([true, true, false], QueryOptions { is_durable: false, ..options() });
    cluster.report_all();
    cluster.miss_input(1, (1, 0), (2, 0), 0);
    assert_eq!(generations(&cluster), [vec![], vec![1, 1], vec![1, 0]]);
    cluster.commit_sized(1, 2, 0, &[GB, GB], 0);
    for partition in 0..2 {
        cluster.commit(1, 1, partition);
    }
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
    assert!(cluster.records.is_empty());
}

/// Another coordinator may have formed tasks that are not known here, and lost their outputs.
#[test]
fn generations_of_tasks_that_are_not_known_yet_follow_from_the_records() {
    for (rolled_back, expected) in [((1, 1), vec![0, 1]), ((2, 0), vec![1, 1])] {
        let mut cluster = three_stages([true, true, false], options());
        cluster.restart_coordinator();
        let mut records: Vec<Record> = cluster.records.values().cloned().collect();
        records.retain(|record| record.key() != RecordKey::Tasks { stage: StageId(1), number: 0 });
        let outputs = vec![output(1, rolled_back, 0)];
        records.push(Record::Rollback { number: 0, outputs });
        cluster.core = Core::new(base::Epoch(9), CoreOptions::default());
        let root = stage(Distribution::Single, vec![input(Edge::Single, &[1])]);
        let middle = stage(Distribution::Hash { partitions: 2 }, vec![input(Edge::Hash, &[2])]);
        let scan = StageShape { determinate: false, ..scan_stage(2) };
        let shape = QueryShape { stages: vec![root, middle, scan] };
        let commits = Vec::new();
        cluster.step(Event::QueryRecovered {
            query: query_id(1),
            shape,
            options: options(),
            records,
            commits,
        });
        let theirs =
            cluster.records[&(query_id(1), RecordKey::Tasks { stage: StageId(1), number: 0 })].clone();
        cluster.step(Event::RecordPersisted { query: query_id(1), record: theirs });
        assert_eq!(generations(&cluster)[1], expected);
    }
}
