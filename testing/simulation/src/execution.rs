//! What an attempt does on a worker: read what was selected, move the rows, write them, commit. Or fail.

use std::rc::Rc;
use std::sync::Arc;

use base::{AttemptId, Error, ErrorCode, Failure};
use scheduler::{AttemptStatus, OutputSize, RunnerEvent};

use crate::bug::Bug;
use crate::fault::Fault;
use crate::happening::{Asker, Happening, Part, Place, Source};
use crate::host::Phase;
use crate::random::mix;
use crate::store::{Answer, Key, Operation, Value};
use crate::world::World;

/// An attempt gives up when the store was asked in vain so often.
const TRIES_MAX: u32 = 6;
/// A worker that stood still for so long may notice.
const STANDSTILL_MIN: u64 = 1_000;
/// Work takes so many times its mean at most.
const WORK_TIMES_MAX: u64 = 4;
/// However slow a worker is, an attempt has done its work after so long.
const WORK_MAX: u64 = 90_000;
/// A row weighs so much.
const ROW_BYTES: u64 = 10;

/// The size and the checksum of what an attempt wrote.
pub fn size_of(partitions: &[Vec<u64>]) -> OutputSize {
    let partition_bytes: Arc<[u64]> = partitions.iter().map(|rows| rows.len() as u64 * ROW_BYTES).collect();
    let of_partition = |(at, rows): (u64, &Vec<u64>)| -> u64 {
        rows.iter().fold(0u64, |sum, row| sum.wrapping_add(mix(row ^ mix(at))))
    };
    let checksums = (0u64..).zip(partitions).map(of_partition);
    OutputSize {
        rows: partitions.iter().map(|rows| rows.len() as u64).sum(),
        partition_bytes,
        checksum: checksums.fold(0, u64::wrapping_add),
    }
}

/// The rows of an output in what the store answered; None if they are not there, or not those.
fn rows_of(source: &Source, answer: Answer) -> Option<Rc<Vec<Vec<u64>>>> {
    match answer {
        Answer::Found(Value::Data(data)) => Some(data),
        Answer::Found(Value::Commit { winner, rows, .. }) if winner == source.winner => rows,
        _ => None,
    }
}

/// Those of an output's rows that are read.
pub fn part_of(data: &[Vec<u64>], source: &Source) -> Vec<u64> {
    let partitions = data.iter().skip(source.partitions.start).take(source.partitions.len());
    partitions.flatten().copied().collect()
}

impl World {
    /// An attempt goes on from where it is.
    pub fn progress(&mut self, host: usize, attempt: AttemptId) -> Result<(), String> {
        let Some(execution) = self.hosts[host].executions.get(&attempt) else {
            return Ok(());
        };
        match execution.phase {
            Phase::Reading => {
                let Some(sources) = execution.sources.clone() else {
                    self.fail(host, attempt, Error::internal("the inputs are not known"));
                    return Ok(());
                };
                let missing: Vec<usize> =
                    (0..sources.len()).filter(|at| !execution.read.contains_key(at)).collect();
                for at in missing {
                    match sources[at].place {
                        Place::Carried => self.take_carried(host, attempt, at, &sources[at]),
                        Place::Record => {
                            let operation = Operation::Get(Key::Commit(sources[at].output));
                            self.ask_for(host, attempt, Part::Read(at), operation);
                        }
                        Place::Pipe => {
                            let life = self.hosts[host].life;
                            let delay = self.random.delay(self.network_mean);
                            self.at(delay, Happening::Pull { host, life, attempt, at });
                        }
                        Place::Object => {
                            let operation = Operation::Get(Key::Data(sources[at].winner));
                            self.ask_for(host, attempt, Part::Read(at), operation);
                        }
                    }
                }
                return self.compute_if_read(host, attempt, &sources);
            }
            Phase::Computing => return self.compute(host, attempt),
            Phase::Writing => {
                let data = self.ledger.written[&attempt].clone();
                self.ask_for(
                    host,
                    attempt,
                    Part::Write,
                    Operation::Put(Key::Data(attempt), Value::Data(data)),
                );
            }
            Phase::Committing => {
                let output = execution.output.clone().expect("it was written before");
                let is_inline = output.rows <= self.inline_rows_max;
                let rows = is_inline.then(|| self.ledger.written[&attempt].clone());
                let key = Key::Commit(attempt.output());
                let value = Value::Commit { winner: attempt, output, rows };
                let operation = match self.bug {
                    Some(Bug::UnconditionalCommit) => Operation::Put(key, value),
                    _ => Operation::Create(key, value),
                };
                self.ask_for(host, attempt, Part::Commit, operation);
            }
            Phase::Flushing => self.flush(host, attempt),
            Phase::ReadingBack => {
                let operation = Operation::Get(Key::Commit(attempt.output()));
                self.ask_for(host, attempt, Part::ReadBack, operation);
            }
        }
        Ok(())
    }

    fn ask_for(&mut self, host: usize, attempt: AttemptId, part: Part, operation: Operation) {
        let life = self.hosts[host].life;
        self.ask(Asker::Attempt { host, life, attempt, part }, operation);
    }

    fn go_on(&mut self, host: usize, attempt: AttemptId, phase: Phase, delay: u64) {
        let life = self.hosts[host].life;
        if let Some(execution) = self.hosts[host].executions.get_mut(&attempt) {
            execution.phase = phase;
            self.at(delay, Happening::Progress { host, life, attempt });
        }
    }

    /// The rows that came with the order to read them.
    fn take_carried(&mut self, host: usize, attempt: AttemptId, at: usize, source: &Source) {
        let rows = part_of(&self.ledger.written[&source.winner], source);
        if let Some(execution) = self.hosts[host].executions.get_mut(&attempt) {
            execution.read.insert(at, rows);
        }
    }

    /// An attempt computes when it has read everything.
    pub fn compute_if_read(
        &mut self,
        host: usize,
        attempt: AttemptId,
        sources: &[Source],
    ) -> Result<(), String> {
        let execution = self.hosts[host].executions.get(&attempt);
        if execution.is_some_and(|execution| execution.read.len() == sources.len()) {
            let delay = self.random.delay(self.work_mean).min(WORK_TIMES_MAX * self.work_mean);
            let slowness = self.hosts[host].slowness;
            self.go_on(host, attempt, Phase::Computing, (delay * slowness).min(WORK_MAX));
        }
        Ok(())
    }

    /// The store answers an attempt.
    pub fn attempt_hears(
        &mut self,
        host: usize,
        attempt: AttemptId,
        part: Part,
        answer: Answer,
    ) -> Result<(), String> {
        let Some(execution) = self.hosts[host].executions.get_mut(&attempt) else {
            return Ok(());
        };
        if execution.stopping {
            return Ok(());
        }
        let phase = execution.phase;
        if matches!(answer, Answer::Refused) && self.bug == Some(Bug::RefusalIsFatal) {
            self.fail(host, attempt, Error::new(ErrorCode::DIVISION_BY_ZERO, "the store says 400"));
            return Ok(());
        }
        if matches!(answer, Answer::Unavailable | Answer::Refused) {
            return self.try_store_again(host, attempt, part);
        }
        execution.tries = 0;
        match (phase, part, answer) {
            (Phase::Reading, Part::Read(at), answer) => {
                let sources = execution.sources.clone().expect("it reads them");
                let Some(data) = rows_of(&sources[at], answer) else {
                    let error = Error::lost(sources[at].output, "it cannot be read");
                    self.fail(host, attempt, error);
                    return Ok(());
                };
                execution.read.insert(at, part_of(&data, &sources[at]));
                return self.compute_if_read(host, attempt, &sources);
            }
            (Phase::Writing, Part::Write, Answer::Done) => self.go_on(host, attempt, Phase::Committing, 1),
            (Phase::Committing, Part::Commit, Answer::Done) => {
                self.end_committed(host, attempt, attempt, None)
            }
            (Phase::Committing, Part::Commit, Answer::Exists) => {
                self.go_on(host, attempt, Phase::ReadingBack, 1);
            }
            (Phase::ReadingBack, Part::ReadBack, Answer::Found(Value::Commit { winner, output, .. })) => {
                if winner == attempt && self.bug == Some(Bug::LostAnswerIsDefeat) {
                    self.fail(host, attempt, Error::internal("somebody else has committed"));
                    return Ok(());
                }
                self.sometimes("commit races lost", winner != attempt);
                self.sometimes("own commit recognised", winner == attempt);
                self.end_committed(host, attempt, winner, Some(output));
            }
            // Somebody has committed, and nobody can read who: it can only be committed under the next generation.
            (Phase::ReadingBack, Part::ReadBack, Answer::Corrupt) => {
                self.sometimes("commits over unreadable ones", true);
                self.fail(host, attempt, Error::lost(attempt.output(), "its commit record is unreadable"));
            }
            // Its query is over, and what it left is being deleted.
            (Phase::ReadingBack, Part::ReadBack, Answer::Missing) => {
                self.fail(host, attempt, Error::internal("the commit record is gone"));
            }
            _ => {}
        }
        Ok(())
    }

    fn try_store_again(&mut self, host: usize, attempt: AttemptId, part: Part) -> Result<(), String> {
        let now = self.now;
        let outage = self.outage_until > now;
        let Some(execution) = self.hosts[host].executions.get_mut(&attempt) else {
            return Ok(());
        };
        execution.tries += 1;
        let tries = execution.tries;
        if part == Part::Commit && self.bug == Some(Bug::DoubtIsFailure) {
            self.fail(host, attempt, Error::internal("the commit failed"));
            return Ok(());
        }
        if outage && tries > 2 && self.bug == Some(Bug::OutageIsFatal) {
            self.fail(host, attempt, Error::new(ErrorCode::HIVE_CANNOT_OPEN_SPLIT, "the store is away"));
            return Ok(());
        }
        if tries > TRIES_MAX * if outage { 50 } else { 1 } {
            self.ledger.note_failure(attempt.task);
            self.fail(host, attempt, Error::new(ErrorCode::HIVE_CANNOT_OPEN_SPLIT, "the store is away"));
            return Ok(());
        }
        let phase = execution.phase;
        let delay = 50 << tries.min(6);
        self.go_on(host, attempt, phase, delay);
        Ok(())
    }

    pub fn end_committed(
        &mut self,
        host: usize,
        attempt: AttemptId,
        winner: AttemptId,
        output: Option<OutputSize>,
    ) {
        let Some(execution) = self.hosts[host].executions.remove(&attempt) else {
            return;
        };
        let output = output.or(execution.output).expect("it was written before");
        let needed = self.plan_of(attempt).memory_needed[attempt.task.stage.0 as usize];
        let status = AttemptStatus::Committed { winner, output };
        self.step_host(host, RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes: needed });
    }

    /// A worker's watchdog looks at its attempts again after the process stood still.
    pub fn watchdog_wakes(&mut self, host: usize) {
        // That nothing has happened says nothing about them.
        let stood_still = self.now - self.hosts[host].paused_at > STANDSTILL_MIN;
        if stood_still && self.bug == Some(Bug::StandstillIsHang) {
            let attempts: Vec<AttemptId> = self.hosts[host].executions.keys().copied().collect();
            for attempt in attempts {
                self.fail(host, attempt, Error::new(ErrorCode::ABANDONED_TASK, "No progress"));
            }
        }
    }

    fn fail(&mut self, host: usize, attempt: AttemptId, error: Error) {
        let Some(execution) = self.hosts[host].executions.remove(&attempt) else {
            return;
        };
        let mut failure = Failure::of(error);
        self.sometimes("inputs found lost", failure.error.lost_output().is_some());
        if self.bug == Some(Bug::UntypedDataLoss) && failure.error.lost_output().is_some() {
            failure = Failure::of(Error::internal(failure.error.message()));
        }
        let needed = self.plan_of(attempt).memory_needed[attempt.task.stage.0 as usize];
        let peak_memory_bytes = needed.min(execution.spec.memory_bytes);
        let status = AttemptStatus::Failed(failure);
        self.step_host(host, RunnerEvent::AttemptEnded { attempt, status, peak_memory_bytes });
    }

    /// An attempt has read and worked: it fails, or writes its output.
    fn compute(&mut self, host: usize, attempt: AttemptId) -> Result<(), String> {
        let execution = self.hosts[host].executions[&attempt].clone();
        let stage = attempt.task.stage;
        if self.plan_of(attempt).poisoned == Some(stage) && attempt.task.partition == 0 {
            self.faults.note(Fault::Crash);
            self.crash_host(host);
            return Ok(());
        }
        if let Some(error) = self.injected_failure(attempt, execution.spec.memory_bytes) {
            self.fail(host, attempt, error);
            return Ok(());
        }
        let plan = self.plan_of(attempt);
        let mut rows = plan.values.get(&stage).cloned().unwrap_or_default();
        for (scan, numbers) in execution.spec.input.splits.iter().enumerate() {
            let splits = &plan.splits[&(stage, scan as u32)];
            for number in numbers {
                rows.extend(splits.get(*number as usize).ok_or("I-3: a split that is not there")?);
            }
        }
        let sources = execution.sources.expect("it has read them");
        let mut sent: std::collections::BTreeMap<_, Vec<u64>> = std::collections::BTreeMap::new();
        for (source, read) in sources.iter().zip(execution.read.values()) {
            if source.is_broadcast {
                sent.entry(source.output.task.stage).or_default().extend(read);
            } else {
                rows.extend(read);
            }
        }
        for (producer, mut read) in sent {
            read.sort_unstable();
            if read != plan.expected(producer) {
                // With a rollback under way it may have read a mixture. Then it must not count.
                self.ledger.tainted.insert(attempt);
            }
        }
        let shape = &plan.shape.stages[stage.0 as usize];
        let mut partitions = vec![Vec::new(); shape.output_partitions as usize];
        let restless = !shape.determinate || plan.liars.contains(&stage);
        let number = (u64::from(attempt.generation) << 40) | (u64::from(attempt.epoch.0) << 20);
        let salt = if restless { mix(number | u64::from(attempt.number)) } else { 0 };
        for row in rows {
            partitions[(mix(row ^ salt) % u64::from(shape.output_partitions)) as usize].push(row);
        }
        let output = size_of(&partitions);
        self.ledger.checksums.insert(attempt, output.checksum);
        self.ledger.lineage.insert(attempt, sources);
        self.ledger.written.insert(attempt, Rc::new(partitions));
        if let Some(execution) = self.hosts[host].executions.get_mut(&attempt) {
            execution.output = Some(output);
        }
        if self.is_piped(attempt) {
            self.go_on(host, attempt, Phase::Flushing, 1);
            return Ok(());
        }
        let is_inline = self.hosts[host].executions[&attempt]
            .output
            .as_ref()
            .is_some_and(|output| output.rows <= self.inline_rows_max);
        if is_inline && self.ledger.may_report.contains(&attempt) {
            self.sometimes("outputs that are only in reports", true);
            self.ledger.reported.insert(attempt);
            self.ledger.winners.insert(attempt);
            self.end_committed(host, attempt, attempt, None);
            return Ok(());
        }
        self.go_on(host, attempt, if is_inline { Phase::Committing } else { Phase::Writing }, 1);
        Ok(())
    }

    /// Some tasks fail at first, whoever runs them.
    fn is_flaky(&mut self, attempt: AttemptId) -> bool {
        let task = attempt.task;
        let luck = mix(u64::from(task.stage.0) << 32 | u64::from(task.partition)) ^ mix(self.chaos_millis);
        let failures = self.ledger.failures_of_task(task);
        let is_flaky = self.faults.is_on(Fault::AttemptError)
            && luck.is_multiple_of(8)
            && failures < self.plan_of(attempt).options.task_retry_attempts_per_task.min(3);
        if is_flaky {
            self.faults.note(Fault::AttemptError);
        }
        is_flaky
    }

    fn injected_failure(&mut self, attempt: AttemptId, lease: u64) -> Option<Error> {
        let query = attempt.task.query;
        let needed = self.plan_of(attempt).memory_needed[attempt.task.stage.0 as usize];
        if lease < needed && !self.plan_of(attempt).is_region() {
            self.sometimes("leases too small", true);
            self.ledger.out_of_memory.insert(query);
            self.ledger.note_failure(attempt.task);
            return Some(Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "the lease is too small"));
        }
        // A statement is at fault in a task every time, or never.
        let at_fault = match self.ledger.at_fault(attempt.task) {
            Some(at_fault) => at_fault,
            None => self.strikes(Fault::UserError),
        };
        self.ledger.note_fault(attempt.task, at_fault);
        if at_fault {
            self.ledger.user_error.insert(query);
            self.ledger.note_failure(attempt.task);
            return Some(Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero"));
        }
        if self.is_flaky(attempt) || self.strikes(Fault::AttemptError) {
            self.ledger.note_failure(attempt.task);
            let code = [ErrorCode::GENERIC_INTERNAL_ERROR, ErrorCode::HIVE_CANNOT_OPEN_SPLIT];
            return Some(Error::new(code[self.random.below(2) as usize], "it happens"));
        }
        None
    }
}
