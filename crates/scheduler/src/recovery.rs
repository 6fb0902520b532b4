//! What happens when a record is there, and how a query is taken up again from its records.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use base::{AttemptId, Millis, NodeId, OutputId, QueryId, Result, StageId, TaskId};

use crate::command::{AttemptSpec, Command, TaskInput};
use crate::core::Core;
use crate::event::AttemptReport;
use crate::options::QueryOptions;
use crate::query::Query;
use crate::record::{Record, RecordKey, RecoveredCommit};
use crate::shape::{Distribution, QueryShape};
use crate::stage::Stage;
use crate::task::{Attempt, AttemptState, TaskState, Written};

impl Core {
    /// A record is there: it counts, whoever wrote it.
    pub(crate) fn on_persisted(
        &mut self,
        now: Millis,
        id: QueryId,
        record: Record,
        commands: &mut Vec<Command>,
    ) {
        if self.on_late_record(now, id, &record, commands) {
            return;
        }
        match record {
            Record::Tasks { stage, number, tasks, sealed } => {
                let Some(query) = self.queries.get_mut(&id).filter(|query| query.outcome.is_none()) else {
                    return;
                };
                if query.note_tasks(stage, number, tasks, sealed, commands) {
                    self.dirty.insert(id);
                    self.sync_rotation(id);
                }
            }
            Record::Rollback { number, outputs } => self.apply_rollback(now, id, number, &outputs, commands),
            Record::Done { outcome } => self.on_done(now, id, outcome, commands),
        }
    }

    /// It is recorded how a query ended.
    fn on_done(&mut self, now: Millis, id: QueryId, outcome: Result<()>, commands: &mut Vec<Command>) {
        let Some(query) = self.queries.get_mut(&id).filter(|query| query.outcome.is_none()) else {
            return;
        };
        if outcome.is_ok() && !query.is_result_complete() && !query.closed {
            // Somebody else has seen all of the result. It is there, or can be made again, however long that takes.
            query.ending = None;
            query.is_done = true;
            query.admitted_at.get_or_insert(now);
            self.dirty.insert(id);
            self.placement_dirty = true;
            return;
        }
        if query.ending.is_none() {
            self.stop(now, id);
        }
        self.conclude(id, outcome, commands);
    }

    /// A query of a former life of the coordinator goes on. Of one that is known already, more was found.
    pub(crate) fn on_recovered(
        &mut self,
        now: Millis,
        id: QueryId,
        shape: QueryShape,
        options: QueryOptions,
        (records, commits): (Vec<Record>, Vec<RecoveredCommit>),
        commands: &mut Vec<Command>,
    ) {
        let is_news = !self.queries.contains_key(&id);
        if is_news {
            self.on_submitted(now, id, shape, options, commands);
        }
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        query.is_recovered = true;
        let mut records: BTreeMap<RecordKey, Record> =
            records.into_iter().map(|record| (record.key(), record)).collect();
        let done = records.remove(&RecordKey::Done);
        if query.outcome.is_some() || is_news && query.is_over() {
            // Its shape makes no sense; what was told of that is told again.
            if let Some(Record::Done { outcome }) = done {
                self.on_done(now, id, outcome, commands);
            }
            return;
        }
        let is_unrecorded =
            |stage: &Stage| stage.shape.distribution == Distribution::Single && stage.shape.inputs.is_empty();
        let has_tasks = records.keys().any(|key| matches!(key, RecordKey::Tasks { .. }))
            || query.stages.iter().any(is_unrecorded);
        if !records.is_empty() || !commits.is_empty() {
            query.admitted_at.get_or_insert(now);
        }
        if has_tasks && is_news {
            query.takeover_until = Some(now.plus(self.options.takeover_period));
        }
        let found = commits.into_iter().map(|it| (it.winner.output(), (it.winner, it.output)));
        query.found.extend(found);
        // The stages that are read come first, as when the query ran, and then what became void of their outputs.
        for at in (0..query.stages.len() as u32).rev() {
            let keys = |number| RecordKey::Tasks { stage: StageId(at), number };
            let of_stage: Vec<RecordKey> =
                records.range(keys(0)..=keys(u32::MAX)).map(|(key, _)| *key).collect();
            for key in of_stage {
                if let Some(Record::Tasks { stage, number, tasks, sealed }) = records.remove(&key) {
                    query.note_tasks(stage, number, tasks, sealed, commands);
                }
            }
        }
        for record in records.into_values() {
            if let (Record::Rollback { number, outputs }, Some(query)) = (&record, self.queries.get_mut(&id))
                && *number == query.losses.number
            {
                query.note_written(outputs);
            }
            self.on_persisted(now, id, record, commands);
        }
        if let Some(Record::Done { outcome: Ok(()) }) = &done
            && let Some(query) = self.queries.get_mut(&id)
        {
            query.seal_single_root(commands);
        }
        self.select_found(now, id, commands);
        if let Some(query) = self.queries.get_mut(&id) {
            query.note_all_outdated();
        }
        if let Some(done) = done {
            self.on_persisted(now, id, done, commands);
        }
        self.dirty.insert(id);
    }

    /// Decides outputs whose commits were found, now that their tasks are known.
    pub(crate) fn select_found(&mut self, now: Millis, id: QueryId, commands: &mut Vec<Command>) {
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.found.is_empty()) else {
            return;
        };
        let stages = &query.stages;
        let current = |output: &OutputId| {
            let stage = stages.get(output.task.stage.0 as usize);
            stage.and_then(|it| it.tasks.get(output.task.partition as usize)).map(|task| task.generation)
        };
        let ready: Vec<(AttemptId, crate::OutputSize)> = query
            .found
            .iter()
            .filter(|(output, _)| current(output) == Some(output.generation))
            .map(|(_, commit)| commit.clone())
            .collect();
        query.found.retain(|output, _| current(output).is_none_or(|current| current < output.generation));
        for (winner, output) in ready {
            self.select_output(now, winner, winner, &output, commands);
        }
    }

    /// A worker that came, or came back, runs an attempt of a former life of the coordinator, or one that was taken for
    /// lost: it goes on if nobody else has been given its task yet.
    pub(crate) fn take_over(&mut self, now: Millis, node: &NodeId, report: &AttemptReport) {
        let id = report.attempt;
        let Some((known_node, worker)) = self.workers.get_key_value(node) else {
            return;
        };
        let Some(query) = self.queries.get_mut(&id.task.query).filter(|query| !query.is_over()) else {
            return;
        };
        let Some(task) = query.task_mut(id.task.stage, id.task.partition) else {
            return;
        };
        if id.epoch > self.epoch || task.generation != id.generation || !task.is_waiting() {
            return;
        }
        if query.outdated_inputs(&id).next().is_some() {
            return;
        }
        let Some(task) = query.task_mut(id.task.stage, id.task.partition) else {
            return;
        };
        let memory_bytes = match task.attempt(&id) {
            Some(known) if known.state == AttemptState::Lost && known.node == *node => known.memory_bytes,
            None if id.epoch < self.epoch => report.memory_bytes,
            _ => return,
        };
        if !worker.has_free_slot() || worker.free_bytes() < memory_bytes {
            return;
        }
        let (known_node, incarnation) = (known_node.clone(), worker.incarnation);
        let on_slow_node = worker.is_slow();
        let input = task.input.clone();
        query.dequeue(id.task.stage, id.task.partition);
        let Some(stage) = query.stage_mut(id.task.stage) else {
            return;
        };
        let start = Attempt {
            generation: id.generation,
            epoch: id.epoch,
            number: id.number,
            node: known_node.clone(),
            state: AttemptState::Running,
            memory_bytes,
            peak_memory_bytes: 0,
            started_at: now,
            ended_at: None,
            on_slow_node,
        };
        let was_lost = stage.update(id.task.partition, |task| {
            task.state = TaskState::Running;
            let lost = task.attempt_mut(&id).map(|attempt| {
                attempt.state = AttemptState::Running;
                attempt.ended_at = None;
                attempt.on_slow_node = on_slow_node;
            });
            match (lost, &mut task.trouble) {
                (None, _) => task.attempts.push(start),
                (Some(()), Some(trouble)) => trouble.losses = trouble.losses.saturating_sub(1),
                (Some(()), None) => {}
            }
            lost.is_some()
        });
        match was_lost {
            Some(true) => stage.counts.lost_attempts -= 1,
            _ => stage.counts.started_attempts += 1,
        }
        query.used.insert(known_node, incarnation);
        self.workers.lease(node, AttemptSpec { attempt: id, memory_bytes, input, is_pipelined: false });
        self.rival_dirty.insert(id.task.query);
        self.sync_rotation(id.task.query);
    }
}

impl Query {
    /// The next tasks of a stage are recorded. Whether that was news.
    fn note_tasks(
        &mut self,
        id: StageId,
        number: u32,
        tasks: Vec<Arc<TaskInput>>,
        sealed: bool,
        commands: &mut Vec<Command>,
    ) -> bool {
        let Some(stage) = self.stage_mut(id).filter(|it| it.record_number == number && !it.sealed) else {
            return false;
        };
        stage.record_number += 1;
        self.adopt_tasks(id, tasks, sealed, commands);
        true
    }

    /// What was committed before it became void is what the next run is compared with.
    fn note_written(&mut self, outputs: &[OutputId]) {
        for output in outputs {
            let Some((_, size)) = self.found.get(output) else {
                continue;
            };
            let (rows, checksum) = (size.rows, size.checksum);
            let (id, partition) = (output.task.stage, output.task.partition);
            let written = Some(Written { rows, checksum, is_comparable: true, is_counted: false });
            let Some(stage) = self.stage_mut(id) else {
                continue;
            };
            match stage.tasks.get_mut(partition as usize) {
                Some(task) => task.written = written,
                None => stage.ahead.entry(partition).or_default().written = written,
            }
        }
    }

    /// The root of a query that ended well had its task, if it is one that is not recorded. Nobody will run it again, so
    /// what it reads does not matter.
    fn seal_single_root(&mut self, commands: &mut Vec<Command>) {
        let Some(root) = self.stages.first() else {
            return;
        };
        let generation = root.generation(0);
        let task = TaskId { query: self.id, stage: StageId(0), partition: 0 };
        if root.shape.distribution == Distribution::Single
            && root.tasks.is_empty()
            && self.found.contains_key(&OutputId { task, generation })
        {
            let task = Arc::new(TaskInput::default());
            self.adopt_tasks(StageId(0), Vec::from([task]), true, commands);
        }
    }
}
