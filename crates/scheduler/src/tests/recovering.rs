//! A new life of the coordinator goes on where the old one ended.

use alloc::vec;
use alloc::vec::Vec;

use base::{Epoch, Error, ErrorCode, StageId};

use crate::testing::*;
use crate::*;

fn options() -> QueryOptions {
    QueryOptions { task_split_count_max: 1, rivals_enabled: false, ..QueryOptions::default() }
}

/// Root 0 (single) reads 1 (a scan of four splits) of which task 0 is committed and the others run, two on each node.
fn running() -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.add_worker("n2", 64 * GB, 2);
    let root = stage(Distribution::Single, vec![input(Edge::Single, &[1])]);
    cluster.submit(1, vec![root, scan_stage(1)], options());
    cluster.splits(1, 1, &[GB; 4], true);
    cluster.commit(1, 1, 0);
    cluster.report_all();
    cluster
}

fn selected(cluster: &TestCluster) -> Vec<(u32, u32)> {
    let outputs = cluster.said.iter().filter_map(|command| match command {
        Command::OutputSelected { output, .. } => Some((output.task.stage.0, output.task.partition)),
        _ => None,
    });
    outputs.collect()
}

#[test]
fn what_is_committed_stays_and_what_runs_goes_on() {
    let mut cluster = running();
    let before = cluster.placed();
    cluster.restart_coordinator();
    assert_eq!(selected(&cluster), [(1, 0)]);
    assert!(cluster.said.contains(&Command::StageSealed { query: query_id(1), stage: StageId(1), tasks: 4 }));
    cluster.report_all();
    assert_eq!(cluster.placed(), before);
    let (_, spec) = cluster.attempt(1, 1, 1).unwrap();
    assert_eq!((spec.attempt.epoch, spec.memory_bytes), (Epoch(1), 32 * GB), "the lease is what it was");
    for partition in 1..4 {
        cluster.commit(1, 1, partition);
    }
    cluster.pass(1_000);
    let root = cluster.attempt(1, 0, 0).unwrap().1.attempt;
    assert_eq!(root.epoch, Epoch(2));
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn waiting_tasks_are_placed_when_workers_had_time_to_say_what_they_run() {
    let mut cluster = running();
    cluster.restart_coordinator();
    cluster.report(&node("n1"), vec![]);
    let placed = cluster.placed();
    cluster.kill("n2");
    cluster.tick_at(cluster.now + 999);
    assert_eq!(cluster.placed().len(), placed.iter().filter(|it| it.ends_with("n1")).count());
    assert!(cluster.core.next_deadline().unwrap().0 <= cluster.now + 1);
    cluster.tick_at(cluster.now + 1);
    let numbers: Vec<_> = cluster.held("n1").iter().map(|spec| spec.attempt.epoch).collect();
    assert!(numbers.contains(&Epoch(2)), "{numbers:?}");
}

#[test]
fn query_without_tasks_does_not_wait() {
    let mut cluster = TestCluster::new();
    cluster.submit(1, vec![scan_stage(1)], options());
    cluster.restart_coordinator();
    cluster.add_worker("n1", 64 * GB, 2);
    cluster.splits(1, 0, &[GB], true);
    assert_eq!(cluster.placed(), ["1.0.0@n1"]);
}

#[test]
fn splits_that_are_recorded_are_ignored_when_they_are_enumerated_again() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.submit(1, vec![scan_stage(1)], options());
    cluster.splits(1, 0, &[GB; 3], false);
    cluster.restart_coordinator();
    let requests = cluster.said.iter().filter(|it| matches!(it, Command::RequestSplits { .. })).count();
    assert_eq!(requests, 1, "the enumeration starts again");
    cluster.report_all();
    cluster.splits(1, 0, &[GB; 2], false);
    cluster.splits(1, 0, &[GB; 3], true);
    cluster.pass(1_000);
    let read: Vec<_> = cluster.stage_view(1, 0).tasks().map(|it| it.input.splits[0].clone()).collect();
    assert_eq!(read, [[0], [1], [2], [3], [4]]);
    for partition in 0..5 {
        cluster.commit(1, 0, partition);
    }
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn single_task_over_a_scan_is_found_committed_when_its_splits_are_known_again() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    let root = stage(Distribution::Single, vec![input(Edge::Single, &[1])]);
    let scan = StageShape { scans: 1, ..stage(Distribution::Single, vec![]) };
    cluster.submit(1, vec![root, scan], options());
    cluster.splits(1, 1, &[GB; 3], true);
    cluster.commit(1, 1, 0);
    cluster.restart_coordinator();
    assert_eq!(selected(&cluster), []);
    cluster.splits(1, 1, &[GB; 3], true);
    assert_eq!(selected(&cluster), [(1, 0)]);
}

#[test]
fn query_that_had_ended_has_ended() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    cluster.submit_tasks(1, 2, GB);
    cluster.submit(2, vec![stage(Distribution::Single, vec![])], options());
    cluster.submit(3, vec![scan_stage(1)], options());
    for partition in 0..2 {
        cluster.commit(1, 0, partition);
    }
    cluster.commit(2, 0, 0);
    let error = Error::new(ErrorCode::USER_CANCELED, "enough");
    cluster.step(Event::QueryCancelled { query: query_id(3), error: error.clone() });
    cluster.restart_coordinator();
    assert_eq!((cluster.outcome(1), cluster.outcome(2)), (Some(Ok(())), Some(Ok(()))));
    assert_eq!(cluster.error(3), error);
    assert_eq!(selected(&cluster), [(0, 0), (0, 1), (0, 0)], "the result can still be read");
    cluster.add_worker("n1", 64 * GB, 4);
    assert!(cluster.placed().is_empty());
}

/// A worker that was told to work by the former life may not be forgotten when the query is released.
#[test]
fn recovered_query_is_released_when_every_worker_has_heard_of_its_end() {
    let mut cluster = running();
    let n1 = node("n1");
    let unheard = cluster.make_report(&n1, vec![]);
    cluster.restart_coordinator();
    cluster.step(Event::QueryClosed { query: query_id(1) });
    cluster.step(Event::WorkerReported { node: n1.clone(), report: unheard });
    let released = Command::QueryReleased { query: query_id(1) };
    cluster.report(&node("n2"), vec![]);
    assert!(cluster.core.is_empty() || !cluster.said.contains(&released) || cluster.placed().is_empty());
    cluster.report_all();
    assert!(cluster.said.contains(&released) && cluster.core.is_empty());
}

#[test]
fn rollbacks_are_folded_and_void_commits_do_not_count() {
    let mut cluster = running();
    for partition in 1..4 {
        cluster.commit(1, 1, partition);
    }
    cluster.miss_input(1, (0, 0), (1, 2), 0);
    cluster.restart_coordinator();
    assert_eq!(selected(&cluster), [(1, 0), (1, 1), (1, 3)]);
    cluster.report_all();
    let (_, spec) = cluster.attempt(1, 1, 2).unwrap();
    assert_eq!((spec.attempt.generation, spec.attempt.epoch), (1, Epoch(1)), "it was taken over");
    cluster.commit(1, 1, 2);
    cluster.pass(1_000);
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

/// A query of a scan (stage 1) that is read by the root, all of it committed but one task of the root.
fn nearly_through(determinate: bool) -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    let root = stage(Distribution::Hash { partitions: 2 }, vec![input(Edge::Hash, &[1])]);
    let scan = StageShape { determinate, ..scan_stage(2) };
    cluster.submit(1, vec![root, scan], QueryOptions { hash_task_target_bytes: 1, ..options() });
    cluster.splits(1, 1, &[GB; 2], true);
    for partition in 0..2 {
        cluster.commit_sized(1, 1, partition, &[GB, GB], 0);
    }
    cluster.commit(1, 0, 0);
    cluster
}

/// The first task of the root has read what is gone; the second would read what another run writes.
#[test]
fn commit_of_an_indeterminate_task_that_is_not_there_any_more_is_not_made_again() {
    for determinate in [true, false] {
        let mut cluster = nearly_through(determinate);
        cluster.commits.remove(&output(1, (1, 0), 0));
        cluster.restart_coordinator();
        cluster.report_all();
        cluster.pass(1_000);
        let generation = u32::from(!determinate);
        assert_eq!(cluster.attempt(1, 1, 0).unwrap().1.attempt.generation, generation);
        assert_eq!(cluster.generation(1, 0, 0), generation);
        let root_is_kept = cluster.stage_view(1, 0).counts.committed == 1;
        assert_eq!(root_is_kept, determinate);
    }
}

/// The reader was placed by the life before, so it has read what that life knew.
#[test]
fn late_commit_of_a_reader_shows_that_what_it_has_read_was_there() {
    for determinate in [true, false] {
        let mut cluster = nearly_through(determinate);
        let (_, reader) = cluster.attempt(1, 0, 1).unwrap();
        for number in [0, 1] {
            cluster.commits.remove(&output(1, (0, number), 0));
        }
        cluster.commits.remove(&output(1, (1, 0), 0));
        cluster.kill("n1");
        cluster.restart_coordinator();
        cluster.add_worker("n2", 64 * GB, 4);
        cluster.pass(1_000);
        let (_, again) = cluster.attempt(1, 1, 0).unwrap();
        assert_eq!(again.attempt.generation, 0, "nobody is known to have read it");
        let zombie = committed(reader.attempt, reader.attempt, &[1], 0);
        cluster.report(&node("n2"), vec![zombie]);
        let generation = u32::from(!determinate);
        assert_eq!(cluster.attempt(1, 1, 0).unwrap().1.attempt.generation, generation);
        assert_eq!(cluster.generation(1, 0, 1), generation);
    }
}

/// The next run of the only task of a stage is compared with the last one, although the task is not recorded.
#[test]
fn differing_output_of_a_single_task_is_noticed_across_lives() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    let root = stage(Distribution::Hash { partitions: 2 }, vec![input(Edge::Hash, &[1])]);
    let single = StageShape { output_partitions: 2, ..stage(Distribution::Single, vec![]) };
    cluster.submit(1, vec![root, single], QueryOptions { hash_task_target_bytes: 1, ..options() });
    cluster.commit_sized(1, 1, 0, &[GB, GB], 0);
    cluster.report_all();
    cluster.commit(1, 0, 0);
    cluster.miss_input(1, (0, 1), (1, 0), 0);
    cluster.restart_coordinator();
    cluster.report_all();
    cluster.pass(1_000);
    cluster.commit_checked(1, 1, 0, 77);
    assert_eq!(cluster.generation(1, 0, 0), 1, "nobody may have read both");
}

/// What was written before the coordinator died is compared with what is written after.
#[test]
fn differing_output_is_noticed_across_lives() {
    let mut cluster = running();
    for partition in 1..4 {
        cluster.commit(1, 1, partition);
    }
    cluster.report_all();
    cluster.miss_input(1, (0, 0), (1, 2), 0);
    cluster.restart_coordinator();
    cluster.report_all();
    cluster.commit_checked(1, 1, 2, 77);
    assert!(cluster.records.contains_key(&(query_id(1), RecordKey::Rollback { number: 1 })));
    cluster.pass(1_000);
    assert_eq!(cluster.generation(1, 0, 0), 1, "nobody may have read both");
}

#[test]
fn attempts_of_void_generations_or_later_lives_are_not_taken_over() {
    let mut cluster = running();
    let n1 = node("n1");
    let report = cluster.make_report(&n1, vec![]);
    let change = |report: &WorkerReport, change: fn(&mut base::AttemptId)| {
        let mut report = report.clone();
        report.attempts.iter_mut().for_each(|attempt| change(&mut attempt.attempt));
        report
    };
    for changed in [
        change(&report, |attempt| attempt.generation += 1),
        change(&report, |attempt| attempt.epoch = Epoch(3)),
    ] {
        cluster.restart_coordinator();
        cluster.core.step(
            base::Millis(cluster.now),
            Event::WorkerReported { node: n1.clone(), report: changed },
            &mut vec![],
        );
        assert_eq!(cluster.stage_view(1, 1).counts.running, 0);
        cluster.core = Core::new(Epoch(1), CoreOptions::default());
        cluster = running();
    }
}

#[test]
fn worker_of_a_newer_coordinator_is_not_commanded_any_more() {
    let mut cluster = running();
    let n1 = node("n1");
    let report = cluster.make_report(&n1, vec![]);
    let report = WorkerReport { desired_seen: Some((Epoch(2), 1)), ..report };
    cluster.said.clear();
    cluster.step(Event::WorkerReported { node: n1.clone(), report: report.clone() });
    assert_eq!(cluster.said, [Command::Superseded { by: Epoch(2) }]);
    let before = cluster.placed();
    cluster.step(Event::WorkerReported { node: n1, report });
    cluster.step(Event::QueryClosed { query: query_id(1) });
    cluster.kill("n2");
    assert_eq!(cluster.said.len(), 1, "once, and nothing more");
    assert_eq!(before.len(), 3);
    assert_eq!(cluster.core.next_deadline(), None);
}

/// No worker is there yet, so how many tasks there should be cannot be known.
#[test]
fn tasks_are_formed_again_when_the_workers_are_known() {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 4);
    let hash = Distribution::Hash { partitions: 8 };
    let root = stage(hash, vec![input(Edge::Hash, &[1])]);
    cluster.submit(1, vec![root, scan_stage(8)], options());
    cluster.splits(1, 1, &[GB], true);
    cluster.holds_records = true;
    cluster.commit_sized(1, 1, 0, &[1000; 8], 0);
    cluster.holds_records = false;
    cluster.restart_coordinator();
    assert_eq!(cluster.stage_view(1, 0).tasks_total, 0);
    cluster.report_all();
    cluster.pass(1_000);
    assert_eq!(cluster.stage_view(1, 0).tasks_total, 8);
}
