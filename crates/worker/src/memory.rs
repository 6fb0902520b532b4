//! What the process uses, as the system sees it.
//!
//! Leases count only what operators declare. What they do not declare (decoding, kernels, buffers on the way) shows
//! in the resident size alone, so that is watched too.

use std::time::Duration;

use tokio::time::Instant;

/// The process may be so much larger than the memory it leases out before it is called too large.
const RESIDENT_MARGIN: f64 = 1.5;

/// A process that stays too large is mentioned this often.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Ticks of processor time in a second, in what Linux tells of a process. Every architecture has 100.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessUsage {
    /// The resident size, in bytes. 0 if the system does not tell.
    pub(crate) resident_bytes: u64,
    /// The share of all processors that this process kept busy since the last look, from 0 to 1.
    pub(crate) cpu_load: f64,
}

/// Looks at the process from time to time.
#[derive(Debug)]
pub(crate) struct ProcessMonitor {
    limit_bytes: u64,
    processors: f64,
    last_look: Option<(Instant, f64)>,
    last_warning: Option<Instant>,
}

impl ProcessMonitor {
    /// Watches a process that leases out so many bytes of memory.
    pub(crate) fn new(leased_bytes_max: u64) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        ProcessMonitor {
            limit_bytes: (leased_bytes_max as f64 * RESIDENT_MARGIN) as u64,
            processors: processors as f64,
            last_look: None,
            last_warning: None,
        }
    }

    /// What the process uses now. Says so in the log if it is too much.
    pub(crate) fn look(&mut self, now: Instant) -> ProcessUsage {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let resident_bytes = resident_bytes(&status).unwrap_or(0);
        let cpu_load = processor_seconds(&stat).map_or(0.0, |seconds| self.load(now, seconds));
        if self.is_warning_due(now, resident_bytes) {
            tracing::warn!(
                resident_bytes,
                limit_bytes = self.limit_bytes,
                "the process is larger than the memory it leases out allows for; the system may kill it"
            );
        }
        ProcessUsage { resident_bytes, cpu_load }
    }

    fn load(&mut self, now: Instant, processor_seconds: f64) -> f64 {
        let last = self.last_look.replace((now, processor_seconds));
        let Some((then, before)) = last else { return 0.0 };
        let wall_seconds = now.duration_since(then).as_secs_f64();
        if wall_seconds <= 0.0 {
            return 0.0;
        }
        ((processor_seconds - before) / wall_seconds / self.processors).clamp(0.0, 1.0)
    }

    fn is_warning_due(&mut self, now: Instant, resident_bytes: u64) -> bool {
        if resident_bytes <= self.limit_bytes {
            return false;
        }
        let recently = self.last_warning.is_some_and(|last| now.duration_since(last) < WARNING_INTERVAL);
        if !recently {
            self.last_warning = Some(now);
        }
        !recently
    }
}

/// The resident size in `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// User and system time in `/proc/self/stat`.
fn processor_seconds(stat: &str) -> Option<f64> {
    // The second field is the name of the program in parentheses, which may itself hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_tells() {
        assert_eq!(resident_bytes("VmPeak:\t  10 kB\nVmRSS:\t  2048 kB\nVmData: 1 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("VmRSS: many kB"), None);
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0";
        assert_eq!(processor_seconds(stat), Some(4.0));
        assert_eq!(processor_seconds("nonsense"), None);
    }

    #[test]
    fn load_is_a_share_of_all_processors() {
        let mut monitor = ProcessMonitor::new(1 << 30);
        monitor.processors = 4.0;
        let start = Instant::now();
        assert_eq!(monitor.load(start, 10.0), 0.0);
        assert_eq!(monitor.load(start + Duration::from_secs(2), 14.0), 0.5);
    }

    #[test]
    fn a_process_that_is_too_large_is_mentioned_now_and_then() {
        let mut monitor = ProcessMonitor::new(100);
        let start = Instant::now();
        assert!(!monitor.is_warning_due(start, 150));
        assert!(monitor.is_warning_due(start, 151));
        assert!(!monitor.is_warning_due(start + Duration::from_secs(59), 200));
        assert!(monitor.is_warning_due(start + Duration::from_secs(60), 200));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn sees_this_process() {
        let mut monitor = ProcessMonitor::new(u64::MAX >> 8);
        assert!(monitor.look(Instant::now()).resident_bytes > 1 << 20);
    }
}
