//! A query: its stages, and which of its tasks wait for a node.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use base::{
    AttemptId, Error, ErrorCode, Incarnation, Millis, NodeId, OutputId, QueryId, Result, StageId, TaskId,
};

use crate::core::attempt_id;
use crate::event::OutputSize;
use crate::options::QueryOptions;
use crate::record::RecordKey;
use crate::region::Region;
use crate::retry::NodeTrouble;
use crate::rollback::Losses;
use crate::shape::{Edge, QueryShape};
use crate::stage::Stage;
use crate::task::{Attempt, AttemptState, Task, TaskState};

/// A waiting task. The order is the order in which tasks are placed: by start of the stage, then by partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct ReadyKey {
    pub start_order: u32,
    pub stage: StageId,
    pub partition: u32,
}

#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Query {
    pub id: QueryId,
    pub options: QueryOptions,
    pub stages: Vec<Stage>,
    /// How it ended; None while it runs.
    pub outcome: Option<Result<()>>,
    /// How it is to end, as soon as that is recorded. Nothing of it runs any more.
    pub ending: Option<Result<()>>,
    /// It is recorded that it ended well, although not all output is known here.
    pub is_done: bool,
    /// Nobody wants its result any more.
    pub closed: bool,
    pub submitted_at: Millis,
    /// When it started; None while it waits for workers.
    pub admitted_at: Option<Millis>,
    /// The tasks that wait for a node.
    pub ready: BTreeSet<ReadyKey>,
    /// The tasks that wait for their backoff to pass.
    pub delayed: BTreeSet<(Millis, ReadyKey)>,
    /// The tasks that wait for their inputs to be complete again, or to start together with all others.
    pub parked: BTreeSet<ReadyKey>,
    /// All its stages run together, if they are joined by pipelined edges.
    pub region: Option<Region>,
    /// The outputs that cannot be read, and what is done about them.
    pub losses: Losses,
    /// The records that were asked for of what was decided before there were records, and are not known to be there.
    pub late_records: BTreeSet<RecordKey>,
    /// The root tasks whose rows the client has begun to get.
    pub result_read: BTreeSet<u32>,
    /// It is of a former life of the coordinator.
    pub is_recovered: bool,
    /// Until when its tasks are not placed, because workers may run them already.
    pub takeover_until: Option<Millis>,
    /// The commits that were found when it was recovered, of tasks or generations that have not come to be yet.
    pub found: BTreeMap<OutputId, (AttemptId, OutputSize)>,
    /// Its place in the rotation of queries: grows with each attempt that is placed.
    pub served: u64,
    pub failed_attempts: u32,
    pub node_trouble: BTreeMap<NodeId, NodeTrouble>,
    /// The lives of workers that attempts were placed on.
    pub used: BTreeMap<NodeId, Incarnation>,
    /// How many workers have yet to confirm that they hold nothing of it.
    pub holders: u32,
    /// When it is to be looked at again, if nothing else happens.
    pub wakeup: Option<Millis>,
    /// When one of its attempts may be slow enough for a rival.
    pub rival_at: Option<Millis>,
    /// Since when tasks of it wait although slow workers have room, and none was placed on another one.
    pub kept_from_slow_since: Option<Millis>,
    /// A stage was completed, or is not complete any more, or none has been started yet.
    pub stages_changed: bool,
    /// How many stages have started.
    pub started: u32,
}

impl Query {
    pub(crate) fn new(now: Millis, id: QueryId, shape: QueryShape, mut options: QueryOptions) -> Self {
        let is_pipelined = options.retry_policy.is_pipelined();
        if is_pipelined {
            // Nothing of it outlives the coordinator, and an attempt cannot be replaced alone.
            options.is_durable = false;
            options.rivals_enabled = false;
        }
        let read_whole: BTreeSet<StageId> = shape
            .stages
            .iter()
            .flat_map(|stage| &stage.inputs)
            .filter(|input| input.edge == Edge::Arbitrary)
            .flat_map(|input| input.producers.iter().copied())
            .collect();
        let stages = (0u32..)
            .zip(shape.stages)
            .map(|(at, stage)| Stage::new(stage, read_whole.contains(&StageId(at)), &options))
            .collect();
        let region = is_pipelined.then(|| Region::new(options.retry_policy));
        Query {
            id,
            options,
            stages,
            outcome: None,
            ending: None,
            is_done: false,
            closed: false,
            submitted_at: now,
            admitted_at: None,
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            parked: BTreeSet::new(),
            region,
            losses: Losses::default(),
            late_records: BTreeSet::new(),
            result_read: BTreeSet::new(),
            is_recovered: false,
            takeover_until: None,
            found: BTreeMap::new(),
            served: 0,
            failed_attempts: 0,
            node_trouble: BTreeMap::new(),
            used: BTreeMap::new(),
            holders: 0,
            wakeup: None,
            rival_at: None,
            kept_from_slow_since: None,
            stages_changed: true,
            started: 0,
        }
    }

    /// Whether it has ended, or is about to: nothing of it is to run any more.
    pub(crate) fn is_over(&self) -> bool {
        self.outcome.is_some() || self.ending.is_some()
    }

    /// Whether tasks of it wait that may be placed now.
    pub(crate) fn is_placeable(&self) -> bool {
        !self.ready.is_empty()
            && !self.is_over()
            && !self.losses.is_recording
            && self.takeover_until.is_none()
    }

    /// How many tasks wait, for whatever reason.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len() + self.delayed.len() + self.parked.len()
    }

    /// How many tasks have an attempt on a worker.
    pub(crate) fn running(&self) -> u32 {
        self.stages.iter().map(|stage| stage.counts.running).sum()
    }

    pub(crate) fn stage(&self, id: StageId) -> Option<&Stage> {
        self.stages.get(id.0 as usize)
    }

    pub(crate) fn stage_mut(&mut self, id: StageId) -> Option<&mut Stage> {
        self.stages.get_mut(id.0 as usize)
    }

    pub(crate) fn task_mut(&mut self, stage: StageId, partition: u32) -> Option<&mut Task> {
        self.stage_mut(stage)?.tasks.get_mut(partition as usize)
    }

    /// Every attempt that is on a worker.
    pub(crate) fn running_attempts(&self) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        (0u32..).zip(&self.stages).flat_map(move |(at, stage)| {
            let count = if stage.counts.running > 0 { stage.tasks.len() } else { 0 };
            let tasks = (0u32..).zip(&stage.tasks[..count]);
            tasks.flat_map(move |(partition, task)| {
                let id = TaskId { query: self.id, stage: StageId(at), partition };
                task.running().map(move |attempt| (attempt_id(id, attempt), attempt))
            })
        })
    }

    /// Makes the tasks ready whose backoff has passed.
    pub(crate) fn end_delays(&mut self, now: Millis) {
        while let Some((until, key)) = self.delayed.first().copied() {
            if until > now {
                break;
            }
            self.delayed.pop_first();
            self.insert_ready(key);
            if let Some(task) = self.task_mut(key.stage, key.partition) {
                task.state = TaskState::Queued;
            }
        }
    }

    /// Lets a task wait for a node, from a point in time on.
    pub(crate) fn enqueue(&mut self, now: Millis, stage: StageId, partition: u32, not_before: Millis) {
        let Some(key) = self.ready_key(stage, partition) else {
            return;
        };
        let state = if not_before > now {
            self.delayed.insert((not_before, key));
            TaskState::Delayed { until: not_before }
        } else {
            self.insert_ready(key);
            TaskState::Queued
        };
        self.stages[stage.0 as usize].queued += 1;
        if let Some(task) = self.task_mut(stage, partition) {
            task.state = state;
        }
    }

    /// A task does not wait any more.
    pub(crate) fn dequeue(&mut self, stage: StageId, partition: u32) {
        let Some(key) = self.ready_key(stage, partition) else {
            return;
        };
        let Some(task) = self.task_mut(stage, partition) else {
            return;
        };
        let waited = match task.state {
            TaskState::Queued => self.ready.remove(&key) || self.parked.remove(&key),
            TaskState::Delayed { until } => self.delayed.remove(&(until, key)),
            _ => false,
        };
        self.stages[stage.0 as usize].queued -= u32::from(waited);
    }

    fn insert_ready(&mut self, key: ReadyKey) {
        let blocked = self.stage(key.stage).is_some_and(|stage| stage.blocked);
        if blocked || self.region.is_some() {
            self.parked.insert(key)
        } else {
            self.ready.insert(key)
        };
    }

    fn ready_key(&self, stage: StageId, partition: u32) -> Option<ReadyKey> {
        Some(ReadyKey { start_order: self.stage(stage)?.start_order?, stage, partition })
    }

    /// An attempt is not on its worker any more. How many others of its task still are; None if it was not either, as
    /// far as is known.
    pub(crate) fn end_attempt(
        &mut self,
        now: Millis,
        id: &AttemptId,
        state: AttemptState,
        peak_bytes: u64,
    ) -> Option<usize> {
        let stage = self.stage_mut(id.task.stage)?;
        let end = |task: &mut Task| {
            let attempt = task.attempt_mut(id).filter(|attempt| attempt.state == AttemptState::Running)?;
            attempt.state = state;
            attempt.ended_at = Some(now);
            attempt.peak_memory_bytes = peak_bytes;
            Some((attempt.started_at, task.running().count()))
        };
        let (started_at, others) = stage.update(id.task.partition, end)??;
        match state {
            AttemptState::Running => {}
            AttemptState::Committed => stage.durations.add(now.since(started_at).0),
            AttemptState::Aborted => stage.counts.aborted_attempts += 1,
            AttemptState::Failed => stage.counts.failed_attempts += 1,
            AttemptState::Lost => stage.counts.lost_attempts += 1,
        }
        Some(others)
    }

    /// The root's output is complete.
    pub(crate) fn is_result_complete(&self) -> bool {
        self.stages.first().is_some_and(Stage::is_complete)
    }

    /// Why a failure that is one too many for the whole query ends it.
    pub(crate) fn over_budget(&self, last: &Error) -> Option<Error> {
        let max = self.options.failed_tasks_max.filter(|max| self.failed_attempts > *max)?;
        let failed = self.failed_attempts;
        let message = format!(
            "{} ({failed} task attempts of the query have failed; max-failed-tasks is {max})",
            last.message()
        );
        let mut error = Error::new(last.code(), message);
        if let Some(location) = last.location() {
            error = error.at(location);
        }
        if let Some(cause) = last.cause() {
            error = error.caused_by(&cause.message);
        }
        Some(error)
    }

    /// The least lease that a waiting task of the query can have.
    pub(crate) fn lease_bytes_min(&self, share_bytes: u64) -> u64 {
        let default = self.options.task_memory_bytes.unwrap_or(share_bytes);
        let waiting = self.stages.iter().filter(|stage| stage.queued > 0);
        waiting.map(|stage| stage.estimator.initial_bytes(default)).min().unwrap_or(0)
    }

    /// Drops what only a running query needs.
    pub(crate) fn abandon_tasks(&mut self) {
        self.ready.clear();
        self.delayed.clear();
        self.parked.clear();
        self.found.clear();
        self.losses.forget();
        self.node_trouble.clear();
        for stage in &mut self.stages {
            stage.queued = 0;
            stage.formed = Vec::new();
            for task in &mut stage.tasks {
                if task.state != TaskState::Committed {
                    task.state = TaskState::Abandoned;
                }
                task.trouble = None;
            }
        }
    }
}

/// Why a query was not started.
pub(crate) fn too_few_workers(waited: Millis, required: u32, active: u32) -> Error {
    Error::new(
        ErrorCode::GENERIC_INSUFFICIENT_RESOURCES,
        format!(
            "Insufficient active worker nodes. Waited {} for at least {required} workers, but only {active} workers are active",
            crate::text::succinct_millis(waited)
        ),
    )
}
