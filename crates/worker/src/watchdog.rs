//! Finds attempts that do nothing.

use std::time::Duration;

use base::{Error, ErrorCode};
use tokio::time::Instant;

/// Watches one attempt: it must show progress at least every so often.
#[derive(Debug)]
pub(crate) struct Watchdog {
    timeout: Duration,
    progress: u64,
    since: Instant,
}

impl Watchdog {
    /// Watches from now on.
    pub(crate) fn new(timeout: Duration, now: Instant) -> Self {
        Watchdog { timeout, progress: 0, since: now }
    }

    /// Looks at the attempt. `progress` is any number that changes whenever the attempt does something. One that waits
    /// for others need not do anything.
    /// Returns the error to end it with if it has done nothing for too long.
    pub(crate) fn observe(&mut self, now: Instant, progress: u64, waits: bool) -> Option<Error> {
        if progress != self.progress || waits {
            self.progress = progress;
            self.since = now;
            return None;
        }
        let idle = now.duration_since(self.since);
        (idle >= self.timeout).then(|| {
            Error::new(ErrorCode::ABANDONED_TASK, format!("No progress for {:.1}s", idle.as_secs_f64()))
        })
    }
}

#[cfg(test)]
mod tests {
    use base::{Failure, FailureClass};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    #[test]
    fn an_attempt_that_progresses_is_left_alone_however_long_it_takes() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(TIMEOUT, start);
        for step in 1..1000 {
            let now = start + Duration::from_secs(59) * step;
            assert_eq!(watchdog.observe(now, u64::from(step), false), None);
        }
    }

    #[test]
    fn an_attempt_that_does_nothing_fails_as_an_internal_error_that_is_retried() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(TIMEOUT, start);
        assert_eq!(watchdog.observe(start + Duration::from_secs(30), 7, false), None);
        assert_eq!(watchdog.observe(start + Duration::from_secs(89), 7, false), None);
        let error = watchdog.observe(start + Duration::from_secs(90), 7, false).unwrap();
        assert_eq!(error.message(), "No progress for 60.0s");
        assert_eq!(Failure::of(error).class, FailureClass::Internal);
    }

    #[test]
    fn an_attempt_that_never_began_fails_too() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(TIMEOUT, start);
        assert!(watchdog.observe(start + TIMEOUT, 0, false).is_some());
    }

    #[test]
    fn an_attempt_that_waits_for_others_is_left_alone_until_it_does_not() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(TIMEOUT, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(watchdog.observe(later, 0, true), None);
        assert_eq!(watchdog.observe(later + Duration::from_secs(59), 0, false), None);
        assert!(watchdog.observe(later + TIMEOUT, 0, false).is_some());
    }
}
