//! Carrying out what the core decides.

use std::rc::Rc;
use std::sync::Arc;

use base::{AttemptId, Epoch, Millis, OutputId, QueryId, StageId, TaskId};
use scheduler::{AttemptSpec, Command, Core, Edge, Event, Record, TaskInput};

use super::{Job, Purpose, Role};
use crate::bug::Bug;
use crate::happening::{Happening, Source, Timer};
use crate::plan::Plan;
use crate::store::{Answer, Key, Operation, Value};
use crate::world::World;

impl World {
    pub fn new_core(&self, epoch: Epoch) -> Core {
        let mut core = Core::new(epoch, self.core_options.clone());
        if let Some(Bug::Scheduler(bug)) = self.bug {
            core.plant(bug);
        }
        core
    }

    /// Tells the core of a leader a fact, and carries out what it decides.
    pub fn step_core(&mut self, at: usize, event: Event) -> Result<(), String> {
        let now = self.now;
        let mut commands = Vec::new();
        self.note(|| match &event {
            Event::WorkerReported { .. } | Event::Tick => String::new(),
            Event::QueryRecovered { query, records, commits, .. } => {
                format!("  core: {query} is recovered: {records:?} {commits:?}")
            }
            event => format!("  core: {event:?}"),
        });
        let process = self.process(at);
        let id = process.id;
        process.core.step(Millis(now), event, &mut commands);
        self.steps += 1;
        if self.steps.is_multiple_of(self.check_every) {
            self.process(at).core.check_invariants();
        }
        for command in commands {
            // What was decided before may have ended this life.
            if self.machines[at].process.as_ref().is_none_or(|process| process.id != id) {
                return Ok(());
            }
            self.note(|| match &command {
                Command::SetDesired { .. } => String::new(),
                command => format!("  core says {command:?}"),
            });
            self.carry_out(at, command)?;
        }
        let Some(process) = self.machines[at].process.as_mut().filter(|process| process.id == id) else {
            return Ok(());
        };
        if let Some(tick) = process.core.next_deadline()
            && process.tick_at.is_none_or(|earlier| tick.0 < earlier)
        {
            process.tick_at = Some(tick.0);
            self.at(tick.0.saturating_sub(now), Happening::CoreTick { process: id, at: tick.0 });
        }
        Ok(())
    }

    fn carry_out(&mut self, at: usize, command: Command) -> Result<(), String> {
        match command {
            Command::SetDesired { node, incarnation, epoch, sequence, attempts } => {
                let host = self.hosts.iter().position(|host| host.name == node).expect("it is one of ours");
                let process = self.process(at);
                let (id, life) = (process.id, incarnation.0);
                let has_stream = process.streams.get(&host).is_some_and(|(of, _)| *of == life);
                if !has_stream {
                    return Ok(());
                }
                let parcels = attempts.into_iter().map(|spec| {
                    let sources = self.sources(at, &spec);
                    (spec, sources)
                });
                let parcels = Rc::new(parcels.collect());
                self.send(
                    host,
                    false,
                    Happening::Desired { process: id, host, life, epoch, sequence, parcels },
                );
            }
            Command::RequestSplits { query, stage, scan, count_max } => {
                let delay = self.random.delay(150);
                self.wake(at, delay, Timer::Splits { query, stage, scan, count_max });
            }
            Command::Persist { query, record } => {
                if let Record::Done { outcome: Ok(()) } = &record {
                    self.check_result(at, query)?;
                }
                self.count_record(&record);
                let key = Key::Record(query, record.key());
                let operation = Operation::Create(key, Value::Record(record.clone()));
                self.shell_asks(at, Purpose::Persist(query, record), operation);
            }
            Command::RegionStarted { .. } | Command::QueryDurable { .. } => {}
            Command::OutputSelected { output, winner } => self.on_selected(at, output, winner)?,
            Command::OutputsRolledBack { query, outputs } => {
                if let Some(job) = self.job(at, query) {
                    for output in outputs {
                        job.selected.remove(&output.task);
                        job.generations.insert(output.task, output.generation + 1);
                    }
                }
            }
            Command::StageSealed { query, stage, tasks } => {
                self.sometimes("stages sealed", true);
                if let Some(job) = self.job(at, query)
                    && job.sealed.insert(stage, tasks).is_some_and(|before| before != tasks)
                {
                    return Err(format!("I-2: the number of tasks of stage {stage} of {query} changes"));
                }
                let recorded = self.ledger.sealed.entry((query, stage)).or_insert(tasks);
                // Who reads a query while it is being deleted may form other tasks; nobody wants them.
                if *recorded != tasks && !self.ledger.deleted.contains(&query) {
                    return Err(format!(
                        "I-14: stage {stage} of {query} is sealed with {recorded} and {tasks}"
                    ));
                }
            }
            Command::QueryFinished { query, outcome } => {
                if !self.plans[self.ledger.plans[&query]].options.is_durable {
                    if outcome.is_ok() {
                        self.check_result(at, query)?;
                    }
                    self.ledger.done.entry(query).or_insert(outcome.clone());
                }
                self.on_finished(at, query, &outcome)?;
                if let Some(job) = self.job(at, query) {
                    job.outcome = Some(outcome);
                    if job.closed {
                        self.wake(at, 1, Timer::Clean(query));
                    }
                    self.answer_client(at, query, true)?;
                }
            }
            Command::QueryReleased { query } => {
                self.on_released(at, query)?;
                if let Some(job) = self.job(at, query) {
                    job.released = true;
                    self.wake(at, 1, Timer::Clean(query));
                }
            }
            Command::Superseded { .. } => self.superseded(at),
        }
        Ok(())
    }

    fn count_record(&mut self, record: &Record) {
        let name = match record {
            Record::Tasks { .. } => "tasks recorded",
            Record::Rollback { outputs, .. } if outputs.len() > 1 => "rollbacks of several outputs",
            Record::Rollback { .. } => "rollbacks of one output",
            Record::Done { .. } => "ends recorded",
        };
        self.sometimes(name, true);
    }

    /// The store answers about a record.
    pub fn persist_hears(&mut self, at: usize, purpose: Purpose, answer: Answer) -> Result<(), String> {
        match (purpose, answer) {
            (purpose @ (Purpose::PersistQuery { .. } | Purpose::PersistPlan(_)), _) => {
                self.on_query_persisted(at, purpose)?;
            }
            (Purpose::Persist(query, record), Answer::Done) => {
                self.on_persisted(at, query, record)?;
            }
            (Purpose::Persist(query, record), Answer::Exists) => {
                if self.bug == Some(Bug::ExistsIsOurs) {
                    return self.on_persisted(at, query, record);
                }
                let operation = Operation::Get(Key::Record(query, record.key()));
                self.shell_asks(at, Purpose::PersistReadBack(query, record), operation);
            }
            (Purpose::PersistReadBack(query, record), Answer::Found(Value::Record(found))) => {
                self.sometimes("records of others adopted", found != record);
                self.sometimes("own records recognised", found == record);
                self.on_persisted(at, query, found)?;
            }
            (Purpose::PersistReadBack(query, record), Answer::Missing) => {
                let operation =
                    Operation::Create(Key::Record(query, record.key()), Value::Record(record.clone()));
                self.shell_asks(at, Purpose::Persist(query, record), operation);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_persisted(&mut self, at: usize, query: QueryId, record: Record) -> Result<(), String> {
        if self.process(at).role != Role::Leading {
            return Ok(());
        }
        self.step_core(at, Event::RecordPersisted { query, record })
    }

    /// The output of a task is decided.
    fn on_selected(&mut self, at: usize, output: OutputId, winner: AttemptId) -> Result<(), String> {
        let committed = self.ledger.committed.get(&output).copied();
        if committed != Some(winner) && !self.ledger.deleted.contains(&output.task.query) {
            return Err(format!("I-1: {winner} is selected, the store says {committed:?}"));
        }
        // Each rollback makes one more generation of what it takes with it, and of nothing else.
        let rollbacks = self.ledger.rollbacks_of(output.task.query);
        let is_durable = self.plan_of(winner).options.is_durable;
        if is_durable && output.generation > rollbacks && !self.ledger.deleted.contains(&output.task.query) {
            return Err(format!("I-12: generation {} of {}", output.generation, output.task));
        }
        if let Some(job) = self.job(at, output.task.query) {
            job.generations.insert(output.task, output.generation);
            if let Some(before) = job.selected.insert(output.task, (output.generation, winner)) {
                return Err(format!("I-1: {winner} is selected after {} and nothing was lost", before.1));
            }
            if output.task.stage == StageId(0) {
                self.answer_client(at, output.task.query, false)?;
            }
        }
        Ok(())
    }

    /// What an attempt reads, by what is decided now. None if that is not everything.
    fn sources(&mut self, at: usize, spec: &AttemptSpec) -> Option<Arc<Vec<Source>>> {
        let query = spec.attempt.task.query;
        let process = self.machines[at].process.as_ref()?;
        let job = process.jobs.get(&query)?;
        let plan = &self.plans[job.plan];
        sources(plan, job, spec.attempt.task, &spec.input).map(Arc::new)
    }
}

fn sources(plan: &Plan, job: &Job, task: TaskId, input: &TaskInput) -> Option<Vec<Source>> {
    let stage = &plan.shape.stages[task.stage.0 as usize];
    let mut sources = Vec::new();
    for (at, shape) in stage.inputs.iter().enumerate() {
        for (at_producer, producer) in shape.producers.iter().enumerate() {
            let tasks = *job.sealed.get(producer)?;
            let all = plan.shape.stages[producer.0 as usize].output_partitions as usize;
            let read = match shape.edge {
                Edge::Arbitrary => input.sources[at][at_producer].clone(),
                Edge::Hash | Edge::Single | Edge::Broadcast => 0..tasks,
            };
            let partitions = match shape.edge {
                Edge::Hash => input.partitions.start as usize..(input.partitions.end as usize).min(all),
                _ => 0..all,
            };
            for partition in read {
                let producer = TaskId { query: task.query, stage: *producer, partition };
                let (generation, winner) = *job.selected.get(&producer)?;
                sources.push(Source {
                    output: OutputId { task: producer, generation },
                    winner,
                    partitions: partitions.clone(),
                    is_broadcast: shape.edge == Edge::Broadcast,
                });
            }
        }
    }
    Some(sources)
}
