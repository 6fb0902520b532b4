//! What becomes of a task when an attempt of it ends: committed, failed, or lost with its worker.

use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::vec::Vec;

use base::{
    AttemptId, Epoch, Error, ErrorCode, Failure, FailureClass, Millis, NodeId, OutputId, QueryId, Result,
};

use crate::command::{AttemptSpec, Command};
use crate::core::Core;
use crate::event::{AttemptReport, AttemptStatus, OutputSize};
use crate::invariants::assert_undecided;
use crate::memory::is_out_of_memory;
use crate::planted::PlantedBug;
use crate::query::Query;
use crate::retry::{
    LOST_WORKERS_FREE_MAX, LOST_WORKERS_TO_GROW_MEMORY_MIN, NodeTrouble, node_delay, task_delay,
};
use crate::task::{AttemptState, TaskState};
use crate::text::succinct_bytes;
use crate::workers::Lease;

impl Core {
    /// A worker reports how one of its attempts stands.
    pub(crate) fn on_attempt(
        &mut self,
        now: Millis,
        node: &NodeId,
        report: AttemptReport,
        commands: &mut Vec<Command>,
    ) {
        let AttemptReport { attempt, status, peak_memory_bytes, .. } = report;
        let leased = self.workers.mark_reported(node, &attempt, peak_memory_bytes);
        match status {
            AttemptStatus::Running => {}
            AttemptStatus::Committed { winner, output } => {
                let winner = if self.is_planted(PlantedBug::ReporterIsWinner) { attempt } else { winner };
                let lease = self.workers.release(node, &attempt);
                if winner.output() == attempt.output() {
                    self.on_committed(now, node, attempt, lease.as_ref(), winner, &output, commands);
                } else if let Some(lease) = lease {
                    let error =
                        Error::internal(format!("{attempt} reported {winner} as the winner of its output"));
                    self.on_failed(now, node, attempt, &lease, Failure::of(error), commands);
                }
            }
            AttemptStatus::HandedBack => {}
            // Of a zombie only a commit is news: its task has been given to somebody else.
            AttemptStatus::Failed(_) if !leased => {}
            AttemptStatus::Failed(failure) => {
                if let Some(lease) = self.workers.release(node, &attempt) {
                    match failure.class {
                        FailureClass::WorkerLost => self.on_lost(now, node, attempt, &lease, commands),
                        _ => self.on_failed(now, node, attempt, &lease, failure, commands),
                    }
                }
            }
        }
    }

    /// The output of a task is committed, whoever says so.
    #[expect(clippy::too_many_arguments, reason = "it is one fact with many parts")]
    fn on_committed(
        &mut self,
        now: Millis,
        node: &NodeId,
        attempt: AttemptId,
        lease: Option<&Lease>,
        winner: AttemptId,
        output: &OutputSize,
        commands: &mut Vec<Command>,
    ) {
        let id = attempt.task.query;
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_finished()) else {
            return;
        };
        self.placement_dirty |= lease.is_some();
        query.node_trouble.remove(node);
        if let Some(lease) = lease {
            let state = if winner == attempt { AttemptState::Committed } else { AttemptState::Aborted };
            query.end_attempt(now, &attempt, state, lease.peak_bytes);
            if let Some(stage) = query.stage_mut(attempt.task.stage).filter(|_| winner == attempt) {
                stage.estimator.register_success(lease.peak_bytes);
            }
        }
        self.select_output(now, attempt, winner, output, commands);
    }

    /// Decides the output of a task, unless it is decided.
    fn select_output(
        &mut self,
        now: Millis,
        reporter: AttemptId,
        winner: AttemptId,
        output: &OutputSize,
        commands: &mut Vec<Command>,
    ) {
        let (id, stage, partition) = (winner.task.query, winner.task.stage, winner.task.partition);
        let epoch = self.epoch;
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let Some(task) = query.task_mut(stage, partition) else {
            return;
        };
        if task.winner.is_some() || task.generation != winner.generation {
            return;
        }
        assert_undecided(task, &winner);
        task.winner = Some((winner.epoch, winner.number));
        task.trouble = None;
        let rival = task.running().map(|rival| {
            let number = rival.number;
            (rival.node.clone(), AttemptId { epoch, number, ..winner })
        });
        query.dequeue(stage, partition);
        if let Some((rival_node, rival)) = rival {
            let peak_bytes = self.workers.release(&rival_node, &rival).map_or(0, |lease| lease.peak_bytes);
            let state = if rival == winner { AttemptState::Committed } else { AttemptState::Aborted };
            query.end_attempt(now, &rival, state, peak_bytes);
        }
        query.decide(epoch, reporter, winner, output);
        commands.push(Command::OutputSelected {
            output: OutputId { task: winner.task, generation: winner.generation },
            winner,
        });
        self.dirty.insert(id);
        self.placement_dirty = true;
        self.sync_rotation(id);
    }

    fn on_failed(
        &mut self,
        now: Millis,
        node: &NodeId,
        attempt: AttemptId,
        lease: &Lease,
        failure: Failure,
        commands: &mut Vec<Command>,
    ) {
        let id = attempt.task.query;
        let largest_bytes = self.workers.largest_bytes();
        let elsewhere = self.workers.iter().any(|(other, worker)| other != node && worker.is_active());
        self.placement_dirty = true;
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_finished()) else {
            return;
        };
        if !query.end_attempt(now, &attempt, AttemptState::Failed, lease.peak_bytes) {
            return;
        }
        query.failed_attempts += 1;
        match query.judge(now, node, &attempt, lease, failure, largest_bytes, elsewhere) {
            Ok(not_before) => self.try_again(now, &attempt, not_before),
            Err(error) => self.finish(now, id, Err(error), commands),
        }
    }

    /// An attempt has vanished together with its worker, or from it.
    pub(crate) fn on_lost(
        &mut self,
        now: Millis,
        node: &NodeId,
        attempt: AttemptId,
        lease: &Lease,
        commands: &mut Vec<Command>,
    ) {
        let id = attempt.task.query;
        self.placement_dirty = true;
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_finished()) else {
            return;
        };
        if !query.end_attempt(now, &attempt, AttemptState::Lost, lease.peak_bytes) {
            return;
        }
        // A worker that never had the attempt cannot have died of it.
        let judged = if lease.was_held() { query.judge_loss(node, &attempt, lease) } else { Ok(()) };
        match judged {
            Ok(()) => self.try_again(now, &attempt, now),
            Err(error) => self.finish(now, id, Err(error), commands),
        }
    }

    /// A worker that was taken for lost is back and still runs an attempt: it goes on if nobody else has been
    /// given its task yet.
    pub(crate) fn take_back(&mut self, node: &NodeId, id: &AttemptId) {
        let Some(query) = self.queries.get_mut(&id.task.query).filter(|query| !query.is_finished()) else {
            return;
        };
        let (stage, partition) = (id.task.stage, id.task.partition);
        let Some(task) = query.task_mut(stage, partition).filter(|_| id.epoch == self.epoch) else {
            return;
        };
        let waits = matches!(task.state, TaskState::Queued | TaskState::Delayed { .. });
        let Some(attempt) = task.attempt_mut(id).filter(|attempt| attempt.state == AttemptState::Lost) else {
            return;
        };
        let memory_bytes = attempt.memory_bytes;
        let room = self
            .workers
            .get(node)
            .is_some_and(|worker| worker.has_free_slot() && worker.free_bytes() >= memory_bytes);
        if !waits || !room || attempt.node != *node {
            return;
        }
        attempt.state = AttemptState::Running;
        attempt.ended_at = None;
        if let Some(trouble) = &mut task.trouble {
            trouble.losses = trouble.losses.saturating_sub(1);
        }
        let input = task.input.clone();
        query.dequeue(stage, partition);
        query.running += 1;
        let Some(stage) = query.stage_mut(stage) else {
            return;
        };
        stage.counts.running += 1;
        stage.counts.lost_attempts -= 1;
        stage.tasks[partition as usize].state = TaskState::Running;
        self.workers.lease(node, AttemptSpec { attempt: *id, memory_bytes, input });
        self.sync_rotation(id.task.query);
    }

    fn try_again(&mut self, now: Millis, attempt: &AttemptId, not_before: Millis) {
        let id: QueryId = attempt.task.query;
        if let Some(query) = self.queries.get_mut(&id) {
            query.enqueue(now, attempt.task.stage, attempt.task.partition, not_before);
            self.dirty.insert(id);
            self.sync_rotation(id);
        }
    }
}

impl Query {
    /// Takes note of the winner of an output.
    fn decide(&mut self, epoch: Epoch, reporter: AttemptId, winner: AttemptId, output: &OutputSize) {
        let Some(stage) = self.stages.get_mut(winner.task.stage.0 as usize) else {
            return;
        };
        stage.add_output(winner.task.partition, output);
        stage.counts.committed += 1;
        self.stages_changed |= stage.is_complete();
        let Some(task) = stage.tasks.get_mut(winner.task.partition as usize) else {
            return;
        };
        task.state = TaskState::Committed;
        // The winner may be an attempt that had been taken for lost. If it says so itself, it was not. If its
        // replacement found what it had committed, it stays lost: that is why the task was run again.
        if winner.epoch == epoch
            && winner == reporter
            && let Some(attempt) = task.attempt_mut(&winner)
        {
            attempt.state = AttemptState::Committed;
        }
    }

    /// Whether a failed task is tried again, and not before when; else what ends the query.
    #[expect(clippy::too_many_arguments, reason = "it is one fact with many parts")]
    fn judge(
        &mut self,
        now: Millis,
        node: &NodeId,
        attempt: &AttemptId,
        lease: &Lease,
        failure: Failure,
        largest_bytes: Option<u64>,
        elsewhere: bool,
    ) -> Result<Millis> {
        let Failure { class, error } = failure;
        let lease_bytes = lease.spec.memory_bytes;
        let out_of_memory = class == FailureClass::InsufficientResources && is_out_of_memory(error.code());
        if matches!(class, FailureClass::User | FailureClass::InputLost(_)) {
            return Err(error);
        }
        if out_of_memory && let Some(largest_bytes) = largest_bytes.filter(|largest| lease_bytes >= *largest)
        {
            return Err(does_not_fit(attempt, lease.peak_bytes, largest_bytes).caused_by(error.message()));
        }
        let retries = self.options.task_retry_attempts_per_task;
        let failures = self.count_failure(attempt, lease, out_of_memory);
        if failures > retries {
            return Err(error);
        }
        if let Some(error) = self.over_budget(&error) {
            return Err(error);
        }
        if class == FailureClass::InsufficientResources {
            return Ok(now);
        }
        let avoided_until = now.plus(self.options.retry_initial_delay);
        if let Some(task) = self.task_mut(attempt.task.stage, attempt.task.partition) {
            task.trouble_mut().avoided = Some((node.clone(), avoided_until));
        }
        self.count_node_failure(now, node);
        Ok(now.plus(task_delay(&self.options, failures, elsewhere)))
    }

    /// Whether a task is tried again whose worker was lost under it; else what ends the query.
    fn judge_loss(&mut self, node: &NodeId, attempt: &AttemptId, lease: &Lease) -> Result<()> {
        let retries = self.options.task_retry_attempts_per_task;
        let grows = self.options.memory_grows_on_worker_crash;
        let Some(task) = self.task_mut(attempt.task.stage, attempt.task.partition) else {
            return Ok(());
        };
        let trouble = task.trouble_mut();
        trouble.losses += 1;
        let losses = trouble.losses;
        if losses > LOST_WORKERS_FREE_MAX {
            let failures = self.count_failure(attempt, lease, grows);
            if failures > retries {
                let message =
                    format!("{attempt} was running on {losses} workers that were lost, the last one {node}");
                return Err(Error::new(ErrorCode::REMOTE_HOST_GONE, message));
            }
        } else if grows && losses >= LOST_WORKERS_TO_GROW_MEMORY_MIN {
            self.raise_lease(attempt, lease, true, false);
        }
        Ok(())
    }

    /// Counts a failure against a task, and sees to the lease of its next attempt.
    fn count_failure(&mut self, attempt: &AttemptId, lease: &Lease, grow: bool) -> u32 {
        let retries = self.options.task_retry_attempts_per_task;
        let Some(task) = self.task_mut(attempt.task.stage, attempt.task.partition) else {
            return u32::MAX;
        };
        let trouble = task.trouble_mut();
        trouble.failures = trouble.failures.saturating_add(1);
        let failures = trouble.failures;
        self.raise_lease(attempt, lease, grow, failures == retries);
        failures
    }

    fn raise_lease(&mut self, attempt: &AttemptId, lease: &Lease, grow: bool, last: bool) {
        let (lease_bytes, peak_bytes) = (lease.spec.memory_bytes, lease.peak_bytes);
        let Some(stage) = self.stage_mut(attempt.task.stage) else {
            return;
        };
        let wanted = stage.estimator.retry_bytes(lease_bytes, peak_bytes, grow, last);
        if grow {
            stage.estimator.register_out_of_memory(lease_bytes, peak_bytes);
        }
        if let Some(task) = stage.tasks.get_mut(attempt.task.partition as usize) {
            task.trouble_mut().lease_bytes_min = wanted;
        }
    }

    fn count_node_failure(&mut self, now: Millis, node: &NodeId) {
        let trouble = match self.node_trouble.entry(node.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(NodeTrouble { failures: 0, avoided_until: now }),
        };
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.avoided_until = now.plus(node_delay(&self.options, trouble.failures));
    }
}

/// What ends a query with a task that is too big for every node.
fn does_not_fit(attempt: &AttemptId, peak_bytes: u64, largest_bytes: u64) -> Error {
    Error::new(
        ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT,
        format!(
            "Cannot allocate enough memory for task {}. Reported peak memory reservation: {}. \
             Maximum possible reservation: {}.",
            attempt,
            succinct_bytes(peak_bytes),
            succinct_bytes(largest_bytes)
        ),
    )
}
