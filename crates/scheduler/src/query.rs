//! A query: its stages, and which of its tasks wait for a node.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use base::{AttemptId, Error, ErrorCode, Incarnation, Millis, NodeId, QueryId, Result, StageId};

use crate::command::Command;
use crate::options::QueryOptions;
use crate::retry::NodeTrouble;
use crate::shape::{Edge, QueryShape};
use crate::stage::{Stage, form_tasks};
use crate::task::{Attempt, AttemptState, Task, TaskState};

/// A waiting task. The order is the order in which tasks are placed: by start of the stage, then by partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReadyKey {
    start_order: u32,
    pub stage: StageId,
    pub partition: u32,
}

#[derive(Debug)]
pub(crate) struct Query {
    pub id: QueryId,
    pub options: QueryOptions,
    pub stages: Vec<Stage>,
    /// How it ended; None while it runs.
    pub outcome: Option<Result<()>>,
    /// Nobody wants its result any more.
    pub closed: bool,
    pub submitted_at: Millis,
    /// When it started; None while it waits for workers.
    pub admitted_at: Option<Millis>,
    /// The tasks that wait for a node.
    pub ready: BTreeSet<ReadyKey>,
    /// The tasks that wait for their backoff to pass.
    pub delayed: BTreeSet<(Millis, ReadyKey)>,
    /// Its place in the rotation of queries: grows with each attempt that is placed.
    pub served: u64,
    /// How many tasks have an attempt on a worker.
    pub running: u32,
    pub failed_attempts: u32,
    pub node_trouble: BTreeMap<NodeId, NodeTrouble>,
    /// The lives of workers that attempts were placed on.
    pub used: BTreeMap<NodeId, Incarnation>,
    /// How many workers have yet to confirm that they hold nothing of it.
    pub holders: u32,
    /// When it is to be looked at again, if nothing else happens.
    pub wakeup: Option<Millis>,
    /// A stage was completed, or none has been started yet.
    pub stages_changed: bool,
    started: u32,
}

impl Query {
    pub(crate) fn new(now: Millis, id: QueryId, shape: QueryShape, options: QueryOptions) -> Self {
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
        Query {
            id,
            options,
            stages,
            outcome: None,
            closed: false,
            submitted_at: now,
            admitted_at: None,
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            served: 0,
            running: 0,
            failed_attempts: 0,
            node_trouble: BTreeMap::new(),
            used: BTreeMap::new(),
            holders: 0,
            wakeup: None,
            stages_changed: true,
            started: 0,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.outcome.is_some()
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
    pub(crate) fn running_attempts(&self) -> impl Iterator<Item = (StageId, u32, &Attempt)> {
        (0u32..).zip(&self.stages).flat_map(|(stage, state)| {
            let tasks = (0u32..).zip(&state.tasks);
            tasks.filter_map(move |(partition, task)| Some((StageId(stage), partition, task.running()?)))
        })
    }

    /// Starts every stage whose inputs are complete.
    pub(crate) fn start_stages(&mut self) {
        if !core::mem::take(&mut self.stages_changed) {
            return;
        }
        for at in (0..self.stages.len()).rev() {
            let stage = &self.stages[at];
            let mut producers = stage.shape.inputs.iter().flat_map(|input| &input.producers);
            if stage.start_order.is_none() && producers.all(|id| self.stages[id.0 as usize].is_complete()) {
                self.stages[at].start_order = Some(self.started);
                self.started += 1;
            }
        }
    }

    /// Forms the tasks that can be formed, and says which stages are sealed by that.
    ///
    /// `idle`: slots are free and no task waits for them.
    pub(crate) fn form_tasks(&mut self, slots: u64, idle: bool, commands: &mut Vec<Command>) {
        for at in (0..self.stages.len()).rev() {
            let Some(start_order) = self.stages[at].start_order else {
                continue;
            };
            if self.stages[at].sealed {
                continue;
            }
            let formed = self.stages[at].tasks.len();
            let idle = idle && self.ready.is_empty() && self.delayed.is_empty();
            form_tasks(&mut self.stages, at, &self.options, slots, idle);
            let (stage, total) = (StageId(at as u32), self.stages[at].tasks.len());
            for partition in formed..total {
                self.ready.insert(ReadyKey { start_order, stage, partition: partition as u32 });
            }
            self.stages[at].queued += (total - formed) as u32;
            if self.stages[at].sealed {
                commands.push(Command::StageSealed { query: self.id, stage, tasks: total as u32 });
                // All its tasks may have ended before it was known that there are no more.
                self.stages_changed |= self.stages[at].is_complete();
            }
        }
    }

    /// Asks for more splits, unless many tasks wait already.
    pub(crate) fn request_splits(&mut self, count_max: u32, commands: &mut Vec<Command>) {
        let waiting = self.ready.len() + self.delayed.len();
        if waiting > self.options.tasks_waiting_for_execution_max as usize {
            return;
        }
        for (at, stage) in (0u32..).zip(&mut self.stages).filter(|(_, stage)| stage.is_enumerating()) {
            for (scan, state) in
                (0u32..).zip(&mut stage.scans).filter(|(_, scan)| !scan.last && !scan.requested)
            {
                state.requested = true;
                commands.push(Command::RequestSplits { query: self.id, stage: StageId(at), scan, count_max });
            }
        }
    }

    /// Makes the tasks ready whose backoff has passed.
    pub(crate) fn end_delays(&mut self, now: Millis) {
        while let Some((until, key)) = self.delayed.first().copied() {
            if until > now {
                break;
            }
            self.delayed.pop_first();
            self.ready.insert(key);
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
            self.ready.insert(key);
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
            TaskState::Queued => self.ready.remove(&key),
            TaskState::Delayed { until } => self.delayed.remove(&(until, key)),
            _ => false,
        };
        self.stages[stage.0 as usize].queued -= u32::from(waited);
    }

    fn ready_key(&self, stage: StageId, partition: u32) -> Option<ReadyKey> {
        Some(ReadyKey { start_order: self.stage(stage)?.start_order?, stage, partition })
    }

    /// An attempt is not on its worker any more. Whether it was, as far as the records go.
    pub(crate) fn end_attempt(
        &mut self,
        now: Millis,
        id: &AttemptId,
        state: AttemptState,
        peak_bytes: u64,
    ) -> bool {
        let Some(stage) = self.stages.get_mut(id.task.stage.0 as usize) else {
            return false;
        };
        let Some(task) = stage.tasks.get_mut(id.task.partition as usize) else {
            return false;
        };
        let Some(attempt) = task.attempt_mut(id) else {
            return false;
        };
        if attempt.state != AttemptState::Running {
            return false;
        }
        attempt.state = state;
        attempt.ended_at = Some(now);
        attempt.peak_memory_bytes = peak_bytes;
        let counts = &mut stage.counts;
        match state {
            AttemptState::Running | AttemptState::Committed => {}
            AttemptState::Aborted => counts.aborted_attempts += 1,
            AttemptState::Failed => counts.failed_attempts += 1,
            AttemptState::Lost => counts.lost_attempts += 1,
        }
        counts.running -= 1;
        self.running -= 1;
        true
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
        self.node_trouble.clear();
        for stage in &mut self.stages {
            stage.queued = 0;
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
