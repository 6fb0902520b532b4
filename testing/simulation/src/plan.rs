//! Queries whose answer is known: their rows are numbers that only travel.

use std::collections::{BTreeMap, BTreeSet};

use base::{Millis, StageId};
use scheduler::{Distribution, Edge, InputShape, QueryOptions, QueryShape, RetryPolicy, StageShape};

use crate::fault::{Fault, Faults};
use crate::random::Random;

/// Memory comes in such parts, as the core tells peaks apart.
pub const MEMORY_GRAIN: u64 = 1 << 20;

pub struct Plan {
    pub shape: QueryShape,
    pub options: QueryOptions,
    /// By stage and scan, the rows of each split.
    pub splits: BTreeMap<(StageId, u32), Vec<Vec<u64>>>,
    /// The rows of stages that read nothing.
    pub values: BTreeMap<StageId, Vec<u64>>,
    /// The memory an attempt of each stage really needs, in bytes.
    pub memory_needed: Vec<u64>,
    /// The stages that are called determinate and send their rows elsewhere each time.
    pub liars: BTreeSet<StageId>,
    /// The first task of this stage kills whoever runs it.
    pub poisoned: Option<StageId>,
}

impl Plan {
    /// Its stages run at the same time and stream their rows to each other.
    pub fn is_region(&self) -> bool {
        self.options.retry_policy.is_pipelined()
    }

    /// It has no records at first.
    pub fn is_late(&self) -> bool {
        !self.is_region() && !self.options.is_durable
    }

    /// The client reads the root's output while it is written.
    pub fn is_streamed(&self) -> bool {
        self.options.retry_policy == RetryPolicy::None
    }

    /// A query. If not all are recorded from the beginning, it may be a region or get its records late.
    pub fn random(random: &mut Random, faults: &mut Faults, all_recorded: bool) -> Plan {
        let policies = [RetryPolicy::Task, RetryPolicy::Task, RetryPolicy::Query, RetryPolicy::None];
        let retry_policy = if all_recorded { RetryPolicy::Task } else { policies[random.below(4) as usize] };
        let is_durable = all_recorded || retry_policy == RetryPolicy::Task && random.below(4) == 0;
        let options = QueryOptions { retry_policy, is_durable, ..options(random) };
        let rivals_enabled = options.rivals_enabled && !retry_policy.is_pipelined();
        // A quarter is the plainest shuffle there is: the shape in which mixtures show best.
        let is_shuffle = random.below(4) == 0;
        // A short query has a short answer.
        let is_small = !is_durable && retry_policy == RetryPolicy::Task && random.below(3) > 0;
        let count = match (is_shuffle, is_small) {
            (true, _) => 2,
            (_, true) => random.range(1, 2) as u32,
            _ => random.range(1, 6) as u32,
        };
        let partitions = if is_shuffle { 8 } else { random.range(1, 8) as u32 };
        // Every stage but the root feeds a stage with a lower id, some feed two.
        let consumers: Vec<[u32; 2]> = (0..count)
            .map(|at| {
                let first = random.below(u64::from(at)) as u32;
                [first, if random.below(4) == 0 { random.below(u64::from(at)) as u32 } else { first }]
            })
            .collect();
        let mut plan = Plan {
            shape: QueryShape { stages: Vec::new() },
            options: QueryOptions { rivals_enabled, ..options },
            splits: BTreeMap::new(),
            values: BTreeMap::new(),
            memory_needed: Vec::new(),
            liars: BTreeSet::new(),
            poisoned: (faults.is_on(Fault::Crash) && random.below(16) == 0)
                .then(|| StageId(random.below(u64::from(count)) as u32)),
        };
        for at in 0..count {
            let feeds = |other: &u32| consumers[*other as usize].contains(&at);
            let producers: Vec<StageId> = (at + 1..count).filter(feeds).map(StageId).collect();
            let mut stage = random_stage(random, producers.clone(), partitions);
            if is_shuffle {
                let (edge, determinate) = (Edge::Hash, stage.determinate);
                let inputs = if at == 0 { vec![InputShape { producers, edge }] } else { Vec::new() };
                let (distribution, scans) = match at {
                    0 => (Distribution::Hash { partitions }, 0),
                    _ => (Distribution::Source, 1),
                };
                stage = StageShape { distribution, inputs, scans, output_partitions: 1, determinate };
                plan.options.hash_task_target_bytes = 1;
            }
            if stage.determinate && faults.strikes(random, Fault::Liar) {
                plan.liars.insert(StageId(at));
            }
            plan.shape.stages.push(stage);
            plan.memory_needed.push(random.range(1, 40) * MEMORY_GRAIN);
        }
        for at in 0..count {
            let by_hash =
                |input: &InputShape| input.edge == Edge::Hash && input.producers.contains(&StageId(at));
            let is_read_by_hash = plan.shape.stages.iter().flat_map(|stage| &stage.inputs).any(by_hash);
            let wanted = if is_read_by_hash { partitions } else { random.range(1, 2) as u32 };
            plan.shape.stages[at as usize].output_partitions = wanted;
            plan.add_rows(random, StageId(at), is_small);
        }
        plan
    }

    fn add_rows(&mut self, random: &mut Random, id: StageId, is_small: bool) {
        let (splits_max, rows_max) = if is_small { (4, 3) } else { (12, 6) };
        let stage = &self.shape.stages[id.0 as usize];
        for scan in 0..stage.scans {
            let splits = (0..random.below(splits_max)).map(|split| {
                let first = (u64::from(id.0) << 40) | (u64::from(scan) << 32) | (split << 16);
                (0..random.below(rows_max)).map(|row| first | row).collect()
            });
            self.splits.insert((id, scan), splits.collect());
        }
        if stage.scans == 0 && stage.inputs.is_empty() {
            self.values.insert(
                id,
                (0..random.below(5)).map(|row| (u64::from(id.0) << 40) | (1 << 39) | row).collect(),
            );
        }
    }

    /// Whether a second run of a task of a stage may send its rows elsewhere.
    pub fn is_restless(&self, stage: StageId) -> bool {
        !self.shape.stages[stage.0 as usize].determinate || self.liars.contains(&stage)
    }

    /// The rows that a stage writes, sorted. Broadcast rows are only compared with what they must be.
    pub fn expected(&self, id: StageId) -> Vec<u64> {
        let stage = &self.shape.stages[id.0 as usize];
        let mut rows: Vec<u64> = self.values.get(&id).cloned().unwrap_or_default();
        for scan in 0..stage.scans {
            rows.extend(self.splits[&(id, scan)].iter().flatten());
        }
        for input in stage.inputs.iter().filter(|input| input.edge != Edge::Broadcast) {
            for producer in &input.producers {
                rows.extend(self.expected(*producer));
            }
        }
        rows.sort_unstable();
        rows
    }
}

fn options(random: &mut Random) -> QueryOptions {
    QueryOptions {
        query_retry_attempts: random.range(1, 4) as u32,
        task_retry_attempts_per_task: random.range(2, 6) as u32,
        failed_tasks_max: (random.below(8) == 0).then(|| random.range(1, 6) as u32),
        retry_initial_delay: Millis(random.range(50, 2_000)),
        retry_max_delay: Millis(4_000),
        task_memory_bytes: (random.below(2) == 0).then(|| random.range(1, 60) * MEMORY_GRAIN),
        task_split_count_max: random.range(1, 8) as u32,
        arbitrary_task_target_bytes_min: random.range(1, 200),
        arbitrary_task_target_growth_period: random.range(1, 8) as u32,
        hash_task_target_bytes: [1, random.range(1, 200)][random.below(2) as usize],
        tasks_waiting_for_execution_max: random.range(0, 10) as u32,
        tasks_waiting_for_node_max: random.range(1, 50) as u32,
        generations_max: [2, 4, 16][random.below(3) as usize],
        rivals_enabled: random.below(4) > 0,
        rival_slowness_min: [0.0, 1.5, 2.0][random.below(3) as usize],
        rival_age_min: Millis([0, 300, 2_000][random.below(3) as usize]),
        rival_share_max: [0.1, 1.0][random.below(2) as usize],
        ..QueryOptions::default()
    }
}

fn random_stage(random: &mut Random, producers: Vec<StageId>, partitions: u32) -> StageShape {
    let kind = if producers.is_empty() { random.below(5) } else { random.below(8) };
    let (distribution, edge, scans) = match kind {
        0 => (Distribution::Single, Edge::Single, random.below(2) as u32),
        1..=4 if producers.is_empty() => (Distribution::Source, Edge::Broadcast, random.range(1, 2) as u32),
        1 => (Distribution::Source, Edge::Broadcast, random.range(1, 2) as u32),
        2 => (Distribution::Single, [Edge::Hash, Edge::Arbitrary][random.below(2) as usize], 0),
        3..=5 => (Distribution::Hash { partitions }, Edge::Hash, 0),
        _ => (Distribution::Arbitrary, Edge::Arbitrary, 0),
    };
    let mut inputs: Vec<InputShape> = Vec::new();
    for producer in producers {
        let edge = if random.below(4) == 0 { Edge::Broadcast } else { edge };
        match inputs.last_mut() {
            Some(last) if last.edge == edge && random.below(2) == 0 => last.producers.push(producer),
            _ => inputs.push(InputShape { producers: vec![producer], edge }),
        }
    }
    StageShape { distribution, inputs, scans, output_partitions: 1, determinate: random.below(2) > 0 }
}
