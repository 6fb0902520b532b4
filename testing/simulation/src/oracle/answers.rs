//! Results, outcomes and answers to clients.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use base::{AttemptId, Error, ErrorCode, OutputId, QueryId, StageId};
use scheduler::AttemptState;

use super::causes::error_name;
use crate::client::{Page, Phase};
use crate::world::World;

/// A query that was cancelled ends within this time, or had ended.
const CANCEL_MAX: u64 = 20_000;

impl World {
    /// The core has decided that the query has its result: is it right?
    pub fn check_result(&mut self, at: usize, query: QueryId) -> Result<(), String> {
        let plan = self.plans[self.ledger.plans[&query]].clone();
        let Some(job) = self.machines[at].process.as_ref().and_then(|process| process.jobs.get(&query))
        else {
            return Err(format!("{query} ends and nobody knows it"));
        };
        let of_root = |task: &base::TaskId| task.stage == StageId(0);
        let selected = job.selected.iter().filter(|(task, _)| of_root(task)).map(|(_, (_, winner))| *winner);
        let streamed = job.route.iter().filter(|(task, _)| of_root(task)).map(|(_, attempt)| *attempt);
        let root: Vec<AttemptId> = if plan.is_streamed() { streamed.collect() } else { selected.collect() };
        let generations: BTreeSet<u32> = root.iter().map(|winner| winner.generation).collect();
        if plan.is_region() && generations.len() > 1 {
            return Err(format!("I-15: {query} ends with rows of several tries: {generations:?}"));
        }
        if job.sealed.get(&StageId(0)) != Some(&(root.len() as u32)) {
            return Err(format!("I-3: {query} ends with {} root tasks", root.len()));
        }
        let mut rows: Vec<u64> =
            root.iter().flat_map(|winner| self.ledger.written[winner].iter().flatten()).copied().collect();
        rows.sort_unstable();
        let expected = plan.expected(StageId(0));
        if rows != expected {
            return Err(format!("I-3: {query} would have {} rows of {}", rows.len(), expected.len()));
        }
        // I-2 and I-4: everything that counts has read what counts, or what is the same.
        let (mut seen, mut todo, mut replaced) = (BTreeSet::new(), root, 0);
        while let Some(attempt) = todo.pop() {
            if !seen.insert(attempt) {
                continue;
            }
            if self.ledger.tainted.contains(&attempt) {
                return Err(format!("I-3: {attempt} counts and was sent wrong rows"));
            }
            for source in self.ledger.lineage[&attempt].iter() {
                if plan.is_region() {
                    if source.winner.generation != attempt.generation {
                        return Err(format!("I-15: {attempt} has read {} of another try", source.winner));
                    }
                    todo.push(source.winner);
                    continue;
                }
                let producer = source.output.task;
                let Some((_, current)) = job.selected.get(&producer) else {
                    // A life that found the result complete need not know what it was made of. And what a determinate
                    // task wrote is what it will write again, as long as it reads the same.
                    let is_determinate = plan.shape.stages[producer.stage.0 as usize].determinate;
                    // Nor need a leader have heard of the newest commit before it hears of its reader's.
                    let newest = job.generations.get(&producer).copied().unwrap_or(0);
                    let is_newest = source.output.generation >= newest;
                    let must_count =
                        job.sealed.contains_key(&producer.stage) && !is_determinate && !is_newest;
                    if must_count || !self.ledger.winners.contains(&source.winner) {
                        return Err(format!(
                            "I-2: {attempt} has read {}, which does not count",
                            source.winner
                        ));
                    }
                    todo.push(source.winner);
                    continue;
                };
                if self.ledger.checksums[current] != self.ledger.checksums[&source.winner] {
                    return Err(format!("I-4: {attempt} has read {} where {current} counts", source.winner));
                }
                replaced += u64::from(*current != source.winner);
                todo.push(*current);
            }
        }
        self.sometimes("results with inputs made again since they were read", replaced > 0);
        Ok(())
    }

    /// The core says that a query has ended.
    pub fn on_finished(
        &mut self,
        at: usize,
        query: QueryId,
        outcome: &Result<(), Error>,
    ) -> Result<(), String> {
        let recorded = self.ledger.done.get(&query);
        let is_lost = self.is_lost_after_end(query, outcome);
        if recorded != Some(outcome) && !is_lost && !self.ledger.deleted.contains(&query) {
            return Err(format!("I-9: {query} ends with {outcome:?}, the store says {recorded:?}"));
        }
        if outcome.is_ok()
            && self.processes <= 1
            && self.ledger.cancels_heard.get(&query).is_some_and(|at| self.now - at > CANCEL_MAX)
        {
            return Err(format!("I-6: {query} was cancelled long ago and has gone on to its end"));
        }
        let plan = self.plans[self.ledger.plans[&query]].clone();
        let core = &self.machines[at].process.as_ref().expect("it said so").core;
        let Some(view) = core.query(&query) else {
            return Ok(());
        };
        let lost: u32 = view.stages().map(|stage| stage.counts.lost_attempts).sum();
        let told: u32 = self.ledger.failures_of(query).sum();
        let rotten = self.ledger.rotten.get(&query).copied().unwrap_or(0);
        let blamed_max = if plan.is_region() { 0 } else { plan.options.generations_max };
        // A reader may be blamed for what it could not read when that happens again and again.
        if view.failed_attempts() > told + lost + rotten.saturating_sub(blamed_max) {
            let failed: Vec<_> = view
                .stages()
                .flat_map(|stage| {
                    let tasks: Vec<_> = stage.tasks().collect();
                    tasks.into_iter().flat_map(move |task| {
                        let failed = task.attempts.iter().filter(|it| it.state == AttemptState::Failed);
                        failed.map(move |it| (stage.id.0, task.partition, it.generation, it.number))
                    })
                })
                .collect();
            let counted = view.failed_attempts();
            return Err(format!(
                "I-8: {counted} attempts of {query} count as failed, {told} did: {failed:?}"
            ));
        }
        Ok(())
    }

    /// I-16: what a client is promised is on record.
    pub fn check_promise(&self, at: usize, query: QueryId) -> Result<(), String> {
        let process = self.machines[at].process.as_ref();
        let Some(job) = process.and_then(|process| process.jobs.get(&query)) else {
            return Ok(());
        };
        let has_rotted = self.ledger.rotten.contains_key(&query) || self.ledger.unreadable.contains(&query);
        if has_rotted || self.ledger.deleted.contains(&query) || matches!(job.outcome, Some(Err(_))) {
            return Ok(());
        }
        for (task, (generation, winner)) in &job.selected {
            self.check_stored(OutputId { task: *task, generation: *generation }, *winner)?;
        }
        let (recorded, generation) =
            (self.ledger.rollbacks_of(query), job.generations.values().max().copied().unwrap_or(0));
        if generation > recorded {
            return Err(format!(
                "I-16: {query} is promised, with {recorded} rollbacks of {generation} on record"
            ));
        }
        let stages = self.plans[job.plan].shape.stages.iter();
        for (stage, shape) in (0u32..).zip(stages) {
            let key = scheduler::RecordKey::Tasks { stage: StageId(stage), number: 0 };
            let is_recorded = shape.distribution == scheduler::Distribution::Single
                || !job.sealed.contains_key(&StageId(stage))
                || self.ledger.records.contains_key(&(query, key));
            if !is_recorded {
                return Err(format!(
                    "I-16: {query} is promised, and the tasks of stage {stage} are not on record"
                ));
            }
        }
        Ok(())
    }

    /// I-16: an output of a query that has records is in the store.
    pub fn check_stored(&self, output: OutputId, winner: AttemptId) -> Result<(), String> {
        let is_there = self.ledger.committed.contains_key(&output);
        let may_be_gone = self.ledger.rotten.contains_key(&output.task.query)
            || self.ledger.deleted.contains(&output.task.query);
        match is_there || may_be_gone {
            true => Ok(()),
            false => Err(format!("I-16: {winner} counts, and what it wrote is nowhere but in memory")),
        }
    }

    /// Whether an outcome only says that the result, which was complete, is lost now.
    fn is_lost_after_end(&self, query: QueryId, outcome: &Result<(), Error>) -> bool {
        let was_there = self.ledger.done.get(&query).is_some_and(Result::is_ok);
        let has_rotted = self.ledger.rotten.contains_key(&query);
        let is_lost = outcome.as_ref().is_err_and(|error| error.code() == ErrorCode::EXCHANGE_DATA_LOST);
        is_lost && (was_there && has_rotted || self.ledger.unreadable.contains(&query))
    }

    /// I-11: whoever asks a coordinator for a page again gets the same.
    pub fn check_page(&mut self, at: usize, query: QueryId, page: &Page) -> Result<(), String> {
        let process = self.process(at).id;
        let mut hasher = DefaultHasher::new();
        (&page.rows, page.end.as_ref().map(Result::is_ok)).hash(&mut hasher);
        let hash = hasher.finish();
        let before = self.ledger.pages.insert((process, query, page.token), hash);
        if before.is_some_and(|before| before != hash) {
            return Err(format!("I-11: page {} of {query} changes", page.token));
        }
        Ok(())
    }

    /// I-3: every row that a client gets is one of the result, once.
    pub fn check_rows(&self, at: usize) -> Result<(), String> {
        let client = &self.clients[at];
        let mut rows = client.rows.clone();
        rows.sort_unstable();
        let expected = self.plans[client.plan].expected(StageId(0));
        let mut left = expected.iter();
        if let Some(row) = rows.iter().find(|row| !left.any(|other| other == *row)) {
            return Err(format!("I-3: client {at} has got row {row:#x} that is not due to it"));
        }
        Ok(())
    }

    /// A client got its answer.
    pub fn on_answer(&mut self, at: usize, outcome: Result<(), Error>) -> Result<(), String> {
        let client = &self.clients[at];
        let query = client.query.expect("it has asked for it");
        let plan = self.plans[client.plan].clone();
        let former = self.ledger.ended_unrecorded.get(&query);
        if former == Some(&outcome) && self.plans[self.ledger.plans[&query]].is_late() {
            // It was on its way when the coordinator died.
            return Ok(());
        }
        let recorded =
            self.ledger.done.get(&query).ok_or(format!("I-9: {query} is answered before it ended"))?;
        if *recorded != outcome && !self.is_lost_after_end(query, &outcome) {
            return Err(format!("I-9: {query} ended with {recorded:?} and is answered {outcome:?}"));
        }
        match outcome {
            Ok(()) => {
                let got = client.rows.len();
                let expected = plan.expected(StageId(0));
                if got != expected.len() {
                    return Err(format!("I-3: the client has {got} rows of {}", expected.len()));
                }
                self.sometimes("right answers", true);
            }
            Err(error) => {
                if !self.explains(query, &plan, &error) {
                    return Err(format!("I-8: {query} failed without cause: {} {error}", error.code()));
                }
                self.sometimes(error_name(&error), true);
            }
        }
        Ok(())
    }

    /// The core says that no worker holds anything of a query.
    pub fn on_released(&mut self, at: usize, query: QueryId) -> Result<(), String> {
        let process = self.machines[at].process.as_ref().expect("it said so");
        let is_over = process.jobs.get(&query).is_some_and(|job| job.outcome.is_some() && !job.released);
        if !is_over {
            return Err(format!("I-7: {query} is released too early or twice"));
        }
        // What workers do for a newer life, it cannot know.
        let leads = process.epoch == self.ledger.newest_epoch;
        for (number, host) in self.hosts.iter().enumerate().filter(|_| leads) {
            let known = process.core.nodes().any(|node| {
                *node.node == host.name && node.state.is_some() && node.incarnation.0 == host.life
            });
            let holds = host.executions.keys().any(|attempt| attempt.task.query == query);
            if known && host.up && holds {
                return Err(format!("I-7: {query} is released while {} works on it", host.name));
            }
            if known {
                self.ledger.forbidden.insert((query, number, host.life));
            }
        }
        Ok(())
    }

    /// Whether somebody may still want the result of a query.
    pub fn is_wanted(&self, query: QueryId) -> bool {
        self.clients.iter().any(|client| client.query == Some(query) && client.phase == Phase::Polling)
    }
}
