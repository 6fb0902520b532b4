//! Clients that open many connections and say nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::support::TestCluster;

const CONNECTION_COUNT_MAX: usize = 12;
/// How many connections are opened to each process at once, again and again.
const WAVE: usize = 40;
const HELD_MAX: usize = 200;
const WAVE_INTERVAL: Duration = Duration::from_millis(50);
/// Sockets of a process that are no connections to its port, and those that are just being closed.
const OTHER_SOCKETS_MAX: usize = 12;

/// Where the nodes of a cluster listen.
fn addresses(test: &TestCluster) -> Vec<SocketAddr> {
    let workers = (0..test.cluster.options().workers).map(|worker| test.cluster.worker(worker));
    let nodes = workers.chain([test.cluster.coordinator()]);
    nodes.map(|node| node.address().trim_start_matches("http://").parse().unwrap()).collect()
}

/// Sockets that a process has open.
fn sockets(process_id: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{process_id}/fd")).unwrap().flatten();
    let targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_disturb_queries() {
    let test =
        TestCluster::start_with(|options| options.with("http-server.max-connections", CONNECTION_COUNT_MAX))
            .await;
    let mut floods = JoinSet::new();
    for address in addresses(&test) {
        floods.spawn(async move {
            let mut held = Vec::new();
            loop {
                for _ in 0..WAVE {
                    held.push(TcpStream::connect(address).await.expect("the process goes on to accept"));
                }
                // Some stay open at this end for a while.
                held.drain(..held.len().saturating_sub(HELD_MAX));
                sleep(WAVE_INTERVAL).await;
            }
        });
    }
    sleep(2 * WAVE_INTERVAL).await;
    // A result of many pages, and one of several stages whose outputs are objects of the exchange.
    let client = || test.client("tpch", "tiny");
    for _ in 0..3 {
        let rows = client().query("SELECT * FROM lineitem").await.unwrap().rows;
        assert_eq!(rows.len(), 60_175);
        let joined = "SELECT count(*) FROM lineitem JOIN orders ON l_orderkey = o_orderkey \
                      JOIN customer ON o_custkey = c_custkey";
        assert_eq!(client().query(joined).await.unwrap().rows, [[60_175]]);
    }
    let nodes = (0..test.cluster.options().workers).map(|worker| test.cluster.worker(worker));
    for node in nodes.chain([test.cluster.coordinator()]) {
        let open = sockets(node.process_id().unwrap());
        assert!(open <= CONNECTION_COUNT_MAX + OTHER_SOCKETS_MAX, "{} has {open} sockets", node.address());
    }
    if let Some(ended) = floods.try_join_next() {
        panic!("a flood has ended: {ended:?}");
    }
    floods.shutdown().await;
    test.is_clean().await;
}
