//! The core: one way in, one place where what is missing is derived.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use base::{
    AttemptId, Epoch, Error, ErrorCode, Incarnation, Millis, NodeId, QueryId, Result, StageId, TaskId,
};

use crate::command::Command;
use crate::event::{AttemptStatus, Event, WorkerReport};
use crate::options::{CoreOptions, QueryOptions};
use crate::planted::{Planted, PlantedBug};
use crate::query::{Query, too_few_workers};
use crate::shape::QueryShape;
use crate::task::Attempt;
use crate::workers::{Admission, Worker, Workers};

/// The coordinator's half of the scheduler. See the crate's documentation.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Core {
    pub(crate) epoch: Epoch,
    pub(crate) options: CoreOptions,
    pub(crate) now: Millis,
    pub(crate) queries: BTreeMap<QueryId, Query>,
    pub(crate) workers: Workers,
    /// The queries with tasks that wait for a node, the one that was served longest ago first.
    pub(crate) rotation: BTreeSet<(u64, QueryId)>,
    pub(crate) served: u64,
    /// The queries that something happened to in this step.
    pub(crate) dirty: BTreeSet<QueryId>,
    /// Room or waiting tasks have come since tasks were last placed.
    pub(crate) placement_dirty: bool,
    /// When to look at a query again, if nothing else happens.
    pub(crate) wakeups: BTreeSet<(Millis, QueryId)>,
    /// Since when no worker takes new attempts. A fact of the state, however it came about.
    no_worker_since: Option<Millis>,
    /// How many workers took new attempts when the queries were last told.
    active_last: u32,
    /// The queries that ended in this step.
    pub(crate) ended: Vec<QueryId>,
    /// The workers that came, or came back, in this step.
    pub(crate) returned: Vec<(NodeId, Incarnation)>,
    /// The queries that may be ready to be released.
    pub(crate) closing: BTreeSet<QueryId>,
    /// When to look for slow attempts of a query next.
    pub(crate) rival_checks: BTreeSet<(Millis, QueryId)>,
    /// The queries of which attempts came or went since that was worked out.
    pub(crate) rival_dirty: BTreeSet<QueryId>,
    /// A newer life of the coordinator is there.
    superseded: bool,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) planted: Planted,
}

impl Core {
    /// A core without workers and queries, for one life of the coordinator.
    pub fn new(epoch: Epoch, options: CoreOptions) -> Core {
        Core {
            epoch,
            options,
            now: Millis(0),
            queries: BTreeMap::new(),
            workers: Workers::default(),
            rotation: BTreeSet::new(),
            served: 0,
            dirty: BTreeSet::new(),
            placement_dirty: false,
            wakeups: BTreeSet::new(),
            no_worker_since: None,
            active_last: 0,
            ended: Vec::new(),
            returned: Vec::new(),
            closing: BTreeSet::new(),
            rival_checks: BTreeSet::new(),
            rival_dirty: BTreeSet::new(),
            superseded: false,
            planted: Planted::default(),
        }
    }

    /// Plants a bug, for tests that must find it.
    #[cfg(feature = "planted-bugs")]
    #[doc(hidden)]
    pub fn plant(&mut self, bug: PlantedBug) {
        self.planted.set(bug);
        self.workers.planted.set(bug);
    }

    pub(crate) fn is_planted(&self, bug: PlantedBug) -> bool {
        self.planted.is(bug)
    }

    /// Takes note of a fact, and appends what is to be done because of it. Never fails, never waits.
    ///
    /// `now` is the time of the event on a clock that never goes back. Commands are to be carried out in order.
    pub fn step(&mut self, now: Millis, event: Event, commands: &mut Vec<Command>) {
        if self.superseded {
            return;
        }
        self.now = self.now.max(now);
        let now = self.now;
        self.apply(now, event, commands);
        if self.superseded {
            return;
        }
        let silent = self.workers.silent(now, self.options.heartbeat_timeout);
        for node in &silent {
            self.lose_worker(now, node, commands);
        }
        self.workers.note_quiet(now, self.options.quiet_period);
        self.note_active_workers(now, !silent.is_empty());
        self.wake_queries(now);
        self.reconcile(now, commands);
        self.note_slow_workers(now);
        self.place(now, commands);
        self.place_rivals(now);
        self.workers.flush(now, self.epoch, commands);
        self.release_queries(commands);
    }

    /// When to call [`Core::step`] with [`Event::Tick`] if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.superseded {
            return None;
        }
        let wakeup = self.wakeups.first().map(|(at, _)| *at);
        [wakeup, self.next_rival_check(), self.workers.check_at()].into_iter().flatten().min()
    }

    fn apply(&mut self, now: Millis, event: Event, commands: &mut Vec<Command>) {
        match event {
            Event::Tick => {}
            Event::Resumed if self.is_planted(PlantedBug::StandstillHeldAgainstWorkers) => {}
            Event::Resumed => self.workers.excuse(now),
            Event::QuerySubmitted { query, shape, options } => {
                self.on_submitted(now, query, shape, options, commands)
            }
            Event::QueryRecovered { query, shape, options, records, commits } => {
                self.on_recovered(now, query, shape, options, (records, commits), commands);
            }
            Event::RecordPersisted { query, record } => self.on_persisted(now, query, record, commands),
            Event::DurabilityRequested { query } => self.on_durability_requested(query, commands),
            Event::OutputLost { output, error } => self.on_output_lost(now, output, error, commands),
            Event::ResultRead { query, partition } => {
                if let Some(query) = self.queries.get_mut(&query) {
                    query.result_read.insert(partition);
                }
            }
            Event::SplitsArrived { query, stage, scan, sizes, last } => {
                self.on_splits(query, stage, scan, &sizes, last);
            }
            Event::QueryCancelled { query, .. }
                if self.is_planted(PlantedBug::CancelForgotten)
                    && self.queries.get(&query).is_some_and(|it| it.running_attempts().next().is_some()) => {}
            Event::QueryCancelled { query, error } => self.cancel(now, query, error, commands),
            Event::QueryClosed { query } => {
                let abandoned = Error::new(ErrorCode::ABANDONED_QUERY, "Query was closed before it ended");
                self.cancel(now, query, abandoned, commands);
                if let Some(state) = self.queries.get_mut(&query) {
                    state.closed = true;
                    self.closing.insert(query);
                }
            }
            Event::WorkerReported { node, report } => self.on_report(now, &node, report, commands),
            Event::WorkerDisconnected { node, incarnation } => {
                if self.workers.get(&node).is_some_and(|worker| worker.incarnation == incarnation) {
                    self.lose_worker(now, &node, commands);
                }
            }
        }
    }

    pub(crate) fn on_submitted(
        &mut self,
        now: Millis,
        id: QueryId,
        shape: QueryShape,
        options: QueryOptions,
        commands: &mut Vec<Command>,
    ) {
        if self.queries.contains_key(&id) {
            return;
        }
        let valid = shape.validate();
        let shape = if valid.is_ok() { shape } else { QueryShape { stages: Vec::new() } };
        let mut query = Query::new(now, id, shape, options);
        if self.is_planted(PlantedBug::IndeterminateRerunIgnored) {
            query.stages.iter_mut().for_each(|stage| stage.determinate = true);
        }
        if self.planted.is(PlantedBug::DeliveredIsTriedAgain)
            && let Some(region) = &mut query.region
        {
            region.is_tried_again = true;
        }
        self.queries.insert(id, query);
        self.dirty.insert(id);
        if valid.is_err() {
            self.finish(now, id, valid, commands);
        }
    }

    fn on_splits(&mut self, id: QueryId, stage: StageId, scan: u32, sizes: &[u64], last: bool) {
        let sizes = if last && self.is_planted(PlantedBug::DropLastSplits) { &[] } else { sizes };
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_over()) else {
            return;
        };
        if query.stage_mut(stage).is_some_and(|stage| stage.add_splits(scan, sizes, last)) {
            self.dirty.insert(id);
        }
    }

    fn on_report(&mut self, now: Millis, node: &NodeId, report: WorkerReport, commands: &mut Vec<Command>) {
        let newest = report.desired_seen.map(|(epoch, _)| epoch).filter(|epoch| *epoch > self.epoch);
        if let Some(by) = newest {
            self.superseded = true;
            commands.push(Command::Superseded { by });
            return;
        }
        let restarted = self.workers.is_newer_life(node, report.incarnation);
        if restarted && !self.is_planted(PlantedBug::RestartUnnoticed) {
            self.lose_worker(now, node, commands);
        }
        let was_active = self.workers.get(node).is_some_and(Worker::is_active);
        let returned = match self.workers.admit(now, node, &report) {
            Admission::Stale => return,
            Admission::Accepted => false,
            Admission::Returned => true,
        };
        if returned {
            self.returned.push((node.clone(), report.incarnation));
        }
        self.placement_dirty |= !was_active;
        let mut listed = BTreeSet::new();
        for attempt in report.attempts {
            let query = attempt.attempt.task.query;
            if returned && attempt.status == AttemptStatus::Running {
                self.take_over(now, node, &attempt);
            }
            self.on_attempt(now, node, attempt, commands);
            if self.queries.get(&query).is_some_and(Query::is_over) {
                listed.insert(query);
                self.await_confirmation(node, report.incarnation, query);
            }
        }
        for attempt in self.workers.vanished(node, self.epoch) {
            if let Some(lease) = self.workers.release(node, &attempt) {
                self.on_lost(now, node, attempt, &lease, commands);
            }
        }
        for query in self.workers.confirmed(node, self.epoch, &listed) {
            self.confirm(query);
        }
        self.workers.resend_if_unseen(now, node, self.epoch, commands);
    }

    pub(crate) fn lose_worker(&mut self, now: Millis, node: &NodeId, commands: &mut Vec<Command>) {
        let Some(lost) = self.workers.lose(now, node) else {
            return;
        };
        for query in lost.unconfirmed {
            self.confirm(query);
        }
        for (attempt, lease) in &lost.leases {
            self.on_lost(now, node, *attempt, lease, commands);
        }
    }

    /// Tells the queries if there has come to be a worker, or none, or another number of them.
    fn note_active_workers(&mut self, now: Millis, any_silent: bool) {
        let active = self.workers.active();
        let missed = self.is_planted(PlantedBug::NoWorkersOnOnePathOnly) && !any_silent;
        if active > 0 {
            self.no_worker_since = None;
        } else if !missed {
            self.no_worker_since.get_or_insert(now);
        }
        if active != core::mem::replace(&mut self.active_last, active) {
            let waiting = self.queries.values().filter(|query| !query.is_over());
            self.dirty.extend(waiting.map(|query| query.id));
            self.placement_dirty = true;
        }
    }

    /// Takes note, with each attempt on them, of which workers have come to be slow and which are not any more.
    fn note_slow_workers(&mut self, now: Millis) {
        for node in self.workers.take_reclassified(now) {
            self.placement_dirty = true;
            let Some(worker) = self.workers.get(&node) else {
                continue;
            };
            let is_slow = worker.is_slow();
            for id in worker.leases.keys() {
                let query = self.queries.get_mut(&id.task.query);
                let Some(stage) = query.and_then(|query| query.stage_mut(id.task.stage)) else {
                    continue;
                };
                stage.update(id.task.partition, |task| {
                    if let Some(attempt) = task.attempt_mut(id) {
                        attempt.on_slow_node = is_slow;
                    }
                });
                self.rival_dirty.insert(id.task.query);
            }
        }
    }

    fn wake_queries(&mut self, now: Millis) {
        while let Some((at, id)) = self.wakeups.first().copied() {
            if at > now {
                break;
            }
            self.wakeups.pop_first();
            if let Some(query) = self.queries.get_mut(&id) {
                query.wakeup = None;
                self.dirty.insert(id);
                self.placement_dirty = true;
            }
        }
    }

    /// Makes sure that a query is looked at again at a point in time.
    pub(crate) fn wake_at(&mut self, id: QueryId, at: Millis) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        if query.wakeup.is_some_and(|earlier| earlier <= at) {
            return;
        }
        if let Some(later) = query.wakeup.replace(at) {
            self.wakeups.remove(&(later, id));
        }
        self.wakeups.insert((at, id));
    }

    /// Derives what is missing from the state of every query that something happened to.
    fn reconcile(&mut self, now: Millis, commands: &mut Vec<Command>) {
        while let Some(id) = self.dirty.pop_first() {
            self.reconcile_query(now, id, commands);
            // What kept its attempts from having rivals may be over.
            self.rival_dirty.insert(id);
        }
    }

    fn reconcile_query(&mut self, now: Millis, id: QueryId, commands: &mut Vec<Command>) {
        if let Err(error) = self.admit_query(now, id) {
            self.finish(now, id, Err(error), commands);
        }
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        if query.is_over() || query.admitted_at.is_none() {
            return;
        }
        if query.takeover_until.is_some_and(|until| until <= now) {
            query.takeover_until = None;
        }
        let takeover_until = query.takeover_until;
        query.end_delays(now);
        if let Err(error) = self.roll_back(now, id, commands) {
            self.finish(now, id, Err(error), commands);
        }
        self.form_tasks(now, id, commands);
        self.start_region(now, id, commands);
        let split_count_max = self.options.split_batch_count_max;
        let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_over()) else {
            return;
        };
        query.request_splits(split_count_max, commands);
        let complete = query.is_result_complete() && !query.losses.is_recording;
        let delayed_until = query.delayed.first().map(|(until, _)| *until);
        let delayed_until = delayed_until.filter(|_| !self.is_planted(PlantedBug::BackoffNeverEnds));
        self.sync_rotation(id);
        for until in delayed_until.into_iter().chain(takeover_until) {
            self.wake_at(id, until);
        }
        if complete && !self.has_lingered(now, id) {
            return;
        }
        let outcome = if complete { Ok(()) } else { self.check_nodes(now, id) };
        if complete || outcome.is_err() {
            self.finish(now, id, outcome, commands);
        }
    }

    /// Starts stages and forms tasks until nothing more can be.
    fn form_tasks(&mut self, now: Millis, id: QueryId, commands: &mut Vec<Command>) {
        let slots = self.workers.slots();
        let idle = self.workers.index().open(false).next().is_some();
        while let Some(query) = self.queries.get_mut(&id).filter(|query| !query.is_over()) {
            if query.region.is_some() {
                return query.form_region(slots, commands);
            }
            query.start_stages();
            if query.losses.is_recording {
                return;
            }
            query.form_tasks(slots, idle, commands);
            self.select_found(now, id, commands);
            if !self.queries.get(&id).is_some_and(|query| query.stages_changed) {
                return;
            }
        }
    }

    /// Lets a query start if there are workers enough, and not wait for them for too long.
    fn admit_query(&mut self, now: Millis, id: QueryId) -> Result<()> {
        let Some(query) = self.queries.get_mut(&id) else {
            return Ok(());
        };
        if query.is_over() || query.admitted_at.is_some() {
            return Ok(());
        }
        let (active, required) = (self.workers.active(), self.options.required_workers);
        if active >= required {
            query.admitted_at = Some(now);
            return Ok(());
        }
        let limit = query.submitted_at.plus(self.options.required_workers_wait_max);
        if now >= limit {
            return Err(too_few_workers(self.options.required_workers_wait_max, required, active));
        }
        self.wake_at(id, limit);
        Ok(())
    }

    /// Whether tasks have waited for too long without any worker there.
    fn check_nodes(&mut self, now: Millis, id: QueryId) -> Result<()> {
        let Some(query) = self.queries.get(&id) else {
            return Ok(());
        };
        let waits_together = query.region.is_some() && !query.parked.is_empty();
        let waits =
            query.running() == 0 && (waits_together || !(query.ready.is_empty() && query.delayed.is_empty()));
        let since = self.no_worker_since.max(query.admitted_at);
        let Some(since) = since.filter(|_| waits && self.no_worker_since.is_some()) else {
            return Ok(());
        };
        let limit = since.plus(self.options.no_node_period_max);
        if now >= limit {
            return Err(Error::new(ErrorCode::NO_NODES_AVAILABLE, "No nodes available to run query"));
        }
        self.wake_at(id, limit);
        Ok(())
    }

    /// Keeps the rotation true after the waiting tasks of a query have changed.
    pub(crate) fn sync_rotation(&mut self, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        let key = (query.served, id);
        if !query.is_placeable() {
            query.kept_from_slow_since = None;
            self.rotation.remove(&key);
        } else if self.rotation.insert(key) {
            self.placement_dirty = true;
        }
    }
}

/// The id of an attempt of a task.
pub(crate) fn attempt_id(task: TaskId, attempt: &Attempt) -> AttemptId {
    AttemptId { task, generation: attempt.generation, epoch: attempt.epoch, number: attempt.number }
}
