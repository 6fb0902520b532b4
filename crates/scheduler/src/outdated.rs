//! Commit records that vanish while nobody knows what they said.
//!
//! A coordinator that takes over knows what was committed by the records alone. If one of them is gone, the task is
//! run again under the generation that it has. Of a determinate stage that is harmless; what another run of an
//! indeterminate one writes must not be mixed with what was read before.
//!
//! That it was read shows in who has read it. A task is placed when all that it reads is committed, so the attempt
//! that wrote an output is never of a later life of the coordinator than the attempts that have read it. Where it
//! is, or where nothing is committed and there is a reader, the output was made again: then it is void under its
//! generation, and all that is downstream of it.

use alloc::vec::Vec;

use base::{AttemptId, Epoch, Error, OutputId, StageId, TaskId};

use crate::query::Query;
use crate::stage::Stage;

impl Query {
    /// Gives up the outputs that decided tasks have read otherwise than they are now, when all that was found of a
    /// query is decided.
    pub(crate) fn note_all_outdated(&mut self) {
        for at in (0..self.stages.len() as u32).map(StageId) {
            let Some(stage) = self.stage(at).filter(|stage| !stage.determinate) else {
                continue;
            };
            let of_stage = |reader| self.stage(reader).into_iter().flat_map(|stage| &stage.tasks);
            let decided = self.downstream(at).into_iter().flat_map(of_stage).filter_map(|task| task.winner);
            // The task of a stage with a single one is not known before what it reads is there.
            let found = self.found.iter().filter(|(output, _)| {
                let reader = self.stage(output.task.stage);
                reader.is_some_and(|it| it.generation(output.task.partition) == output.generation)
                    && self.downstream(at).contains(&output.task.stage)
            });
            let epochs = decided.map(|(epoch, _)| epoch).chain(found.map(|(_, (winner, _))| winner.epoch));
            if let Some(oldest) = epochs.min()
                && !is_older(stage, oldest)
            {
                self.note_outdated(at, oldest);
            }
        }
    }

    /// The same for a task that an attempt of a former life of the coordinator has committed just now, or still runs.
    /// Whether there are such outputs.
    pub(crate) fn note_outdated_inputs(&mut self, reader: &AttemptId) -> bool {
        let outdated: Vec<StageId> = self.outdated_inputs(reader).collect();
        for stage in &outdated {
            self.note_outdated(*stage, reader.epoch);
        }
        !outdated.is_empty()
    }

    /// The indeterminate stages that an attempt of a former life must have read otherwise than they are now.
    pub(crate) fn outdated_inputs(&self, reader: &AttemptId) -> impl Iterator<Item = StageId> {
        let (at, epoch) = (reader.task.stage, reader.epoch);
        let upstream = (at.0 + 1..self.stages.len() as u32).map(StageId);
        upstream.filter(move |producer| {
            let stage = &self.stages[producer.0 as usize];
            let may_be = !stage.determinate && !is_older(stage, epoch);
            may_be
                && self.downstream(*producer).contains(&at)
                && self.outdated(*producer, epoch).next().is_some()
        })
    }

    fn note_outdated(&mut self, at: StageId, oldest: Epoch) {
        let outdated: Vec<OutputId> = self.outdated(at, oldest).collect();
        for output in outdated {
            self.losses.note_gone(output, Error::lost(output, "Its commit record is not there any more"));
        }
    }

    /// The outputs of a stage that are not there, or that are of a later life than that of their reader.
    fn outdated(&self, at: StageId, reader: Epoch) -> impl Iterator<Item = OutputId> {
        let stage = &self.stages[at.0 as usize];
        // The task of a stage that has a single one may not be known yet.
        let count = stage.tasks.len().max(usize::from(stage.is_single()));
        let output = move |partition| OutputId {
            task: TaskId { query: self.id, stage: at, partition },
            generation: stage.generation(partition),
        };
        (0..count as u32).map(output).filter(move |output| {
            let task = stage.tasks.get(output.task.partition as usize);
            let decided = task.and_then(|task| task.winner).map(|(epoch, _)| epoch);
            let found = self.found.get(output).map(|(winner, _)| winner.epoch);
            decided.or(found).is_none_or(|epoch| epoch > reader)
        })
    }
}

/// Whether all of a stage is committed, by attempts of that life of the coordinator at the latest.
fn is_older(stage: &Stage, epoch: Epoch) -> bool {
    stage.is_complete() && stage.newest_winner <= epoch
}
