//! What must hold after every step.
//!
//! | id | here |
//! |---|---|
//! | I-1 | the winner of an output never changes: [`assert_undecided`] |
//! | I-2 | a task has a winner or a running attempt, not both; a stage runs on complete inputs: [`Core::check_invariants`] |
//! | I-5 | the leases of a worker add up and fit: [`Worker::assert_leases_add_up`] |
//! | I-12 | attempts of a task are bounded: [`Core::check_invariants`] |
//!
//! What is cheap is asserted in every build for whatever a step touched; the whole state is checked by
//! [`Core::check_invariants`], which tests call.

use base::{AttemptId, NodeId};

use crate::core::Core;
use crate::query::Query;
use crate::retry::LOST_WORKERS_FREE_MAX;
use crate::task::{AttemptState, Task, TaskState};
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
        assert!(
            self.leases.len() <= self.capacity.slots as usize,
            "I-5: {node} has more attempts than slots"
        );
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
            query.check_invariants();
            for (stage, task, attempt) in query.running_attempts() {
                leased += 1;
                let id = self.attempt_id(query, stage, task, attempt);
                let held =
                    self.workers.get(&attempt.node).is_some_and(|worker| worker.leases.contains_key(&id));
                assert!(held, "I-5: {id} runs without a lease");
            }
            assert_eq!(
                self.rotation.contains(&(query.served, query.id)),
                !query.ready.is_empty(),
                "rotation"
            );
        }
        let leases: usize = self.workers.iter().map(|(_, worker)| worker.leases.len()).sum();
        assert_eq!(leased, leases, "I-5: a lease without an attempt");
    }
}

impl Query {
    fn check_invariants(&self) {
        let mut running_total = 0;
        for stage in &self.stages {
            let (mut queued, mut running, mut committed) = (0, 0, 0);
            for task in &stage.tasks {
                let running_here =
                    task.attempts.iter().filter(|attempt| attempt.state == AttemptState::Running).count();
                match task.state {
                    TaskState::Queued | TaskState::Delayed { .. } => queued += 1,
                    TaskState::Running => running += 1,
                    TaskState::Committed => committed += 1,
                    TaskState::Abandoned => assert!(self.is_finished(), "I-2: abandoned in a running query"),
                }
                let is_running = usize::from(task.state == TaskState::Running);
                assert_eq!(running_here, is_running, "I-2: {:?}", task.state);
                assert_eq!(
                    task.winner.is_some(),
                    task.state == TaskState::Committed,
                    "I-2: {:?}",
                    task.state
                );
                let attempts_max =
                    (self.options.task_retry_attempts_per_task + LOST_WORKERS_FREE_MAX + 1) as usize;
                let counted =
                    task.attempts.iter().filter(|attempt| attempt.state == AttemptState::Failed).count();
                assert!(counted <= attempts_max, "I-12: {counted} failed attempts");
            }
            assert!(task_counts(stage.tasks.len(), &[queued, running, committed]) || self.is_finished());
            assert_eq!(running, stage.counts.running, "I-2: running");
            assert_eq!(committed, stage.counts.committed, "I-2: committed");
            assert!(!stage.sealed || !stage.tasks.is_empty(), "I-3: a stage without a task");
            if !stage.tasks.is_empty() {
                let inputs = stage.shape.inputs.iter().flat_map(|input| &input.producers);
                let complete =
                    inputs.map(|id| &self.stages[id.0 as usize]).all(|producer| producer.is_complete());
                assert!(complete, "I-2: a stage runs on incomplete inputs");
            }
            running_total += running;
        }
        assert_eq!(running_total, self.running, "I-2: running in the query");
        assert!(self.ready.is_empty() && self.delayed.is_empty() || !self.is_finished());
    }
}

fn task_counts(total: usize, parts: &[u32]) -> bool {
    total == parts.iter().sum::<u32>() as usize
}
