//! How many files and connections the process may have open.

use config::NodeConfig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The connections that a port may have when the system does not say how many files there may be.
const CONNECTION_COUNT_FALLBACK: usize = 1_000;

/// How many connections each port of the process may have. Raises the limit of open files as far as the process may.
///
/// Half of the files are for connections of others. The other half is for the exchange, for what is spilled and for
/// our own connections.
pub fn connection_count_max(node: &NodeConfig) -> usize {
    let files = raise_limit();
    // A coordinator that runs tasks serves as a worker on a port of its own.
    let ports = if node.include_coordinator { 2 } else { 1 };
    let by_files = files.map_or(CONNECTION_COUNT_FALLBACK, |files| share(files, ports));
    let count = node.http_connections_max.map_or(by_files, |count| count as usize);
    tracing::info!(files, connections = count, "limits of open files and of connections to each port");
    count
}

fn share(files: u64, ports: u64) -> usize {
    usize::try_from(files / 2 / ports).unwrap_or(usize::MAX)
}

/// Raises the limit of open files to the most that the process may have. None if the system does not say what it is.
fn raise_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Some(hard);
    }
    Some(soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_of_open_files_is_raised_as_far_as_it_may_be() {
        let limit = raise_limit().unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(soft == limit && limit <= hard);
    }

    #[test]
    fn half_of_the_files_is_for_connections_of_all_ports() {
        assert_eq!((share(1_024, 1), share(1_024, 2)), (512, 256));
    }
}
