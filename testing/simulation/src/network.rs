//! The network between workers and coordinators: streams that keep the order of what they carry, until something
//! breaks it.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault::Fault;
use crate::happening::Happening;
use crate::world::World;

/// A worker whose coordinator does not answer for so long takes the stream for broken.
pub const HANG_UP: u64 = 4_000;
/// What a stream carries takes so many times the mean at most: beyond it comes what is lost or overtaken.
const TAIL_MAX: u64 = 3;
/// A link carries nothing for so long at most.
const CUT_MAX: u64 = 12_000;
/// A message that is overtaken or repeated comes so much later at most.
const LATE_MAX: u64 = 3_000;

/// What is on its way, and what keeps it from arriving.
#[derive(Debug, Default)]
pub struct Network {
    /// How many streams there have been.
    pub streams: u64,
    /// Until when a worker's messages to coordinators, and theirs to it, wait.
    cuts: BTreeMap<(usize, bool), u64>,
    /// The streams that carry nothing any more, by direction: true is from the worker.
    dead_ends: BTreeSet<(u64, bool)>,
    /// When what was sent last arrives: nothing of the stream arrives before it.
    last_arrivals: BTreeMap<(u64, bool), u64>,
}

impl Network {
    /// Whether a worker can neither be heard nor told, or only one of both.
    pub fn is_cut(&self, host: usize, stream: Option<u64>, now: u64) -> bool {
        [false, true].into_iter().any(|from_host| {
            self.cuts.get(&(host, from_host)).is_some_and(|until| *until > now)
                || stream.is_some_and(|stream| self.dead_ends.contains(&(stream, from_host)))
        })
    }

    /// What is sent on a stream to a worker from now on arrives so much later.
    pub fn linger(&mut self, stream: u64, until: u64) {
        let last = self.last_arrivals.entry((stream, false)).or_default();
        *last = until.max(*last);
    }

    /// All links are good again. What a stream has lost stays lost.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }
}

impl World {
    /// What is on its way has arrived after so long, unless something breaks it.
    pub fn network_tail(&self) -> u64 {
        let message = if self.faults.is_on(Fault::Message) { 2 * LATE_MAX } else { 0 };
        let cut = if self.faults.is_on(Fault::Cut) { CUT_MAX } else { 0 };
        TAIL_MAX * self.network_mean + message + cut
    }

    /// A message on a stream between a worker and a coordinator.
    pub fn send(&mut self, host: usize, from_host: bool, stream: u64, message: Happening) {
        if self.network.dead_ends.contains(&(stream, from_host)) {
            return;
        }
        let cut_until = self.network.cuts.get(&(host, from_host)).copied().unwrap_or(0);
        let waits = cut_until.saturating_sub(self.now);
        let tail = TAIL_MAX * self.network_mean;
        let mut delay = waits + self.random.delay(self.network_mean).min(tail);
        if self.strikes(Fault::Message) {
            match self.random.below(3) {
                0 => return,
                1 => {
                    let late = self.random.range(0, LATE_MAX);
                    self.at(delay + late, message.clone());
                }
                _ => {
                    delay += self.random.range(0, LATE_MAX);
                    self.at(delay, message);
                    return;
                }
            }
        }
        let last = self.network.last_arrivals.entry((stream, from_host)).or_default();
        let arrival = (self.now + delay).max(*last);
        *last = arrival;
        self.at(arrival - self.now, message);
    }

    /// A link carries nothing in one direction for a while. Whoever hears nothing for long hangs up.
    pub fn cut(&mut self, host: usize) {
        let from_host = self.random.below(2) == 0;
        let duration = self.random.range(200, CUT_MAX);
        self.network.cuts.insert((host, from_host), self.now + duration);
        self.ledger.note_trouble(host, self.now + duration);
        let Some((_, stream)) = self.hosts[host].stream.filter(|_| duration > HANG_UP) else {
            return;
        };
        self.network.dead_ends.insert((stream, from_host));
        if self.bug != Some(crate::bug::Bug::NeverHangsUp) {
            let life = self.hosts[host].life;
            self.at(HANG_UP, Happening::StreamEnded { host, life, stream });
        }
    }

    /// Whether a worker cannot be reached, or cannot reach anybody.
    pub fn is_cut(&self, host: usize) -> bool {
        self.network.is_cut(host, self.hosts[host].stream.map(|(_, stream)| stream), self.now)
    }
}
