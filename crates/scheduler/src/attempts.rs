//! What becomes of a task when an attempt of it ends: committed, failed, handed back, or lost with its worker.

use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::vec::Vec;

use base::{
    AttemptId, Error, ErrorCode, Failure, FailureClass, Millis, NodeId, OutputId, QueryId, Result, StageId,
};

use crate::command::Command;
use crate::core::{Core, attempt_id};
use crate::event::{AttemptReport, AttemptStatus, OutputSize};
use crate::invariants::assert_undecided;
use crate::memory::is_out_of_memory;
use crate::planted::PlantedBug;
use crate::query::Query;
use crate::retry::{
    LOST_WORKERS_FREE_MAX, LOST_WORKERS_TO_GROW_MEMORY_MIN, NodeTrouble, node_delay, task_delay,
};
use crate::task::{AttemptState, TaskState, Written};
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
            AttemptStatus::HandedBack if self.is_planted(PlantedBug::HandedBackIsFailure) => {
                if let Some(lease) = self.workers.release(node, &attempt) {
                    let failure = Failure::of(Error::internal("it was given back"));
                    self.on_failed(now, node, attempt, &lease, failure, commands);
                }
            }
            AttemptStatus::HandedBack => {
                if self.workers.release(node, &attempt).is_some() {
                    self.on_handed_back(now, node, attempt, peak_memory_bytes, commands);
                }
            }
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
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_over()) else {
            return;
        };
        self.placement_dirty |= lease.is_some();
        query.node_trouble.remove(node);
        let is_strange = winner.epoch < self.epoch && !query.is_recovered;
        if is_strange {
            return self.on_strange_commit(now, attempt, lease, winner);
        }
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        if let Some(lease) = lease {
            let state = if winner == attempt { AttemptState::Committed } else { AttemptState::Aborted };
            // Of one that was taken over it is not known when it started.
            let is_known = winner == attempt && attempt.epoch == self.epoch;
            let evidence = if is_known { query.compare(now, &attempt) } else { Vec::new() };
            query.end_attempt(now, &attempt, state, lease.peak_bytes);
            for (node, evidence) in evidence {
                self.workers.learn(now, &node, evidence);
            }
            if let Some(stage) = query.stage_mut(attempt.task.stage).filter(|_| winner == attempt) {
                stage.estimator.register_success(lease.peak_bytes);
            }
        }
        if winner.epoch < self.epoch
            && let Some(query) = self.queries.get_mut(&id)
            && query
                .task_mut(winner.task.stage, winner.task.partition)
                .is_some_and(|task| task.winner.is_none() && task.generation == winner.generation)
            && query.note_outdated_inputs(&winner)
        {
            self.dirty.insert(id);
        }
        self.select_output(now, attempt, winner, output, commands);
    }

    /// A former life of the coordinator ran a query of the same name, of which nothing is known: it may have formed other
    /// tasks. What its attempts commit can be committed by nobody else under that generation.
    fn on_strange_commit(
        &mut self,
        now: Millis,
        attempt: AttemptId,
        lease: Option<&Lease>,
        winner: AttemptId,
    ) {
        let id = attempt.task.query;
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let output = winner.output();
        if query.is_undecided(&output) {
            query.note_taken(output, Error::lost(output, "An attempt of a former life has committed it"));
            self.dirty.insert(id);
        }
        if let Some(lease) = lease
            && let Some(others) = query.end_attempt(now, &attempt, AttemptState::Aborted, lease.peak_bytes)
        {
            self.try_again(now, &attempt, now, others);
        }
    }

    /// Decides the output of a task, unless it is decided.
    pub(crate) fn select_output(
        &mut self,
        now: Millis,
        reporter: AttemptId,
        winner: AttemptId,
        output: &OutputSize,
        commands: &mut Vec<Command>,
    ) {
        let (id, stage, partition) = (winner.task.query, winner.task.stage, winner.task.partition);
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
        let task_id = winner.task;
        let rivals: Vec<(NodeId, AttemptId)> =
            task.running().map(|rival| (rival.node.clone(), attempt_id(task_id, rival))).collect();
        query.dequeue(stage, partition);
        for (node, rival) in rivals {
            let peak_bytes = self.workers.release(&node, &rival).map_or(0, |lease| lease.peak_bytes);
            let state = if rival == winner { AttemptState::Committed } else { AttemptState::Aborted };
            query.end_attempt(now, &rival, state, peak_bytes);
        }
        query.decide(reporter, winner, output);
        let is_early = self.planted.is(PlantedBug::RegionServedEarly) && stage == StageId(0);
        let selected = match query.region.is_some() && !is_early {
            true => query.region_outputs(stage),
            false => Vec::from([winner]),
        };
        let select = |winner: AttemptId| Command::OutputSelected { output: winner.output(), winner };
        commands.extend(selected.into_iter().map(select));
        self.dirty.insert(id);
        self.rival_dirty.insert(id);
        self.placement_dirty = true;
        self.sync_rotation(id);
    }

    fn on_failed(
        &mut self,
        now: Millis,
        node: &NodeId,
        attempt: AttemptId,
        lease: &Lease,
        mut failure: Failure,
        commands: &mut Vec<Command>,
    ) {
        if failure.class == FailureClass::User && self.is_planted(PlantedBug::UserErrorRetried) {
            failure.class = FailureClass::External;
        }
        let unreadable_tried_again = self.is_planted(PlantedBug::UnreadableCommitTriedAgain);
        let id = attempt.task.query;
        let largest_bytes = self.workers.largest_bytes();
        let elsewhere = self.workers.iter().any(|(other, worker)| other != node && worker.is_active());
        self.placement_dirty = true;
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_over()) else {
            return;
        };
        let lost = query
            .lost_input(&attempt, &failure)
            .filter(|lost| !(unreadable_tried_again && *lost == attempt.output()));
        let state = if lost.is_some() { AttemptState::Aborted } else { AttemptState::Failed };
        let Some(others) = query.end_attempt(now, &attempt, state, lease.peak_bytes) else {
            return;
        };
        if query.region.is_some() {
            query.enqueue(now, attempt.task.stage, attempt.task.partition, now);
            return self.on_region_failed(now, node, attempt, failure, commands);
        }
        let judged = match lost {
            Some(output) if output == attempt.output() => {
                query.note_taken(output, failure.error);
                Ok(now)
            }
            Some(output) => {
                query.note_lost(output, failure.error);
                Ok(now)
            }
            None => {
                query.failed_attempts += 1;
                query.judge(now, node, &attempt, lease, failure, largest_bytes, elsewhere, others > 0)
            }
        };
        // Even if the query fails its task waits again: somebody else may have recorded another end.
        self.try_again(now, &attempt, *judged.as_ref().unwrap_or(&now), others);
        if let Err(error) = judged {
            self.finish(now, id, Err(error), commands);
        }
    }

    /// A draining worker gives an attempt back.
    fn on_handed_back(
        &mut self,
        now: Millis,
        node: &NodeId,
        attempt: AttemptId,
        peak_bytes: u64,
        commands: &mut Vec<Command>,
    ) {
        self.placement_dirty = true;
        let Some(query) = self.queries.get_mut(&attempt.task.query).filter(|query| !query.is_over()) else {
            return;
        };
        let Some(others) = query.end_attempt(now, &attempt, AttemptState::Aborted, peak_bytes) else {
            return;
        };
        let is_pipelined = query.region.is_some();
        self.try_again(now, &attempt, now, others);
        if is_pipelined {
            self.on_region_handed_back(now, node, attempt.task.query, commands);
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
        let forgiven = self.is_planted(PlantedBug::LossesNeverCount);
        self.placement_dirty = true;
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_over()) else {
            return;
        };
        let Some(others) = query.end_attempt(now, &attempt, AttemptState::Lost, lease.peak_bytes) else {
            return;
        };
        if query.region.is_some() {
            query.enqueue(now, attempt.task.stage, attempt.task.partition, now);
            return self.on_region_lost(now, node, id, commands);
        }
        // A worker that never had the attempt cannot have died of it.
        let counts = lease.was_held() && !forgiven;
        let judged = if counts { query.judge_loss(node, &attempt, lease) } else { Ok(()) };
        self.try_again(now, &attempt, now, others);
        if let Some(error) = judged.err().filter(|_| others == 0) {
            self.finish(now, id, Err(error), commands);
        }
    }

    /// Lets a task wait for a node again, unless others of its attempts are on workers.
    fn try_again(&mut self, now: Millis, attempt: &AttemptId, not_before: Millis, others: usize) {
        let id: QueryId = attempt.task.query;
        if let Some(query) = self.queries.get_mut(&id) {
            if others == 0 {
                query.enqueue(now, attempt.task.stage, attempt.task.partition, not_before);
            }
            self.dirty.insert(id);
            self.rival_dirty.insert(id);
            self.sync_rotation(id);
        }
    }
}

impl Query {
    /// Takes note of the winner of an output.
    fn decide(&mut self, reporter: AttemptId, winner: AttemptId, output: &OutputSize) {
        let Some(stage) = self.stages.get_mut(winner.task.stage.0 as usize) else {
            return;
        };
        let partition = winner.task.partition;
        let Some(task) = stage.tasks.get_mut(partition as usize) else {
            return;
        };
        task.state = TaskState::Committed;
        stage.newest_winner = stage.newest_winner.max(winner.epoch);
        // The winner may be an attempt that had been taken for lost. If it says so itself, it was not. If its
        // replacement found what it had committed, it stays lost: that is why the task was run again.
        if winner == reporter
            && let Some(attempt) = task.attempt_mut(&winner)
        {
            attempt.state = AttemptState::Committed;
        }
        let (rows, checksum) = (output.rows, output.checksum);
        let before = task.written.replace(Written { rows, checksum, is_comparable: true, is_counted: true });
        stage.add_output(partition, output, before.is_none_or(|before| !before.is_counted));
        stage.counts.committed += 1;
        self.stages_changed |= stage.is_complete();
        let differs = before
            .is_some_and(|before| before.is_comparable && (before.rows, before.checksum) != (rows, checksum));
        if differs && stage.determinate && winner.task.stage != StageId(0) {
            self.note_difference(OutputId { task: winner.task, generation: winner.generation - 1 });
        }
    }

    /// The output that an attempt could not read, if that is why it failed: not by fault of its own. It may be that of
    /// its own task: somebody has committed, and nobody can read who.
    fn lost_input(&mut self, attempt: &AttemptId, failure: &Failure) -> Option<OutputId> {
        let FailureClass::InputLost(output) = failure.class else {
            return None;
        };
        if output == attempt.output() {
            return Some(output);
        }
        let mut inputs = self.stage(attempt.task.stage)?.shape.inputs.iter();
        let is_input = output.task.query == self.id
            && inputs.any(|input| input.producers.contains(&output.task.stage))
            && self.stage(output.task.stage)?.tasks.len() > output.task.partition as usize;
        if !is_input {
            return None;
        }
        let selected = self.is_selected(&output);
        // Each rollback can be missed by the attempts that were started before it, of which there are at most two.
        let stale_max = self.losses.number.saturating_add(1).saturating_mul(2);
        let trouble = self.task_mut(attempt.task.stage, attempt.task.partition)?.trouble_mut();
        trouble.stale_inputs = trouble.stale_inputs.saturating_add(u32::from(!selected));
        (selected || trouble.stale_inputs <= stale_max).then_some(output)
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
        has_rival: bool,
    ) -> Result<Millis> {
        let Failure { class, error } = failure;
        let lease_bytes = lease.spec.memory_bytes;
        let out_of_memory = class == FailureClass::InsufficientResources && is_out_of_memory(error.code());
        if class == FailureClass::User {
            return Err(error);
        }
        if out_of_memory && let Some(largest_bytes) = largest_bytes.filter(|largest| lease_bytes >= *largest)
        {
            return Err(does_not_fit(attempt, lease.peak_bytes, largest_bytes).caused_by(error.message()));
        }
        let retries = self.options.task_retry_attempts_per_task;
        let failures = self.count_failure(attempt, lease, out_of_memory);
        if failures > retries && !has_rival {
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

    pub(crate) fn count_node_failure(&mut self, now: Millis, node: &NodeId) {
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
