//! What must hold after every step.
//!
//! | id | here |
//! |---|---|
//! | I-1 | the winner of an output never changes: [`assert_undecided`] |
//! | I-2 | a task has a winner or running attempts, not both, and never more than two; what waits for a node, or may not have been told what to read, has complete inputs: [`Core::check_invariants`] |
//! | I-3 | every split is read by one task: [`Core::check_invariants`] |
//! | I-4 | nothing runs for a generation that is void; all tasks go back with an indeterminate output: [`Core::check_invariants`] |
//! | I-5 | the leases of a worker add up and fit: [`Worker::assert_leases_add_up`] |
//! | I-12 | attempts of a task are bounded: [`Core::check_invariants`] |
//! | I-14 | no attempt of a later epoch is held: [`Core::check_invariants`] |
//!
//! What is cheap is asserted in every build for whatever a step touched; the whole state is checked by
//! [`Core::check_invariants`], which tests call.

use alloc::collections::BTreeSet;

use base::{AttemptId, Epoch, NodeId};

use crate::core::Core;
use crate::query::{Query, ReadyKey};
use crate::retry::LOST_WORKERS_FREE_MAX;
use crate::rivals::Solo;
use crate::stage::{Stage, StageCounts};
use crate::task::{Attempt, AttemptState, Task, TaskState};
use crate::workers::Worker;

impl Worker {
    /// I-5: 0 ≤ leased ≤ capacity, and leased is the sum over the attempts.
    pub(crate) fn assert_leases_add_up(&self, node: &NodeId, capacity_only: bool) {
        let sum: u64 = self.leases.values().map(|lease| lease.spec.memory_bytes).sum();
        assert!(
            capacity_only || self.leased_bytes == sum,
            "I-5: {node} leased {} for {sum}",
            self.leased_bytes
        );
        assert!(self.leased_bytes <= self.capacity.memory_bytes, "I-5: {node} leased more than it has");
        let slots = self.leases.values().filter(|lease| !lease.spec.is_pipelined).count();
        assert_eq!(self.leased_slots as usize, slots, "I-5: slots of {node}");
        assert!(self.leased_slots <= self.capacity.slots, "I-5: {node} has more attempts than slots");
    }
}

/// I-1: an output is decided once.
pub(crate) fn assert_undecided(task: &Task, winner: &AttemptId) {
    assert!(
        task.winner.is_none() && task.generation == winner.generation,
        "I-1: {winner} is a second winner"
    );
}

impl Core {
    /// Checks the whole state. For tests: it takes time in proportion to everything there is.
    pub fn check_invariants(&self) {
        self.workers.check_invariants();
        let mut leased = 0;
        for query in self.queries.values() {
            query.check_invariants(self.epoch);
            for (id, attempt) in query.running_attempts() {
                leased += 1;
                let lease = self.workers.get(&attempt.node).and_then(|worker| worker.leases.get(&id));
                let Some(lease) = lease else {
                    panic!("I-5: {id} runs without a lease");
                };
                let is_told = lease.was_held() || !query.stages[id.task.stage.0 as usize].blocked;
                assert!(is_told, "I-2: {id} is to read incomplete inputs");
                let is_slow = self.workers.get(&attempt.node).is_some_and(Worker::is_slow);
                assert_eq!(attempt.on_slow_node, is_slow, "{id} and the slowness of {}", attempt.node);
            }
            assert_eq!(
                self.rotation.contains(&(query.served, query.id)),
                query.is_placeable(),
                "rotation of {}",
                query.id
            );
            let check = query.rival_at.map(|at| (at, query.id));
            assert!(check.is_none_or(|check| self.rival_checks.contains(&check)), "rivals of {}", query.id);
        }
        let leases: usize = self.workers.iter().map(|(_, worker)| worker.leases.len()).sum();
        assert_eq!(leased, leases, "I-5: a lease without an attempt");
        assert!(self.rival_checks.len() <= self.queries.len(), "rivals of queries that are gone");
    }
}

impl Query {
    fn check_invariants(&self, epoch: Epoch) {
        let (mut waiting_total, mut waiting_here) = (0, 0);
        for (at, stage) in (0u32..).zip(&self.stages) {
            let mut seen = StageCounts::default();
            let (mut queued, mut solo, mut rivals) = (0, BTreeSet::new(), 0);
            for (partition, task) in (0u32..).zip(&stage.tasks) {
                task.check_invariants(self, stage, epoch);
                let running = task.running().count() as u32;
                seen.running_attempts += running;
                seen.running += running.min(1);
                rivals += u32::from(running > 1);
                solo.extend(Solo::of(partition, task));
                seen.committed += u32::from(task.state == TaskState::Committed);
                queued += u32::from(task.is_waiting());
            }
            waiting_total += queued as usize;
            assert_eq!(queued, stage.queued, "I-2: waiting in stage {at}");
            assert_eq!(seen.running, stage.counts.running, "I-2: running in stage {at}");
            assert_eq!(seen.running_attempts, stage.counts.running_attempts, "I-2: attempts in stage {at}");
            assert_eq!((&solo, rivals), (&stage.solo, stage.rivals), "I-2: rivals in stage {at}");
            assert_eq!(seen.committed, stage.counts.committed, "I-2: committed in stage {at}");
            assert!(!stage.sealed || !stage.tasks.is_empty(), "I-3: a stage without a task");
            let inputs = stage.shape.inputs.iter().flat_map(|input| &input.producers);
            let complete = inputs.map(|id| &self.stages[id.0 as usize]).all(Stage::is_complete);
            if !stage.tasks.is_empty() && !self.is_over() && self.region.is_none() {
                assert_eq!(stage.blocked, !complete, "I-2: stage {at} and its inputs");
            }
            stage.check_splits(at);
        }
        for key in self.ready.iter().chain(self.delayed.iter().map(|(_, key)| key)).chain(&self.parked) {
            let stage = &self.stages[key.stage.0 as usize];
            assert!(stage.tasks[key.partition as usize].is_waiting(), "I-2: it does not wait");
            waiting_here += 1;
        }
        assert_eq!(waiting_here, waiting_total, "I-2: waiting tasks");
        let blocked = |key: &ReadyKey| self.stages[key.stage.0 as usize].blocked;
        let is_parked = |key: &ReadyKey| blocked(key) || self.region.is_some();
        assert!(
            !self.ready.iter().any(is_parked) && self.parked.iter().all(is_parked),
            "I-2: where tasks wait"
        );
        assert!(self.waiting() == 0 || self.outcome.is_none(), "I-2: a task waits after the end");
    }
}

impl Stage {
    /// I-3: no split is read twice, and none is left out between those that are read.
    fn check_splits(&self, at: u32) {
        for scan in 0..self.shape.scans as usize {
            let splits = self.tasks.iter().filter_map(|task| task.input.splits.get(scan));
            let in_order = splits.flatten().zip(0u32..).all(|(number, expected)| *number == expected);
            assert!(in_order, "I-3: splits of scan {scan} of stage {at}");
        }
    }
}

impl Task {
    fn check_invariants(&self, query: &Query, stage: &Stage, epoch: Epoch) {
        let running = self.running().count();
        assert_eq!(running > 0, self.state == TaskState::Running, "I-2: {:?}", self.state);
        assert!(running <= 2, "I-2: {running} attempts of one task");
        assert_eq!(self.winner.is_some(), self.state == TaskState::Committed, "I-2: {:?}", self.state);
        if self.state == TaskState::Abandoned {
            assert!(query.outcome.is_some(), "I-2: abandoned in a running query");
        }
        assert!(self.generation >= stage.base_generation, "I-4: it stayed when all became void");
        for attempt in &self.attempts {
            let is_current = attempt.generation == self.generation || attempt.state != AttemptState::Running;
            assert!(is_current, "I-4: it runs for a generation that is void");
            assert!(attempt.epoch <= epoch, "I-14: it is of a later epoch");
        }
        let failed = |attempt: &&Attempt| attempt.state == AttemptState::Failed;
        let counted = self.attempts.iter().filter(failed).count();
        // Failures are forgotten when an output was committed, and a rival may fail beside the last attempt.
        let attempts_max = query.options.task_retry_attempts_per_task + LOST_WORKERS_FREE_MAX + 2;
        let attempts_max = attempts_max as usize * (self.generation as usize + 1);
        assert!(counted <= attempts_max, "I-12: {counted} failed attempts");
    }
}
