//! What the machine or container has.

use base::DataSize;

use crate::Failure;

/// How much of it a node takes when nothing says how much.
const SHARE: f64 = 0.8;
/// Limits of control groups, version 2 and version 1.
const CGROUP_LIMIT_FILES: [&str; 2] =
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
const MEMORY_FILE: &str = "/proc/meminfo";

/// The memory that a node takes when neither memory.limit-per-node nor jvm.config says how much.
pub fn memory_limit() -> Result<DataSize, Failure> {
    let machine = std::fs::read_to_string(MEMORY_FILE)
        .ok()
        .and_then(|text| machine_memory(&text))
        .ok_or("the machine's memory cannot be found out; set memory.limit-per-node")?;
    let container = CGROUP_LIMIT_FILES
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
        .min();
    let total = container.map_or(machine, |limit| limit.min(machine));
    Ok(DataSize((total as f64 * SHARE) as u64))
}

fn machine_memory(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_memory_is_read_in_kilobytes() {
        assert_eq!(machine_memory("MemTotal:       24690000 kB\nMemFree: 1 kB\n"), Some(24_690_000 * 1024));
        assert_eq!(machine_memory("MemFree: 1 kB\n"), None);
    }
}
