//! Queries that get records late.
//!
//! A query runs without records at first: what its tasks report they wrote is in the memory of the coordinator, and
//! consumers are sent it. When it is to be durable, the core has all that it decided recorded, and the outputs that are
//! nowhere but here are committed in the store, on behalf of the attempts that wrote them. From the request on, nothing
//! counts that is not in the store: a late report of such an output is held back until it is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{AttemptId, Error, Millis, QueryId, Result};
use exchange::{CommitRecord, Committed};
use protocol::node::AttemptDetails;
use scheduler::{AttemptStatus, Event, Record};
use tokio::sync::oneshot;

use super::execution::Execution;
use super::records::output_size;
use super::state::DispatchState;

/// How far a query is on record.
#[derive(Debug)]
pub enum Durability {
    /// Nothing of it is.
    Volatile,
    /// It is being recorded.
    Requested {
        /// Who waits for that.
        waiting: Vec<oneshot::Sender<Result<()>>>,
        /// Whether all that was decided before the request is.
        are_decisions_recorded: bool,
    },
    /// Everything that was decided and committed is.
    Durable,
}

/// Outputs that were reported after the query was to be durable, and are nowhere but in the report: what is in the store
/// of each, once that is known.
pub type LateOutputs = BTreeMap<AttemptId, Option<CommitRecord>>;

impl Execution {
    /// Takes note of what an attempt wrote, as its worker reports it, and says what the core is to be told of it. The
    /// second is an output to be committed before.
    pub(super) fn take_output(
        &mut self,
        status: AttemptStatus,
        details: &AttemptDetails,
    ) -> (AttemptStatus, Option<CommitRecord>) {
        let AttemptStatus::Committed { winner, .. } = status else {
            return (status, None);
        };
        if let Some(late) = self.late_outputs.get(&winner).filter(|_| details.is_inline) {
            let Some(found) = late.clone() else {
                return (AttemptStatus::Running, None);
            };
            let status = AttemptStatus::Committed { winner: found.attempt(), output: output_size(&found) };
            self.note_record(found);
            return (status, None);
        }
        let is_known = self.is_decided(winner.output()) || self.reported_records.contains_key(&winner);
        if is_known || !self.is_committed(winner.task.stage) {
            return (status, None);
        }
        let record = match CommitRecord::decode(&details.commit_record, winner.output()) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%winner, %error, "a commit record cannot be read");
                return (status, None);
            }
        };
        let is_late = details.is_inline
            && !matches!(self.durability, Durability::Volatile)
            && !self.inline.holds(&winner);
        if is_late {
            self.late_outputs.insert(winner, None);
            return (AttemptStatus::Running, Some(record));
        }
        if details.is_inline {
            self.inline.hold(winner, details.commit_record.len() as u64);
        }
        self.note_record(record);
        (status, None)
    }

    fn note_record(&mut self, record: CommitRecord) {
        if !self.is_decided(record.attempt().output()) {
            self.reported_records.insert(record.attempt(), record);
        }
    }

    /// The output of an attempt, if it is the one that counts.
    fn decided(&self, attempt: &AttemptId) -> Option<&CommitRecord> {
        let decided = self.stage(attempt.task.stage)?.outputs.get(&attempt.task.partition)?;
        (decided.attempt() == *attempt).then_some(decided)
    }

    /// Whether a rollback is being recorded.
    fn is_rolling_back(&self) -> bool {
        self.unpersisted.iter().any(|record| matches!(record, Record::Rollback { .. }))
    }

    /// The records that are there can be relied upon, or nobody will need them.
    pub(super) fn tell_durable(&mut self, outcome: Result<()>) {
        if let Durability::Requested { waiting, .. } = &mut self.durability {
            for waiting in std::mem::take(waiting) {
                // Whoever asked may have gone away; then nobody misses the answer.
                let _ = waiting.send(outcome.clone());
            }
            self.durability = Durability::Durable;
        }
    }
}

impl DispatchState {
    /// A query is to be durable.
    pub(super) fn make_durable(&mut self, now: Millis, query: QueryId, answer: oneshot::Sender<Result<()>>) {
        let Some(execution) = self.executions.get_mut(&query) else {
            // It has ended, and nobody wants it.
            let _ = answer.send(Ok(()));
            return;
        };
        match &mut execution.durability {
            Durability::Durable => {
                let _ = answer.send(Ok(()));
            }
            Durability::Requested { waiting, .. } => waiting.push(answer),
            Durability::Volatile => {
                execution.durability =
                    Durability::Requested { waiting: vec![answer], are_decisions_recorded: false };
                let unstored: Vec<AttemptId> = execution.inline.unstored().collect();
                for attempt in unstored {
                    match execution.decided(&attempt) {
                        Some(record) => self.persister.start_commit(query, record.clone()),
                        // Another attempt has won, and nobody has read this output.
                        None => execution.inline.forget(&attempt),
                    }
                }
                self.step(now, Event::DurabilityRequested { query });
                self.settle_durability(query);
            }
        }
    }

    /// All that was decided of a query before it was to be durable is on record.
    pub(super) fn decisions_recorded(&mut self, query: QueryId) {
        if let Some(execution) = self.executions.get_mut(&query)
            && let Durability::Requested { are_decisions_recorded, .. } = &mut execution.durability
        {
            *are_decisions_recorded = true;
        }
    }

    /// Tells who waits that a query is durable, if it is.
    pub(super) fn settle_durability(&mut self, query: QueryId) {
        let Some(execution) = self.executions.get_mut(&query) else {
            return;
        };
        let Durability::Requested { are_decisions_recorded, .. } = execution.durability else {
            return;
        };
        let is_complete = are_decisions_recorded
            && execution.inline.unstored().next().is_none()
            && !execution.is_rolling_back();
        let has_failed = matches!(execution.root.outcome(), Some(Err(_)));
        if is_complete || has_failed {
            execution.tell_durable(Ok(()));
        }
    }

    /// It is known what is in the store of an output that an attempt reported.
    pub(super) fn output_committed(
        &mut self,
        now: Millis,
        query: QueryId,
        attempt: AttemptId,
        found: Committed,
    ) {
        let Some(execution) = self.executions.get_mut(&query) else {
            // The query was deleted meanwhile, and this is left of it.
            return self.cleaner.distrust();
        };
        execution.inline.stored(attempt);
        if let Some(late) = execution.late_outputs.get_mut(&attempt) {
            *late = Some(found.record);
            self.repeat_report(now, &attempt);
        } else if found.winner != attempt
            && let Err(error) = self.replace_output(now, attempt, found.record)
        {
            if let Some(execution) = self.executions.get_mut(&query) {
                execution.tell_durable(Err(error.clone()));
            }
            self.step(now, Event::QueryCancelled { query, error });
        }
        self.settle_durability(query);
    }

    /// Another attempt has committed another version of an output that consumers were given. Its version counts.
    ///
    /// # Errors
    /// If what was computed from the other version cannot be computed again.
    fn replace_output(&mut self, now: Millis, attempt: AttemptId, found: CommitRecord) -> Result<()> {
        let (task, output) = (attempt.task, attempt.output());
        let Some(execution) = self.executions.get_mut(&task.query) else {
            return Ok(());
        };
        execution.inline.forget(&attempt);
        let root = Arc::clone(&execution.root);
        let Some(stage) = execution.stages.get_mut(task.stage.0 as usize) else {
            return Ok(());
        };
        let Some(ours) = stage.outputs.get_mut(&task.partition).filter(|ours| ours.attempt() == attempt)
        else {
            return Ok(());
        };
        tracing::info!(%attempt, winner = %found.attempt(), "another attempt has committed an output");
        let is_same = (ours.rows(), ours.checksum()) == (found.rows(), found.checksum());
        let is_read_no_more = task.stage.0 != 0 && root.outcome().is_some();
        if (stage.determinate && is_same) || is_read_no_more {
            *ours = Arc::new(found);
            if task.stage.0 == 0 {
                root.select(output, Arc::clone(ours));
            }
            return Ok(());
        }
        let text = format!(
            "What attempt {attempt} wrote was read, and {} has committed something else",
            found.attempt()
        );
        let error = Error::lost(output, text);
        self.step(now, Event::OutputLost { output, error: error.clone() });
        let execution = self.executions.get(&task.query);
        match execution.is_some_and(|it| it.is_decided(output) && !it.is_rolling_back()) {
            true => Err(error),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "durability_tests.rs"]
mod tests;
