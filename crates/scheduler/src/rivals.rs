//! Rivals: a second attempt for one that is much slower than its siblings, on another node.
//!
//! Rivals take only what nobody else wants: slots are free and no task of any query waits for one. An attempt is
//! slow when it has run for several times the median of its stage's committed attempts. Whoever commits first
//! wins; the other is stopped. When to look again is worked out once for each query that something happened to,
//! never by walking over tasks.

use base::{Millis, NodeId, QueryId, StageId};

use crate::core::Core;
use crate::options::{QueryOptions, RIVAL_SIBLINGS_MIN};
use crate::query::{Query, ReadyKey};
use crate::stage::Stage;

/// A slow attempt for which there is no room elsewhere is looked at again after so long.
const RIVAL_RECHECK_AFTER: Millis = Millis(1_000);

/// So many slow attempts of a query are looked at for one that there is room for elsewhere.
const RIVAL_CANDIDATES_MAX: usize = 16;

impl Core {
    /// When a running attempt may have become slow enough for a rival, if one could be placed.
    pub(crate) fn next_rival_check(&self) -> Option<Millis> {
        let (at, _) = self.rival_checks.first()?;
        self.has_room_for_rivals().then_some(*at)
    }

    fn has_room_for_rivals(&self) -> bool {
        self.rotation.is_empty() && self.workers.open().next().is_some()
    }

    /// Gives rivals to slow attempts, as far as there is room that nobody else wants.
    pub(crate) fn place_rivals(&mut self, now: Millis) {
        self.plan_rivals(now, Millis(0));
        while let Some((at, id)) = self.rival_checks.first().copied().filter(|(at, _)| *at <= now) {
            if !self.has_room_for_rivals() {
                break;
            }
            let placed = self.place_rival(now, id);
            self.rival_dirty.insert(id);
            // If there is no node for it now, nothing tells when there will be.
            self.plan_rivals(now, if placed { Millis(0) } else { now.plus(RIVAL_RECHECK_AFTER) });
            debug_assert!(placed || !self.rival_checks.contains(&(at, id)));
        }
    }

    /// Works out when to look at the queries again of which attempts came or went, but not before that time.
    fn plan_rivals(&mut self, now: Millis, not_before: Millis) {
        while let Some(id) = self.rival_dirty.pop_first() {
            let Some(query) = self.queries.get_mut(&id) else {
                continue;
            };
            let at = query.next_rival_at().map(|at| at.max(not_before).max(now));
            if query.rival_at == at {
                continue;
            }
            if let Some(before) = core::mem::replace(&mut query.rival_at, at) {
                self.rival_checks.remove(&(before, id));
            }
            self.rival_checks.extend(at.map(|at| (at, id)));
        }
    }

    /// A query has ended.
    pub(crate) fn forget_rival_check(&mut self, id: QueryId) {
        if let Some(at) = self.queries.get_mut(&id).and_then(|query| query.rival_at.take()) {
            self.rival_checks.remove(&(at, id));
        }
    }

    /// Gives a rival to the slowest attempt of a query that may have one. Whether it did.
    fn place_rival(&mut self, now: Millis, id: QueryId) -> bool {
        let Some(query) = self.queries.get(&id) else {
            return false;
        };
        let found = query.slow_attempts(now).take(RIVAL_CANDIDATES_MAX).find_map(|(key, node)| {
            let need = query.need_bytes(&self.workers, key);
            let avoided = query.avoided(now, key);
            let fits = |(free, other): &(u64, &NodeId)| {
                *free >= need && *other != node && !avoided.iter().any(|(avoided, _)| avoided == *other)
            };
            let (_, other) = self.workers.open().find(fits)?;
            Some((key, need, other.clone()))
        });
        let Some((key, need, node)) = found else {
            return false;
        };
        self.start_attempt(now, id, key, need, node);
        true
    }
}

impl Query {
    /// When an attempt that runs now may have a rival, if none ends before.
    fn next_rival_at(&self) -> Option<Millis> {
        if self.is_over() || self.losses.is_recording {
            return None;
        }
        let due = self.stages.iter().filter_map(|stage| {
            let age = stage.rival_age(&self.options)?;
            Some(stage.solo.first()?.0.plus(age))
        });
        due.min()
    }

    /// The attempts that may have a rival, the oldest of each stage first, and where they run.
    fn slow_attempts(&self, now: Millis) -> impl Iterator<Item = (ReadyKey, &NodeId)> {
        let stages = (0u32..).zip(&self.stages).filter(|_| !self.is_over() && !self.losses.is_recording);
        let slow = stages.filter_map(move |(at, stage)| Some((at, stage, stage.rival_age(&self.options)?)));
        slow.flat_map(move |(at, stage, age)| {
            let due = stage.solo.iter().take_while(move |(started, _)| started.plus(age) <= now);
            due.filter_map(move |(_, partition)| {
                let attempt = stage.tasks.get(*partition as usize)?.running_alone()?;
                let start_order = stage.start_order?;
                Some((ReadyKey { start_order, stage: StageId(at), partition: *partition }, &attempt.node))
            })
        })
    }
}

impl Stage {
    /// How long an attempt must have run to be called slow; None if the stage has no rival to give now.
    fn rival_age(&self, options: &QueryOptions) -> Option<Millis> {
        let tasks = self.tasks.len() as f64;
        let rivals_max = ((options.rival_share_max.max(0.0) * tasks) as u32).max(1);
        if !options.rivals_enabled || self.blocked || self.rivals >= rivals_max {
            return None;
        }
        let others_are_done = self.sealed && self.counts.committed as usize + 1 == self.tasks.len();
        let siblings_min = if others_are_done { 1 } else { u64::from(RIVAL_SIBLINGS_MIN) };
        if self.durations.count() < siblings_min {
            return None;
        }
        let slow = self.durations.value() as f64 * options.rival_slowness_min.max(1.0);
        // The age is to be more than both.
        Some(Millis((slow as u64).max(options.rival_age_min.0).saturating_add(1)))
    }
}
