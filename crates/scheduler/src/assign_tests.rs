use alloc::vec;

use super::*;

/// So that a list of one range does not look like a range.
fn ranges(tasks: &[Range<u32>]) -> Vec<(u32, u32)> {
    tasks.iter().map(|range| (range.start, range.end)).collect()
}

const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;

/// Packs splits that are all known at once, in batches of a given number, and returns the numbers per task.
fn pack(options: &QueryOptions, sizes: &[u64], batch: usize, wanted: u64) -> Vec<Vec<u32>> {
    let mut packer = SplitPacker::new(options, 1);
    let mut tasks = Vec::new();
    for (at, chunk) in sizes.chunks(batch).enumerate() {
        packer.add(0, (at * batch) as u32, chunk);
        while let Some((scan, numbers)) = packer.next_task(wanted, false) {
            assert_eq!(scan, 0);
            tasks.push(numbers);
        }
    }
    while let Some((_, numbers)) = packer.next_task(wanted, true) {
        tasks.push(numbers);
    }
    assert_eq!(packer.open_count(), 0);
    tasks
}

fn with_target(bytes: u64) -> QueryOptions {
    QueryOptions { arbitrary_task_target_bytes_min: bytes, ..QueryOptions::default() }
}

/// SA-1: that a stage with no split has one task is decided where the stage is sealed; see `core_tests`.
#[test]
fn sa_1_no_split_is_no_task_of_the_packer() {
    assert!(pack(&QueryOptions::default(), &[], 1, 4).is_empty());
}

#[test]
fn sa_2_splits_fill_tasks_up_to_the_target() {
    let options = with_target(3);
    assert_eq!(pack(&options, &[1; 7], 7, 1), vec![vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    assert_eq!(pack(&options, &[1; 7], 2, 1), vec![vec![0, 1, 2], vec![3, 4, 5], vec![6]], "in batches");
    assert_eq!(pack(&options, &[1, 5, 1, 1], 4, 1), vec![vec![0], vec![1], vec![2, 3]], "a big one alone");
    let few = QueryOptions { task_split_count_max: 2, ..with_target(100) };
    assert_eq!(pack(&few, &[1; 5], 5, 1), vec![vec![0, 1], vec![2, 3], vec![4]], "by count");
}

#[test]
fn sa_2_several_scans_share_nothing() {
    let mut packer = SplitPacker::new(&with_target(2), 2);
    packer.add(0, 0, &[1, 1, 1]);
    packer.add(1, 0, &[1, 1]);
    let mut tasks = Vec::new();
    while let Some(task) = packer.next_task(1, true) {
        tasks.push(task);
    }
    assert_eq!(tasks, vec![(0, vec![0, 1]), (0, vec![2]), (1, vec![0, 1])]);
}

#[test]
fn small_table_still_feeds_every_slot() {
    let options = QueryOptions::default();
    for splits in [4usize, 5, 7, 20] {
        let sizes = vec![200 * MB / splits as u64; splits];
        assert!(pack(&options, &sizes, 1000, tasks_wanted(2.0, 2)).len() >= 4, "{splits} splits");
    }
    assert_eq!(pack(&options, &[100 * MB, 100 * MB], 1000, 4).len(), 2, "a split is never divided");
    assert_eq!(pack(&options, &[0; 8], 1000, 4).len(), 4, "sizes may be unknown");
}

#[test]
fn sa_5_every_split_is_read_once_whatever_the_sizes() {
    let mut seed = 7u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..100 {
        let options = QueryOptions {
            arbitrary_task_target_bytes_min: 1 + random(500),
            arbitrary_task_target_growth_period: 1 + random(4) as u32,
            task_split_count_max: 1 + random(30) as u32,
            ..QueryOptions::default()
        };
        let sizes: Vec<u64> = (0..random(300)).map(|_| random(100)).collect();
        let tasks = pack(&options, &sizes, 1 + random(50) as usize, 1 + random(20));
        let seen: Vec<u32> = tasks.iter().flatten().copied().collect();
        assert_eq!(seen, (0..sizes.len() as u32).collect::<Vec<_>>(), "round {round}");
        assert!(
            tasks.iter().all(|task| !task.is_empty() && task.len() <= options.task_split_count_max as usize)
        );
    }
}

#[test]
fn sa_5_target_grows_as_trinos_does() {
    let options = QueryOptions::default();
    let mut target = GrowingTarget::new(&options);
    let mut seen = Vec::new();
    for _ in 0..=20 {
        seen.push(target.bytes() / (512 * MB));
        for _ in 0..options.arbitrary_task_target_growth_period {
            target.advance();
        }
    }
    assert_eq!(seen, [1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 51, 64, 81, 100]);
    assert_eq!(target.bytes(), 50 * GB);
}

#[test]
fn sa_6_empty_partitions_are_one_task() {
    assert_eq!(ranges(&hash_tasks(&[0; 10], 512 * MB, 4)), [(0, 10)]);
    assert_eq!(ranges(&hash_tasks(&[0], 512 * MB, 1)), [(0, 1)]);
}

#[test]
fn sa_8_partitions_merge_up_to_the_target() {
    assert_eq!(ranges(&hash_tasks(&[1, 1, 1], 3, 1)), [(0, 3)]);
    assert_eq!(ranges(&hash_tasks(&[1, 1, 1], 1, 1)), [(0, 1), (1, 2), (2, 3)]);
}

#[test]
fn sa_9_and_11_big_partition_is_alone() {
    assert_eq!(ranges(&hash_tasks(&[5, 1, 1], 3, 1)), [(0, 1), (1, 3)]);
    assert_eq!(ranges(&hash_tasks(&[50, 1, 1], 25, 1)), [(0, 1), (1, 3)]);
}

#[test]
fn sa_12_target_is_lowered_for_enough_tasks() {
    assert_eq!(ranges(&hash_tasks(&[10; 8], 50, 1)), [(0, 5), (5, 8)]);
    assert_eq!(ranges(&hash_tasks(&[10; 8], 50, 4)), [(0, 2), (2, 4), (4, 6), (6, 8)]);
    let skewed = [1, 1, 10, 1, 1, 1, 1, 1];
    assert_eq!(ranges(&hash_tasks(&skewed, 50, 1)), [(0, 8)]);
    assert_eq!(ranges(&hash_tasks(&skewed, 50, 4)), [(0, 2), (2, 3), (3, 7), (7, 8)]);
    assert_eq!(ranges(&hash_tasks(&[10, 10], 50, 1)), [(0, 2)]);
    assert_eq!(ranges(&hash_tasks(&[10, 10], 50, 4)), [(0, 1), (1, 2)]);
}

#[test]
fn whole_outputs_are_grouped_like_splits() {
    let (first, second) = ([4u64, 0, 4, 9], [2u64, 2]);
    let sizes = vec![vec![&first[..], &second[..]], vec![]];
    let tasks = source_tasks(&with_target(8), &sizes, 1);
    assert_eq!(
        tasks,
        vec![vec![vec![0..3, 0..0], vec![]], vec![vec![3..4, 0..0], vec![]], vec![vec![0..0, 0..2], vec![]]]
    );
    let even = source_tasks(&with_target(1000), &[vec![&[5u64; 8][..]]], 4);
    assert_eq!(even.len(), 4, "lowered so that every slot has work");
}

#[test]
fn no_output_at_all_is_one_task_that_reads_nothing() {
    assert_eq!(source_tasks(&QueryOptions::default(), &[vec![&[][..]]], 4), vec![vec![vec![0..0]]]);
}
