//! Which waiting task goes to which node: bin packing by leases, after Trino's algorithm.
//!
//! Queries take turns. A request takes the node with the most free memory among those with a free slot, if it
//! fits there. If it does not fit, it reserves the best node for the rest of the pass, so that smaller requests
//! behind it cannot starve it; reservations are forgotten with the pass, so that room that turns up elsewhere
//! is taken at once. A request is never placed on a node that is smaller than it.
//!
//! Nodes that are slow come after all others. A task that is placed on one holds up its query for long, so a query
//! whose few tasks will soon find room elsewhere waits for that, but for no longer than [`SLOW_NODE_WAIT_MAX`]. One
//! with so many tasks that the others are busy for longer than the slow node with one of them takes every node.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Bound;

use base::{Millis, NodeId, QueryId, TaskId};

use crate::command::{AttemptSpec, Command};
use crate::core::{Core, attempt_id};
use crate::options::SLOW_NODE_WAIT_MAX;
use crate::planted::PlantedBug;
use crate::query::{Query, ReadyKey};
use crate::task::{Attempt, AttemptState, Task, TaskState};
use crate::workers::{Worker, Workers};

/// What a request gets.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// A node that it fits on now.
    Place(NodeId),
    /// A node that is kept for it for the rest of the pass.
    Reserve(NodeId),
    /// Nothing.
    Wait,
}

/// The turn of a query in a pass.
struct Turn {
    query: QueryId,
    /// The last request that was looked at and not placed.
    after: Option<ReadyKey>,
    refused: u32,
}

impl Core {
    /// Places as many waiting tasks as there is room for.
    pub(crate) fn place(&mut self, now: Millis, commands: &mut Vec<Command>) {
        if !core::mem::take(&mut self.placement_dirty) || !self.workers.index().has_open() {
            return;
        }
        let turn = |(_, query): &(u64, QueryId)| Turn { query: *query, after: None, refused: 0 };
        let mut turns: VecDeque<Turn> = self.rotation.iter().map(turn).collect();
        let share_bytes = self.workers.share_bytes();
        let queries = turns.iter().filter_map(|turn| self.queries.get(&turn.query));
        let need_min = queries.map(|query| query.lease_bytes_min(share_bytes)).min().unwrap_or(0);
        let need_min = need_min.min(self.workers.largest_bytes().unwrap_or(0));
        let mut reserved = BTreeSet::new();
        let mut served = BTreeSet::new();
        while let Some(mut turn) = turns.pop_front() {
            let free_fast = self.workers.most_free_bytes(false, &reserved);
            let free_slow = self.workers.most_free_bytes(true, &reserved);
            if free_fast.max(free_slow).is_none_or(|free| free < need_min) {
                break;
            }
            let Some(query) = self.queries.get(&turn.query) else {
                continue;
            };
            let after = turn.after.map_or(Bound::Unbounded, Bound::Excluded);
            let Some(key) = query.ready.range((after, Bound::Unbounded)).next().copied() else {
                continue;
            };
            let need = query.need_bytes(&self.workers, key);
            let takes_slow = free_slow.is_some() && query.takes_slow_nodes(now, &self.workers, key, need);
            if free_slow.is_some() && !takes_slow && free_fast.is_none_or(|free| free < need) {
                self.keep_from_slow_nodes(now, turn.query);
                if free_fast.is_none() {
                    continue;
                }
            }
            let Some(query) = self.queries.get(&turn.query) else {
                continue;
            };
            let avoided = query.avoided(now, key);
            match choose(&self.workers, &reserved, need, &avoided, takes_slow) {
                Choice::Place(node) => {
                    self.start_attempt(now, turn.query, key, need, node);
                    served.insert(turn.query);
                    turns.push_back(turn);
                    continue;
                }
                Choice::Reserve(node) => {
                    reserved.insert(node);
                }
                Choice::Wait => {}
            }
            turn.refused += 1;
            turn.after = Some(key);
            let query_id = turn.query;
            if turn.refused < query.options.tasks_waiting_for_node_max {
                turns.push_back(turn);
            }
            if let Some(until) = avoided.iter().map(|(_, until)| *until).min() {
                self.wake_at(query_id, until);
            }
        }
        for id in served {
            if let Some(query) = self.queries.get_mut(&id) {
                query.request_splits(self.options.split_batch_count_max, commands);
            }
        }
    }

    /// The tasks of a query wait although slow nodes have room, but not for ever.
    fn keep_from_slow_nodes(&mut self, now: Millis, id: QueryId) {
        if let Some(query) = self.queries.get_mut(&id) {
            let since = *query.kept_from_slow_since.get_or_insert(now);
            self.wake_at(id, since.plus(SLOW_NODE_WAIT_MAX));
        }
    }

    /// Starts an attempt of a task, its only one or a rival.
    pub(crate) fn start_attempt(
        &mut self,
        now: Millis,
        id: QueryId,
        key: ReadyKey,
        memory_bytes: u64,
        node: NodeId,
    ) {
        let epoch = self.epoch;
        let Some(worker) = self.workers.get(&node) else {
            return;
        };
        let (incarnation, on_slow_node) = (worker.incarnation, worker.is_slow());
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let is_pipelined = query.region.is_some();
        query.dequeue(key.stage, key.partition);
        let Some(stage) = query.stages.get_mut(key.stage.0 as usize) else {
            return;
        };
        let task_id = TaskId { query: id, stage: key.stage, partition: key.partition };
        let start = |task: &mut Task| {
            let start = Attempt {
                generation: task.generation,
                epoch,
                number: task.next_number(epoch),
                node: node.clone(),
                state: AttemptState::Running,
                memory_bytes,
                peak_memory_bytes: 0,
                started_at: now,
                ended_at: None,
                on_slow_node,
            };
            let attempt = attempt_id(task_id, &start);
            task.state = TaskState::Running;
            // Most tasks have one attempt, and there are very many tasks.
            task.attempts.reserve_exact(1);
            task.attempts.push(start);
            AttemptSpec { attempt, memory_bytes, input: task.input.clone(), is_pipelined }
        };
        let Some(spec) = stage.update(key.partition, start) else {
            return;
        };
        stage.counts.started_attempts += 1;
        query.used.insert(node.clone(), incarnation);
        if !on_slow_node {
            query.kept_from_slow_since = None;
        }
        self.rotation.remove(&(query.served, id));
        self.served += 1;
        query.served = self.served;
        self.rival_dirty.insert(id);
        self.sync_rotation(id);
        self.workers.lease(&node, spec);
    }
}

impl Query {
    /// Whether a task that needs so much memory is placed on a slow node, if no other has room for it.
    fn takes_slow_nodes(&self, now: Millis, workers: &Workers, key: ReadyKey, need: u64) -> bool {
        let has_waited = self.kept_from_slow_since.is_some_and(|since| since.plus(SLOW_NODE_WAIT_MAX) <= now);
        let more_will_come = self.stage(key.stage).is_some_and(|stage| !stage.sealed);
        if has_waited || more_will_come {
            return true;
        }
        let slowness = workers.index().open(true).next().and_then(|(_, node)| workers.get(node));
        let slowness = slowness.map_or(1.0, |worker| worker.slowness.value(now));
        let is_enough_for_all = self.ready.len() as f64 > slowness * workers.index().fast_slots() as f64;
        let is_faster = |worker: &Worker| worker.is_active() && !worker.is_slow();
        is_enough_for_all
            || !workers.iter().any(|(_, worker)| is_faster(worker) && worker.capacity.memory_bytes >= need)
    }

    /// The lease that the next attempt of a task gets: never more than the largest node has.
    pub(crate) fn need_bytes(&self, workers: &Workers, key: ReadyKey) -> u64 {
        let default = self.options.task_memory_bytes.unwrap_or_else(|| workers.share_bytes());
        let Some(stage) = self.stage(key.stage) else {
            return default;
        };
        let least = stage.tasks.get(key.partition as usize).map_or(0, |task| task.lease_bytes_min());
        stage.estimator.initial_bytes(default).max(least).min(workers.largest_bytes().unwrap_or(0))
    }

    /// The nodes that a task avoids, and until when.
    pub(crate) fn avoided(&self, now: Millis, key: ReadyKey) -> Vec<(NodeId, Millis)> {
        let task = self.stage(key.stage).and_then(|stage| stage.tasks.get(key.partition as usize));
        let of_task = task.and_then(|task| task.trouble.as_ref()?.avoided.clone());
        let of_query = self.node_trouble.iter().map(|(node, trouble)| (node.clone(), trouble.avoided_until));
        of_query.chain(of_task).filter(|(_, until)| *until > now).collect()
    }
}

/// Chooses a node for a request, a slow one only if that is said.
fn choose(
    workers: &Workers,
    reserved: &BTreeSet<NodeId>,
    need: u64,
    avoided: &[(NodeId, Millis)],
    takes_slow: bool,
) -> Choice {
    let is_avoided = |node: &NodeId| avoided.iter().any(|(other, _)| other == node);
    let fits = |node: &NodeId| workers.get(node).is_some_and(|worker| worker.capacity.memory_bytes >= need);
    let another = |(node, worker): (&NodeId, &Worker)| {
        worker.is_active() && worker.capacity.memory_bytes >= need && !is_avoided(node)
    };
    // Nodes are avoided only while there is another one, busy or not.
    let avoids = !avoided.is_empty() && workers.iter().any(another);
    let open = |is_slow: bool| {
        let open = workers.index().open(is_slow);
        open.filter(|(_, node)| !(reserved.contains(*node) || avoids && is_avoided(node)))
    };
    let classes = match takes_slow {
        true if workers.planted.is(PlantedBug::SlowNodesFirst) => &[true, false][..],
        true => &[false, true],
        false => &[false],
    };
    // The first of each class has the most room.
    let mut best = classes.iter().filter_map(|is_slow| open(*is_slow).next());
    if let Some((_, node)) = best.find(|(free, _)| *free >= need) {
        return Choice::Place(node.clone());
    }
    let mut open = classes.iter().flat_map(|is_slow| open(*is_slow));
    open.find(|(_, node)| fits(node)).map_or(Choice::Wait, |(_, node)| Choice::Reserve(node.clone()))
}
