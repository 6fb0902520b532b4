//! How a query ends, and when it can be forgotten.
//!
//! A query ends once. What it has on workers is dropped by no longer being desired, and it is released when
//! every worker that may hold something of it has confirmed that it does not, or is lost.

use alloc::vec::Vec;

use base::{AttemptId, Incarnation, Millis, NodeId, QueryId, Result};

use crate::command::Command;
use crate::core::{Core, attempt_id};
use crate::query::Query;
use crate::task::AttemptState;

impl Core {
    /// Ends a query, if it has not ended.
    pub(crate) fn finish(
        &mut self,
        now: Millis,
        id: QueryId,
        outcome: Result<()>,
        commands: &mut Vec<Command>,
    ) {
        let epoch = self.epoch;
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_finished()) else {
            return;
        };
        let running: Vec<(NodeId, AttemptId)> = query
            .running_attempts()
            .map(|(stage, partition, attempt)| {
                (attempt.node.clone(), attempt_id(epoch, id, stage, partition, attempt))
            })
            .collect();
        for (node, attempt) in running {
            let peak_bytes = self.workers.release(&node, &attempt).map_or(0, |lease| lease.peak_bytes);
            query.end_attempt(now, &attempt, AttemptState::Aborted, peak_bytes);
        }
        query.abandon_tasks();
        query.outcome = Some(outcome.clone());
        commands.push(Command::QueryFinished { query: id, outcome });
        self.ended.push(id);
        self.placement_dirty = true;
        self.sync_rotation(id);
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
            let used = self.queries.get(&id).map(|query| query.used.clone()).unwrap_or_default();
            for (node, incarnation) in used {
                self.await_confirmation(&node, incarnation, id);
            }
            self.closing.insert(id);
        }
        // An old message may still reach a worker that was taken for lost and make it start something.
        for (node, incarnation) in core::mem::take(&mut self.returned) {
            let may_hold =
                |query: &&Query| query.is_finished() && query.used.get(&node) == Some(&incarnation);
            let held: Vec<QueryId> = self.queries.values().filter(may_hold).map(|query| query.id).collect();
            for id in held {
                self.await_confirmation(&node, incarnation, id);
            }
        }
        while let Some(id) = self.closing.pop_first() {
            let released = self
                .queries
                .get(&id)
                .filter(|query| query.is_finished() && query.closed && query.holders == 0);
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
