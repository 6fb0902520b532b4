//! Rivals: a second attempt for one that is much slower than its siblings, on another node.
//!
//! Rivals take only what nobody else wants: slots are free and no task of any query waits for one. An attempt is
//! slow when it has run for several times the median of its stage's committed attempts, or when its node is known to be
//! slow: see [`crate::slowness`]. Whoever commits first wins; the other is stopped. Slow nodes get no rivals. When to
//! look again is worked out once for each query that something happened to, never by walking over tasks.

use base::{Millis, NodeId, QueryId, StageId};

use crate::core::Core;
use crate::options::{QueryOptions, RIVAL_SIBLINGS_MIN, SLOW_NODE_AGE_DIVISOR};
use crate::query::{Query, ReadyKey};
use crate::stage::Stage;
use crate::task::Task;

/// A slow attempt for which there is no room elsewhere is looked at again after so long.
const RIVAL_RECHECK_AFTER: Millis = Millis(100);

/// So many slow attempts of a query are looked at for one that there is room for elsewhere.
const RIVAL_CANDIDATES_MAX: usize = 16;

/// A task with one attempt on a worker. The order is that in which they may have rivals: those on slow nodes first, then
/// the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Solo {
    is_elsewhere: bool,
    started_at: Millis,
    partition: u32,
}

impl Solo {
    /// The first in the order that is not on a slow node.
    const FIRST_ELSEWHERE: Solo = Solo { is_elsewhere: true, started_at: Millis(0), partition: 0 };

    /// None if the task has no attempt on a worker, or two.
    pub(crate) fn of(partition: u32, task: &Task) -> Option<Self> {
        let attempt = task.running_alone()?;
        Some(Solo { is_elsewhere: !attempt.on_slow_node, started_at: attempt.started_at, partition })
    }
}

/// How long attempts must have run before they may have a rival.
#[derive(Clone, Copy)]
struct RivalAges {
    on_slow_nodes: Millis,
    /// None if no attempt can be called slow, or there are rivals enough.
    elsewhere: Option<Millis>,
}

impl RivalAges {
    /// When an attempt may have a rival.
    fn due(self, solo: &Solo) -> Option<Millis> {
        let age = if solo.is_elsewhere { self.elsewhere? } else { self.on_slow_nodes };
        Some(solo.started_at.plus(age))
    }
}

impl Core {
    /// When a running attempt may have become slow enough for a rival, if one could be placed.
    pub(crate) fn next_rival_check(&self) -> Option<Millis> {
        let (at, _) = self.rival_checks.first()?;
        self.has_room_for_rivals().then_some(*at)
    }

    fn has_room_for_rivals(&self) -> bool {
        self.rotation.is_empty() && self.workers.index().open(false).next().is_some()
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
            let mut open = self.workers.index().open(false).take_while(|(free, _)| *free >= need);
            let (_, other) = open
                .find(|(_, other)| *other != node && !avoided.iter().any(|(avoided, _)| avoided == *other))?;
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
    /// Attempts of a region run together or not at all.
    fn may_have_rivals(&self) -> bool {
        !self.is_over() && !self.losses.is_recording && self.region.is_none()
    }

    /// When an attempt that runs now may have a rival, if none ends before.
    fn next_rival_at(&self) -> Option<Millis> {
        if !self.may_have_rivals() {
            return None;
        }
        let due = self.stages.iter().filter_map(|stage| {
            let ages = stage.rival_ages(&self.options)?;
            let on_slow_node = stage.solo.first()?;
            let elsewhere = stage.solo.range(Solo::FIRST_ELSEWHERE..).next();
            [Some(on_slow_node), elsewhere].into_iter().flatten().filter_map(|solo| ages.due(solo)).min()
        });
        due.min()
    }

    /// The attempts that may have a rival, those on slow nodes first and the oldest of each stage, and where they run.
    fn slow_attempts(&self, now: Millis) -> impl Iterator<Item = (ReadyKey, &NodeId)> {
        let stages = (0u32..).zip(&self.stages).filter(|_| self.may_have_rivals());
        let slow = stages.filter_map(move |(at, stage)| Some((at, stage, stage.rival_ages(&self.options)?)));
        slow.flat_map(move |(at, stage, ages)| {
            let is_due = move |solo: &&Solo| ages.due(solo).is_some_and(|due| due <= now);
            let on_slow_nodes = stage.solo.range(..Solo::FIRST_ELSEWHERE).take_while(is_due);
            let elsewhere = stage.solo.range(Solo::FIRST_ELSEWHERE..).take_while(is_due);
            on_slow_nodes.chain(elsewhere).filter_map(move |solo| {
                let attempt = stage.tasks.get(solo.partition as usize)?.running_alone()?;
                let start_order = stage.start_order?;
                let key = ReadyKey { start_order, stage: StageId(at), partition: solo.partition };
                Some((key, &attempt.node))
            })
        })
    }
}

impl Stage {
    /// How long attempts must have run before they may have a rival; None if none may have one now.
    fn rival_ages(&self, options: &QueryOptions) -> Option<RivalAges> {
        if !options.rivals_enabled || self.blocked || self.solo.is_empty() {
            return None;
        }
        // The slots of slow nodes bound the rivals of what runs there.
        let on_slow_nodes = Millis(options.rival_age_min.0 / SLOW_NODE_AGE_DIVISOR);
        let rivals_max = ((options.rival_share_max.max(0.0) * self.tasks.len() as f64) as u32).max(1);
        let siblings = u64::from(RIVAL_SIBLINGS_MIN);
        let half = (self.tasks.len() as u64).div_ceil(2);
        let siblings_min = if self.sealed { half.clamp(1, siblings) } else { siblings };
        let slow = self.durations.value() as f64 * options.rival_slowness_min.max(1.0);
        // The age is to be more than both.
        let age = Millis((slow as u64).max(options.rival_age_min.0).saturating_add(1));
        let may_compare = self.rivals < rivals_max && self.durations.count() >= siblings_min;
        Some(RivalAges { on_slow_nodes, elsewhere: may_compare.then_some(age) })
    }
}
