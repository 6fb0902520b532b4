//! When stages start, and what tasks they are made of. Rows OS and SA of Trino's acceptance tables.

use alloc::vec;
use alloc::vec::Vec;

use base::{ErrorCode, StageId};

use crate::testing::*;
use crate::*;

const MB: u64 = 1 << 20;

fn cluster() -> TestCluster {
    let mut cluster = TestCluster::new();
    cluster.add_worker("n1", 64 * GB, 1);
    cluster.add_worker("n2", 64 * GB, 1);
    cluster
}

fn sealed(cluster: &TestCluster, stage_id: u32) -> Option<u32> {
    cluster.said.iter().find_map(|command| match command {
        Command::StageSealed { stage, tasks, .. } if *stage == StageId(stage_id) => Some(*tasks),
        _ => None,
    })
}

fn inputs(cluster: &TestCluster, stage: u32) -> Vec<TaskInput> {
    cluster.stage_view(1, stage).tasks().map(|task| task.input.clone()).collect()
}

fn commit_all(cluster: &mut TestCluster, stage: u32, bytes: &[u64]) {
    for partition in 0..cluster.stage_view(1, stage).tasks_total {
        cluster.commit_sized(1, stage, partition, bytes, 0);
    }
}

#[test]
fn sa_1_scan_without_splits_is_one_task() {
    let mut cluster = cluster();
    cluster.submit(1, vec![scan_stage(1)], QueryOptions::default());
    let request = Command::RequestSplits { query: query_id(1), stage: StageId(0), scan: 0, count_max: 1000 };
    assert_eq!(cluster.said, [request]);
    cluster.splits(1, 0, &[], false);
    assert_eq!(sealed(&cluster, 0), None);
    cluster.splits(1, 0, &[], true);
    assert_eq!(sealed(&cluster, 0), Some(1));
    assert_eq!(inputs(&cluster, 0)[0].splits, [[]]);
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn small_table_is_spread_over_all_slots_twice() {
    let mut cluster = cluster();
    cluster.submit(1, vec![scan_stage(1)], QueryOptions::default());
    cluster.splits(1, 0, &[20 * MB; 10], true);
    assert!(sealed(&cluster, 0).unwrap() >= 4);
    let read: Vec<u32> = inputs(&cluster, 0).iter().flat_map(|input| input.splits[0].clone()).collect();
    assert_eq!(read, (0..10).collect::<Vec<_>>());
}

#[test]
fn tasks_start_before_the_last_split_is_known() {
    let mut cluster = cluster();
    cluster.submit(1, vec![scan_stage(1)], QueryOptions::default());
    cluster.splits(1, 0, &[64 * MB], false);
    assert_eq!(cluster.placed(), ["1.0.0@n1"], "an idle slot takes what is there");
    cluster.splits(1, 0, &[512 * MB, 512 * MB, 1], true);
    assert_eq!(cluster.placed().len(), 2);
    assert_eq!(sealed(&cluster, 0), Some(4));
}

#[test]
fn enumeration_pauses_while_many_tasks_wait() {
    let mut cluster = cluster();
    let options = QueryOptions { task_split_count_max: 1, ..QueryOptions::default() };
    cluster.submit(1, vec![scan_stage(1)], options);
    let requests = |cluster: &TestCluster| {
        cluster.said.iter().filter(|command| matches!(command, Command::RequestSplits { .. })).count()
    };
    cluster.splits(1, 0, &[MB; 15], false);
    assert_eq!(requests(&cluster), 1, "13 wait");
    for partition in 0..2 {
        cluster.commit(1, 0, partition);
    }
    assert_eq!(requests(&cluster), 1, "11 wait");
    cluster.commit(1, 0, 2);
    assert_eq!(requests(&cluster), 2, "10 wait");
}

#[test]
fn sa_2_each_scan_of_a_stage_has_its_own_tasks() {
    let mut cluster = cluster();
    let shape = StageShape { scans: 2, ..scan_stage(1) };
    cluster.submit(1, vec![shape], QueryOptions { task_split_count_max: 2, ..QueryOptions::default() });
    cluster.splits(1, 0, &[GB; 2], true);
    assert_eq!(sealed(&cluster, 0), None);
    let event = Event::SplitsArrived {
        query: query_id(1),
        stage: StageId(0),
        scan: 1,
        sizes: vec![GB; 3],
        last: true,
    };
    cluster.step(event);
    let splits: Vec<_> = inputs(&cluster, 0).into_iter().map(|input| input.splits).collect();
    assert!(splits.iter().all(|task| task.len() == 2 && (task[0].is_empty() || task[1].is_empty())));
    let read = |scan: usize| splits.iter().flat_map(|task| task[scan].clone()).collect::<Vec<_>>();
    assert_eq!((read(0), read(1)), (vec![0, 1], vec![0, 1, 2]));
}

#[test]
fn sa_8_hash_stage_waits_for_all_its_producers_and_follows_their_sizes() {
    let mut cluster = cluster();
    let hash = Distribution::Hash { partitions: 4 };
    let root = stage(hash, vec![input(Edge::Hash, &[1]), input(Edge::Hash, &[2])]);
    cluster.submit(1, vec![root, scan_stage(4), scan_stage(4)], QueryOptions::default());
    cluster.splits(1, 1, &[1], true);
    cluster.splits(1, 2, &[1], true);
    commit_all(&mut cluster, 1, &[10, 10, 10, 900]);
    assert_eq!(cluster.stage_view(1, 0).state, StageState::Waiting);
    commit_all(&mut cluster, 2, &[0, 0, 0, 0]);
    let ranges: Vec<_> = inputs(&cluster, 0).into_iter().map(|input| input.partitions).collect();
    assert_eq!(ranges, [0..3, 3..4], "a big partition alone, small ones merged");
    assert_eq!(sealed(&cluster, 0), Some(2));
    commit_all(&mut cluster, 0, &[1]);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn sa_6_hash_stage_over_nothing_is_one_task() {
    let mut cluster = cluster();
    let hash = Distribution::Hash { partitions: 10 };
    cluster.submit(
        1,
        vec![stage(hash, vec![input(Edge::Hash, &[1])]), scan_stage(10)],
        QueryOptions::default(),
    );
    cluster.splits(1, 1, &[], true);
    commit_all(&mut cluster, 1, &[0; 10]);
    assert_eq!(inputs(&cluster, 0)[0].partitions, 0..10);
    assert_eq!(sealed(&cluster, 0), Some(1));
}

#[test]
fn sa_13_single_reads_everything_and_runs_on_nothing_too() {
    let mut cluster = cluster();
    let root = stage(Distribution::Single, vec![input(Edge::Single, &[1]), input(Edge::Arbitrary, &[2, 3])]);
    let values = stage(Distribution::Single, vec![]);
    let union = StageShape { scans: 0, ..scan_stage(1) };
    cluster.submit(1, vec![root, values.clone(), union, values], QueryOptions::default());
    for stage in 1..=3 {
        assert_eq!(sealed(&cluster, stage), Some(1));
    }
    for stage in [3, 2, 1] {
        commit_all(&mut cluster, stage, &[1]);
    }
    assert_eq!(
        inputs(&cluster, 0),
        [TaskInput { sources: vec![vec![], vec![0..1, 0..1]], ..TaskInput::default() }]
    );
    commit_all(&mut cluster, 0, &[1]);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn single_with_a_scan_waits_for_every_split() {
    let mut cluster = cluster();
    let root = StageShape { scans: 1, ..stage(Distribution::Single, vec![]) };
    cluster.submit(1, vec![root], QueryOptions::default());
    cluster.splits(1, 0, &[GB; 3], false);
    assert!(cluster.placed().is_empty());
    cluster.splits(1, 0, &[GB; 2], true);
    assert_eq!(inputs(&cluster, 0)[0].splits, [[0, 1, 2, 3, 4]]);
}

#[test]
fn whole_outputs_are_shared_by_size_and_empty_ones_merged() {
    let mut cluster = cluster();
    let root = stage(Distribution::Arbitrary, vec![input(Edge::Arbitrary, &[1])]);
    let options = QueryOptions { task_split_count_max: 1, ..QueryOptions::default() };
    let options = QueryOptions { task_to_slot_ratio_min: 1.0, ..options };
    cluster.submit(1, vec![root, scan_stage(1)], options);
    cluster.splits(1, 1, &[1; 4], true);
    for (partition, bytes) in [(0, 100), (1, 0), (2, 0), (3, 100)] {
        cluster.commit_sized(1, 1, partition, &[bytes], 0);
    }
    let sources: Vec<_> = inputs(&cluster, 0).into_iter().map(|input| input.sources).collect();
    assert_eq!(sources.len(), 4, "the count of inputs is bounded too");
    assert!(sources.iter().all(|task| task[0][0].len() == 1));
}

/// OS-3, OS-5, OS-6: an output is selected once, whoever reports it, and never changes.
#[test]
fn os_3_to_6_selection_is_final() {
    let mut cluster = cluster();
    cluster.submit_tasks(1, 2, GB);
    let (n1, first) = cluster.attempt(1, 0, 0).unwrap();
    let zombie = first.attempt;
    let report = cluster.make_report(&n1, vec![committed(zombie, zombie, &[1], 0)]);
    cluster.step(Event::WorkerDisconnected { node: n1.clone(), incarnation: report.incarnation });
    cluster.step(Event::WorkerReported { node: n1.clone(), report });
    let selected = |cluster: &TestCluster| {
        let outputs = cluster.said.iter().filter_map(|command| match command {
            Command::OutputSelected { winner, .. } => Some(*winner),
            _ => None,
        });
        outputs.collect::<Vec<_>>()
    };
    assert_eq!(selected(&cluster), [zombie], "the zombie's commit counts");
    let rival = base::AttemptId { number: 1, ..zombie };
    cluster.report(&n1, vec![committed(zombie, rival, &[1], 0)]);
    assert_eq!(selected(&cluster), [zombie]);
    cluster.commit(1, 0, 1);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}

#[test]
fn shape_that_does_not_fit_ends_the_query() {
    let mut cluster = cluster();
    cluster.submit(1, vec![], QueryOptions::default());
    assert_eq!(cluster.error(1).code(), ErrorCode::GENERIC_INTERNAL_ERROR);
    cluster.step(Event::QueryClosed { query: query_id(1) });
    assert!(cluster.core.is_empty());
}

/// That there are no more splits may only be known when all tasks have ended.
#[test]
fn stage_is_complete_when_the_last_batch_of_splits_is_empty() {
    let mut cluster = cluster();
    let root = stage(Distribution::Single, vec![input(Edge::Single, &[1])]);
    cluster.submit(1, vec![root, scan_stage(1)], QueryOptions::default());
    cluster.splits(1, 1, &[1], false);
    cluster.commit(1, 1, 0);
    assert_eq!(cluster.stage_view(1, 0).state, StageState::Waiting);
    cluster.splits(1, 1, &[], true);
    assert_eq!((sealed(&cluster, 1), sealed(&cluster, 0)), (Some(1), Some(1)));
    cluster.commit(1, 0, 0);
    assert_eq!(cluster.outcome(1), Some(Ok(())));
}
