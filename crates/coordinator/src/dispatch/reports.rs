//! What workers report.

use std::collections::BTreeSet;
use std::time::SystemTime;

use base::{AttemptId, Error, Millis, NodeId, QueryId};
use protocol::node::{NodeReport, wire};
use scheduler::{AttemptStatus, Event};

use super::durability::Durability;
use super::execution::AttemptRecord;
use super::state::DispatchState;

/// A report of which something was held back from the core.
pub(super) struct HeldReport {
    connection: u64,
    report: NodeReport,
}

impl DispatchState {
    /// A worker reported on the stream that is its current one.
    pub(super) fn report(&mut self, now: Millis, node: NodeId, connection: u64, mut report: NodeReport) {
        let heard = SystemTime::now();
        let mut strangers = false;
        let mut foreign = Vec::new();
        let mut hopeless = Vec::new();
        let mut late = Vec::new();
        self.held_reports.remove(&node);
        let whole = self.may_hold_back(&report).then(|| report.clone());
        report.report.attempts.retain_mut(|status| {
            let attempt = status.attempt;
            let Some(execution) = self.executions.get_mut(&attempt.task.query) else {
                strangers = true;
                return true;
            };
            if attempt.epoch < execution.epoch {
                // It ran another plan of the query, that of a life which told nobody of it.
                return false;
            }
            let details = report.details.remove(&attempt).unwrap_or_default();
            match &status.status {
                AttemptStatus::Running => {}
                AttemptStatus::Committed { winner, .. } if winner.epoch < execution.epoch => {
                    foreign.push(*winner);
                    return false;
                }
                ended => {
                    // What is streamed to its readers is not in the store either.
                    let is_committed = matches!(ended, AttemptStatus::Committed { .. });
                    let is_streamed = !execution.is_committed(attempt.task.stage);
                    execution.inline.ended(&attempt, is_committed && details.is_inline || is_streamed);
                }
            }
            let record = execution.attempts.entry(attempt).or_insert_with(|| AttemptRecord {
                is_running: true,
                peak_memory_bytes: 0,
                node: node.clone(),
                stats: wire::AttemptStats::default(),
                created: heard,
                last_heard: heard,
            });
            record.is_running = status.status == AttemptStatus::Running;
            record.peak_memory_bytes = status.peak_memory_bytes;
            record.stats.clone_from(&details.stats);
            record.last_heard = heard;
            let reported = std::mem::replace(&mut status.status, AttemptStatus::Running);
            let was_running = reported == AttemptStatus::Running;
            let (told, output) = execution.take_output(reported, &details);
            hopeless.extend(execution.is_hopeless(&told).map(|error| (attempt.task.query, error)));
            let is_held_back = !was_running && told == AttemptStatus::Running;
            status.status = told;
            late.extend(is_held_back.then_some((attempt.task.query, output)));
            true
        });
        let reported: BTreeSet<QueryId> =
            report.report.attempts.iter().map(|it| it.attempt.task.query).collect();
        hopeless.extend(reported.into_iter().filter_map(|query| {
            let error = self.executions.get(&query)?.check_memory().err()?;
            Some((query, error))
        }));
        for (query, error) in hopeless {
            self.step(now, Event::QueryCancelled { query, error });
        }
        if strangers {
            self.cleaner.distrust();
        }
        if let Some(report) = whole.filter(|_| !late.is_empty()) {
            self.held_reports.insert(node.clone(), HeldReport { connection, report });
        }
        for (query, output) in late.into_iter().filter_map(|(query, output)| Some((query, output?))) {
            self.persister.start_commit(query, output);
        }
        self.usage.insert(node.clone(), report.usage);
        // A report that is heard again is news: the core goes by the order in which it hears them.
        self.report_sequence += 1;
        report.report.sequence = self.report_sequence;
        self.step(now, Event::WorkerReported { node, report: report.report });
        for winner in foreign {
            self.refuse(now, winner.task.query, &winner);
        }
    }

    /// Whether a report may tell of something that is to be in the store before the core hears of it.
    fn may_hold_back(&self, report: &NodeReport) -> bool {
        report.details.iter().any(|(attempt, details)| {
            let execution = self.executions.get(&attempt.task.query);
            details.is_inline && execution.is_some_and(|it| !matches!(it.durability, Durability::Volatile))
        })
    }

    /// What was held back of the report that names an attempt can be told, unless the worker has gone.
    pub(super) fn repeat_report(&mut self, now: Millis, attempt: &AttemptId) {
        let names = |held: &HeldReport| held.report.report.attempts.iter().any(|it| it.attempt == *attempt);
        let node = self.held_reports.iter().find(|(_, held)| names(held)).map(|(node, _)| node.clone());
        let Some((node, held)) = node.and_then(|node| self.held_reports.remove_entry(&node)) else {
            return;
        };
        if self.is_current(&node, held.connection) {
            self.report(now, node, held.connection, held.report);
        }
    }

    /// Ends a query of which something is in the store that a former life wrote without telling anybody. It was
    /// deleted before the query was started, so it came very late.
    fn refuse(&mut self, now: Millis, query: QueryId, winner: &AttemptId) {
        let text =
            format!("Attempt {winner} of a former coordinator has committed an output of another plan");
        self.step(now, Event::QueryCancelled { query, error: Error::internal(text) });
    }
}
