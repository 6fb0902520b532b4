//! How long to wait before trying again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double from a first one up to a longest one, each shortened by chance so that workers which lost the
/// same coordinator do not all come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    entropy: RandomState,
    draws: u64,
}

impl Backoff {
    /// Waits between `first` and `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Backoff { first, longest, next: first, entropy: RandomState::new(), draws: 0 }
    }

    /// Starts again with the first wait.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next wait: between half of its nominal length and all of it.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let nominal = self.next;
        self.next = nominal.saturating_mul(2).min(self.longest);
        self.draws += 1;
        let chance = self.entropy.hash_one(self.draws) % 1024;
        let half = nominal / 2;
        half + half.mul_f64(chance as f64 / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        for nominal in [50, 100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next_wait();
            let nominal = Duration::from_millis(nominal);
            assert!(wait >= nominal / 2 && wait <= nominal, "{wait:?} for {nominal:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(50));
    }

    #[test]
    fn two_workers_do_not_wait_alike() {
        let waits = |mut backoff: Backoff| -> Vec<Duration> { (0..8).map(|_| backoff.next_wait()).collect() };
        let new = || Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        assert_ne!(waits(new()), waits(new()));
    }
}
