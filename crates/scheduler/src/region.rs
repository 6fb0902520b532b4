//! Regions: stages that are joined by pipelined edges run at the same time, fail together and are retried together.
//!
//! Under [`RetryPolicy::None`] and [`RetryPolicy::Query`] a whole query is one region. Its tasks are formed before
//! anything is known of what they will write: scans share their splits evenly over the slots of the cluster, and so do
//! hash partitions. All its attempts are placed in one step, spread over the active workers, without slots or leases:
//! an attempt that waited for a slot would keep others waiting that hold theirs for it.
//!
//! Whatever ends one attempt before its time ends the try. The next one starts under the next generation, so nothing
//! of an earlier try is taken for one of it. What the root commits counts only when all of it is there.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use base::{
    AttemptId, Error, ErrorCode, Failure, FailureClass, Millis, NodeId, OutputId, QueryId, Result, StageId,
    TaskId,
};

use crate::command::Command;
use crate::core::Core;
use crate::options::RetryPolicy;
use crate::planted::PlantedBug;
use crate::query::{Query, ReadyKey};
use crate::retry::{LOST_WORKERS_FREE_MAX, task_delay};
use crate::rollback::Voided;
use crate::stage::form_pipelined_tasks;
use crate::task::AttemptState;
use crate::workers::Worker;

/// How long the attempts of a region may go on when the result is complete. They end by themselves when all that they
/// write was read; one that is stopped before does not tell what it has done.
const REGION_LINGER: Millis = Millis(100);

/// How the region of a query stands.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Region {
    /// A try that ends before its time is followed by another.
    pub is_tried_again: bool,
    /// Its attempts are on workers, or have ended.
    pub is_running: bool,
    /// When it may be tried again.
    pub delayed_until: Option<Millis>,
    /// When all of the result was there.
    completed_at: Option<Millis>,
    /// The tries that failed and count.
    failures: u32,
    /// The tries that ended with a worker.
    losses: u32,
}

impl Region {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Region { is_tried_again: policy != RetryPolicy::None, ..Region::default() }
    }
}

impl Core {
    /// Places all attempts of a region, if all its tasks are known and it does not run.
    pub(crate) fn start_region(&mut self, now: Millis, id: QueryId, commands: &mut Vec<Command>) {
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_over()) else {
            return;
        };
        let sealed = query.stages.iter().all(|stage| stage.sealed);
        let Some(region) = query.region.as_ref().filter(|region| sealed && !region.is_running) else {
            return;
        };
        if let Some(until) = region.delayed_until.filter(|until| *until > now) {
            self.wake_at(id, until);
            return;
        }
        let mut spread = Spread::over(&self.workers, |node| query.is_node_avoided(now, node));
        if spread.is_empty() {
            return;
        }
        if let Some(region) = &mut query.region {
            region.delayed_until = None;
            region.is_running = true;
        }
        let waiting = core::mem::take(&mut query.parked);
        let mut stage = None;
        let placed: Vec<(ReadyKey, NodeId)> = waiting
            .iter()
            .map(|key| {
                if stage.replace(key.stage) != Some(key.stage) {
                    spread.begin_stage();
                }
                (*key, spread.next_node())
            })
            .collect();
        query.parked = waiting;
        for (key, node) in placed {
            self.start_attempt(now, id, key, 0, node);
        }
        let Some(query) = self.queries.get(&id) else {
            return;
        };
        let attempts = query.running_attempts().filter_map(|(attempt, state)| {
            let incarnation = self.workers.get(&state.node)?.incarnation;
            Some((attempt, state.node.clone(), incarnation))
        });
        commands.push(Command::RegionStarted { query: id, attempts: attempts.collect() });
    }

    /// Whether a query whose result is complete can be ended: if it is a region, when all its attempts have ended by
    /// themselves or had the time to.
    pub(crate) fn has_lingered(&mut self, now: Millis, id: QueryId) -> bool {
        let Some(query) = self.queries.get_mut(&id) else {
            return true;
        };
        let is_running = query.running_attempts().next().is_some();
        let Some(region) = query.region.as_mut().filter(|_| is_running) else {
            return true;
        };
        let until = region.completed_at.get_or_insert(now).plus(REGION_LINGER);
        if until > now {
            self.wake_at(id, until);
        }
        until <= now
    }

    /// An attempt of a region failed: the try is over.
    pub(crate) fn on_region_failed(
        &mut self,
        now: Millis,
        node: &NodeId,
        attempt: AttemptId,
        failure: Failure,
        commands: &mut Vec<Command>,
    ) {
        let elsewhere = self.workers.active() > 1;
        let Some(query) = self.queries.get_mut(&attempt.task.query) else {
            return;
        };
        query.failed_attempts += 1;
        let judged = query.judge_try(now, failure, elsewhere);
        if judged.is_ok() {
            query.count_node_failure(now, node);
        }
        self.end_try(now, attempt.task.query, judged, commands);
    }

    /// An attempt of a region vanished with its worker: the try is over.
    pub(crate) fn on_region_lost(
        &mut self,
        now: Millis,
        node: &NodeId,
        id: QueryId,
        commands: &mut Vec<Command>,
    ) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let judged = query.judge_lost_try(now, node);
        self.end_try(now, id, judged, commands);
    }

    /// A worker that drains gave an attempt of a region back: the try is over.
    pub(crate) fn on_region_handed_back(
        &mut self,
        now: Millis,
        node: &NodeId,
        id: QueryId,
        commands: &mut Vec<Command>,
    ) {
        let is_retried = self.queries.get(&id).is_some_and(Query::is_tried_again);
        let drained = || {
            let text = format!("Worker {node} was shut down before the query ended");
            Error::new(ErrorCode::SERVER_SHUTTING_DOWN, text)
        };
        let judged = if is_retried { Ok(now) } else { Err(drained()) };
        self.end_try(now, id, judged, commands);
    }

    /// What the root of a region has committed cannot be read: nobody has anything but all of it or nothing.
    pub(crate) fn on_region_output_lost(
        &mut self,
        now: Millis,
        output: &OutputId,
        error: Error,
        commands: &mut Vec<Command>,
    ) {
        let (id, elsewhere) = (output.task.query, self.workers.active() > 1);
        let Some(query) = self.queries.get_mut(&id).filter(|query| query.is_selected(output)) else {
            return;
        };
        let outputs = query.region_outputs(StageId(0)).iter().map(AttemptId::output).collect();
        let judged = match query.result_read.is_empty() {
            true => query.judge_try(now, Failure::of(error), elsewhere),
            false => Err(error),
        };
        match judged {
            Ok(not_before) => {
                commands.push(Command::OutputsRolledBack { query: id, outputs });
                self.start_over(now, id, not_before);
            }
            Err(error) => self.finish(now, id, Err(error), commands),
        }
    }

    /// Stops what runs of a region, and lets it start again from a point in time on, or fails the query.
    fn end_try(&mut self, now: Millis, id: QueryId, judged: Result<Millis>, commands: &mut Vec<Command>) {
        if self.queries.get(&id).is_some_and(Query::is_result_complete) {
            // Nobody needs what ended.
            return self.finish(now, id, Ok(()), commands);
        }
        let not_before = match judged {
            Ok(not_before) => not_before,
            Err(error) => return self.finish(now, id, Err(error), commands),
        };
        self.start_over(now, id, not_before);
    }

    /// Stops what runs of a region, and lets it start again from a point in time on.
    fn start_over(&mut self, now: Millis, id: QueryId, not_before: Millis) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let is_same = self.planted.is(PlantedBug::TryKeepsGeneration);
        for (node, attempt) in query.void_try(not_before, is_same) {
            let peak_bytes = self.workers.release(&node, &attempt).map_or(0, |lease| lease.peak_bytes);
            if query.end_attempt(now, &attempt, AttemptState::Aborted, peak_bytes) == Some(0) {
                query.enqueue(now, attempt.task.stage, attempt.task.partition, now);
            }
        }
        self.dirty.insert(id);
    }
}

impl Query {
    /// Whether a try that ended before its time is followed by another.
    fn is_tried_again(&self) -> bool {
        self.region.as_ref().is_some_and(|region| region.is_tried_again)
    }

    /// Starts all stages of a region at once, and forms their tasks, the producers' first.
    pub(crate) fn form_region(&mut self, slots: u64, commands: &mut Vec<Command>) {
        for at in (0..self.stages.len()).rev() {
            if self.stages[at].start_order.is_none() {
                self.start_stage(at);
            }
        }
        for at in (0..self.stages.len()).rev() {
            let stage = &self.stages[at];
            let mut producers = stage.shape.inputs.iter().flat_map(|input| &input.producers);
            let is_known = producers.all(|id| self.stages[id.0 as usize].sealed);
            if stage.sealed || !is_known {
                continue;
            }
            form_pipelined_tasks(&mut self.stages, at, &self.options, slots);
            let stage = &mut self.stages[at];
            if stage.formed_last {
                let tasks = stage.formed.clone();
                self.adopt_tasks(StageId(at as u32), tasks, true, commands);
            }
        }
    }

    /// What is decided when a task of a stage of a region has committed: the outputs of the root, when the last of
    /// them is there. The client reads those of [`RetryPolicy::None`] while they are written.
    pub(crate) fn region_outputs(&self, stage: StageId) -> Vec<AttemptId> {
        let is_committed = self.options.retry_policy == RetryPolicy::Query && stage == StageId(0);
        if !is_committed || !self.is_result_complete() {
            return Vec::new();
        }
        let root = self.stages.first().into_iter().flat_map(|stage| (0u32..).zip(&stage.tasks));
        let winner = |(partition, task): (u32, &crate::task::Task)| {
            let (epoch, number) = task.winner?;
            let id = TaskId { query: self.id, stage: StageId(0), partition };
            Some(AttemptId { task: id, generation: task.generation, epoch, number })
        };
        root.filter_map(winner).collect()
    }

    /// When a region is tried again after a failure, or what ends the query.
    fn judge_try(&mut self, now: Millis, failure: Failure, elsewhere: bool) -> Result<Millis> {
        let Failure { class, error } = failure;
        let is_hopeless = match class {
            FailureClass::User => true,
            // The next try would have no more than this one.
            FailureClass::InsufficientResources => error.code() != ErrorCode::CLUSTER_OUT_OF_MEMORY,
            _ => false,
        };
        if is_hopeless || !self.is_tried_again() {
            return Err(error);
        }
        if let Some(error) = self.over_budget(&error) {
            return Err(error);
        }
        let Some(region) = &mut self.region else {
            return Err(error);
        };
        region.failures += 1;
        if region.failures > self.options.query_retry_attempts {
            return Err(error);
        }
        Ok(now.plus(task_delay(&self.options, region.failures, elsewhere)))
    }

    fn judge_lost_try(&mut self, now: Millis, node: &NodeId) -> Result<Millis> {
        let retries = self.options.query_retry_attempts;
        let is_tried_again = self.is_tried_again();
        let Some(region) = self.region.as_mut().filter(|_| is_tried_again) else {
            return Err(worker_gone(node));
        };
        region.losses += 1;
        // Whoever outlives so many workers may be what kills them.
        if region.losses > LOST_WORKERS_FREE_MAX {
            region.failures += 1;
        }
        if region.failures > retries { Err(worker_gone(node)) } else { Ok(now) }
    }

    /// Makes everything void that the region has done. What runs of it is to be stopped.
    fn void_try(&mut self, not_before: Millis, keeps_generation: bool) -> Vec<(NodeId, AttemptId)> {
        if let Some(region) = &mut self.region {
            region.is_running = false;
            region.delayed_until = Some(not_before);
            region.completed_at = None;
        }
        let mut voided = Voided::default();
        for at in 0..self.stages.len() {
            self.stages[at].base_generation += 1;
            for partition in 0..self.stages[at].tasks.len() as u32 {
                self.void_task(StageId(at as u32), partition, false, &mut voided);
            }
        }
        if keeps_generation {
            for stage in &mut self.stages {
                stage.base_generation -= 1;
                stage.tasks.iter_mut().for_each(|task| task.generation -= 1);
            }
        }
        voided.attempts
    }

    fn is_node_avoided(&self, now: Millis, node: &NodeId) -> bool {
        self.node_trouble.get(node).is_some_and(|trouble| trouble.avoided_until > now)
    }
}

/// What ends a query that is not tried again when a worker vanishes.
fn worker_gone(node: &NodeId) -> Error {
    let text = format!(
        "Encountered too many errors talking to a worker node. The node may have crashed or be under too much load. \
         This is probably a transient issue, so please retry your query in a few minutes. ({node})"
    );
    Error::new(ErrorCode::REMOTE_HOST_GONE, text)
}

/// The workers that a region is spread over. Each stage is spread evenly by slots, and what is left uneven goes to the
/// workers that have the least.
struct Spread {
    nodes: Vec<(NodeId, u64)>,
    /// By share of the stage, by all pipelined attempts per slot, by place.
    order: BTreeSet<(u64, u64, usize)>,
}

/// Attempts per slot are counted in such parts.
const SLOT_PARTS: u64 = 1 << 16;

impl Spread {
    fn over(workers: &crate::workers::Workers, is_avoided: impl Fn(&NodeId) -> bool) -> Self {
        let active = || workers.iter().filter(|(_, worker)| worker.is_active());
        // The slowest attempt of a region holds up all of it.
        let is_avoided = |(node, worker): &(&NodeId, &Worker)| worker.is_slow() || is_avoided(node);
        let others = active().filter(|it| !is_avoided(it)).count();
        let usable = active().filter(|it| others == 0 || !is_avoided(it));
        let weight = |worker: &Worker| SLOT_PARTS / u64::from(worker.capacity.slots.max(1));
        let mut spread = Spread { nodes: Vec::new(), order: BTreeSet::new() };
        for (at, (node, worker)) in usable.enumerate() {
            let load = worker.leases.len() as u64 * weight(worker);
            spread.nodes.push((node.clone(), weight(worker)));
            spread.order.insert((0, load, at));
        }
        spread
    }

    fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn begin_stage(&mut self) {
        self.order =
            core::mem::take(&mut self.order).into_iter().map(|(_, load, at)| (0, load, at)).collect();
    }

    /// Where the next task of the stage goes. There is a node.
    fn next_node(&mut self) -> NodeId {
        let Some((of_stage, load, at)) = self.order.pop_first() else {
            unreachable!("a region is spread over at least one node");
        };
        let (node, weight) = &self.nodes[at];
        self.order.insert((of_stage + weight, load + weight, at));
        node.clone()
    }
}
