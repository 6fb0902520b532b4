//! What a process takes of the machine.

/// What a process takes of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Memory that it has now.
    pub resident_bytes: u64,
    /// Files and sockets that it has open.
    pub descriptors: usize,
}

impl Footprint {
    /// That of a process, if it runs.
    pub fn of(process_id: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process_id}/status")).ok()?;
        let descriptors = std::fs::read_dir(format!("/proc/{process_id}/fd")).ok()?.count();
        Some(Footprint { resident_bytes: resident_bytes(&status)?, descriptors })
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_footprint() {
        let footprint = Footprint::of(std::process::id()).unwrap();
        assert!(footprint.resident_bytes > 0 && footprint.descriptors >= 3, "{footprint:?}");
        assert_eq!(Footprint::of(u32::MAX), None);
    }
}
