//! The state of the event loop: the core, the connections, the running queries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base::{AttemptId, Epoch, Error, ErrorType, Incarnation, Millis, NodeId, OutputId, QueryId};
use protocol::node::wire;
use scheduler::{AttemptSpec, Command, Core, Event};

use super::assignment::{assignment, source_bytes};
use super::cleaner::Cleaner;
use super::connection::{Connection, Outbox, WorkerDescription, reject_superseded};
use super::execution::{Execution, Submission};
use super::persister::Persister;
use super::region::{Producer, Region};
use super::reports::HeldReport;
use super::splits::SplitEnumeration;
use super::totals::{AttemptCounts, AttemptTotals};
use super::{Dispatcher, Input};
use crate::flight::FlightRecorder;
use crate::query::{QueryProgress, QueryRegistry};

/// How long a query that nobody wants may wait for workers to let go of it before it is cleaned all the same.
const RELEASE_PATIENCE: Duration = Duration::from_secs(1);
/// A message to a worker that tells of so many bytes of outputs tells of no further attempts. Together with the outputs
/// that one more attempt reads it is far below what a message may have.
const ASSIGNMENTS_BYTES_MAX: usize = protocol::node::MESSAGE_BYTES_MAX / 2;

/// The state of the event loop.
pub struct DispatchState {
    core: Core,
    epoch: Epoch,
    /// What the core's time 0 is.
    started: SystemTime,
    dispatcher: Dispatcher,
    /// The queries that are remembered.
    queries: Arc<QueryRegistry>,
    connections: BTreeMap<NodeId, Connection>,
    pub(super) usage: BTreeMap<NodeId, wire::NodeUsage>,
    pub(super) executions: BTreeMap<QueryId, Execution>,
    /// The newest message for each worker that was not sent yet.
    desired: BTreeMap<NodeId, PendingDesired>,
    pub(super) cleaner: Cleaner,
    totals: AttemptTotals,
    pub(super) persister: Persister,
    recorder: FlightRecorder,
    /// The last reports of workers of which something was held back.
    pub(super) held_reports: BTreeMap<NodeId, HeldReport>,
    /// How many reports the core was told.
    pub(super) report_sequence: u64,
}

struct PendingDesired {
    incarnation: Incarnation,
    epoch: Epoch,
    sequence: u64,
    attempts: Vec<AttemptSpec>,
}

/// A connected worker.
pub struct ConnectedNode<'a> {
    /// What it told of itself.
    pub description: &'a WorkerDescription,
    /// What it uses.
    pub usage: Option<&'a wire::NodeUsage>,
}

impl DispatchState {
    pub(super) fn new(
        core: Core,
        epoch: Epoch,
        dispatcher: Dispatcher,
        queries: Arc<QueryRegistry>,
        cleaner: Cleaner,
        persister: Persister,
    ) -> Self {
        DispatchState {
            recorder: FlightRecorder::new(&core),
            core,
            epoch,
            started: SystemTime::now(),
            dispatcher,
            queries,
            connections: BTreeMap::new(),
            usage: BTreeMap::new(),
            executions: BTreeMap::new(),
            desired: BTreeMap::new(),
            cleaner,
            totals: AttemptTotals::default(),
            persister,
            held_reports: BTreeMap::new(),
            report_sequence: 0,
        }
    }

    /// How many attempts there were in this life of the coordinator.
    pub fn attempt_counts(&self) -> AttemptCounts {
        self.totals.counts(&self.core)
    }

    /// The scheduler's core.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The life of this coordinator.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A time of the core's on the wall's clock.
    pub fn system_time(&self, at: Millis) -> SystemTime {
        self.started + Duration::from_millis(at.0)
    }

    /// What is kept of a running query.
    pub fn execution(&self, query: &QueryId) -> Option<&Execution> {
        self.executions.get(query)
    }

    /// What is kept of all running queries.
    pub fn executions(&self) -> impl Iterator<Item = (&QueryId, &Execution)> {
        self.executions.iter()
    }

    /// The connected workers.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeId, ConnectedNode<'_>)> {
        self.connections.iter().map(|(node, connection)| {
            let usage = self.usage.get(node);
            (node, ConnectedNode { description: &connection.description, usage })
        })
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.core.next_deadline()
    }

    pub(super) fn take(&mut self, now: Millis, input: Input) {
        match input {
            Input::Submit(submission) => self.submit(now, *submission),
            Input::Recover(recovery) => self.recover(now, *recovery),
            Input::Persisted { query, created } => {
                self.persisted(now, query, *created);
                self.settle_durability(query);
            }
            Input::MakeDurable { query, answer } => self.make_durable(now, query, answer),
            Input::Committed { query, attempt, found } => self.output_committed(now, query, attempt, *found),
            Input::Purge { query, answer } => self.cleaner.purge(query, answer),
            Input::Cancel(query, error) => self.step(now, Event::QueryCancelled { query, error }),
            Input::Close(query) => self.close(now, query),
            Input::NotReleased(query) => {
                if self.executions.contains_key(&query) {
                    self.cleaner.clean(query);
                }
            }
            Input::Splits { query, stage, scan, splits, last } => {
                self.splits_arrived(now, query, stage, scan, splits, last);
            }
            Input::Attached { description, connection, outbox } => {
                self.attach(now, description, connection, outbox);
            }
            // What an older stream still brings is known from the newer one, or of an older life.
            Input::Reported { node, connection, report } => {
                if self.is_current(&node, connection) {
                    self.report(now, node, connection, *report);
                }
            }
            Input::Detached { node, incarnation, connection } => {
                self.detach(now, node, incarnation, connection)
            }
            Input::ResultRead { query, partition, generation, answer } => {
                // Whoever asked may have gone away; then nobody misses the answer.
                let _ = answer.send(self.result_read(now, query, partition, generation));
            }
            Input::OutputLost { output, error, answer } => {
                let _ = answer.send(self.output_lost(now, output, error));
            }
            Input::Inspect(look) => look(self),
        }
    }

    fn submit(&mut self, now: Millis, submission: Submission) {
        let (query, options) = (submission.query, submission.options.clone());
        let (shape, execution) = Execution::new(submission);
        self.executions.insert(query, execution);
        self.step(now, Event::QuerySubmitted { query, shape, options });
    }

    /// Nobody wants a query any more.
    fn close(&mut self, now: Millis, query: QueryId) {
        if !self.executions.contains_key(&query) {
            return self.cleaner.clean(query);
        }
        self.totals.close(&self.core, query);
        self.step(now, Event::QueryClosed { query });
        // If it is released already, it is being cleaned.
        if self.executions.get(&query).is_some_and(Execution::is_store_used) {
            self.clean_without_waiting(query);
            self.cleaner.forget_plan(query);
        }
    }

    fn attach(&mut self, now: Millis, description: WorkerDescription, connection: u64, outbox: Outbox) {
        let (node, incarnation) = (description.node.clone(), description.incarnation);
        if self.newest_life(&node).is_some_and(|newest| newest > incarnation) {
            tracing::warn!(%node, incarnation = incarnation.0, "an older process of a node is rejected");
            reject_superseded(&outbox, &description);
            return;
        }
        tracing::info!(%node, incarnation = incarnation.0, "worker connected");
        if let Some(old) = self.connections.get(&node)
            && old.incarnation != incarnation
        {
            old.supersede();
            let incarnation = old.incarnation;
            self.lose(now, node.clone(), incarnation);
        }
        self.connections.insert(node, Connection::new(connection, description, outbox));
    }

    /// The newest life of a node that is known.
    fn newest_life(&self, node: &NodeId) -> Option<Incarnation> {
        let connected = self.connections.get(node).map(|known| known.incarnation);
        let in_core = self.core.node(node).map(|known| known.incarnation);
        connected.max(in_core)
    }

    pub(super) fn is_current(&self, node: &NodeId, connection: u64) -> bool {
        self.connections.get(node).is_some_and(|current| current.id == connection)
    }

    fn detach(&mut self, now: Millis, node: NodeId, incarnation: Incarnation, connection: u64) {
        if self.is_current(&node, connection) {
            tracing::warn!(%node, "worker disconnected");
            self.connections.remove(&node);
            self.usage.remove(&node);
            self.lose(now, node, incarnation);
        }
    }

    fn lose(&mut self, now: Millis, node: NodeId, incarnation: Incarnation) {
        for execution in self.executions.values_mut() {
            for record in execution.attempts.values_mut() {
                record.is_running &= record.node != node;
            }
        }
        self.cleaner.distrust();
        self.step(now, Event::WorkerDisconnected { node, incarnation });
    }

    /// Cleans a query that nobody wants although a worker does not let go of it: an attempt that computes without
    /// a pause notices late that it is not wanted. What it still writes is cleaned when the query is released.
    fn clean_without_waiting(&self, query: QueryId) {
        let dispatcher = self.dispatcher.clone();
        tokio::spawn(async move {
            tokio::time::sleep(RELEASE_PATIENCE).await;
            dispatcher.send(Input::NotReleased(query)).await;
        });
    }

    pub(super) fn step(&mut self, now: Millis, event: Event) {
        self.recorder.record(&self.core, now, &event);
        let mut commands = Vec::new();
        self.core.step(now, event, &mut commands);
        for command in commands {
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::SetDesired { node, incarnation, epoch, sequence, attempts } => {
                self.desired.insert(node, PendingDesired { incarnation, epoch, sequence, attempts });
            }
            Command::RequestSplits { query, stage, scan, count_max } => {
                let dispatcher = &self.dispatcher;
                let Some(execution) = self.executions.get_mut(&query) else {
                    return;
                };
                let options = execution.split_options.clone();
                let Some(known) = execution.scan_mut(stage, scan) else {
                    return;
                };
                let description = known.description.clone();
                let enumeration = known.enumeration.get_or_insert_with(|| {
                    let splits =
                        async move { description.connector.splits(&description.scan, &options).await };
                    SplitEnumeration::start(query, stage, scan, splits, dispatcher.clone())
                });
                enumeration.request(count_max);
            }
            Command::Persist { query, record } => self.persist(query, record),
            Command::OutputsRolledBack { query, outputs } => {
                tracing::warn!(%query, count = outputs.len(), "committed output is lost and will be recomputed");
                if let Some(execution) = self.executions.get_mut(&query) {
                    execution.forget_outputs(&outputs);
                }
            }
            Command::Superseded { by } => {
                self.persister.state().leadership().superseded_by(by);
            }
            Command::RegionStarted { query, attempts } => self.start_region(query, attempts),
            Command::QueryDurable { query } => self.decisions_recorded(query),
            Command::OutputSelected { output, winner } => self.select(output, winner),
            Command::StageSealed { query, stage, tasks } => {
                let Some(execution) = self.executions.get_mut(&query) else {
                    return;
                };
                if let Some(sealed) = execution.stages.get_mut(stage.0 as usize) {
                    sealed.tasks = Some(tasks);
                }
                if stage.0 == 0 {
                    execution.root.seal(tasks);
                }
            }
            Command::QueryFinished { query, outcome } => {
                if let Err(error) = &outcome
                    && error.code().error_type != ErrorType::UserError
                {
                    self.persister.keep_recording(query, self.recorder.write_down(query, error));
                }
                if let Some(known) = self.queries.get(&query) {
                    QueryProgress::see(self, &known, true);
                }
                if let Some(execution) = self.executions.get(&query) {
                    execution.root.finish(outcome);
                }
                self.settle_durability(query);
            }
            Command::QueryReleased { query } => {
                self.totals.release(&query);
                let Some(mut execution) = self.executions.remove(&query) else {
                    return;
                };
                execution.tell_durable(Ok(()));
                if execution.is_store_used() {
                    self.cleaner.clean(query);
                }
            }
        }
    }

    /// The attempts of a region are placed: from now on it is known who reads from whom.
    fn start_region(&mut self, query: QueryId, attempts: Vec<(AttemptId, NodeId, Incarnation)>) {
        let Some(execution) = self.executions.get_mut(&query) else {
            return;
        };
        let producers = attempts.into_iter().filter_map(|(attempt, node, incarnation)| {
            // Whoever is gone by now will be told to be, and nobody reads from him.
            let connection = self.connections.get(&node).filter(|known| known.incarnation == incarnation)?;
            Some(Producer { attempt, incarnation, uri: Arc::clone(&connection.description.direct_uri) })
        });
        execution.start_region(Region::new(producers));
    }

    fn select(&mut self, output: OutputId, winner: AttemptId) {
        let query = output.task.query;
        let Some(execution) = self.executions.get_mut(&query) else {
            return;
        };
        if !execution.is_committed(output.task.stage) {
            // Whoever reads it has done so.
            return;
        }
        let Some(record) = execution.reported_records.remove(&winner) else {
            tracing::error!(%winner, "the output of an attempt was selected without its commit record");
            let error = Error::internal(format!("the commit record of attempt {winner} is missing"));
            let dispatcher = self.dispatcher.clone();
            tokio::spawn(async move { dispatcher.cancel(query, error).await });
            return;
        };
        let record = Arc::new(record);
        let task = output.task;
        if task.stage.0 == 0 {
            execution.root.select(output, Arc::clone(&record));
        }
        if let Some(stage) = execution.stages.get_mut(task.stage.0 as usize) {
            stage.outputs.insert(task.partition, record);
        }
    }

    /// Sends the newest message to each worker that has one waiting.
    pub(super) fn flush(&mut self) {
        if self.persister.state().leadership().is_superseded() {
            return;
        }
        for (node, pending) in std::mem::take(&mut self.desired) {
            let Some(connection) = self.connections.get_mut(&node) else {
                continue;
            };
            if connection.incarnation != pending.incarnation {
                continue;
            }
            let mut message = wire::Desired {
                epoch: pending.epoch.0,
                sequence: pending.sequence,
                attempts: Vec::with_capacity(pending.attempts.len()),
                assignments: Vec::new(),
                fragments: Vec::new(),
            };
            let node_bytes = self.core.node(&node).map_or(0, |node| node.capacity.memory_bytes);
            let mut attempts = BTreeSet::new();
            let mut fragments = BTreeSet::new();
            let mut bytes = 0;
            for spec in &pending.attempts {
                let task = spec.attempt.task;
                if connection.lacks_attempt(&spec.attempt)
                    && let Some(execution) = self.executions.get_mut(&task.query)
                {
                    if bytes > ASSIGNMENTS_BYTES_MAX {
                        // The core takes what the worker does not hold for lost, and places it again.
                        continue;
                    }
                    match assignment(execution, spec, node_bytes) {
                        Ok(Some(mut assignment)) => {
                            execution.give_room(spec.attempt, &mut assignment);
                            bytes += source_bytes(&assignment);
                            message.assignments.push(assignment);
                        }
                        Ok(None) => {}
                        Err(error) => {
                            tracing::error!(attempt = %spec.attempt, %error, "an attempt cannot be described");
                            let dispatcher = self.dispatcher.clone();
                            tokio::spawn(async move { dispatcher.cancel(task.query, error).await });
                        }
                    }
                    if connection.lacks_fragment(task.query, task.stage)
                        && fragments.insert((task.query, task.stage))
                        && let Some(stage) = execution.stage(task.stage)
                    {
                        message.fragments.push(wire::Fragment {
                            query: task.query.to_string(),
                            stage: task.stage.0,
                            encoded: stage.fragment.clone(),
                        });
                    }
                }
                message.attempts.push(spec.attempt.into());
                attempts.insert(spec.attempt);
            }
            connection.send_desired(message, attempts);
        }
    }
}
