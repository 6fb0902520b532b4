//! A cluster of real processes whose every connection goes through a [`Link`](crate::proxy::Link).

mod footprint;
mod options;
mod process;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use steadfast::Failure;
use steadfast::client::Client;

pub use footprint::Footprint;
pub use options::{ClusterOptions, NodeName};
use process::NodeSlot;

use crate::proxy::{Link, Route};

/// How long a cluster may take until all its workers are there.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a process that was told to stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the coordinator may take to answer a question about itself.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A cluster. Its processes end when it is dropped.
pub struct Cluster {
    options: ClusterOptions,
    nodes: BTreeMap<NodeName, NodeSlot>,
    route: Route,
    clients: Link,
    workers: Vec<Link>,
    http: reqwest::Client,
}

impl Cluster {
    /// Starts a cluster and waits until all its workers are there.
    pub async fn start(options: ClusterOptions, seed: u64) -> Result<Self, Failure> {
        std::fs::create_dir_all(options.exchange_directory())?;
        let mut addresses = vec![free_address()?];
        if options.has_standby {
            addresses.push(free_address()?);
        }
        let route = match addresses[..] {
            [only] => Route::fixed(only),
            _ => Route::to_ready(addresses.clone()),
        };
        let clients = Link::open("clients", seed, &route).await?;
        let mut workers = Vec::new();
        for worker in 0..options.workers {
            workers.push(Link::open(&NodeName::Worker(worker).to_string(), seed, &route).await?);
        }
        let http = reqwest::Client::builder().timeout(DOCUMENT_TIMEOUT).build()?;
        let mut cluster = Cluster { options, nodes: BTreeMap::new(), route, clients, workers, http };
        for (number, address) in addresses.into_iter().enumerate() {
            cluster.start_new(NodeName::Coordinator(number), address.port(), None).await?;
        }
        for worker in 0..cluster.options.workers {
            let coordinator = cluster.workers[worker].address();
            cluster.start_new(NodeName::Worker(worker), 0, Some(coordinator)).await?;
        }
        cluster.wait_for_workers(cluster.options.workers).await?;
        Ok(cluster)
    }

    /// What it was started with.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// The link between clients and whichever coordinator is ready.
    pub fn client_link(&self) -> &Link {
        &self.clients
    }

    /// The link between a worker and whichever coordinator is ready.
    pub fn worker_link(&self, worker: usize) -> &Link {
        &self.workers[worker]
    }

    /// All links.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        std::iter::once(&self.clients).chain(&self.workers)
    }

    /// The one address that clients know.
    pub fn address(&self) -> String {
        format!("http://{}", self.clients.address())
    }

    /// A client that talks to that address.
    pub fn client(&self) -> Client {
        let mut client = Client::new(self.address(), steadfast::client::session("chaos", "chaos"));
        client.session.catalog = Some(options::CATALOG.into());
        client.session.schema = Some(options::SCHEMA.into());
        client
    }

    /// The coordinator that new connections go to.
    pub fn serving_coordinator(&self) -> NodeName {
        let target = self.route.target();
        let is_target = |slot: &NodeSlot| slot.port() == target.port();
        let found = self.nodes.iter().find(|(_, slot)| is_target(slot)).map(|(name, _)| *name);
        found.unwrap_or(NodeName::Coordinator(0))
    }

    /// A document of the serving coordinator, asked past all links.
    pub async fn document(&self, path: &str) -> Result<Value, Failure> {
        self.document_at(self.route.target(), path).await
    }

    /// A document of a node, asked past all links.
    pub async fn document_of(&self, node: NodeName, path: &str) -> Result<Value, Failure> {
        self.document_at(self.node_address(node)?, path).await
    }

    async fn document_at(&self, address: SocketAddr, path: &str) -> Result<Value, Failure> {
        let response = self.http.get(format!("http://{address}{path}")).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }

    /// Sends a signal to a node.
    pub fn signal(&self, node: NodeName, signal: Signal) -> Result<(), Failure> {
        self.nodes[&node].running()?.signal(signal)
    }

    /// The number of a node's process.
    pub fn process_id(&self, node: NodeName) -> Result<u32, Failure> {
        self.nodes[&node].running()?.process_id().ok_or_else(|| format!("{node} has ended").into())
    }

    /// Where a node serves, past all links.
    pub fn node_address(&self, node: NodeName) -> Result<SocketAddr, Failure> {
        Ok(self.nodes[&node].running()?.address().trim_start_matches("http://").parse()?)
    }

    /// Kills a node by SIGKILL, and waits until it is dead.
    pub async fn kill(&mut self, node: NodeName) -> Result<(), Failure> {
        self.slot(node)?.kill().await
    }

    /// Waits until a node that was told to end has ended by itself.
    pub async fn wait_for_end(&mut self, node: NodeName) -> Result<(), Failure> {
        let slot = self.slot(node)?;
        match tokio::time::timeout(STOP_TIMEOUT, slot.wait_for_end()).await {
            Ok(ended) => ended,
            Err(_) => Err(format!("{node} has not ended after {STOP_TIMEOUT:?}").into()),
        }
    }

    /// Starts a node again that has ended: a new life, on the same port, with the same directory.
    pub async fn restart(&mut self, node: NodeName) -> Result<(), Failure> {
        self.slot(node)?.start().await
    }

    /// Whether a node has ended.
    pub fn has_ended(&mut self, node: NodeName) -> Result<bool, Failure> {
        Ok(self.slot(node)?.has_ended())
    }

    /// Starts a node again if it has ended.
    pub async fn ensure_running(&mut self, node: NodeName) -> Result<(), Failure> {
        match self.has_ended(node)? {
            true => self.restart(node).await,
            false => Ok(()),
        }
    }

    /// The names of all nodes.
    pub fn names(&self) -> Vec<NodeName> {
        self.nodes.keys().copied().collect()
    }

    /// What each node that runs takes of the machine.
    pub fn footprints(&self) -> BTreeMap<NodeName, Footprint> {
        let footprint = |(name, slot): (&NodeName, &NodeSlot)| {
            let id = slot.running().ok()?.process_id()?;
            Some((*name, Footprint::of(id)?))
        };
        self.nodes.iter().filter_map(footprint).collect()
    }

    /// The log of each node: all its lives.
    pub fn logs(&self) -> BTreeMap<NodeName, PathBuf> {
        self.nodes.iter().map(|(name, slot)| (*name, slot.log())).collect()
    }

    /// Waits until that many workers, and no more, are attached.
    pub async fn wait_for_workers(&self, count: usize) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let found = match self.document("/v1/node").await {
                Ok(nodes) => nodes.as_array().map_or(0, Vec::len),
                Err(_) => 0,
            };
            if found == count {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{found} of {count} workers are there after {READY_TIMEOUT:?}").into());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Ends all processes.
    pub async fn stop(mut self) -> Result<(), Failure> {
        // Workers first: they need no coordinator to end, but would look for it.
        for slot in self.nodes.values_mut().rev() {
            slot.stop(STOP_TIMEOUT).await?;
        }
        Ok(())
    }

    fn slot(&mut self, node: NodeName) -> Result<&mut NodeSlot, Failure> {
        self.nodes.get_mut(&node).ok_or_else(|| format!("there is no {node}").into())
    }

    async fn start_new(
        &mut self,
        name: NodeName,
        port: u16,
        coordinator: Option<SocketAddr>,
    ) -> Result<(), Failure> {
        let node = self.options.node(name, port, coordinator);
        node.write(&node.data_dir.join("etc"))?;
        let program = self.options.program_of(name, &node.data_dir)?;
        let mut slot = NodeSlot::new(program, node.data_dir, port);
        slot.start().await?;
        self.nodes.insert(name, slot);
        Ok(())
    }
}

/// An address of this machine that nobody uses now. The cluster keeps it over all lives of a coordinator.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// All files under a directory.
pub fn files_under(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files.extend(files_under(&path)),
            false => files.push(path),
        }
    }
    files
}
