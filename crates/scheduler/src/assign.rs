//! How tasks are formed: who reads which splits, which hash partitions, which producer tasks.
//!
//! Everything here is pure arithmetic over sizes. A split, a partition and a producer task's output are never
//! divided; each is read by exactly one task of the stage. Every stage has at least one task.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::options::QueryOptions;

/// The target size of a task over splits or whole outputs, which grows with the number of tasks.
///
/// After each period of tasks it is multiplied by the growth factor, up to the maximum, and then rounded to a
/// multiple of the minimum.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct GrowingTarget {
    min: u64,
    max: u64,
    period: u32,
    factor: f64,
    current: u64,
    tasks: u32,
}

impl GrowingTarget {
    pub(crate) fn new(options: &QueryOptions) -> Self {
        let min = options.arbitrary_task_target_bytes_min.max(1);
        GrowingTarget {
            min,
            max: options.arbitrary_task_target_bytes_max.max(min),
            period: options.arbitrary_task_target_growth_period.max(1),
            factor: options.arbitrary_task_target_growth_factor.max(1.0),
            current: min,
            tasks: 0,
        }
    }

    /// The target for the next task.
    pub(crate) fn bytes(&self) -> u64 {
        (self.current.saturating_add(self.min / 2) / self.min).saturating_mul(self.min)
    }

    /// A task was formed.
    pub(crate) fn advance(&mut self) {
        self.tasks = self.tasks.saturating_add(1);
        if self.tasks.is_multiple_of(self.period) {
            let grown = self.current as f64 * self.factor;
            let floor = grown as u64;
            let ceiling = if (floor as f64) < grown { floor.saturating_add(1) } else { floor };
            self.current = ceiling.min(self.max);
        }
    }
}

/// The number of tasks a stage should have at least, as far as its input can be divided.
pub(crate) fn tasks_wanted(ratio: f64, slots: u64) -> u64 {
    let exact = ratio.max(0.0) * slots as f64;
    let floor = exact as u64;
    if (floor as f64) < exact { floor + 1 } else { floor }.max(1)
}

/// Packs splits, in the order they arrive, into tasks.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct SplitPacker {
    target: GrowingTarget,
    count_max: usize,
    /// For each scan, the splits that belong to no task yet: number and size.
    open: Vec<VecDeque<(u32, u64)>>,
    /// The splits of tasks that are formed and not recorded yet, in the order they were taken: scan, number, size.
    taken: Vec<(usize, u32, u64)>,
    /// For each scan, the number of the first split that no recorded task reads. Tasks take the splits of a scan in
    /// order.
    recorded: Vec<u32>,
    /// The size of all splits that are known, packed or not.
    known_bytes: u64,
    tasks: u64,
}

impl SplitPacker {
    pub(crate) fn new(options: &QueryOptions, scans: u32) -> Self {
        SplitPacker {
            target: GrowingTarget::new(options),
            count_max: options.task_split_count_max.max(1) as usize,
            open: (0..scans).map(|_| VecDeque::new()).collect(),
            taken: Vec::new(),
            recorded: vec![0; scans as usize],
            known_bytes: 0,
            tasks: 0,
        }
    }

    /// More splits of a scan are known.
    pub(crate) fn add(&mut self, scan: usize, number_first: u32, sizes: &[u64]) {
        let Some(open) = self.open.get_mut(scan) else {
            return;
        };
        for (number, size) in (number_first..).zip(sizes) {
            // A split of unknown size still weighs something, so that such splits are spread too.
            let size = (*size).max(1);
            if number >= self.recorded[scan] {
                open.push_back((number, size));
            }
            self.known_bytes = self.known_bytes.saturating_add(size);
        }
    }

    /// How many splits belong to no task yet.
    pub(crate) fn open_count(&self) -> usize {
        self.open.iter().map(VecDeque::len).sum()
    }

    /// The splits of the next task: its scan and their numbers. None if there is not enough for a full one.
    ///
    /// With `flush`, because all splits are known or slots are idle, what is left becomes a task all the same,
    /// and the target is lowered so that there are as many tasks as wanted.
    pub(crate) fn next_task(&mut self, tasks_wanted: u64, flush: bool) -> Option<(usize, Vec<u32>)> {
        let target = if flush { self.lowered_target_bytes(tasks_wanted) } else { self.target.bytes() };
        let count_max = self.count_max;
        let full = |open: &VecDeque<(u32, u64)>| {
            let (count, bytes) = prefix(open, target, count_max);
            (count > 0 && (flush || count < open.len() || count == count_max || bytes >= target))
                .then_some(count)
        };
        let (scan, count) =
            self.open.iter().enumerate().find_map(|(scan, open)| Some((scan, full(open)?)))?;
        let splits = self.open[scan].drain(..count);
        let taken = &mut self.taken;
        let take = |(number, size)| {
            taken.push((scan, number, size));
            number
        };
        let numbers = splits.map(take).collect();
        self.target.advance();
        self.tasks += 1;
        Some((scan, numbers))
    }

    /// Everything that is open, divided evenly into at most so many tasks, and at least one: for each task, its splits
    /// by scan.
    pub(crate) fn divide(&mut self, tasks_max: u64) -> Vec<Vec<Vec<u32>>> {
        let of_scan = |(scan, open): (usize, &mut VecDeque<(u32, u64)>)| {
            open.drain(..).map(|(number, size)| (scan, number, size)).collect::<Vec<_>>()
        };
        let open: Vec<(usize, u32, u64)> = self.open.iter_mut().enumerate().flat_map(of_scan).collect();
        let total: u128 = open.iter().map(|(_, _, size)| u128::from(*size)).sum();
        let count = tasks_max.clamp(1, (open.len() as u64).max(1));
        let none = || self.recorded.iter().map(|_| Vec::new()).collect::<Vec<_>>();
        let mut tasks: Vec<Vec<Vec<u32>>> = (0..count).map(|_| none()).collect();
        let mut before: u128 = 0;
        for (scan, number, size) in open {
            // A split belongs to the task that its middle falls into.
            let middle = before * 2 + u128::from(size);
            let task = (middle * u128::from(count) / (total * 2).max(1)).min(u128::from(count - 1));
            tasks[task as usize][scan].push(number);
            before += u128::from(size);
        }
        tasks.retain(|splits| splits.iter().any(|of_scan| !of_scan.is_empty()));
        if tasks.is_empty() {
            tasks.push(none());
        }
        tasks
    }

    /// Everything that is open, by scan; for a stage with a single task.
    pub(crate) fn take_all(&mut self) -> Vec<Vec<u32>> {
        self.open.iter_mut().map(|open| open.drain(..).map(|(number, _)| number).collect()).collect()
    }

    /// The splits that a recorded task reads are nobody else's.
    pub(crate) fn note_recorded(&mut self, splits: &[Vec<u32>]) {
        for (recorded, numbers) in self.recorded.iter_mut().zip(splits) {
            let end = numbers.iter().map(|number| number.saturating_add(1)).max().unwrap_or(0);
            *recorded = (*recorded).max(end);
        }
    }

    /// All tasks that count are recorded. Splits of others that were formed are open again.
    pub(crate) fn settle(&mut self) {
        for (scan, number, size) in core::mem::take(&mut self.taken).into_iter().rev() {
            if number >= self.recorded[scan] {
                self.open[scan].push_front((number, size));
            }
        }
        for (open, recorded) in self.open.iter_mut().zip(&self.recorded) {
            while open.front().is_some_and(|(number, _)| number < recorded) {
                open.pop_front();
            }
        }
    }

    /// A task was recorded that this packer had not formed: the next ones are as large as if it had.
    pub(crate) fn note_foreign_task(&mut self) {
        self.target.advance();
        self.tasks += 1;
    }

    fn lowered_target_bytes(&self, tasks_wanted: u64) -> u64 {
        let growing = self.target.bytes();
        if self.tasks >= tasks_wanted {
            growing
        } else {
            growing.min((self.known_bytes / tasks_wanted).max(1))
        }
    }
}

/// How many of the first entries make one task, and their size. At least one, if there is one.
fn prefix(entries: &VecDeque<(u32, u64)>, target: u64, count_max: usize) -> (usize, u64) {
    let mut bytes = 0u64;
    for (count, (_, size)) in entries.iter().enumerate() {
        if count == count_max || (count > 0 && bytes.saturating_add(*size) > target) {
            return (count, bytes);
        }
        bytes = bytes.saturating_add(*size);
    }
    (entries.len(), bytes)
}

/// Merges neighbouring hash partitions up to a target size, lowered so that there are as many tasks as wanted.
pub(crate) fn hash_tasks(sizes: &[u64], target_bytes: u64, tasks_wanted: u64) -> Vec<Range<u32>> {
    let total = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
    let target = target_bytes.min(total / tasks_wanted.max(1)).max(1);
    let mut tasks = Vec::new();
    let (mut start, mut bytes) = (0u32, 0u64);
    for (partition, size) in (0u32..).zip(sizes) {
        if partition > start && bytes.saturating_add(*size) > target {
            tasks.push(start..partition);
            (start, bytes) = (partition, 0);
        }
        bytes = bytes.saturating_add(*size);
    }
    tasks.push(start..sizes.len() as u32);
    tasks
}

/// For each input, for each of its producers, the producer tasks that one task reads whole.
pub(crate) type Sources = Vec<Vec<Range<u32>>>;

/// Groups the outputs of producer tasks, in order. `sizes`: by input, by producer, by producer task.
pub(crate) fn source_tasks(options: &QueryOptions, sizes: &[Vec<&[u64]>], tasks_wanted: u64) -> Vec<Sources> {
    let nothing: Sources = sizes.iter().map(|producers| producers.iter().map(|_| 0..0).collect()).collect();
    let total = sizes
        .iter()
        .flatten()
        .flat_map(|outputs| outputs.iter())
        .fold(0u64, |sum, size| sum.saturating_add(*size));
    let lowered = (total / tasks_wanted.max(1)).max(1);
    let mut growing = GrowingTarget::new(options);
    let mut tasks: Vec<Sources> = Vec::new();
    let mut task = nothing.clone();
    let (mut count, mut bytes) = (0u32, 0u64);
    for (input, producers) in sizes.iter().enumerate() {
        for (producer, outputs) in producers.iter().enumerate() {
            for (output, size) in (0u32..).zip(outputs.iter()) {
                let lower = (tasks.len() as u64) < tasks_wanted;
                let target = if lower { growing.bytes().min(lowered) } else { growing.bytes() };
                let full = count > 0
                    && (bytes.saturating_add(*size) > target || count >= options.task_split_count_max.max(1));
                if full {
                    tasks.push(core::mem::replace(&mut task, nothing.clone()));
                    growing.advance();
                    (count, bytes) = (0, 0);
                }
                let range = &mut task[input][producer];
                let start = if range.start == range.end { output } else { range.start };
                *range = start..output + 1;
                count += 1;
                bytes = bytes.saturating_add(*size);
            }
        }
    }
    if count > 0 || tasks.is_empty() {
        tasks.push(task);
    }
    tasks
}

#[cfg(test)]
#[path = "assign_tests.rs"]
mod tests;
