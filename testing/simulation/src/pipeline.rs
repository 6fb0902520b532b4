//! Rows that go from attempt to attempt while both run.

use std::collections::BTreeSet;
use std::rc::Rc;

use base::{AttemptId, NodeId, QueryId, StageId};
use scheduler::RetryPolicy;

use crate::bug::Bug;
use crate::execution::part_of;
use crate::happening::{Happening, Moment, Place, Timer};
use crate::host::Phase;
use crate::world::World;

/// Whoever finds nothing to read yet asks again after so long.
const PULL_AGAIN: u64 = 150;

/// Who reads what an attempt writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    Attempt(AttemptId),
    /// The coordinator, on behalf of the client.
    Client,
}

/// What an attempt writes that runs at the same time as those that read it.
#[derive(Debug)]
pub struct Pipe {
    host: usize,
    life: u64,
    /// Those that have not read it yet.
    readers: BTreeSet<Reader>,
}

/// What there is to read.
enum Flow {
    Rows,
    /// Nothing yet.
    Wait,
    /// Nothing, ever.
    Gone,
}

impl World {
    /// Whether an attempt gives its rows to others that run, and to nobody else.
    pub fn is_piped(&self, attempt: AttemptId) -> bool {
        let plan = self.plan_of(attempt);
        plan.is_region() && (attempt.task.stage != StageId(0) || plan.is_streamed())
    }

    /// All attempts of a region are placed: they read from each other.
    pub fn region_started(
        &mut self,
        at: usize,
        query: QueryId,
        attempts: Vec<(AttemptId, NodeId, base::Incarnation)>,
    ) -> Result<(), String> {
        let now = self.now;
        self.check_one_try(at, query, &attempts)?;
        let Some(job) = self.job(at, query) else {
            return Ok(());
        };
        let is_again = !job.route.is_empty();
        job.route = attempts.iter().map(|(attempt, _, _)| (attempt.task, *attempt)).collect();
        job.stream.clear();
        self.sometimes("regions tried again", is_again);
        self.sometimes("regions started", now > 0);
        for _ in 0..2 {
            let delay = self.random.below(4 * self.work_mean) + 1;
            self.at(delay, Happening::Moment { machine: at, kind: Moment::Region });
        }
        let is_streamed = self.plans[self.ledger.plans[&query]].is_streamed();
        for (attempt, node, incarnation) in &attempts {
            let host = self.hosts.iter().position(|host| host.name == *node).expect("it is one of ours");
            let pipe = Pipe { host, life: incarnation.0, readers: BTreeSet::new() };
            self.ledger.pipes.insert(*attempt, pipe);
        }
        for (reader, _, _) in &attempts {
            for source in self.region_sources(at, *reader) {
                if let Some(pipe) = self.ledger.pipes.get_mut(&source) {
                    pipe.readers.insert(Reader::Attempt(*reader));
                }
            }
            if is_streamed && reader.task.stage == StageId(0) {
                if let Some(pipe) = self.ledger.pipes.get_mut(reader) {
                    pipe.readers.insert(Reader::Client);
                }
                self.wake(at, PULL_AGAIN, Timer::PullRoot(query, reader.task.partition));
            }
        }
        Ok(())
    }

    /// The attempts that one of a region reads from.
    fn region_sources(&self, at: usize, reader: AttemptId) -> Vec<AttemptId> {
        let process = self.machines[at].process.as_ref();
        let view = process.and_then(|process| process.core.query(&reader.task.query));
        let stage = view.and_then(|view| view.stages().find(|stage| stage.id == reader.task.stage));
        let task = stage.and_then(|stage| stage.tasks().find(|task| task.partition == reader.task.partition));
        let sources = task.and_then(|task| self.sources_of(at, reader.task, task.input));
        sources.into_iter().flatten().map(|source| source.winner).collect()
    }

    /// Whether the rows of an attempt can be read from a worker, or from the coordinator.
    fn flow(&self, producer: AttemptId, reader: Option<usize>) -> Flow {
        let Some(pipe) = self.ledger.pipes.get(&producer) else {
            return Flow::Wait;
        };
        let host = &self.hosts[pipe.host];
        let execution = host.executions.get(&producer).filter(|_| host.up && host.life == pipe.life);
        let Some(execution) = execution else {
            let ends = self.bug == Some(Bug::ProducerGoneIsEnd) && (!host.up || host.life != pipe.life);
            return if ends { Flow::Gone } else { Flow::Wait };
        };
        let is_cut =
            host.paused || self.is_cut(pipe.host) || reader.is_some_and(|reader| self.is_cut(reader));
        match execution.phase == Phase::Flushing && !execution.stopping && !is_cut {
            true => Flow::Rows,
            false => Flow::Wait,
        }
    }

    fn was_read(&mut self, producer: AttemptId, reader: Reader) {
        let Some(pipe) = self.ledger.pipes.get_mut(&producer) else {
            return;
        };
        pipe.readers.remove(&reader);
        if pipe.readers.is_empty() {
            let (host, life) = (pipe.host, pipe.life);
            let delay = self.random.delay(self.network_mean);
            self.at(delay, Happening::Progress { host, life, attempt: producer });
        }
    }

    /// An attempt asks for the rows of another one.
    pub fn pull(&mut self, host: usize, attempt: AttemptId, at: usize) -> Result<(), String> {
        let execution = self.hosts[host].executions.get(&attempt).filter(|it| !it.stopping);
        let Some(sources) = execution.and_then(|execution| execution.sources.clone()) else {
            return Ok(());
        };
        let source = &sources[at];
        debug_assert_eq!(source.place, Place::Pipe);
        let rows = match self.flow(source.winner, Some(host)) {
            Flow::Rows => part_of(&self.ledger.written[&source.winner], source),
            Flow::Gone => Vec::new(),
            Flow::Wait => {
                let life = self.hosts[host].life;
                self.at(PULL_AGAIN, Happening::Pull { host, life, attempt, at });
                return Ok(());
            }
        };
        if let Some(execution) = self.hosts[host].executions.get_mut(&attempt) {
            execution.read.insert(at, rows);
        }
        self.was_read(source.winner, Reader::Attempt(attempt));
        self.compute_if_read(host, attempt, &sources)
    }

    /// The coordinator asks an attempt of the root for its rows.
    pub fn pull_root(&mut self, at: usize, query: QueryId, partition: u32) -> Result<(), String> {
        let task = super::coordinator::root_task(query, partition);
        let Some(job) = self.job(at, query).filter(|job| job.outcome.is_none()) else {
            return Ok(());
        };
        let Some(attempt) = job.route.get(&task).copied().filter(|_| !job.stream.contains_key(&partition))
        else {
            return Ok(());
        };
        if !matches!(self.flow(attempt, None), Flow::Rows) {
            self.wake(at, PULL_AGAIN, Timer::PullRoot(query, partition));
            return Ok(());
        }
        let rows: Vec<u64> = self.ledger.written[&attempt].iter().flatten().copied().collect();
        if let Some(job) = self.job(at, query) {
            job.stream.insert(partition, Rc::new(rows));
        }
        self.was_read(attempt, Reader::Client);
        self.answer_client(at, query, false)
    }

    /// An attempt ends when all have read what it wrote.
    pub fn flush(&mut self, host: usize, attempt: AttemptId) {
        let is_read = self.ledger.pipes.get(&attempt).is_none_or(|pipe| pipe.readers.is_empty());
        let execution = self.hosts[host].executions.get(&attempt);
        if is_read && execution.is_some_and(|execution| !execution.stopping) {
            self.ledger.winners.insert(attempt);
            self.end_committed(host, attempt, attempt, None);
        }
    }

    /// I-15: all attempts of a region are of one try.
    fn check_one_try(
        &self,
        at: usize,
        query: QueryId,
        attempts: &[(AttemptId, NodeId, base::Incarnation)],
    ) -> Result<(), String> {
        let generations: BTreeSet<u32> = attempts.iter().map(|(attempt, _, _)| attempt.generation).collect();
        if generations.len() > 1 {
            return Err(format!("I-15: {query} is tried with attempts of {generations:?}"));
        }
        let is_delivered = self.machines[at].process.as_ref().is_some_and(|process| {
            process.jobs.get(&query).is_some_and(|job| !job.route.is_empty() && !job.stream.is_empty())
        });
        let policy = self.plans[self.ledger.plans[&query]].options.retry_policy;
        match is_delivered && policy == RetryPolicy::None {
            true => Err(format!("I-15: {query} is tried again, and rows of it were given out")),
            false => Ok(()),
        }
    }
}
