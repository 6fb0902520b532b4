//! Lost outputs: what becomes void with them, and how everybody comes to agree about it.
//!
//! A committed output that cannot be read is void: its task goes back to the queue under the next generation.
//! If a second run of the task may write something else, whoever has read the output must not be mixed with
//! those that will read the new one: then all tasks of all stages downstream are void with it. What a determinate
//! task writes again is what it wrote before, as long as it reads the same; and when something else comes from an
//! indeterminate stage above it, the task goes back together with that.
//!
//! One record is one atomic change, and the records of a query are numbered. The generation of every task follows
//! from the records alone, whoever reads them:
//!
//! - an output that a record names at the generation it has is void;
//! - of a stage that is not determinate, everything downstream is void with it, whether it is named or not, and
//!   whether it is known or formed later (there may be another coordinator that knows more tasks);
//! - an output that is named at an earlier generation than it has was found to differ from what was written
//!   before: its stage is not determinate from then on, and everything downstream is void.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use base::{AttemptId, Error, ErrorCode, Millis, NodeId, OutputId, QueryId, Result, StageId, TaskId};

use crate::command::Command;
use crate::core::{Core, attempt_id};
use crate::planted::PlantedBug;
use crate::query::Query;
use crate::record::Record;
use crate::task::AttemptState;

/// The outputs of a query that cannot be read, and what is done about them.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Losses {
    /// The number of the next record.
    pub number: u32,
    /// A record was asked for. Until it is there, nothing is placed, formed or finished.
    pub is_recording: bool,
    /// Committed outputs that could not be read, with what the user is told if they cannot be recomputed.
    lost: BTreeMap<OutputId, Error>,
    /// What rolled back without a record, in order.
    pub unrecorded: Vec<Vec<OutputId>>,
    /// Outputs that are not decided, and that nobody can commit any more: what is under the key of their commit record
    /// cannot be read.
    taken: BTreeMap<OutputId, Error>,
    /// Outputs that were made again under their generation, or will be, without anybody knowing that they were there.
    gone: BTreeMap<OutputId, Error>,
    /// Outputs of determinate stages that are not what was committed before, by the generation before.
    differing: BTreeSet<OutputId>,
}

impl Losses {
    /// Nothing of the query will be recomputed any more.
    pub(crate) fn forget(&mut self) {
        self.lost.clear();
        self.taken.clear();
        self.gone.clear();
        self.differing.clear();
    }

    /// Takes note that an output was read that nobody knows any more.
    pub(crate) fn note_gone(&mut self, output: OutputId, error: Error) {
        self.gone.entry(output).or_insert(error);
    }
}

/// What a rollback takes with it.
#[derive(Default)]
pub(crate) struct Voided {
    /// The outputs that were decided.
    outputs: Vec<OutputId>,
    /// The attempts that ran for what is void now, or were to read it.
    pub attempts: Vec<(NodeId, AttemptId)>,
}

impl Core {
    /// An output is lost, and it is not an attempt that says so.
    pub(crate) fn on_output_lost(
        &mut self,
        now: Millis,
        output: OutputId,
        error: Error,
        commands: &mut Vec<Command>,
    ) {
        let id = output.task.query;
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_over()) else {
            return;
        };
        if query.region.is_some() {
            return self.on_region_output_lost(now, &output, error, commands);
        }
        if query.note_lost(output, error) {
            self.dirty.insert(id);
        }
    }

    /// Rolls back what is lost, unless that is being recorded. Fails if that cannot be done.
    pub(crate) fn roll_back(&mut self, now: Millis, id: QueryId, commands: &mut Vec<Command>) -> Result<()> {
        let blind = self.is_planted(PlantedBug::DifferenceIgnored)
            || self.is_planted(PlantedBug::IndeterminateRerunIgnored);
        if blind && let Some(query) = self.queries.get_mut(&id) {
            query.losses.differing.clear();
        }
        while let Some(query) = self.queries.get_mut(&id).filter(|query| !query.losses.is_recording) {
            let outputs = query.void_outputs()?;
            if outputs.is_empty() {
                break;
            }
            let number = query.losses.number;
            if query.options.is_durable {
                query.losses.is_recording = true;
                let record = Record::Rollback { number, outputs };
                commands.push(Command::Persist { query: id, record });
            } else {
                self.apply_rollback(now, id, number, &outputs, commands);
                if let Some(query) = self.queries.get_mut(&id) {
                    query.losses.unrecorded.push(outputs);
                }
            }
        }
        Ok(())
    }

    /// Carries out the next rollback of a query.
    pub(crate) fn apply_rollback(
        &mut self,
        now: Millis,
        id: QueryId,
        number: u32,
        outputs: &[OutputId],
        commands: &mut Vec<Command>,
    ) {
        let Some(query) =
            self.queries.get_mut(&id).filter(|it| it.outcome.is_none() && it.losses.number == number)
        else {
            return;
        };
        query.losses.number += 1;
        query.losses.is_recording = false;
        let mut voided = query.void(outputs);
        let is_read = voided.outputs.iter().any(|output| query.is_read(output));
        let lost = query.losses.lost.values().next().cloned();
        voided.attempts.extend(self.unstarted_readers(id, &voided.outputs));
        for (node, attempt) in voided.attempts {
            let peak_bytes = self.workers.release(&node, &attempt).map_or(0, |lease| lease.peak_bytes);
            let Some(query) = self.queries.get_mut(&id) else {
                continue;
            };
            if query.end_attempt(now, &attempt, AttemptState::Aborted, peak_bytes) == Some(0) {
                query.enqueue(now, attempt.task.stage, attempt.task.partition, now);
            }
        }
        if !voided.outputs.is_empty() {
            commands.push(Command::OutputsRolledBack { query: id, outputs: voided.outputs });
        }
        self.dirty.insert(id);
        self.placement_dirty = true;
        if is_read {
            // The client began to get them while the record was written, or somebody else wrote it.
            self.finish(now, id, Err(lost.unwrap_or_else(read_already)), commands);
        }
    }

    /// The attempts that are to read outputs and that no worker is known to hold. What runs is left alone: it has
    /// what it reads, or fails for want of it. What has not started might be told too late what to read.
    fn unstarted_readers(&self, id: QueryId, outputs: &[OutputId]) -> Vec<(NodeId, AttemptId)> {
        let Some(query) = self.queries.get(&id) else {
            return Vec::new();
        };
        let lost: BTreeSet<StageId> = outputs.iter().map(|output| output.task.stage).collect();
        let readers = query.running_attempts().filter(|(attempt, it)| {
            let inputs = query.stage(attempt.task.stage).map(|stage| &stage.shape.inputs);
            let mut producers = inputs.into_iter().flatten().flat_map(|input| &input.producers);
            let held = self.workers.get(&it.node).and_then(|worker| worker.leases.get(attempt));
            producers.any(|producer| lost.contains(producer)) && !held.is_some_and(|lease| lease.was_held())
        });
        readers.map(|(attempt, it)| (it.node.clone(), attempt)).collect()
    }
}

/// Why a query cannot go on whose result would change under its reader.
fn read_already() -> Error {
    let text = "Rows of the result that the client has begun to get would have to be recomputed";
    Error::new(ErrorCode::EXCHANGE_DATA_LOST, text)
}

impl Query {
    /// Whether an output is the one that counts.
    pub(crate) fn is_selected(&self, output: &OutputId) -> bool {
        let task = self.stage(output.task.stage).and_then(|it| it.tasks.get(output.task.partition as usize));
        task.is_some_and(|task| task.winner.is_some() && task.generation == output.generation)
    }

    /// Takes note that an output cannot be read. Whether it was the one that counts.
    pub(crate) fn note_lost(&mut self, output: OutputId, error: Error) -> bool {
        let selected = self.is_selected(&output);
        if selected {
            self.losses.lost.entry(output).or_insert(error);
        }
        selected
    }

    /// Takes note that an output can be committed no more under its generation, unless it is decided.
    pub(crate) fn note_taken(&mut self, output: OutputId, error: Error) {
        self.losses.taken.entry(output).or_insert(error);
    }

    /// Whether an output is the next one of its task, and not decided.
    pub(crate) fn is_undecided(&self, output: &OutputId) -> bool {
        self.stage(output.task.stage).is_some_and(|stage| {
            let task = stage.tasks.get(output.task.partition as usize);
            task.is_none_or(|task| task.winner.is_none())
                && stage.generation(output.task.partition) == output.generation
        })
    }

    /// Takes note that a determinate task wrote something else than it had written in an earlier generation.
    pub(crate) fn note_difference(&mut self, earlier: OutputId) {
        self.losses.differing.insert(earlier);
    }

    /// The outputs that are to be void because of what is lost or differs, or why that cannot be.
    fn void_outputs(&mut self) -> Result<Vec<OutputId>> {
        let mut losses = core::mem::take(&mut self.losses);
        losses.lost.retain(|output, _| self.is_selected(output));
        losses.taken.retain(|output, _| self.is_undecided(output));
        losses.gone.retain(|output, _| self.is_undecided(output) || self.is_selected(output));
        losses.differing.retain(|earlier| self.stages[earlier.task.stage.0 as usize].determinate);
        self.losses = losses;
        let mut void: BTreeSet<OutputId> = self.losses.differing.clone();
        // Whoever has committed what cannot be read may have been read.
        for (output, error) in self.losses.lost.iter().chain(&self.losses.taken).chain(&self.losses.gone) {
            if output.generation >= self.options.generations_max {
                return Err(error.clone());
            }
            void.insert(*output);
            if !self.stages[output.task.stage.0 as usize].determinate {
                void.extend(self.outputs_downstream(output.task.stage));
            }
        }
        for earlier in &self.losses.differing {
            void.extend(self.outputs_downstream(earlier.task.stage));
        }
        if void.iter().any(|output| self.is_read(output)) {
            return Err(self.losses.lost.values().next().cloned().unwrap_or_else(read_already));
        }
        Ok(void.into_iter().collect())
    }

    /// Whether the client has begun to get the rows of an output.
    fn is_read(&self, output: &OutputId) -> bool {
        output.task.stage == StageId(0) && self.result_read.contains(&output.task.partition)
    }

    /// The outputs of all tasks that are known downstream of a stage.
    fn outputs_downstream(&self, stage: StageId) -> impl Iterator<Item = OutputId> {
        self.downstream(stage).into_iter().flat_map(move |at| {
            let tasks = (0u32..).zip(&self.stages[at.0 as usize].tasks);
            tasks.map(move |(partition, task)| OutputId {
                task: TaskId { query: self.id, stage: at, partition },
                generation: task.generation,
            })
        })
    }

    /// The stages that read from a stage, or from one that does. An input has a higher id than its reader.
    pub(crate) fn downstream(&self, stage: StageId) -> BTreeSet<StageId> {
        let mut found = BTreeSet::from([stage]);
        for at in (0..stage.0).rev() {
            let inputs = &self.stages[at as usize].shape.inputs;
            if inputs.iter().flat_map(|input| &input.producers).any(|producer| found.contains(producer)) {
                found.insert(StageId(at));
            }
        }
        found.remove(&stage);
        found
    }

    /// Makes void what a record says, and what follows from it.
    fn void(&mut self, outputs: &[OutputId]) -> Voided {
        let (mut alone, mut whole) = (BTreeSet::new(), BTreeSet::new());
        for output in outputs {
            let (stage, partition) = (output.task.stage, output.task.partition);
            let Some(state) = self.stages.get_mut(stage.0 as usize) else {
                continue;
            };
            let current = state.generation(partition);
            if output.generation == current {
                alone.insert((stage, partition));
            }
            state.determinate &= output.generation >= current;
            if !state.determinate {
                whole.extend(self.downstream(stage));
            }
        }
        let mut voided = Voided::default();
        for (stage, partition) in alone.into_iter().filter(|(stage, _)| !whole.contains(stage)) {
            self.void_task(stage, partition, true, &mut voided);
        }
        for stage in whole {
            let state = &mut self.stages[stage.0 as usize];
            state.base_generation += 1;
            for ahead in state.ahead.values_mut() {
                ahead.generation = ahead.generation.map(|generation| generation + 1);
                if let Some(written) = &mut ahead.written {
                    written.is_comparable = false;
                }
            }
            for partition in 0..state.tasks.len() as u32 {
                self.void_task(stage, partition, false, &mut voided);
            }
        }
        self.stages_changed = true;
        voided
    }

    /// Makes the output of a task void. `is_same`: the next run is to write the same.
    pub(crate) fn void_task(&mut self, stage: StageId, partition: u32, is_same: bool, voided: &mut Voided) {
        let id = TaskId { query: self.id, stage, partition };
        let state = &mut self.stages[stage.0 as usize];
        let Some(task) = state.tasks.get_mut(partition as usize) else {
            // Somebody else knows the task already.
            let base = state.base_generation;
            *state.ahead.entry(partition).or_default().generation.get_or_insert(base) += 1;
            return;
        };
        let running = task.running().map(|attempt| (attempt.node.clone(), attempt_id(id, attempt)));
        voided.attempts.extend(running);
        let rows = task.written.map_or(0, |written| written.rows);
        let generation = task.generation;
        task.generation += 1;
        if !is_same && let Some(written) = &mut task.written {
            written.is_comparable = false;
        }
        if task.winner.take().is_some() {
            voided.outputs.push(OutputId { task: id, generation });
            state.counts.committed -= 1;
            state.rows = state.rows.saturating_sub(rows);
            self.enqueue(Millis(0), stage, partition, Millis(0));
        }
    }
}
