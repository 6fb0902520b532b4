//! How slow a node is, as the attempts tell that end on it.
//!
//! The slowness of a node is how many times as long attempts take there as elsewhere: a moving average that is 1 for a
//! node of which nothing is known. Two things are evidence:
//!
//! - An attempt that commits, compared with the *longest* of its stage on other nodes. Data may be uneven: only who is
//!   slower than everybody elsewhere tells something.
//! - An attempt that is overtaken by its rival. Both did the same, so this counts for more; but the rival was there in
//!   time, so the node may be slower than that.
//!
//! A node is *slow* while its slowness is above [`NODE_SLOWNESS_MIN`], and while it has not reported for
//! [`crate::CoreOptions::quiet_period`]. What it is above 1 halves with
//! [`SLOWNESS_HALF_LIFE`], so that a node that was slow once is used again. A slow node is used last and has its
//! attempts overtaken early; it is never given up.

use alloc::vec::Vec;

use base::{AttemptId, Millis, NodeId};

use crate::options::RIVAL_SIBLINGS_MIN;
use crate::query::Query;
use crate::task::AttemptState;

/// A node that takes so many times as long as others is slow.
pub const NODE_SLOWNESS_MIN: f64 = 2.0;

/// What is known of the slowness of a node counts for half after so long.
pub const SLOWNESS_HALF_LIFE: Millis = Millis(30_000);

/// One attempt tells of no more slowness than this.
const SLOWNESS_MAX: f64 = 8.0;

/// An attempt that was shorter tells nothing, and a difference that is smaller is none.
const TELLING_MIN: Millis = Millis(100);

/// How much an attempt counts that was slower than those of its stage elsewhere. One alone makes no node slow: it may
/// have had more to do.
const SLOWER_WEIGHT: f64 = 0.125;

/// How much an attempt counts that makes its node look better.
const QUICKER_WEIGHT: f64 = 0.25;

/// How much an attempt counts that was overtaken.
const RACE_WEIGHT: f64 = 0.75;

/// What an attempt that has ended tells of the slowness of its node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Evidence {
    /// It took so many times as long as elsewhere.
    Compared(f64),
    /// It took so many times as long as its rival, or longer.
    Overtaken(f64),
}

impl Evidence {
    /// An attempt has committed after `took`; `elsewhere` is the longest one of its stage on other nodes. If it had a
    /// rival that had not committed after `rival_ran`, elsewhere takes at least that long. None: that tells nothing.
    pub(crate) fn of_committed(took: Millis, elsewhere: Millis, rival_ran: Option<Millis>) -> Option<Self> {
        let elsewhere = elsewhere.max(rival_ran.unwrap_or_default());
        (took >= TELLING_MIN).then(|| Evidence::Compared(ratio(took, elsewhere).unwrap_or(1.0)))
    }

    /// An attempt had run for `ran` when its rival committed after `rival_took`. None: that tells nothing.
    pub(crate) fn of_overtaken(ran: Millis, rival_took: Millis) -> Option<Self> {
        ratio(ran, rival_took).map(Evidence::Overtaken)
    }
}

/// How many times as long one took as the other, if the difference tells something.
fn ratio(took: Millis, other: Millis) -> Option<f64> {
    let is_telling = took >= other.plus(TELLING_MIN);
    is_telling.then(|| (took.0 as f64 / other.0.max(1) as f64).min(SLOWNESS_MAX))
}

/// The longest attempts that have committed in a stage: the longest of all, and the longest on any other node.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Longest {
    first: Option<(Millis, NodeId)>,
    second: Option<(Millis, NodeId)>,
}

impl Longest {
    /// The longest on other nodes than this one.
    pub(crate) fn elsewhere(&self, node: &NodeId) -> Option<Millis> {
        let longest = [&self.first, &self.second].into_iter().flatten();
        longest.filter(|(_, other)| other != node).map(|(took, _)| *took).next()
    }

    /// An attempt has committed.
    pub(crate) fn add(&mut self, node: &NodeId, took: Millis) {
        let is_longer = |than: &Option<(Millis, NodeId)>| than.as_ref().is_none_or(|(it, _)| took > *it);
        let is_of_node = |of: &Option<(Millis, NodeId)>| of.as_ref().is_some_and(|(_, it)| it == node);
        if is_longer(&self.first) {
            if !is_of_node(&self.first) {
                self.second = self.first.take();
            }
            self.first = Some((took, node.clone()));
        } else if !is_of_node(&self.first) && is_longer(&self.second) {
            self.second = Some((took, node.clone()));
        }
    }
}

/// The slowness of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Slowness {
    /// What it was above 1.
    excess: f64,
    as_of: Millis,
}

impl Slowness {
    /// How many times as long attempts take on the node as elsewhere; 1 if nothing is known.
    pub(crate) fn value(&self, now: Millis) -> f64 {
        1.0 + self.excess_at(now)
    }

    /// An attempt has ended on the node.
    pub(crate) fn learn(&mut self, now: Millis, evidence: Evidence) {
        let excess = self.excess_at(now);
        let learned = match evidence {
            Evidence::Compared(ratio) => {
                let news = ratio - 1.0 - excess;
                excess + if news > 0.0 { SLOWER_WEIGHT } else { QUICKER_WEIGHT } * news
            }
            // That it was slower at least than this is no news of a node that was slower before.
            Evidence::Overtaken(ratio) => excess + RACE_WEIGHT * (ratio - 1.0 - excess).max(0.0),
        };
        *self = Slowness { excess: learned.max(0.0), as_of: now };
    }

    /// Until when the node is slow if nothing more is learned; None if it is not slow now.
    pub(crate) fn slow_until(&self) -> Option<Millis> {
        let limit = NODE_SLOWNESS_MIN - 1.0;
        let (mut excess, mut length) = (self.excess, 0);
        if excess <= limit {
            return None;
        }
        while excess / 2.0 > limit {
            excess /= 2.0;
            length += SLOWNESS_HALF_LIFE.0;
        }
        let last = 2.0 * (1.0 - limit / excess) * SLOWNESS_HALF_LIFE.0 as f64;
        Some(self.as_of.plus(Millis(length + last as u64)))
    }

    /// Halved for each half-life that has passed, and in proportion within one.
    fn excess_at(&self, now: Millis) -> f64 {
        let passed = now.since(self.as_of).0;
        let halvings = passed / SLOWNESS_HALF_LIFE.0;
        let part = (passed % SLOWNESS_HALF_LIFE.0) as f64 / SLOWNESS_HALF_LIFE.0 as f64;
        let mut excess = self.excess * (1.0 - part / 2.0);
        // An excess is at most that of one attempt: after so many halvings nothing is left of it.
        for _ in 0..halvings.min(64) {
            excess /= 2.0;
        }
        excess
    }
}

impl Query {
    /// What it tells of the slowness of nodes that an attempt commits now: of its own, and of that of a rival that it
    /// has overtaken.
    pub(crate) fn compare(&mut self, now: Millis, id: &AttemptId) -> Vec<(NodeId, Evidence)> {
        // Attempts of a region wait for each other.
        let is_alone = self.region.is_none();
        let Some(stage) = self.stage_mut(id.task.stage).filter(|_| is_alone) else {
            return Vec::new();
        };
        let task = stage.tasks.get(id.task.partition as usize);
        let Some((task, attempt)) = task.and_then(|task| Some((task, task.attempt(id)?))) else {
            return Vec::new();
        };
        if attempt.state != AttemptState::Running || task.winner.is_some() {
            return Vec::new();
        }
        let took = now.since(attempt.started_at);
        let rival = task.running().find(|other| *other != attempt);
        let rival_ran = rival.map(|rival| now.since(rival.started_at));
        let elsewhere = stage.longest.elsewhere(&attempt.node);
        let is_known = u64::from(RIVAL_SIBLINGS_MIN) <= stage.durations.count();
        let own = elsewhere.filter(|_| is_known).and_then(|it| Evidence::of_committed(took, it, rival_ran));
        let of_rival = rival_ran.and_then(|ran| Evidence::of_overtaken(ran, took));
        let told = [(Some(&attempt.node), own), (rival.map(|rival| &rival.node), of_rival)];
        let told = told.into_iter().filter_map(|(node, evidence)| Some((node?.clone(), evidence?))).collect();
        stage.longest.add(&attempt.node.clone(), took);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slowness(evidence: &[Evidence]) -> Slowness {
        let mut slowness = Slowness::default();
        evidence.iter().for_each(|it| slowness.learn(Millis(0), *it));
        slowness
    }

    #[test]
    fn nothing_known_is_not_slow() {
        assert_eq!((Slowness::default().value(Millis(5)), Slowness::default().slow_until()), (1.0, None));
    }

    #[test]
    fn one_lost_race_is_enough_and_one_slow_commit_is_not() {
        assert!(slowness(&[Evidence::Overtaken(3.0)]).slow_until().is_some());
        assert_eq!(slowness(&[Evidence::Compared(SLOWNESS_MAX)]).slow_until(), None);
        assert!(slowness(&[Evidence::Compared(SLOWNESS_MAX); 2]).slow_until().is_some());
    }

    #[test]
    fn a_race_that_was_lost_early_does_not_make_a_slow_node_look_better() {
        let before = slowness(&[Evidence::Overtaken(6.0)]);
        let after = slowness(&[Evidence::Overtaken(6.0), Evidence::Overtaken(1.2)]);
        assert_eq!(before, after);
    }

    #[test]
    fn commits_as_quick_as_elsewhere_clear_a_node() {
        let mut slowness = slowness(&[Evidence::Overtaken(3.0)]);
        slowness.learn(Millis(0), Evidence::Compared(1.0));
        slowness.learn(Millis(0), Evidence::Compared(1.0));
        assert_eq!(slowness.slow_until(), None);
    }

    #[test]
    fn slowness_is_forgotten_with_time() {
        let slowness = slowness(&[Evidence::Compared(5.0); 20]);
        let half_life = SLOWNESS_HALF_LIFE.0;
        assert!((slowness.value(Millis(half_life)) - 1.0 - slowness.excess / 2.0).abs() < 1e-9);
        let until = slowness.slow_until().unwrap();
        assert!(slowness.value(until) <= NODE_SLOWNESS_MIN + 1e-3);
        assert!(slowness.value(Millis(until.0 - 1_000)) > NODE_SLOWNESS_MIN);
        assert_eq!(slowness.value(Millis(u64::MAX)), 1.0);
    }

    #[test]
    fn short_attempts_and_small_differences_tell_nothing() {
        assert_eq!(Evidence::of_committed(Millis(99), Millis(1), None), None);
        let small = Evidence::of_committed(Millis(110), Millis(20), None);
        assert_eq!(small, Some(Evidence::Compared(1.0)));
        assert_eq!(Evidence::of_overtaken(Millis(110), Millis(20)), None);
        assert_eq!(Evidence::of_overtaken(Millis(300), Millis(100)), Some(Evidence::Overtaken(3.0)));
    }

    #[test]
    fn the_longest_elsewhere_is_not_ones_own() {
        let (a, b, c) = (NodeId::new("a"), NodeId::new("b"), NodeId::new("c"));
        let mut longest = Longest::default();
        assert_eq!(longest.elsewhere(&a), None);
        for (node, took) in [(&a, 5), (&a, 9), (&b, 3), (&b, 4), (&a, 7)] {
            longest.add(node, Millis(took));
        }
        let elsewhere = |longest: &Longest| [&a, &b, &c].map(|node| longest.elsewhere(node).map(|it| it.0));
        assert_eq!(elsewhere(&longest), [Some(4), Some(9), Some(9)]);
        longest.add(&b, Millis(20));
        assert_eq!(elsewhere(&longest), [Some(20), Some(9), Some(20)]);
    }

    #[test]
    fn who_wins_against_a_rival_is_not_much_slower_than_it() {
        let (took, elsewhere) = (Millis(6_000), Millis(1_000));
        let alone = Evidence::of_committed(took, elsewhere, None);
        let raced = Evidence::of_committed(took, elsewhere, Some(Millis(4_000)));
        assert_eq!(alone, Some(Evidence::Compared(6.0)));
        assert_eq!(raced, Some(Evidence::Compared(1.5)));
    }
}
