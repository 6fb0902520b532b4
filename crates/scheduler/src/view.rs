//! What the core knows, to be looked at: for EXPLAIN ANALYZE, system tables and progress.

use base::{Error, Incarnation, Millis, NodeId, QueryId, StageId};

use crate::command::TaskInput;
use crate::core::Core;
use crate::event::{Capacity, NodeState};
use crate::query::Query;
use crate::stage::{Stage, StageCounts};
use crate::task::{Attempt, Task, TaskState};
use crate::workers::Worker;

/// A query as the core sees it.
#[derive(Clone, Copy, Debug)]
pub struct QueryView<'a>(&'a Query);

/// How a stage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageState {
    /// It waits for its inputs.
    Waiting,
    /// Its tasks are formed and run.
    Running,
    /// All its output is committed.
    Finished,
    /// The query ended before it did.
    Abandoned,
}

/// A stage as the core sees it.
#[derive(Clone, Copy, Debug)]
pub struct StageView<'a> {
    /// The stage.
    pub id: StageId,
    /// How it stands.
    pub state: StageState,
    /// Its tasks as far as they are formed.
    pub tasks_total: u32,
    /// Whether there will be no more tasks.
    pub sealed: bool,
    /// Tasks that wait for a node, or for a backoff to pass.
    pub tasks_queued: u32,
    /// Whether its inputs were complete and are being recomputed.
    pub is_blocked: bool,
    /// Tasks and attempts by state.
    pub counts: StageCounts,
    /// Rows written by its committed tasks.
    pub output_rows: u64,
    /// Bytes written by its committed tasks, before compression.
    pub output_bytes: u64,
    stage: &'a Stage,
}

/// A task as the core sees it.
#[derive(Clone, Copy, Debug)]
pub struct TaskView<'a> {
    /// Its number within the stage.
    pub partition: u32,
    /// How it stands.
    pub state: TaskState,
    /// The version of its output.
    pub generation: u32,
    /// What it reads.
    pub input: &'a TaskInput,
    /// Its attempts in the order they were placed, the ended ones too.
    pub attempts: &'a [Attempt],
}

/// A worker as the core sees it.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    /// The worker.
    pub node: &'a NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Whether it takes new attempts; None if it is lost.
    pub state: Option<NodeState>,
    /// What it can carry.
    pub capacity: Capacity,
    /// Memory promised to attempts, in bytes.
    pub leased_bytes: u64,
    /// Slots in use.
    pub slots_used: u32,
    /// When it last reported.
    pub seen_at: Millis,
    /// How many times as long attempts take on it as elsewhere, as far as is known.
    pub slowness: f64,
    /// Whether it is so slow that it is used only where no other has room.
    pub is_slow: bool,
}

impl Core {
    /// A query, until it is released.
    pub fn query(&self, id: &QueryId) -> Option<QueryView<'_>> {
        self.queries.get(id).map(QueryView)
    }

    /// The queries that are not released.
    pub fn queries(&self) -> impl Iterator<Item = QueryView<'_>> {
        self.queries.values().map(QueryView)
    }

    /// A worker, also one that was lost a short while ago.
    pub fn node(&self, id: &NodeId) -> Option<NodeView<'_>> {
        let (node, worker) = self.workers.get_key_value(id)?;
        Some(self.node_view(node, worker))
    }

    /// The workers, and those that were lost a short while ago.
    pub fn nodes(&self) -> impl Iterator<Item = NodeView<'_>> {
        self.workers.iter().map(|(node, worker)| self.node_view(node, worker))
    }

    fn node_view<'a>(&self, node: &'a NodeId, worker: &Worker) -> NodeView<'a> {
        NodeView {
            node,
            incarnation: worker.incarnation,
            state: worker.lost_at.is_none().then_some(worker.state),
            capacity: worker.capacity,
            leased_bytes: worker.leased_bytes,
            slots_used: worker.leases.len() as u32,
            seen_at: worker.seen_at,
            slowness: worker.slowness.value(self.now),
            is_slow: worker.is_slow(),
        }
    }

    /// How many tasks of all queries wait for a node, for a backoff to pass, or for inputs that were lost.
    pub fn queued_tasks(&self) -> usize {
        self.queries.values().map(Query::waiting).sum()
    }

    /// How many workers of the largest size that is there would run everything that waits or runs now, at once.
    ///
    /// At least one if anything waits. Tasks that wait for their inputs do not count.
    pub fn wanted_workers(&self) -> u32 {
        let (largest_bytes, slots) = self.workers.largest();
        let (mut count, mut bytes) = (0u64, 0u64);
        for (_, worker) in self.workers.iter() {
            count += worker.leases.len() as u64;
            bytes = bytes.saturating_add(worker.leased_bytes);
        }
        for query in self.queries.values().filter(|query| !query.is_over()) {
            for stage in query.stages.iter().filter(|stage| !stage.blocked) {
                let default = query.options.task_memory_bytes.unwrap_or_else(|| self.workers.share_bytes());
                let lease = stage.estimator.initial_bytes(default).min(largest_bytes);
                let waiting = u64::from(stage.queued);
                count += waiting;
                bytes = bytes.saturating_add(lease.saturating_mul(waiting));
            }
        }
        let by_slots = count.div_ceil(u64::from(slots.max(1)));
        let by_memory = if largest_bytes > 0 { bytes.div_ceil(largest_bytes) } else { 0 };
        u32::try_from(by_slots.max(by_memory)).unwrap_or(u32::MAX)
    }

    /// Whether nothing is held of any query.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty() && self.workers.iter().all(|(_, worker)| worker.leases.is_empty())
    }
}

impl<'a> QueryView<'a> {
    /// The query.
    pub fn id(&self) -> QueryId {
        self.0.id
    }

    /// How it ended; None while it runs.
    pub fn outcome(&self) -> Option<Result<(), &'a Error>> {
        self.0.outcome.as_ref().map(|outcome| outcome.as_ref().copied())
    }

    /// Whether it has started, or still waits for enough workers.
    pub fn is_started(&self) -> bool {
        self.0.admitted_at.is_some()
    }

    /// When it was submitted.
    pub fn submitted_at(&self) -> Millis {
        self.0.submitted_at
    }

    /// How many attempts have failed. Lost and aborted ones have not.
    pub fn failed_attempts(&self) -> u32 {
        self.0.failed_attempts
    }

    /// How many times outputs of it were rolled back.
    pub fn rollbacks(&self) -> u32 {
        self.0.losses.number
    }

    /// How many tasks wait for a node, for a backoff to pass, or for inputs that were lost.
    pub fn queued_tasks(&self) -> usize {
        self.0.waiting()
    }

    /// A stage.
    pub fn stage(&self, id: StageId) -> Option<StageView<'a>> {
        let stage = self.0.stage(id)?;
        Some(stage_view(self.0, id, stage))
    }

    /// The stages, by id.
    pub fn stages(&self) -> impl Iterator<Item = StageView<'a>> + use<'a> {
        let query = self.0;
        (0u32..).zip(&query.stages).map(move |(id, stage)| stage_view(query, StageId(id), stage))
    }
}

impl<'a> StageView<'a> {
    /// The tasks that are formed, by partition.
    pub fn tasks(&self) -> impl Iterator<Item = TaskView<'a>> + use<'a> {
        (0u32..).zip(&self.stage.tasks).map(|(partition, task)| task_view(partition, task))
    }

    /// A task.
    pub fn task(&self, partition: u32) -> Option<TaskView<'a>> {
        self.stage.tasks.get(partition as usize).map(|task| task_view(partition, task))
    }
}

fn stage_view<'a>(query: &Query, id: StageId, stage: &'a Stage) -> StageView<'a> {
    let state = match stage.start_order {
        _ if stage.is_complete() => StageState::Finished,
        _ if query.is_over() => StageState::Abandoned,
        None => StageState::Waiting,
        Some(_) => StageState::Running,
    };
    StageView {
        id,
        state,
        tasks_total: stage.tasks.len() as u32,
        sealed: stage.sealed,
        tasks_queued: stage.queued,
        is_blocked: stage.blocked,
        counts: stage.counts,
        output_rows: stage.rows,
        output_bytes: stage.partition_bytes.iter().fold(0u64, |sum, bytes| sum.saturating_add(*bytes)),
        stage,
    }
}

fn task_view(partition: u32, task: &Task) -> TaskView<'_> {
    TaskView {
        partition,
        state: task.state,
        generation: task.generation,
        input: &task.input,
        attempts: &task.attempts,
    }
}
