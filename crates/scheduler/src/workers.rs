//! The workers: who is there, what they hold, what they have promised away.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use base::{AttemptId, Epoch, Incarnation, Millis, NodeId, QueryId};

use crate::command::{AttemptSpec, Command};
use crate::event::{Capacity, NodeState, WorkerReport};
use crate::planted::{Planted, PlantedBug};
use crate::slowness::{Evidence, Slowness};
use crate::worker_index::{Entry, WorkerIndex};

/// A lost worker is forgotten after so long. Until then, late messages of its life are known to be late.
const FORGET_AFTER: Millis = Millis(600_000);

/// A worker that does not confirm what it was told is told again after so long.
const RESEND_AFTER: Millis = Millis(1_000);

/// A lease that no message has named yet.
const UNSENT: u64 = u64::MAX;

/// Memory and a slot of a worker, promised to an attempt.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Lease {
    pub spec: AttemptSpec,
    /// The first message to the worker that names it.
    sequence_first: u64,
    /// The last report that names it; 0 if none has.
    report_last: u64,
    pub peak_bytes: u64,
}

impl Lease {
    /// Whether the worker is known to have held it.
    pub(crate) fn was_held(&self) -> bool {
        self.report_last > 0
    }
}

#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Worker {
    pub incarnation: Incarnation,
    /// None while it is there.
    pub lost_at: Option<Millis>,
    pub state: NodeState,
    pub capacity: Capacity,
    pub seen_at: Millis,
    report_sequence: u64,
    desired_seen: Option<(Epoch, u64)>,
    desired_sequence: u64,
    desired_sent_at: Millis,
    pub leases: BTreeMap<AttemptId, Lease>,
    pub leased_bytes: u64,
    /// The leases but for those of pipelined attempts.
    pub leased_slots: u32,
    /// The ended queries it may still hold something of, with the message that told it to drop it.
    unconfirmed: BTreeMap<QueryId, u64>,
    pub slowness: Slowness,
    /// Until when its attempts make it slow, if nothing more is learned; None if they do not.
    pub slow_until: Option<Millis>,
    /// It has said nothing for longer than it should.
    is_quiet: bool,
}

impl Worker {
    /// Whether it is used only where no other has room.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow_until.is_some() || self.is_quiet
    }

    pub(crate) fn is_active(&self) -> bool {
        self.lost_at.is_none() && self.state == NodeState::Active
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        self.capacity.memory_bytes.saturating_sub(self.leased_bytes)
    }

    pub(crate) fn has_free_slot(&self) -> bool {
        self.leased_slots < self.capacity.slots
    }
}

/// What a report turned out to be.
pub(crate) enum Admission {
    /// Older than what is known.
    Stale,
    /// News.
    Accepted,
    /// News of a worker that was lost, or was never seen before.
    Returned,
}

/// A life of a worker that is over.
pub(crate) struct LostLife {
    pub leases: BTreeMap<AttemptId, Lease>,
    /// The ended queries whose release waited for it.
    pub unconfirmed: Vec<QueryId>,
}

/// All workers that are known, with the index that placement needs.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Workers {
    by_node: BTreeMap<NodeId, Worker>,
    index: WorkerIndex,
    /// The last number of slots while there were any.
    slots_last: u64,
    /// The largest size while there was any.
    largest_last: (u64, u32),
    /// The workers that have come to be slow, or are not any more, since somebody asked.
    reclassified: BTreeSet<NodeId>,
    /// The workers whose desired set changed in this step.
    dirty: BTreeSet<NodeId>,
    /// No worker can be silent for too long, or forgotten, before this.
    check_at: Option<Millis>,
    /// No other worker can come to be quiet before this.
    quiet_check_at: Option<Millis>,
    sequence: u64,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) planted: Planted,
}

impl Workers {
    pub(crate) fn get(&self, node: &NodeId) -> Option<&Worker> {
        self.by_node.get(node)
    }

    pub(crate) fn get_key_value(&self, node: &NodeId) -> Option<(&NodeId, &Worker)> {
        self.by_node.get_key_value(node)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Worker)> {
        self.by_node.iter()
    }

    /// What placement asks of them.
    pub(crate) fn index(&self) -> &WorkerIndex {
        &self.index
    }

    /// The most free memory of an active worker with a free slot, among those that are slow or those that are not, in
    /// bytes.
    pub(crate) fn most_free_bytes(&self, is_slow: bool, except: &BTreeSet<NodeId>) -> Option<u64> {
        self.index.open(is_slow).find(|(_, node)| !except.contains(*node)).map(|(free, _)| free)
    }

    /// How many workers take new attempts.
    pub(crate) fn active(&self) -> u32 {
        self.index.active()
    }

    /// The slots of the active workers, or what they were when there last were any. At least 1.
    pub(crate) fn slots(&self) -> u64 {
        if self.index.slots() > 0 { self.index.slots() } else { self.slots_last.max(1) }
    }

    /// The memory of the largest active worker, in bytes.
    pub(crate) fn largest_bytes(&self) -> Option<u64> {
        self.index.largest().map(|(memory, _)| memory)
    }

    /// The memory in bytes and the slots of the largest active worker, or of the largest there last was.
    pub(crate) fn largest(&self) -> (u64, u32) {
        self.index.largest().unwrap_or(self.largest_last)
    }

    /// The memory of the largest active worker shared by its slots, in bytes.
    pub(crate) fn share_bytes(&self) -> u64 {
        self.index.largest().map_or(0, |(memory, slots)| memory / u64::from(slots.max(1)))
    }

    /// Changes a worker and keeps the index true.
    fn update<R>(&mut self, node: &NodeId, change: impl FnOnce(&mut Worker) -> R) -> Option<R> {
        let worker = self.by_node.get_mut(node)?;
        let before = Entry::of(worker);
        let result = change(worker);
        let after = Entry::of(worker);
        if before != after {
            self.index.change(node, &before, &after);
            if before.is_slow() != after.is_slow() {
                self.reclassified.insert(node.clone());
            }
            if self.index.slots() > 0 {
                self.slots_last = self.index.slots();
                self.largest_last = self.largest();
            }
        }
        Some(result)
    }

    /// An attempt has ended on a worker and tells how slow it is.
    pub(crate) fn learn(&mut self, now: Millis, node: &NodeId, evidence: Evidence) {
        // What most of the workers are is not slow.
        let may_be_slow = (self.index.slow() + 1) * 2 <= self.index.active();
        self.update(node, |worker| {
            worker.slowness.learn(now, evidence);
            let until = worker.slowness.slow_until();
            worker.slow_until = until.filter(|_| worker.slow_until.is_some() || may_be_slow);
        });
    }

    /// The workers that have come to be slow, or are not any more, since this was asked last. If only slow ones are
    /// left, none is.
    pub(crate) fn take_reclassified(&mut self, now: Millis) -> BTreeSet<NodeId> {
        while let Some((until, node)) = self.index.first_slow_until().cloned() {
            let only_slow = self.index.slow() > 0 && self.index.fast_slots() == 0;
            if until > now && !only_slow {
                break;
            }
            self.update(&node, |worker| {
                worker.slow_until = None;
                if until > now {
                    worker.slowness = Slowness::default();
                }
            });
        }
        core::mem::take(&mut self.reclassified)
    }

    /// Whether a report is of a newer life than the one that is known.
    pub(crate) fn is_newer_life(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        self.by_node
            .get(node)
            .is_some_and(|worker| worker.lost_at.is_none() && incarnation > worker.incarnation)
    }

    /// Takes note of a report, apart from its attempts. An older life that is still there must be
    /// [lost](Workers::lose) first.
    pub(crate) fn admit(&mut self, now: Millis, node: &NodeId, report: &WorkerReport) -> Admission {
        let known = self.by_node.get(node);
        let newest = known.map(|worker| (worker.incarnation, worker.report_sequence));
        if newest.is_some_and(|newest| (report.incarnation, report.sequence) <= newest) {
            return Admission::Stale;
        }
        if known.is_none_or(|worker| report.incarnation > worker.incarnation) {
            debug_assert!(known.is_none_or(|worker| worker.lost_at.is_some()));
            let worker = Worker {
                incarnation: report.incarnation,
                lost_at: Some(now),
                state: report.state,
                capacity: report.capacity,
                seen_at: now,
                report_sequence: 0,
                desired_seen: None,
                desired_sequence: 0,
                desired_sent_at: now,
                leases: BTreeMap::new(),
                leased_bytes: 0,
                leased_slots: 0,
                unconfirmed: BTreeMap::new(),
                slowness: Slowness::default(),
                slow_until: None,
                is_quiet: false,
            };
            // How slow an older life was says nothing of this one.
            self.update(node, |worker| worker.slow_until = None);
            self.by_node.insert(node.clone(), worker);
        }
        let mut was_quiet = false;
        let returned = self.update(node, |worker| {
            was_quiet = core::mem::take(&mut worker.is_quiet);
            worker.seen_at = now;
            worker.report_sequence = report.sequence;
            worker.desired_seen = report.desired_seen;
            worker.state = report.state;
            worker.lost_at.take().is_some()
        });
        if was_quiet || returned == Some(true) {
            self.quiet_check_at = Some(now);
        }
        if returned == Some(true) {
            self.check_at = Some(now);
            self.dirty.insert(node.clone());
            return Admission::Returned;
        }
        Admission::Accepted
    }

    /// Takes note that a report names an attempt. Whether it is one the worker should hold.
    pub(crate) fn mark_reported(&mut self, node: &NodeId, attempt: &AttemptId, peak_bytes: u64) -> bool {
        let Some(worker) = self.by_node.get_mut(node) else {
            return false;
        };
        let sequence = worker.report_sequence;
        match worker.leases.get_mut(attempt) {
            None => false,
            Some(lease) => {
                lease.report_last = sequence;
                lease.peak_bytes = lease.peak_bytes.max(peak_bytes);
                true
            }
        }
    }

    /// The attempts that a worker was told of, has taken account of, and does not hold.
    pub(crate) fn vanished(&self, node: &NodeId, epoch: Epoch) -> Vec<AttemptId> {
        let Some(worker) = self.by_node.get(node) else {
            return Vec::new();
        };
        let seen = match worker.desired_seen {
            Some((seen_epoch, sequence)) if seen_epoch == epoch => sequence,
            _ => return Vec::new(),
        };
        let seen = if self.planted.is(PlantedBug::AbsenceIsLoss) { u64::MAX } else { seen };
        let gone = |lease: &Lease| lease.sequence_first <= seen && lease.report_last < worker.report_sequence;
        worker.leases.iter().filter(|(_, lease)| gone(lease)).map(|(attempt, _)| *attempt).collect()
    }

    /// Promises memory and a slot to an attempt.
    pub(crate) fn lease(&mut self, node: &NodeId, spec: AttemptSpec) {
        let lease = Lease { sequence_first: UNSENT, report_last: 0, peak_bytes: 0, spec };
        self.update(node, |worker| {
            worker.leased_bytes += lease.spec.memory_bytes;
            worker.leased_slots += u32::from(!lease.spec.is_pipelined);
            worker.leases.insert(lease.spec.attempt, lease);
        });
        self.dirty.insert(node.clone());
    }

    /// Takes back what was promised to an attempt.
    pub(crate) fn release(&mut self, node: &NodeId, attempt: &AttemptId) -> Option<Lease> {
        let leak = self.planted.is(PlantedBug::LeakLease) && attempt.number % 2 == 1;
        let lease = self.update(node, |worker| {
            let lease = worker.leases.remove(attempt)?;
            if !leak {
                worker.leased_bytes -= lease.spec.memory_bytes;
            }
            worker.leased_slots -= u32::from(!lease.spec.is_pipelined);
            Some(lease)
        })??;
        self.dirty.insert(node.clone());
        Some(lease)
    }

    /// The life of a worker is over, as far as can be told.
    pub(crate) fn lose(&mut self, now: Millis, node: &NodeId) -> Option<LostLife> {
        let lost = self.update(node, |worker| {
            if worker.lost_at.is_some() {
                return None;
            }
            worker.lost_at = Some(now);
            worker.is_quiet = false;
            worker.leased_bytes = 0;
            worker.leased_slots = 0;
            let unconfirmed = core::mem::take(&mut worker.unconfirmed).into_keys().collect();
            Some(LostLife { leases: core::mem::take(&mut worker.leases), unconfirmed })
        })??;
        self.dirty.remove(node);
        Some(lost)
    }

    /// The workers that have been silent for too long. Forgets those that were lost long ago.
    pub(crate) fn silent(&mut self, now: Millis, timeout: Millis) -> Vec<NodeId> {
        if self.planted.is(PlantedBug::SilenceForgiven) || self.check_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let is_forgotten = |at: Millis| now.since(at) >= FORGET_AFTER;
        let forgotten = self.by_node.iter().filter(|(_, worker)| worker.lost_at.is_some_and(is_forgotten));
        for node in forgotten.map(|(node, _)| node.clone()).collect::<Vec<_>>() {
            self.update(&node, |worker| worker.slow_until = None);
            self.by_node.remove(&node);
        }
        let limit = |worker: &Worker| match worker.lost_at {
            None => worker.seen_at.plus(timeout),
            Some(at) => at.plus(FORGET_AFTER),
        };
        let is_silent = |worker: &Worker| worker.lost_at.is_none() && limit(worker) <= now;
        // Those that are lost now come up again by the next check, which is not later than anybody's limit.
        self.check_at = self
            .by_node
            .values()
            .map(|worker| if is_silent(worker) { now.plus(FORGET_AFTER) } else { limit(worker) })
            .min();
        self.by_node.iter().filter(|(_, worker)| is_silent(worker)).map(|(node, _)| node.clone()).collect()
    }

    /// Takes those workers for slow that have said nothing for so long. They are not lost yet, but may soon be.
    pub(crate) fn note_quiet(&mut self, now: Millis, period: Millis) {
        if self.quiet_check_at.is_none_or(|at| now < at) {
            return;
        }
        let present = || self.by_node.iter().filter(|(_, worker)| worker.lost_at.is_none());
        let limits = present().map(|(_, worker)| worker.seen_at.plus(period));
        // Those that are quiet are looked at again when they have said something.
        self.quiet_check_at = limits.filter(|at| *at > now).min();
        let quiet = present().filter(|(_, worker)| worker.seen_at.plus(period) <= now);
        let quiet = quiet.filter(|_| !self.planted.is(PlantedBug::QuietIsNotSlow));
        for node in quiet.map(|(node, _)| node.clone()).collect::<Vec<_>>() {
            self.update(&node, |worker| worker.is_quiet = true);
        }
    }

    /// Silence up to now is not held against anybody.
    pub(crate) fn excuse(&mut self, now: Millis) {
        for node in self.by_node.keys().cloned().collect::<Vec<_>>() {
            self.update(&node, |worker| {
                if worker.lost_at.is_none() {
                    worker.seen_at = now;
                    worker.is_quiet = false;
                }
            });
        }
        self.quiet_check_at = Some(now);
    }

    /// When to look for silent workers next.
    pub(crate) fn check_at(&self) -> Option<Millis> {
        [self.check_at, self.quiet_check_at].into_iter().flatten().min()
    }

    /// Waits for a worker to confirm that it holds nothing of an ended query. Whether there is a need to.
    pub(crate) fn await_confirmation(
        &mut self,
        node: &NodeId,
        incarnation: Incarnation,
        query: QueryId,
    ) -> bool {
        match self.by_node.get_mut(node) {
            Some(worker) if worker.lost_at.is_none() && worker.incarnation == incarnation => {
                worker.unconfirmed.insert(query, worker.desired_sequence).is_none()
            }
            _ => false,
        }
    }

    /// The ended queries of which a worker, by its last report, holds nothing any more. `listed` are those that
    /// the report names.
    pub(crate) fn confirmed(
        &mut self,
        node: &NodeId,
        epoch: Epoch,
        listed: &BTreeSet<QueryId>,
    ) -> Vec<QueryId> {
        let Some(worker) = self.by_node.get_mut(node) else {
            return Vec::new();
        };
        let Some((seen_epoch, seen)) = worker.desired_seen else {
            return Vec::new();
        };
        if worker.unconfirmed.is_empty() || seen_epoch != epoch {
            return Vec::new();
        }
        let seen = if self.planted.is(PlantedBug::ReleaseUnheard) { u64::MAX } else { seen };
        let mut confirmed = Vec::new();
        worker.unconfirmed.retain(|query, sequence| {
            let open = *sequence > seen || listed.contains(query);
            if !open {
                confirmed.push(*query);
            }
            open
        });
        confirmed
    }

    /// Tells a worker again what it should hold, if by its report it has not heard of it for a while.
    pub(crate) fn resend_if_unseen(
        &mut self,
        now: Millis,
        node: &NodeId,
        epoch: Epoch,
        commands: &mut Vec<Command>,
    ) {
        let Some(worker) = self.by_node.get_mut(node) else {
            return;
        };
        let newest = worker.desired_seen == Some((epoch, worker.desired_sequence));
        if self.planted.is(PlantedBug::DesiredSentOnce)
            || newest
            || self.dirty.contains(node)
            || now.since(worker.desired_sent_at) < RESEND_AFTER
        {
            return;
        }
        worker.desired_sent_at = now;
        commands.push(desired(node, worker, epoch));
    }

    /// Tells each worker whose desired set changed what it should hold now.
    pub(crate) fn flush(&mut self, now: Millis, epoch: Epoch, commands: &mut Vec<Command>) {
        while let Some(node) = self.dirty.pop_first() {
            let Some(worker) = self.by_node.get_mut(&node) else {
                continue;
            };
            if worker.lost_at.is_some() {
                continue;
            }
            self.sequence += 1;
            worker.desired_sequence = self.sequence;
            worker.desired_sent_at = now;
            for lease in worker.leases.values_mut() {
                lease.sequence_first = lease.sequence_first.min(self.sequence);
            }
            worker.assert_leases_add_up(&node, self.planted.is(PlantedBug::LeakLease));
            commands.push(desired(&node, worker, epoch));
        }
    }

    /// Recomputes what is kept incrementally.
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.index, WorkerIndex::of(self.iter()), "I-5: index of the workers");
        for (node, worker) in &self.by_node {
            worker.assert_leases_add_up(node, false);
            assert!(
                worker.lost_at.is_none() || worker.unconfirmed.is_empty(),
                "{node} is lost and waited for"
            );
        }
    }
}

fn desired(node: &NodeId, worker: &Worker, epoch: Epoch) -> Command {
    Command::SetDesired {
        node: node.clone(),
        incarnation: worker.incarnation,
        epoch,
        sequence: worker.desired_sequence,
        attempts: worker.leases.values().map(|lease| lease.spec.clone()).collect(),
    }
}
