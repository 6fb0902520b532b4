//! What processes of this machine have used, as the kernel tells.

use std::fs;
use std::time::Duration;

/// Processes whose use is measured.
#[derive(Clone, Debug, Default)]
pub struct Processes(Vec<u32>);

/// What processes have used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time on processors, all processes together.
    pub cpu: Duration,
    /// The most memory that was resident, the largest of the processes, in bytes.
    pub peak_resident_bytes: u64,
}

/// The kernel counts processor time in hundredths of a second on every Linux there is.
const TICKS_PER_SECOND: u64 = 100;

impl Processes {
    /// The processes of these numbers.
    pub fn new(numbers: impl IntoIterator<Item = u32>) -> Self {
        Processes(numbers.into_iter().collect())
    }

    /// Forgets the peaks of memory so far.
    pub fn reset_peaks(&self) {
        for process in &self.0 {
            // Where the kernel refuses, the peak is that since the start of the process.
            let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
        }
    }

    /// What they have used since they started, and the peak since it was last reset.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for process in &self.0 {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            usage.cpu += cpu(&stat).unwrap_or_default();
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            usage.peak_resident_bytes = usage.peak_resident_bytes.max(peak(&status).unwrap_or_default());
        }
        usage
    }
}

/// User and system time of `/proc/{pid}/stat`: the 14th and 15th fields. The second, the name, may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// `VmHWM` of `/proc/{pid}/status`.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_read_right() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(peak("Name:\tx\nVmHWM:\t   2048 kB\n"), Some(2 << 20));
        let own = Processes::new([std::process::id()]).usage();
        assert!(own.peak_resident_bytes > 0);
    }
}
