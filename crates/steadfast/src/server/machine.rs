//! What the machine or container has.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket};

use base::DataSize;

use crate::Failure;

/// How much of it a node takes when nothing says how much.
const SHARE: f64 = 0.8;
/// Limits of control groups, version 2 and version 1.
const CGROUP_LIMIT_FILES: [&str; 2] =
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
const MEMORY_FILE: &str = "/proc/meminfo";
/// An address of no machine, which is reached as all machines elsewhere are.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

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

/// The address that the machine has towards another: the host and port of a URI, or, without one, the rest of the world.
/// Nothing is sent. The machine's own address for itself if it has no other.
pub fn address_towards(uri: Option<&str>) -> IpAddr {
    let authority =
        uri.and_then(|uri| uri.split_once("://")).map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    let there = authority.and_then(|authority| authority.to_socket_addrs().ok()?.next());
    let there = there.unwrap_or((ELSEWHERE, 9).into());
    let here = || {
        let unspecified = if there.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(unspecified)?;
        socket.connect(there)?;
        socket.local_addr()
    };
    here().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
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
    fn the_address_depends_on_who_asks() {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(address_towards(Some("http://127.0.0.1:8080")), localhost);
        assert_eq!(address_towards(Some("http://127.0.0.1:8080/x")), localhost);
        assert!(!address_towards(None).is_unspecified());
        assert!(!address_towards(Some("nonsense")).is_unspecified());
    }

    #[test]
    fn total_memory_is_read_in_kilobytes() {
        assert_eq!(machine_memory("MemTotal:       24690000 kB\nMemFree: 1 kB\n"), Some(24_690_000 * 1024));
        assert_eq!(machine_memory("MemFree: 1 kB\n"), None);
    }
}
