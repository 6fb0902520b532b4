//! I-6 and I-7: everything goes on, ends, and leaves nothing behind.

use std::collections::BTreeMap;

use base::{AttemptId, Millis, NodeId, OutputId, QueryId};
use scheduler::{AttemptSpec, AttemptState, NodeState, QueryView, StageView, TaskState};

use crate::client::Phase;
use crate::store::Key;
use crate::world::World;

/// How often it is looked whether anybody waits for nothing.
pub const INSPECT_EVERY: u64 = 500;
/// A worker that could work is taken in within this time.
const UNATTENDED_MAX: u64 = 15_000;
/// A worker that could work is given something that waits within this time. Longer than any backoff.
const IDLE_MAX: u64 = 8_000;
/// So many tasks of a stage, or half of them, must have ended before one is called slow.
const SIBLINGS_MIN: usize = 3;
/// A slow attempt has a rival when it has run for so much longer than the median of the others, and there was a
/// worker for it for so long.
const STRAGGLER_TIMES: u64 = 2;
const STRAGGLER_MORE: u64 = 6_000;
const STRAGGLER_ROOM: u64 = 6_000;
/// A task whose statement is at fault fails so often at most: by the attempts that ran at the same time.
const USER_ERRORS_MAX: u32 = 3;

/// Since when something has waited.
#[derive(Debug, Default)]
pub struct Watch {
    /// The process that leads, and since when it could do something.
    leader: Option<(u64, u64)>,
    /// The workers that no coordinator knows.
    unattended: BTreeMap<usize, u64>,
    /// The workers that have nothing to do while tasks wait.
    idle: BTreeMap<NodeId, u64>,
    /// The workers that have nothing to do while nothing waits.
    spare: BTreeMap<(NodeId, u64), u64>,
}

impl Watch {
    /// Those for which something is true, and since when.
    fn keep<K: Ord + Clone>(since: &mut BTreeMap<K, u64>, now: u64, true_for: &[K]) {
        since.retain(|key, _| true_for.contains(key));
        for key in true_for {
            since.entry(key.clone()).or_insert(now);
        }
    }
}

impl World {
    /// Looks whether anybody waits for nothing.
    pub fn inspect(&mut self) -> Result<(), String> {
        let now = self.now;
        let newest = self.ledger.newest_epoch;
        let leading = self.machines.iter().position(|machine| {
            !machine.paused
                && machine.is_leading()
                && machine.process.as_ref().is_some_and(|process| process.epoch == newest)
        });
        let Some(at) = leading.filter(|_| self.outage_until <= now) else {
            self.watch = Watch::default();
            return Ok(());
        };
        let id = self.process(at).id;
        if self.watch.leader.is_none_or(|(process, _)| process != id) {
            self.watch = Watch { leader: Some((id, now)), ..Watch::default() };
        }
        self.check_unattended()?;
        self.check_idle(at)?;
        self.check_quiet(at)?;
        self.check_stragglers(at)
    }

    /// Whoever is there and looks for a coordinator finds it.
    fn check_unattended(&mut self) -> Result<(), String> {
        let alone = |at: &usize| {
            let host = &self.hosts[*at];
            let is_there = host.up && !host.paused && !self.is_cut(*at);
            let is_attached = host
                .stream
                .is_some_and(|(process, stream)| self.ledger.streams.get(&(process, *at)) == Some(&stream));
            is_there && !is_attached
        };
        let alone: Vec<usize> = (0..self.hosts.len()).filter(alone).collect();
        Watch::keep(&mut self.watch.unattended, self.now, &alone);
        let longest = self.watch.unattended.iter().find(|(_, since)| self.now - **since > UNATTENDED_MAX);
        match longest {
            Some((host, _)) => Err(format!("I-6: no coordinator takes in w{host}")),
            None => Ok(()),
        }
    }

    /// The workers with nothing to do that are not slow, and their memory.
    fn idle_workers(&self, at: usize) -> Vec<(NodeId, u64)> {
        let nodes = self.machines[at].process.iter().flat_map(|process| process.core.nodes());
        let idle = nodes.filter(|node| node.state == Some(NodeState::Active) && node.slots_used == 0);
        let idle = idle.filter(|node| !node.is_slow);
        idle.map(|node| (node.node.clone(), node.capacity.memory_bytes)).collect()
    }

    /// The memory of the largest worker that could do something.
    fn largest_bytes(&self, at: usize) -> u64 {
        let nodes = self.machines[at].process.iter().flat_map(|process| process.core.nodes());
        let active = nodes.filter(|node| node.state == Some(NodeState::Active));
        active.map(|node| node.capacity.memory_bytes).max().unwrap_or(0)
    }

    /// Whether a task of a query could be placed by all that is known.
    fn has_waiting_tasks(&self, at: usize, view: &QueryView<'_>) -> bool {
        let process = self.machines[at].process.as_ref();
        let job = process.and_then(|process| process.jobs.get(&view.id()));
        let may_act = job.is_some_and(|job| {
            let is_settled = job.recovered_at.is_none_or(|at| self.now > at + 2_000);
            job.persisting.is_empty() && job.outcome.is_none() && is_settled
        });
        let waits = |stage: StageView<'_>| {
            !stage.is_blocked && stage.tasks().any(|task| task.state == TaskState::Queued)
        };
        let is_region = self.plans[self.ledger.plans[&view.id()]].is_region();
        may_act && !is_region && view.is_started() && view.stages().any(waits)
    }

    /// A worker has something to do while tasks wait.
    fn check_idle(&mut self, at: usize) -> Result<(), String> {
        let (idle, largest) = (self.idle_workers(at), self.largest_bytes(at));
        // Queries with few tasks wait for others than slow workers, again and again.
        let able = idle.iter().filter(|(_, bytes)| *bytes == largest);
        let able: Vec<NodeId> = able.map(|(node, _)| node.clone()).collect();
        let (mut waits, mut any) = (false, false);
        if let Some(process) = &self.machines[at].process {
            waits = process.core.queries().any(|view| self.has_waiting_tasks(at, &view));
            any = process.core.queued_tasks() > 0;
        }
        Watch::keep(&mut self.watch.idle, self.now, if waits { &able } else { &[] });
        Watch::keep(&mut self.watch.spare, self.now, if any { &[] } else { &idle });
        match self.watch.idle.iter().find(|(_, since)| self.now - **since > IDLE_MAX) {
            Some((node, _)) => Err(format!("I-6: {node} has nothing to do while tasks wait")),
            None => Ok(()),
        }
    }

    /// The last attempt of a stage, if it takes much longer than the others, has a rival where there is room.
    fn check_stragglers(&mut self, at: usize) -> Result<(), String> {
        let Some(process) = &self.machines[at].process else {
            return Ok(());
        };
        // A task may have come to need all of a worker.
        let largest = self.largest_bytes(at);
        let has_room = |other: &NodeId| {
            let spare =
                self.watch.spare.iter().filter(|((node, bytes), _)| node != other && *bytes == largest);
            spare.into_iter().any(|(_, since)| self.now - *since > STRAGGLER_ROOM)
        };
        for view in process.core.queries().filter(|view| view.outcome().is_none()) {
            let options = &self.plans[self.ledger.plans[&view.id()]].options;
            let may_act = process.jobs.get(&view.id()).is_some_and(|job| job.persisting.is_empty());
            if !options.rivals_enabled || !may_act {
                continue;
            }
            for stage in view.stages().filter(|stage| !stage.is_blocked) {
                let Some(Straggler { attempt, node, started, median }) = straggler(view.id(), &stage) else {
                    continue;
                };
                let slow = (median as f64 * options.rival_slowness_min.max(1.0)) as u64 * STRAGGLER_TIMES;
                let limit = slow.max(options.rival_age_min.0) + STRAGGLER_MORE;
                if self.now.saturating_sub(started.0) > limit && has_room(&node) {
                    return Err(format!("I-6: {attempt} holds up its stage and has no rival"));
                }
            }
        }
        Ok(())
    }

    /// What was in the store when a coordinator read what the lives before it left is not made again.
    pub fn check_not_redone(&mut self, spec: &AttemptSpec) -> Result<(), String> {
        if !self.ledger.placed.insert(spec.attempt) {
            return Ok(());
        }
        let output = spec.attempt.output();
        let (key, by) = (Key::Commit(output), (spec.attempt.epoch, output.task.query));
        let Some((winner, at)) = self.ledger.committed.get(&output) else {
            return Ok(());
        };
        let is_there = self.store.get(&key).is_some() && !self.store.is_rotten(&key);
        let looked_at = self.ledger.recovered.get(&by);
        let was_found = looked_at.is_some_and(|looked_at| at < looked_at);
        // Whoever hears of a good end that somebody else has recorded finds all that led to it.
        let is_before = self.ledger.done_at.get(&output.task.query).is_some_and(|ended| at < ended);
        let has_ended = self.ledger.good_ends.contains(&by) && is_before;
        match is_there && (was_found || has_ended) {
            true => Err(format!("I-6: {} is placed although {winner} could be found", spec.attempt)),
            false => Ok(()),
        }
    }

    /// Whether everybody has an answer and nothing is left.
    pub fn is_over(&self) -> bool {
        let mut leaders = self.machines.iter().filter_map(|machine| machine.process.as_ref());
        let is_free = |host: &crate::host::Host| host.executions.is_empty() && host.runner.is_idle();
        self.writes_in_flight == 0
            && self.clients.iter().all(|client| client.phase == Phase::Over)
            && !self.store.has_queries()
            && self.hosts.iter().all(|host| !host.up || is_free(host))
            && leaders.all(|process| process.jobs.is_empty() && process.core.is_empty())
    }

    pub fn what_is_left(&self) -> String {
        let waiting = self.clients.iter().filter(|client| client.phase != Phase::Over).count();
        let jobs: Vec<&QueryId> = self
            .machines
            .iter()
            .filter_map(|machine| machine.process.as_ref())
            .flat_map(|process| process.jobs.keys())
            .collect();
        let keys: Vec<_> = self.store.keys().filter(|key| key.query().is_some()).take(5).collect();
        let held: usize = self.hosts.iter().map(|host| host.executions.len()).sum();
        format!(
            "{waiting} clients wait, the shell knows {jobs:?}, the store has {keys:?}, {held} attempts run"
        )
    }

    pub fn check_end(&self) -> Result<(), String> {
        for process in self.machines.iter().filter_map(|machine| machine.process.as_ref()) {
            if process.core.nodes().any(|node| node.leased_bytes > 0 || node.slots_used > 0) {
                return Err("I-5: something is leased to nobody".to_string());
            }
            process.core.check_invariants();
        }
        let at_fault = self.ledger.most_at_fault().filter(|(_, count)| *count > USER_ERRORS_MAX);
        if let Some((OutputId { task, .. }, count)) = at_fault {
            return Err(format!("I-8: {task} was tried {count} times although the statement is at fault"));
        }
        Ok(())
    }
}

/// The only attempt of the only task of a stage that is not committed.
struct Straggler {
    attempt: AttemptId,
    node: NodeId,
    started: Millis,
    /// How long the others took, in milliseconds.
    median: u64,
}

fn straggler(query: QueryId, stage: &StageView<'_>) -> Option<Straggler> {
    let is_last = stage.counts.committed + 1 == stage.tasks_total;
    // How long an attempt took that was taken for lost is not known to the core.
    if !stage.sealed || stage.tasks_total < 2 || !is_last || stage.counts.lost_attempts > 0 {
        return None;
    }
    let last = stage.tasks().find(|task| task.state == TaskState::Running)?;
    let mut running = last.attempts.iter().filter(|attempt| attempt.state == AttemptState::Running);
    let (attempt, None) = (running.next()?, running.next()) else {
        return None;
    };
    let attempts = || stage.tasks().flat_map(|task| task.attempts.iter());
    let committed = attempts().filter(|attempt| attempt.state == AttemptState::Committed);
    let durations = committed.filter_map(|it| Some(it.ended_at?.0.saturating_sub(it.started_at.0)));
    let mut durations: Vec<u64> = durations.collect();
    durations.sort_unstable();
    // What a life of the coordinator did not see tells it nothing.
    if durations.len() < (stage.tasks_total as usize).div_ceil(2).min(SIBLINGS_MIN) {
        return None;
    }
    let task = base::TaskId { query, stage: stage.id, partition: last.partition };
    let (generation, epoch, number) = (attempt.generation, attempt.epoch, attempt.number);
    Some(Straggler {
        attempt: AttemptId { task, generation, epoch, number },
        node: attempt.node.clone(),
        started: attempt.started_at,
        median: *durations.get(durations.len() / 2)?,
    })
}
