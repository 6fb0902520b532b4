//! Queries without records: regions, which end with their coordinator, and those that get records late.

use base::{AttemptId, Error, ErrorCode, Failure, QueryId, StageId};
use scheduler::{AttemptStatus, Event, RecordKey, WorkerReport};

use super::pages::PAGE_ROWS;
use super::{Durability, Job, Process, Purpose};
use crate::bug::Bug;
use crate::client::Response;
use crate::execution::size_of;
use crate::happening::{Happening, Moment, Timer};
use crate::store::{Answer, Key, Operation, Value};
use crate::world::World;

/// Planning takes so long.
const PLANNING: u64 = 80;

impl World {
    /// A query begins that nothing is recorded of.
    pub fn begin_unrecorded(&mut self, at: usize, query: QueryId, client: usize, number: u64) {
        let plan = self.clients[client].plan;
        let is_region = self.plans[plan].is_region();
        if let Some(job) = self.job(at, query) {
            job.durability = Durability::Volatile;
            job.post = (!is_region).then_some((client, number));
        }
        self.wake(at, PLANNING, Timer::Plan(query));
        if is_region {
            // It ends with this coordinator in any case: nothing is to be waited for.
            self.respond(at, client, number, Response::Accepted { query, has_capsule: false });
        } else {
            self.wake(at, self.first_answer_wait, Timer::FirstAnswer(query));
        }
    }

    /// The process that knew them is gone.
    pub fn end_unrecorded(&mut self, process: &Process) {
        for (query, job) in &process.jobs {
            let plan = &self.plans[job.plan];
            if plan.is_region() {
                self.ledger.orphans.insert(*query);
            } else if plan.is_late() && self.store.get(&Key::Query(*query)).is_none() {
                self.sometimes("coordinators that died with unrecorded queries", true);
                let is_done = self.store.get(&Key::Record(*query, RecordKey::Done)).is_some();
                self.ledger.forget(*query, is_done);
            }
        }
    }

    /// The client is answered: by what it needs to have a query run again that has ended and fits a page, or when
    /// everything is on record.
    pub fn first_answer(&mut self, at: usize, query: QueryId) -> Result<(), String> {
        let Some(job) = self.job(at, query) else {
            return Ok(());
        };
        if job.durability != Durability::Volatile || job.is_short || job.post.is_none() {
            return Ok(());
        }
        if !job.planned {
            self.wake(at, self.first_answer_wait, Timer::FirstAnswer(query));
            return Ok(());
        }
        if self.is_short(at, query) {
            self.sometimes("short queries that are not recorded", true);
            let delay = self.random.below(200) + 1;
            self.at(delay, Happening::Moment { machine: at, kind: Moment::Late });
            if let Some(job) = self.job(at, query) {
                job.is_short = true;
            }
            self.tell_first(at, query, true);
            return self.answer_client(at, query, false);
        }
        self.make_durable(at, query)
    }

    fn is_short(&mut self, at: usize, query: QueryId) -> bool {
        let Some(process) = self.machines[at].process.as_ref() else {
            return false;
        };
        let Some(job) = process.jobs.get(&query) else {
            return false;
        };
        let root = || job.selected.iter().filter(|(task, _)| task.stage == StageId(0));
        let is_here = root().all(|(_, (_, winner))| job.held.contains(winner) || self.is_inline(*winner));
        let rows = |winner: &AttemptId| self.ledger.written[winner].iter().map(Vec::len).sum::<usize>();
        match &job.outcome {
            None => false,
            Some(Err(_)) => true,
            Some(Ok(())) => is_here && root().map(|(_, (_, it))| rows(it)).sum::<usize>() <= PAGE_ROWS,
        }
    }

    fn tell_first(&mut self, at: usize, query: QueryId, has_capsule: bool) {
        if !has_capsule && let Err(violation) = self.check_promise(at, query) {
            self.violate(violation);
        }
        if let Some((client, number)) = self.job(at, query).and_then(|job| job.post.take()) {
            self.respond(at, client, number, Response::Accepted { query, has_capsule });
        }
    }

    /// Everything that was decided and committed is to be on record.
    fn make_durable(&mut self, at: usize, query: QueryId) -> Result<(), String> {
        self.sometimes("queries that get records late", true);
        let delay = self.random.below(4 * self.store_mean) + 1;
        self.at(delay, Happening::Moment { machine: at, kind: Moment::Late });
        let Some(job) = self.job(at, query) else {
            return Ok(());
        };
        job.durability = Durability::Requested { is_decided: false };
        let selected: Vec<AttemptId> = job.selected.values().map(|(_, winner)| *winner).collect();
        job.held.retain(|held| selected.contains(held));
        let unstored = job.held.clone();
        if self.bug == Some(Bug::QueryRecordFirst) {
            let plan = self.ledger.plans[&query];
            let operation = Operation::Create(Key::Plan(query), Value::Plan(plan));
            self.shell_asks(at, Purpose::LatePlan(query), operation);
        }
        if self.bug != Some(Bug::LateOutputStaysHere) {
            for attempt in unstored {
                if let Some(job) = self.job(at, query) {
                    job.unstored.insert(attempt);
                }
                self.commit_late(at, attempt);
            }
        }
        self.step_core(at, Event::DurabilityRequested { query })?;
        self.settle_durability(at, query);
        Ok(())
    }

    /// A query that had ended cannot be recorded as it is. Its client was promised nothing, and asks again.
    pub fn abandon_unrecorded(&mut self, at: usize, query: QueryId) -> Result<(), String> {
        self.sometimes("queries that could not be recorded", true);
        if let Some(job) = self.job(at, query) {
            job.post = None;
        }
        self.close(at, query)
    }

    fn commit_late(&mut self, at: usize, attempt: AttemptId) {
        let rows = self.ledger.written[&attempt].clone();
        let value = Value::Commit { winner: attempt, output: size_of(&rows), rows: Some(rows) };
        let operation = Operation::Create(Key::Commit(attempt.output()), value);
        self.shell_asks(at, Purpose::LateCommit(attempt), operation);
    }

    /// All that was decided before a query was to have records is on record.
    pub fn decisions_recorded(&mut self, at: usize, query: QueryId) {
        if let Some(job) = self.job(at, query)
            && matches!(job.durability, Durability::Requested { .. })
        {
            job.durability = Durability::Requested { is_decided: true };
            self.settle_durability(at, query);
        }
    }

    /// Writes the last records of a query when all others are there.
    pub fn settle_durability(&mut self, at: usize, query: QueryId) {
        let Some(job) = self.job(at, query) else {
            return;
        };
        let Durability::Requested { is_decided } = job.durability else {
            return;
        };
        let is_rolling_back = job.persisting.iter().any(|key| matches!(key, RecordKey::Rollback { .. }));
        let is_complete = is_decided && job.unstored.is_empty() && !is_rolling_back;
        // How it failed is on record, and nothing else of it matters.
        let has_failed = matches!(job.outcome, Some(Err(_)));
        if is_complete || has_failed {
            job.durability = Durability::Durable;
            let operation = Operation::Create(Key::Plan(query), Value::Plan(job.plan));
            self.shell_asks(at, Purpose::LatePlan(query), operation);
        }
    }

    /// Takes note of outputs that are nowhere but in a report, and says what the core is to be told.
    pub fn take_outputs(&mut self, at: usize, mut report: WorkerReport) -> WorkerReport {
        for attempt in &mut report.attempts {
            if let AttemptStatus::Failed(failure) = &attempt.status
                && failure.error.code() == ErrorCode::DIVISION_BY_ZERO
            {
                self.ledger.note_user_error(attempt.attempt);
            }
            let AttemptStatus::Committed { winner, .. } = attempt.status else {
                continue;
            };
            if !self.ledger.reported.contains(&winner) {
                continue;
            }
            let counts = self.bug == Some(Bug::LateReportCounts);
            let Some(job) = self.job(at, winner.task.query) else {
                continue;
            };
            if job.durability == Durability::Volatile || counts {
                job.held.insert(winner);
                continue;
            }
            if job.held.contains(&winner) {
                continue;
            }
            match job.late.get(&winner) {
                Some(Some(known)) => attempt.status = known.clone(),
                Some(None) => attempt.status = AttemptStatus::Running,
                None => {
                    job.late.insert(winner, None);
                    attempt.status = AttemptStatus::Running;
                    self.sometimes("outputs that came too late for a report", true);
                    self.commit_late(at, winner);
                }
            }
        }
        report
    }

    /// The store answers about what gets there late.
    pub fn late_hears(&mut self, at: usize, purpose: Purpose, answer: Answer) -> Result<(), String> {
        match (purpose, answer) {
            (Purpose::LateCommit(attempt), Answer::Exists) => {
                let operation = Operation::Get(Key::Commit(attempt.output()));
                self.shell_asks(at, Purpose::LateCommitRead(attempt), operation);
            }
            (Purpose::LateCommit(attempt), _) => {
                let output = size_of(&self.ledger.written[&attempt]);
                return self.late_committed(at, attempt, Ok((attempt, output)));
            }
            (Purpose::LateCommitRead(attempt), Answer::Missing) => self.commit_late(at, attempt),
            (Purpose::LateCommitRead(attempt), Answer::Found(Value::Commit { winner, output, .. })) => {
                return self.late_committed(at, attempt, Ok((winner, output)));
            }
            (Purpose::LateCommitRead(attempt), _) => {
                let error = Error::lost(attempt.output(), "its commit record is unreadable");
                return self.late_committed(at, attempt, Err(error));
            }
            (Purpose::LatePlan(query), _) => {
                let plan = self.ledger.plans[&query];
                let operation = Operation::Create(Key::Query(query), Value::Plan(plan));
                self.shell_asks(at, Purpose::LateQuery(query), operation);
            }
            (Purpose::LateQuery(query), _) => {
                let delay = self.random.below(1_000) + 1;
                self.at(delay, Happening::Moment { machine: at, kind: Moment::Late });
                if let Some(job) = self.job(at, query) {
                    job.recorded = true;
                    self.tell_first(at, query, false);
                    return self.answer_client(at, query, false);
                }
            }
            (Purpose::PurgeList(query), Answer::Listed(keys)) => self.on_purge_list(at, query, &keys),
            (Purpose::PurgeDelete(query), _) => {
                if let Some(job) = self.job(at, query) {
                    job.deletions -= 1;
                    if job.deletions == 0 {
                        self.purge(at, query);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// It is known what is in the store of an output that came in a report.
    fn late_committed(
        &mut self,
        at: usize,
        attempt: AttemptId,
        found: Result<(AttemptId, scheduler::OutputSize), Error>,
    ) -> Result<(), String> {
        let (query, output) = (attempt.task.query, attempt.output());
        let Some(job) = self.job(at, query) else {
            return Ok(());
        };
        if let Some(late) = job.late.get_mut(&attempt) {
            let status = match found {
                Ok((winner, output)) => AttemptStatus::Committed { winner, output },
                Err(error) => AttemptStatus::Failed(Failure::of(error)),
            };
            *late = Some(status);
            return Ok(());
        }
        job.unstored.remove(&attempt);
        let is_over = job.outcome.is_some();
        match found {
            Ok((winner, _)) if winner == attempt => {}
            // What was computed from it must not be mixed with what is computed from the other.
            _ if !is_over => {
                self.sometimes("outputs that somebody else has committed meanwhile", true);
                let error = Error::lost(output, "another attempt has committed it");
                self.step_core(at, Event::OutputLost { output, error })?;
            }
            Ok((winner, _)) => {
                job.selected.insert(output.task, (output.generation, winner));
            }
            // The reader of the result finds out.
            Err(_) => {}
        }
        self.settle_durability(at, query);
        Ok(())
    }

    /// Whether a client has all that is needed to run its query again, and nobody else may know it.
    pub fn is_run_again(&self, at: usize, client: usize, query: QueryId) -> bool {
        let is_known = self.machines[at].process.as_ref().is_some_and(|it| it.jobs.contains_key(&query));
        !is_known && self.clients[client].has_capsule(query) && self.bug != Some(Bug::CapsuleIgnored)
    }

    /// Runs a short query again whose coordinator died. Nothing of it was given to anybody.
    pub fn run_again(&mut self, at: usize, client: usize, number: u64, query: QueryId) {
        if self.process(at).sweeping.contains_key(&query) {
            self.respond(at, client, number, Response::Unavailable);
            return;
        }
        self.sometimes("short queries run again", true);
        let mut job = Job::new(self.clients[client].plan, false);
        job.durability = Durability::Volatile;
        job.post = Some((client, number));
        self.process(at).jobs.insert(query, job);
        self.ledger.forbidden.retain(|(released, _, _)| *released != query);
        self.ledger.forget(query, false);
        self.purge(at, query);
    }

    /// What the former life left would be taken for what this one writes.
    fn purge(&mut self, at: usize, query: QueryId) {
        self.shell_asks(at, Purpose::PurgeList(query), Operation::List(Some(query)));
    }

    fn on_purge_list(&mut self, at: usize, query: QueryId, keys: &[Key]) {
        let Some(job) = self.job(at, query) else {
            return;
        };
        job.deletions = keys.len();
        if keys.is_empty() {
            self.wake(at, PLANNING, Timer::Plan(query));
            self.wake(at, self.first_answer_wait, Timer::FirstAnswer(query));
        }
        for key in keys {
            self.shell_asks(at, Purpose::PurgeDelete(query), Operation::Delete(*key));
        }
    }
}
