//! How a query ends, and when it can be forgotten.
//!
//! A query ends once, as its `done` record says, whoever wrote it. What it has on workers is dropped by no longer being desired, and it is released when
//! every worker that may hold something of it has confirmed that it does not, or is lost.

use alloc::vec::Vec;

use base::{AttemptId, Error, ErrorCode, Incarnation, Millis, NodeId, QueryId, Result};

use crate::command::Command;
use crate::core::Core;
use crate::query::Query;
use crate::record::Record;
use crate::task::AttemptState;

impl Core {
    /// Ends a query, if it has not ended: stops what runs, and tells the outcome as soon as that is recorded.
    pub(crate) fn finish(
        &mut self,
        now: Millis,
        id: QueryId,
        outcome: Result<()>,
        commands: &mut Vec<Command>,
    ) {
        let Some(query) = self.queries.get(&id).filter(|query| !query.is_over()) else {
            return;
        };
        let is_recorded = query.options.is_durable && !query.is_done;
        let outcome = if query.is_done { outcome.map_err(|cause| lost_since(&cause)) } else { outcome };
        self.stop(now, id);
        if !is_recorded {
            self.conclude(id, outcome, commands);
        } else if let Some(query) = self.queries.get_mut(&id) {
            query.ending = Some(outcome.clone());
            commands.push(Command::Persist { query: id, record: Record::Done { outcome } });
            self.sync_rotation(id);
        }
    }

    /// Somebody ends a query. If it is recorded that it ended well, that is how it ended.
    pub(crate) fn cancel(&mut self, now: Millis, id: QueryId, error: Error, commands: &mut Vec<Command>) {
        let is_done = self.queries.get(&id).is_some_and(|query| query.is_done);
        self.finish(now, id, if is_done { Ok(()) } else { Err(error) }, commands);
    }

    /// Stops every attempt of a query.
    pub(crate) fn stop(&mut self, now: Millis, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let running: Vec<(NodeId, AttemptId)> =
            query.running_attempts().map(|(id, attempt)| (attempt.node.clone(), id)).collect();
        for (node, attempt) in running {
            let peak_bytes = self.workers.release(&node, &attempt).map_or(0, |lease| lease.peak_bytes);
            if query.end_attempt(now, &attempt, AttemptState::Aborted, peak_bytes) == Some(0) {
                query.enqueue(now, attempt.task.stage, attempt.task.partition, now);
            }
        }
        self.ended.push(id);
        self.placement_dirty = true;
    }

    /// Tells how a query ended.
    pub(crate) fn conclude(&mut self, id: QueryId, outcome: Result<()>, commands: &mut Vec<Command>) {
        let Some(query) = self.queries.get_mut(&id).filter(|query| query.outcome.is_none()) else {
            return;
        };
        query.abandon_tasks();
        query.ending = None;
        query.outcome = Some(outcome.clone());
        commands.push(Command::QueryFinished { query: id, outcome });
        self.closing.insert(id);
        self.sync_rotation(id);
        self.forget_rival_check(id);
    }

    /// Waits for a worker to hold nothing of an ended query any more, if it may hold something.
    pub(crate) fn await_confirmation(&mut self, node: &NodeId, incarnation: Incarnation, id: QueryId) {
        if self.workers.await_confirmation(node, incarnation, id)
            && let Some(query) = self.queries.get_mut(&id)
        {
            query.holders += 1;
        }
    }

    /// A worker holds nothing of an ended query any more.
    pub(crate) fn confirm(&mut self, id: QueryId) {
        if let Some(query) = self.queries.get_mut(&id) {
            query.holders -= 1;
            self.closing.insert(id);
        }
    }

    /// Forgets the queries that are closed and of which no worker holds anything.
    pub(crate) fn release_queries(&mut self, commands: &mut Vec<Command>) {
        for id in core::mem::take(&mut self.ended) {
            let Some(query) = self.queries.get(&id).filter(|query| query.is_over()) else {
                continue;
            };
            // A former life of the coordinator may have used any of them.
            let any = self.workers.iter().filter(|_| query.is_recovered);
            let mut used = query.used.clone();
            used.extend(any.map(|(node, worker)| (node.clone(), worker.incarnation)));
            for (node, incarnation) in used {
                self.await_confirmation(&node, incarnation, id);
            }
            self.closing.insert(id);
        }
        // An old message may still reach a worker that was taken for lost and make it start something.
        for (node, incarnation) in core::mem::take(&mut self.returned) {
            let may_hold = |query: &&Query| {
                query.is_over() && (query.is_recovered || query.used.get(&node) == Some(&incarnation))
            };
            let held: Vec<QueryId> = self.queries.values().filter(may_hold).map(|query| query.id).collect();
            for id in held {
                self.await_confirmation(&node, incarnation, id);
            }
        }
        while let Some(id) = self.closing.pop_first() {
            let released = self
                .queries
                .get(&id)
                .filter(|query| query.outcome.is_some() && query.closed && query.holders == 0);
            if let Some(query) = released {
                if let Some(at) = query.wakeup {
                    self.wakeups.remove(&(at, id));
                }
                self.queries.remove(&id);
                commands.push(Command::QueryReleased { query: id });
            }
        }
    }
}

/// What the reader of a result is told that was complete once, and cannot be read nor computed any more.
fn lost_since(cause: &Error) -> Error {
    let text = "The query had ended, but its result is lost and cannot be computed again";
    Error::new(ErrorCode::EXCHANGE_DATA_LOST, text).caused_by(cause.message())
}
