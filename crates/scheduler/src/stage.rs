//! A stage: its tasks, and what they wrote.
//!
//! Tasks are formed first, and become tasks when the record of them is there: see [`crate::record`]. The sizes of
//! what was written only help to form the tasks of consumers. They are those of the first run of each task: a
//! lost output that is recomputed does not change them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use base::Epoch;

use crate::assign::{Sources, SplitPacker, hash_tasks, source_tasks, tasks_wanted};
use crate::command::TaskInput;
use crate::event::OutputSize;
use crate::memory::Estimator;
use crate::options::QueryOptions;
use crate::quantile::Quantile;
use crate::rivals::Solo;
use crate::shape::{Distribution, Edge, InputShape, StageShape};
use crate::slowness::Longest;
use crate::task::{Task, Written};

/// How many tasks and attempts of a stage are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StageCounts {
    /// Tasks with an attempt on a worker.
    pub running: u32,
    /// Attempts on workers: more than tasks where an attempt has a rival.
    pub running_attempts: u32,
    /// Tasks whose output is committed.
    pub committed: u32,
    /// Attempts that were placed.
    pub started_attempts: u32,
    /// Attempts that failed.
    pub failed_attempts: u32,
    /// Attempts whose worker vanished.
    pub lost_attempts: u32,
    /// Attempts that became useless: see [`crate::AttemptState::Aborted`].
    pub aborted_attempts: u32,
}

/// The enumeration of the splits of a scan.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Scan {
    /// How many splits are known.
    pub known: u32,
    /// Whether splits were asked for that have not arrived.
    pub requested: bool,
    /// Whether all splits are known.
    pub last: bool,
}

/// What is known of a task before the task is.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Ahead {
    /// None: that of all tasks of the stage.
    pub generation: Option<u32>,
    /// What it has written.
    pub written: Option<Written>,
}

#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Stage {
    pub shape: StageShape,
    /// Its place in the order of starts; None while it waits for its inputs.
    pub start_order: Option<u32>,
    /// Its inputs were complete once and are not any more.
    pub blocked: bool,
    /// Whether a second run of a task writes the same. False from the time on when one was seen that did not.
    pub determinate: bool,
    /// The generation of tasks that come to be: how often all of them became void together.
    pub base_generation: u32,
    /// What became of tasks that are not known yet, and were void alone.
    pub ahead: BTreeMap<u32, Ahead>,
    /// The newest life of the coordinator of which an attempt has committed.
    pub newest_winner: Epoch,
    /// The tasks that are formed and not recorded.
    pub formed: Vec<Arc<TaskInput>>,
    /// Whether those are the last.
    pub formed_last: bool,
    /// Whether the record of them was asked for.
    pub is_recording: bool,
    /// The number of the next record of tasks.
    pub record_number: u32,
    /// Whether the number of its tasks is final.
    pub sealed: bool,
    pub tasks: Vec<Task>,
    pub counts: StageCounts,
    /// How many of its tasks wait for a node.
    pub queued: u32,
    pub scans: Vec<Scan>,
    packer: SplitPacker,
    pub estimator: Estimator,
    /// How long its committed attempts took, in milliseconds.
    pub durations: Quantile,
    /// The longest of them.
    pub longest: Longest,
    /// The tasks with one attempt on a worker, in the order in which they may have rivals.
    pub solo: BTreeSet<Solo>,
    /// How many tasks have two attempts on workers.
    pub rivals: u32,
    /// What the committed tasks wrote, summed by output partition, in bytes.
    pub partition_bytes: Vec<u64>,
    pub rows: u64,
    /// What each task wrote, in bytes; only kept if a consumer reads whole outputs.
    task_bytes: Option<Vec<u64>>,
}

impl Stage {
    pub(crate) fn new(shape: StageShape, read_whole: bool, options: &QueryOptions) -> Self {
        Stage {
            start_order: None,
            blocked: false,
            determinate: shape.determinate,
            base_generation: 0,
            ahead: BTreeMap::new(),
            newest_winner: Epoch(0),
            formed: Vec::new(),
            formed_last: false,
            is_recording: false,
            record_number: 0,
            sealed: false,
            tasks: Vec::new(),
            counts: StageCounts::default(),
            queued: 0,
            scans: vec![Scan::default(); shape.scans as usize],
            packer: SplitPacker::new(options, shape.scans),
            estimator: Estimator::new(options),
            durations: Quantile::new(0.5, 1),
            longest: Longest::default(),
            solo: BTreeSet::new(),
            rivals: 0,
            partition_bytes: vec![0; shape.output_partitions as usize],
            rows: 0,
            task_bytes: read_whole.then(Vec::new),
            shape,
        }
    }

    /// Whether all output is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.sealed && self.counts.committed as usize == self.tasks.len()
    }

    /// Whether it has one task, which is not recorded.
    pub(crate) fn is_single(&self) -> bool {
        self.shape.distribution == Distribution::Single
    }

    /// The generation of a task, whether it is known or not.
    pub(crate) fn generation(&self, partition: u32) -> u32 {
        let known = self.tasks.get(partition as usize).map(|task| task.generation);
        let ahead = self.ahead.get(&partition).and_then(|ahead| ahead.generation);
        known.or(ahead).unwrap_or(self.base_generation)
    }

    /// Whether splits are still to come.
    pub(crate) fn is_enumerating(&self) -> bool {
        self.start_order.is_some() && !self.sealed
    }

    /// More splits are known. Whether that was news.
    pub(crate) fn add_splits(&mut self, scan: u32, sizes: &[u64], last: bool) -> bool {
        let Some(state) = self.scans.get_mut(scan as usize) else {
            return false;
        };
        if state.last || self.sealed {
            return false;
        }
        self.packer.add(scan as usize, state.known, sizes);
        state.known = state.known.saturating_add(sizes.len() as u32);
        state.requested = false;
        state.last = last;
        true
    }

    /// What a task wrote. `is_first`: nothing of it has counted before.
    pub(crate) fn add_output(&mut self, partition: u32, output: &OutputSize, is_first: bool) {
        self.rows = self.rows.saturating_add(output.rows);
        if !is_first {
            return;
        }
        let mut total = 0u64;
        for (sum, bytes) in self.partition_bytes.iter_mut().zip(output.partition_bytes.iter()) {
            *sum = sum.saturating_add(*bytes);
            total = total.saturating_add(*bytes);
        }
        if let Some(task_bytes) = &mut self.task_bytes {
            let at = partition as usize;
            if task_bytes.len() <= at {
                task_bytes.resize(at + 1, 0);
            }
            // Outputs without rows weigh nothing and are merged.
            task_bytes[at] = if output.rows == 0 { 0 } else { total };
        }
    }

    /// What each task wrote, in bytes.
    fn task_bytes(&self) -> &[u64] {
        self.task_bytes.as_deref().unwrap_or_default()
    }

    fn form(&mut self, input: TaskInput) {
        self.formed.push(Arc::new(input));
    }

    /// Takes on tasks that count from now on. They replace those that are formed.
    pub(crate) fn adopt_tasks(&mut self, tasks: Vec<Arc<TaskInput>>, sealed: bool) {
        for _ in self.formed.len()..tasks.len() {
            self.packer.note_foreign_task();
        }
        self.formed = Vec::new();
        self.formed_last = false;
        self.is_recording = false;
        for input in tasks {
            self.packer.note_recorded(&input.splits);
            let partition = self.tasks.len() as u32;
            let ahead = self.ahead.remove(&partition).unwrap_or_default();
            let mut task = Task::new(input, ahead.generation.unwrap_or(self.base_generation));
            task.written = ahead.written;
            self.tasks.push(task);
        }
        self.packer.settle();
        self.sealed |= sealed;
    }

    /// Changes a task, and keeps the counts of attempts on workers true.
    pub(crate) fn update<R>(&mut self, partition: u32, change: impl FnOnce(&mut Task) -> R) -> Option<R> {
        let task = self.tasks.get_mut(partition as usize)?;
        let before = (task.running().count() as u32, Solo::of(partition, task));
        let result = change(task);
        let after = (task.running().count() as u32, Solo::of(partition, task));
        if before != after {
            self.counts.running_attempts = self.counts.running_attempts + after.0 - before.0;
            self.counts.running = self.counts.running + after.0.min(1) - before.0.min(1);
            self.rivals = self.rivals + u32::from(after.0 > 1) - u32::from(before.0 > 1);
            if let Some(solo) = before.1 {
                self.solo.remove(&solo);
            }
            self.solo.extend(after.1);
        }
        Some(result)
    }

    /// Forms the tasks that can be formed from splits, and seals the stage with the last of them.
    fn form_from_splits(&mut self, options: &QueryOptions, slots: u64, idle: bool) {
        let last = self.scans.iter().all(|scan| scan.last);
        let wanted = tasks_wanted(options.task_to_slot_ratio_min, slots);
        while let Some((scan, numbers)) = self.packer.next_task(wanted, last || idle) {
            let mut splits = vec![Vec::new(); self.shape.scans as usize];
            splits[scan] = numbers;
            self.form(TaskInput { splits, ..TaskInput::default() });
        }
        if last {
            debug_assert_eq!(self.packer.open_count(), 0, "I-3: a split belongs to no task");
            if self.tasks.is_empty() && self.formed.is_empty() {
                let splits = vec![Vec::new(); self.shape.scans as usize];
                self.form(TaskInput { splits, ..TaskInput::default() });
            }
            self.formed_last = true;
        }
    }

    /// Divides all splits evenly into at most so many tasks, once the last of them is known.
    fn form_from_all_splits(&mut self, tasks_max: u64) {
        if !self.scans.iter().all(|scan| scan.last) {
            return;
        }
        for splits in self.packer.divide(tasks_max) {
            self.form(TaskInput { splits, ..TaskInput::default() });
        }
        self.formed_last = true;
    }

    /// Forms the task of a stage that has a single one, once all its splits are known.
    fn form_single(&mut self, producers: &[Vec<u32>], partitions: u32) {
        if !self.scans.iter().all(|scan| scan.last) {
            return;
        }
        let splits = self.packer.take_all();
        let sources = self.sources(|input| producers[input].iter().map(|tasks| 0..*tasks).collect());
        self.form(TaskInput { splits, partitions: 0..partitions, sources });
        self.formed_last = true;
    }

    /// Forms tasks over the hash partitions, from what the producers wrote to each.
    fn form_hash(&mut self, tasks: Vec<Range<u32>>) {
        for partitions in tasks {
            let sources = self.sources(|_| Vec::new());
            self.form(TaskInput { partitions, sources, ..TaskInput::default() });
        }
        self.formed_last = true;
    }

    /// Forms tasks over whole outputs of producer tasks.
    fn form_arbitrary(&mut self, tasks: Vec<Sources>) {
        for sources in tasks {
            self.form(TaskInput { sources, ..TaskInput::default() });
        }
        self.formed_last = true;
    }

    /// For each input, what is read of an arbitrary one.
    fn sources(&self, arbitrary: impl Fn(usize) -> Vec<Range<u32>>) -> Sources {
        let inputs = self.shape.inputs.iter().enumerate();
        inputs
            .map(|(at, input)| if input.edge == Edge::Arbitrary { arbitrary(at) } else { Vec::new() })
            .collect()
    }
}

/// Forms the tasks of a stage that runs at the same time as those it reads from, once all its splits and the tasks
/// of its producers are known. Nothing is known of what those will write.
pub(crate) fn form_pipelined_tasks(stages: &mut [Stage], at: usize, options: &QueryOptions, slots: u64) {
    let shape = &stages[at].shape;
    match shape.distribution {
        Distribution::Source => stages[at].form_from_all_splits(slots),
        Distribution::Hash { partitions } => {
            stages[at].form_hash(hash_tasks(&vec![1; partitions as usize], u64::MAX, slots))
        }
        Distribution::Arbitrary => {
            let tasks = producers(stages, at, |stage| vec![1; stage.tasks.len()]);
            let sizes: Vec<Vec<&[u64]>> =
                tasks.iter().map(|input| input.iter().map(Vec::as_slice).collect()).collect();
            let tasks = source_tasks(options, &sizes, slots);
            stages[at].form_arbitrary(tasks);
        }
        Distribution::Single => form_tasks(stages, at, options, slots, false),
    }
}

/// Forms the tasks of a stage whose inputs are complete, as far as its splits are known.
pub(crate) fn form_tasks(stages: &mut [Stage], at: usize, options: &QueryOptions, slots: u64, idle: bool) {
    let shape = &stages[at].shape;
    match shape.distribution {
        Distribution::Source => stages[at].form_from_splits(options, slots, idle),
        Distribution::Single => {
            let producers = producers(stages, at, |stage| stage.tasks.len() as u32);
            let partitions = partitions_read_whole(stages, at);
            stages[at].form_single(&producers, partitions);
        }
        Distribution::Hash { partitions } => {
            let mut sizes = vec![0u64; partitions as usize];
            for input in shape.inputs.iter().filter(|input| input.edge == Edge::Hash) {
                for producer in &input.producers {
                    for (sum, bytes) in sizes.iter_mut().zip(&stages[producer.0 as usize].partition_bytes) {
                        *sum = sum.saturating_add(*bytes);
                    }
                }
            }
            let wanted = tasks_wanted(options.task_to_slot_ratio_min, slots);
            stages[at].form_hash(hash_tasks(&sizes, options.hash_task_target_bytes, wanted));
        }
        Distribution::Arbitrary => {
            let whole = |input: &InputShape| -> Vec<&[u64]> {
                let producers = input.producers.iter().filter(|_| input.edge == Edge::Arbitrary);
                producers.map(|id| stages[id.0 as usize].task_bytes()).collect()
            };
            let sizes: Vec<Vec<&[u64]>> = shape.inputs.iter().map(whole).collect();
            let wanted = tasks_wanted(options.task_to_slot_ratio_min, slots);
            let tasks = source_tasks(options, &sizes, wanted);
            stages[at].form_arbitrary(tasks);
        }
    }
}

fn producers<T>(stages: &[Stage], at: usize, what: impl Fn(&Stage) -> T) -> Vec<Vec<T>> {
    let inputs = stages[at].shape.inputs.iter();
    inputs.map(|input| input.producers.iter().map(|id| what(&stages[id.0 as usize])).collect()).collect()
}

/// How many hash partitions the single task of a stage reads.
fn partitions_read_whole(stages: &[Stage], at: usize) -> u32 {
    let hash = stages[at].shape.inputs.iter().filter(|input| input.edge == Edge::Hash);
    let producers = hash.flat_map(|input| &input.producers);
    producers.map(|id| stages[id.0 as usize].shape.output_partitions).max().unwrap_or(0)
}
