//! Carrying out what the core decides.

use std::rc::Rc;
use std::sync::Arc;

use base::{AttemptId, Epoch, Millis, OutputId, QueryId, StageId, TaskId};
use scheduler::{AttemptSpec, Command, Core, Edge, Event, QueryView, Record, RecordKey, TaskInput};

use super::recovery::unreadable;
use super::{Durability, Job, Purpose, Role};
use crate::bug::Bug;
use crate::happening::{Happening, Moment, Place, Source, Timer};
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
        let (id, epoch) = (process.id, process.epoch);
        let good = Record::Done { outcome: Ok(()) };
        match &event {
            Event::RecordPersisted { query, record } if *record == good => {
                self.ledger.good_ends.insert((epoch, *query));
            }
            Event::QueryRecovered { query, records, .. } if records.contains(&good) => {
                self.ledger.good_ends.insert((epoch, *query));
            }
            _ => {}
        }
        let process = self.process(at);
        process.core.step(Millis(now), event, &mut commands);
        self.note_losses(at)?;
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

    /// Takes note of the workers, and of the attempts, that the core takes for lost.
    fn note_losses(&mut self, at: usize) -> Result<(), String> {
        let hosts = &self.hosts;
        let process = self.machines[at].process.as_mut().expect("it was told something");
        let (mut lost, mut any) = (Vec::new(), false);
        for node in process.core.nodes() {
            let host = hosts.iter().position(|host| host.name == *node.node).expect("it is one of ours");
            let life = node.incarnation.0;
            let now = (life, node.state.is_some());
            let before = process.lives.insert(host, now);
            any |= before.is_some_and(|before| before != now);
            if before == Some((life, true)) && node.state.is_none() {
                lost.push((host, life));
            }
        }
        let count = |view: QueryView<'_>| -> u32 { view.stages().map(|it| it.counts.lost_attempts).sum() };
        let losses: u32 = process.core.queries().map(count).sum();
        let before = std::mem::replace(&mut process.losses, losses);
        if losses > before && !any {
            return Err(format!("I-8: {} attempts are taken for lost, and no worker is", losses - before));
        }
        lost.into_iter().try_for_each(|(host, life)| self.check_loss(at, host, life))
    }

    fn carry_out(&mut self, at: usize, command: Command) -> Result<(), String> {
        match command {
            Command::SetDesired { node, incarnation, epoch, sequence, attempts } => {
                let host = self.hosts.iter().position(|host| host.name == node).expect("it is one of ours");
                let process = self.process(at);
                let (id, life) = (process.id, incarnation.0);
                let stream = process.streams.get(&host).filter(|(of, _)| *of == life);
                let Some((_, stream)) = stream.copied() else {
                    return Ok(());
                };
                for spec in &attempts {
                    if !self.ledger.placed.contains(&spec.attempt) {
                        self.check_slow_is_last(at, spec, host)?;
                    }
                    self.check_not_redone(spec)?;
                    let job = self.job(at, spec.attempt.task.query);
                    if job.is_some_and(|job| job.durability == Durability::Volatile) {
                        self.ledger.may_report.insert(spec.attempt);
                    }
                }
                let parcels = attempts.into_iter().map(|spec| {
                    let sources = self.sources(at, &spec);
                    (spec, sources)
                });
                let parcels = Rc::new(parcels.collect());
                let process = id;
                let order = Happening::Desired { process, stream, host, life, epoch, sequence, parcels };
                self.send(host, false, stream, order);
            }
            Command::RequestSplits { query, stage, scan, count_max } => {
                let delay = self.random.delay(150);
                self.wake(at, delay, Timer::Splits { query, stage, scan, count_max });
            }
            Command::Persist { query, record } => {
                if let Record::Done { outcome: Ok(()) } = &record {
                    self.check_result(at, query)?;
                }
                self.count_record(at, &record);
                if let Some(job) = self.job(at, query) {
                    job.persisting.insert(record.key());
                }
                let key = Key::Record(query, record.key());
                let operation = Operation::Create(key, Value::Record(record.clone()));
                self.shell_asks(at, Purpose::Persist(query, record), operation);
            }
            Command::RegionStarted { query, attempts } => self.region_started(at, query, attempts)?,
            Command::QueryDurable { query } => self.decisions_recorded(at, query),
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
                let job = self.job(at, query);
                if job.is_none_or(|job| job.durability == Durability::Volatile) {
                    if outcome.is_ok() {
                        self.check_result(at, query)?;
                    }
                    self.ledger.done.entry(query).or_insert(outcome.clone());
                }
                self.on_finished(at, query, &outcome)?;
                let delay = self.random.delay(300);
                self.at(delay, Happening::Moment { machine: at, kind: Moment::End });
                if let Some(job) = self.job(at, query) {
                    job.outcome = Some(outcome);
                    if job.closed {
                        self.wake(at, 1, Timer::Clean(query));
                    }
                    self.wake(at, 1, Timer::FirstAnswer(query));
                    self.settle_durability(at, query);
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

    fn count_record(&mut self, at: usize, record: &Record) {
        let delay = self.random.below(2 * self.store_mean) + 1;
        let kind = if record.key() == RecordKey::Done { Moment::End } else { Moment::Work };
        self.at(delay, Happening::Moment { machine: at, kind });
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
            (Purpose::PersistPlan(query), Answer::Exists) => {
                self.shell_asks(at, Purpose::PlanReadBack(query), Operation::Get(Key::Plan(query)));
            }
            (Purpose::PlanReadBack(query), Answer::Missing) => self.plan(at, query),
            (Purpose::PlanReadBack(query), Answer::Corrupt) if self.bug != Some(Bug::UnreadableIsAbsent) => {
                self.give_up(at, query);
            }
            (Purpose::PersistPlan(query), _) => self.on_plan_persisted(at, query)?,
            (Purpose::PlanReadBack(query), _) => {
                if let Some(job) = self.job(at, query) {
                    job.finds_plan = true;
                    self.recover(at, query);
                }
            }
            (Purpose::PersistQuery { query, client, number }, _) => {
                self.on_query_persisted(at, query, client, number);
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
                self.adopt(at, query, record, found)?;
            }
            (Purpose::PersistReadBack(query, record), Answer::Missing) => {
                let operation =
                    Operation::Create(Key::Record(query, record.key()), Value::Record(record.clone()));
                self.shell_asks(at, Purpose::Persist(query, record), operation);
            }
            (Purpose::PersistReadBack(query, record), Answer::Corrupt) => {
                self.on_unreadable(at, query, record)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What was to be recorded is recorded already, by this life or by another.
    fn adopt(&mut self, at: usize, query: QueryId, ours: Record, found: Record) -> Result<(), String> {
        let ended_well = matches!(found, Record::Done { outcome: Ok(()) }) && ours != found;
        if ended_well {
            // Whoever saw the result complete knew of commits, and maybe of records, that this life has not heard of.
            if let Some(job) = self.job(at, query) {
                job.adopted = Some(found);
                self.sometimes("good ends looked into", true);
                self.recover(at, query);
            }
            return Ok(());
        }
        self.on_persisted(at, query, found)
    }

    /// What is recorded where a record was to be created cannot be read.
    fn on_unreadable(&mut self, at: usize, query: QueryId, record: Record) -> Result<(), String> {
        self.sometimes("unreadable records met", true);
        if self.bug == Some(Bug::UnreadableIsAbsent) {
            return self.on_persisted(at, query, record);
        }
        let job = self.job(at, query);
        if job.is_some_and(|job| {
            job.outcome.is_some() && matches!(job.durability, Durability::Requested { .. })
        }) {
            return self.abandon_unrecorded(at, query);
        }
        // It says at least that the query has ended.
        if let Record::Done { .. } = record {
            return self.on_persisted(at, query, Record::Done { outcome: Err(unreadable()) });
        }
        if let Some(job) = self.job(at, query) {
            job.persisting.remove(&record.key());
        }
        match self.machines[at].is_leading() {
            true => self.step_core(at, Event::QueryCancelled { query, error: unreadable() }),
            false => Ok(()),
        }
    }

    fn on_persisted(&mut self, at: usize, query: QueryId, record: Record) -> Result<(), String> {
        if let Some(job) = self.job(at, query) {
            job.persisting.remove(&record.key());
        }
        if matches!(record, Record::Rollback { .. }) {
            self.settle_durability(at, query);
        }
        if self.process(at).role != Role::Leading {
            return Ok(());
        }
        self.step_core(at, Event::RecordPersisted { query, record })
    }

    /// The output of a task is decided.
    fn on_selected(&mut self, at: usize, output: OutputId, winner: AttemptId) -> Result<(), String> {
        if self.random.below(8) == 0 {
            self.at(1, Happening::Moment { machine: at, kind: Moment::Work });
        }
        let has_committed = self.ledger.winners.contains(&winner);
        if !has_committed && !self.ledger.deleted.contains(&output.task.query) {
            let committed = self.ledger.committed.get(&output);
            return Err(format!("I-1: {winner} is selected, the store says {committed:?}"));
        }
        let is_volatile = |job: &mut Job| job.durability == Durability::Volatile;
        if !self.job(at, output.task.query).is_some_and(is_volatile) {
            self.check_stored(output, winner)?;
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
        Some(Arc::new(self.sources_of(at, spec.attempt.task, &spec.input)?))
    }

    /// What a task reads, by what is decided now.
    pub fn sources_of(&self, at: usize, task: TaskId, input: &TaskInput) -> Option<Vec<Source>> {
        let process = self.machines[at].process.as_ref()?;
        let job = process.jobs.get(&task.query)?;
        let plan = &self.plans[job.plan];
        let mut sources = sources(plan, job, task, input)?;
        for source in &mut sources {
            source.place = match () {
                () if plan.is_region() => Place::Pipe,
                () if job.held.contains(&source.winner) => Place::Carried,
                () => self.place_of(source),
            };
        }
        Some(sources)
    }

    /// Whether the rows of an output are in its commit record.
    pub fn is_inline(&self, winner: AttemptId) -> bool {
        let rows = self.ledger.written[&winner].iter().map(Vec::len).sum::<usize>();
        rows as u64 <= self.inline_rows_max
    }

    /// Where the rows are that somebody reads of an output.
    fn place_of(&self, source: &Source) -> Place {
        let written = &self.ledger.written[&source.winner];
        let rows = |partitions: &[Vec<u64>]| partitions.iter().map(|rows| rows.len() as u64).sum::<u64>();
        let end = source.partitions.end.min(written.len());
        let read = rows(&written[source.partitions.start.min(end)..end]);
        let is_inline = self.is_inline(source.winner);
        match () {
            () if read == 0 || is_inline && read <= self.carried_rows_max => Place::Carried,
            () if is_inline => Place::Record,
            () => Place::Object,
        }
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
                let (generation, winner) = match plan.is_region() {
                    true => job.route.get(&producer).map(|attempt| (attempt.generation, *attempt))?,
                    false => *job.selected.get(&producer)?,
                };
                sources.push(Source {
                    output: OutputId { task: producer, generation },
                    winner,
                    partitions: partitions.clone(),
                    is_broadcast: shape.edge == Edge::Broadcast,
                    place: Place::Object,
                });
            }
        }
    }
    Some(sources)
}
