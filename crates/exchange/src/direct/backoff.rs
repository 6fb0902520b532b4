//! How long to wait before a request is made again, and when to give up.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

const WAIT_FIRST: Duration = Duration::from_millis(20);
const WAIT_LONGEST: Duration = Duration::from_secs(1);

/// Counts failures in a row. Waits double, each shortened by chance, so that readers which lost the same producer do
/// not all come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    duration_max: Duration,
    failing_since: Option<Instant>,
    failures: u32,
    entropy: RandomState,
}

impl Backoff {
    /// Gives up after failures for so long.
    pub(super) fn new(duration_max: Duration) -> Self {
        Backoff { duration_max, failing_since: None, failures: 0, entropy: RandomState::new() }
    }

    pub(super) fn succeeded(&mut self) {
        (self.failing_since, self.failures) = (None, 0);
    }

    /// How long to wait before the next try, if one failed now. None: it is time to give up.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert(now);
        self.failures += 1;
        let left = self.duration_max.checked_sub(now - since).filter(|left| !left.is_zero())?;
        let doublings = (self.failures - 1).min(WAIT_LONGEST.as_millis().ilog2());
        let nominal = WAIT_FIRST.saturating_mul(1 << doublings).min(WAIT_LONGEST);
        let chance = self.entropy.hash_one(self.failures) % 1024;
        let half = nominal / 2;
        Some((half + half.mul_f64(chance as f64 / 1024.0)).min(left))
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// For how long there were only failures.
    pub(super) fn duration(&self, now: Instant) -> Duration {
        self.failing_since.map_or(Duration::ZERO, |since| now - since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_end_in_time() {
        let mut backoff = Backoff::new(Duration::from_secs(10));
        let start = Instant::now();
        let mut now = start;
        let mut waits = Vec::new();
        while let Some(wait) = backoff.failed(now) {
            assert!(wait <= WAIT_LONGEST);
            waits.push(wait);
            now += wait;
        }
        assert!(waits[0] <= WAIT_FIRST && waits.len() > 10, "{waits:?}");
        assert_eq!((now - start, backoff.duration(now)), (Duration::from_secs(10), Duration::from_secs(10)));
        backoff.succeeded();
        assert!(backoff.failed(now).is_some_and(|wait| wait <= WAIT_FIRST));
    }
}
