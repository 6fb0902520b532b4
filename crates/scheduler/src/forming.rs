//! When stages start, and how their tasks come to be: formed, recorded, taken on.

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::StageId;

use crate::command::{Command, TaskInput};
use crate::query::{Query, ReadyKey};
use crate::record::Record;
use crate::shape::Distribution;
use crate::stage::form_tasks;

impl Query {
    /// Starts every stage whose inputs are complete, and holds up those whose inputs are not any more.
    pub(crate) fn start_stages(&mut self) {
        if !core::mem::take(&mut self.stages_changed) {
            return;
        }
        for at in (0..self.stages.len()).rev() {
            let stage = &self.stages[at];
            let mut producers = stage.shape.inputs.iter().flat_map(|input| &input.producers);
            let complete = producers.all(|id| self.stages[id.0 as usize].is_complete());
            match stage.start_order {
                None if complete => self.start_stage(at),
                Some(start_order) if complete == stage.blocked => {
                    self.stages[at].blocked = !complete;
                    self.park_or_unpark(start_order, StageId(at as u32));
                }
                _ => {}
            }
        }
    }

    pub(crate) fn start_stage(&mut self, at: usize) {
        self.stages[at].start_order = Some(self.started);
        self.started += 1;
    }

    /// Moves the waiting tasks of a stage to where they belong now.
    fn park_or_unpark(&mut self, start_order: u32, stage: StageId) {
        let keys = |partition| ReadyKey { start_order, stage, partition };
        let blocked = self.stages[stage.0 as usize].blocked;
        let (from, to) =
            if blocked { (&mut self.ready, &mut self.parked) } else { (&mut self.parked, &mut self.ready) };
        let moved: Vec<ReadyKey> = from.range(keys(0)..=keys(u32::MAX)).copied().collect();
        for key in moved {
            from.remove(&key);
            to.insert(key);
        }
    }

    /// Forms the tasks that can be formed, and asks for the records of them.
    ///
    /// `idle`: slots are free and no task waits for them.
    pub(crate) fn form_tasks(&mut self, slots: u64, idle: bool, commands: &mut Vec<Command>) {
        for at in (0..self.stages.len()).rev() {
            let stage = &self.stages[at];
            if stage.start_order.is_none() || stage.blocked || stage.sealed || stage.is_recording {
                continue;
            }
            let single = stage.shape.distribution == Distribution::Single;
            // How many tasks there should be is known when workers have said what they are.
            if self.takeover_until.is_some() && !single {
                continue;
            }
            let idle = idle && self.ready.is_empty() && self.delayed.is_empty() && self.recording() == 0;
            form_tasks(&mut self.stages, at, &self.options, slots, idle);
            let (id, stage) = (StageId(at as u32), &mut self.stages[at]);
            if stage.formed.is_empty() && !stage.formed_last {
                continue;
            }
            let (tasks, sealed) = (stage.formed.clone(), stage.formed_last);
            if self.options.is_durable && !single {
                stage.is_recording = true;
                let record = Record::Tasks { stage: id, number: stage.record_number, tasks, sealed };
                commands.push(Command::Persist { query: self.id, record });
            } else {
                self.adopt_tasks(id, tasks, sealed, commands);
            }
        }
    }

    /// How many tasks are formed and wait to be recorded.
    fn recording(&self) -> usize {
        self.stages.iter().map(|stage| stage.formed.len()).sum()
    }

    /// Takes on tasks that count from now on.
    pub(crate) fn adopt_tasks(
        &mut self,
        id: StageId,
        tasks: Vec<Arc<TaskInput>>,
        sealed: bool,
        commands: &mut Vec<Command>,
    ) {
        let at = id.0 as usize;
        if self.stages[at].start_order.is_none() {
            self.start_stage(at);
        }
        let stage = &mut self.stages[at];
        let formed = stage.tasks.len();
        stage.adopt_tasks(tasks, sealed);
        let total = stage.tasks.len();
        stage.queued += (total - formed) as u32;
        let (start_order, blocked) = (stage.start_order.unwrap_or_default(), stage.blocked);
        let keys =
            (formed..total).map(|partition| ReadyKey { start_order, stage: id, partition: partition as u32 });
        if blocked || self.region.is_some() {
            self.parked.extend(keys);
        } else {
            self.ready.extend(keys);
        }
        // All its tasks may have ended before it was known that there are no more.
        self.stages_changed = true;
        if sealed {
            commands.push(Command::StageSealed { query: self.id, stage: id, tasks: total as u32 });
        }
    }

    /// Asks for more splits, unless many tasks wait already.
    pub(crate) fn request_splits(&mut self, count_max: u32, commands: &mut Vec<Command>) {
        let waiting = self.ready.len() + self.delayed.len() + self.recording();
        if waiting > self.options.tasks_waiting_for_execution_max as usize {
            return;
        }
        for (at, stage) in (0u32..).zip(&mut self.stages).filter(|(_, stage)| stage.is_enumerating()) {
            for (scan, state) in
                (0u32..).zip(&mut stage.scans).filter(|(_, scan)| !scan.last && !scan.requested)
            {
                state.requested = true;
                commands.push(Command::RequestSplits { query: self.id, stage: StageId(at), scan, count_max });
            }
        }
    }
}
