//! Queries that get records late.
//!
//! A query that nobody has been promised anything of needs no records: if the coordinator dies, whoever submitted it
//! has had no answer. So a query may run without them at first, and most short ones end so. When something is to be
//! promised, everything that was decided goes on record, as it would have been recorded one by one.
//!
//! Nobody else can have written records of the query: without the shell's own record of it, which it writes last, no
//! other life of the coordinator knows of it.

use alloc::vec::Vec;

use base::{Error, Millis, QueryId, StageId};

use crate::command::Command;
use crate::core::Core;
use crate::query::Query;
use crate::record::Record;
use crate::shape::Distribution;

impl Core {
    /// A query is to have records from now on.
    pub(crate) fn on_durability_requested(&mut self, id: QueryId, commands: &mut Vec<Command>) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let is_lost = matches!(query.outcome, Some(Err(_)));
        if query.options.is_durable || query.region.is_some() || is_lost {
            return;
        }
        query.options.is_durable = true;
        let records = query.decided();
        query.late_records = records.iter().map(Record::key).collect();
        commands.extend(records.into_iter().map(|record| Command::Persist { query: id, record }));
        self.note_durable(id, commands);
    }

    /// Takes note of a record of what was decided before there were records. Whether it is one.
    pub(crate) fn on_late_record(
        &mut self,
        now: Millis,
        id: QueryId,
        record: &Record,
        commands: &mut Vec<Command>,
    ) -> bool {
        let Some(query) = self.queries.get_mut(&id) else {
            return false;
        };
        if !query.late_records.remove(&record.key()) {
            return false;
        }
        if let Record::Tasks { stage, .. } = record
            && let Some(stage) = query.stage_mut(*stage)
        {
            stage.is_recording = false;
        }
        if query.is_decided(record) {
            self.note_durable(id, commands);
        } else {
            let error =
                Error::internal("another coordinator has records of a query that only this one knows");
            self.finish(now, id, Err(error), commands);
        }
        self.dirty.insert(id);
        true
    }

    fn note_durable(&self, id: QueryId, commands: &mut Vec<Command>) {
        if self.queries.get(&id).is_some_and(|query| query.late_records.is_empty()) {
            commands.push(Command::QueryDurable { query: id });
        }
    }
}

impl Query {
    /// The records of all that was decided so far. What a stage decides next has to wait for its own.
    fn decided(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for (at, stage) in (0u32..).zip(&mut self.stages) {
            let is_recorded = stage.shape.distribution != Distribution::Single;
            if is_recorded && (stage.sealed || !stage.tasks.is_empty()) {
                stage.is_recording = true;
                stage.record_number = 1;
                let tasks = stage.tasks.iter().map(|task| task.input.clone()).collect();
                let record = Record::Tasks { stage: StageId(at), number: 0, tasks, sealed: stage.sealed };
                records.push(record);
            }
        }
        let rollbacks = (0u32..).zip(core::mem::take(&mut self.losses.unrecorded));
        records.extend(rollbacks.map(|(number, outputs)| Record::Rollback { number, outputs }));
        records.extend(self.outcome.clone().map(|outcome| Record::Done { outcome }));
        records
    }

    /// Whether a record says what was decided here.
    fn is_decided(&self, record: &Record) -> bool {
        match record {
            Record::Tasks { stage, tasks, sealed, .. } => self.stage(*stage).is_some_and(|stage| {
                let inputs = stage.tasks.iter().map(|task| &task.input);
                *sealed == stage.sealed && inputs.eq(tasks.iter())
            }),
            Record::Rollback { number, .. } => *number < self.losses.number,
            Record::Done { outcome } => self.outcome.as_ref() == Some(outcome),
        }
    }
}
