//! A whole cluster on this machine: a coordinator and workers as processes of their own.

mod node_process;

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use base::DataSize;
use config::{LocalNode, Source};

use crate::Failure;
use crate::client::{Client, session};
pub use node_process::NodeProcess;

/// How long a cluster may take until all its workers are there.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked whether they are.
const READY_INTERVAL: Duration = Duration::from_millis(20);

/// What a cluster is to be like.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many workers.
    pub workers: usize,
    /// Memory of each worker.
    pub memory_per_worker: DataSize,
    /// Where the cluster keeps its files. It is created, and what stands there is overwritten.
    pub directory: PathBuf,
    /// The port of the coordinator. 0: any free one.
    pub port: u16,
    /// Properties of config.properties on every node.
    pub properties: Vec<(String, String)>,
    /// Catalogs.
    pub catalogs: Vec<CatalogOptions>,
    /// Where workers find the coordinator that leads, if that is not where it serves: a proxy before several of them.
    pub coordinator_address: Option<String>,
    /// The program of the nodes. None: the one that is running.
    pub program: Option<PathBuf>,
    /// Whether stages have a place where they leave their output, as `retry-policy=TASK` needs.
    pub has_exchange_manager: bool,
}

/// A catalog of a cluster.
#[derive(Clone, Debug)]
pub struct CatalogOptions {
    name: String,
    properties: Vec<(String, String)>,
}

impl CatalogOptions {
    /// A catalog with that connector.
    pub fn new(name: &str, connector: &str) -> Self {
        CatalogOptions { name: name.to_string(), properties: Vec::new() }.with("connector.name", connector)
    }

    /// A property of the catalog.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.properties.push((name.to_string(), value.to_string()));
        self
    }
}

/// A whole cluster on this machine. Its processes end when it is dropped.
#[derive(Debug)]
pub struct LocalCluster {
    options: ClusterOptions,
    coordinator: NodeProcess,
    workers: Vec<NodeProcess>,
}

impl ClusterOptions {
    /// Two workers, any port, the catalogs `tpch` and `hive`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let hive = CatalogOptions::new("hive", "hive")
            .with("hive.metastore", "file")
            .with("hive.metastore.catalog.dir", directory.join("hive").display());
        ClusterOptions {
            workers: 2,
            memory_per_worker: DataSize::gigabytes(2),
            directory,
            port: 0,
            properties: Vec::new(),
            catalogs: vec![CatalogOptions::new("tpch", "tpch"), hive],
            coordinator_address: None,
            program: None,
            has_exchange_manager: true,
        }
    }

    /// A property of every node, stronger than what was set before.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.properties.push((name.to_string(), value.to_string()));
        self
    }

    /// A catalog, instead of the one of that name.
    pub fn with_catalog(mut self, catalog: CatalogOptions) -> Self {
        self.catalogs.retain(|known| known.name != catalog.name);
        self.catalogs.push(catalog);
        self
    }

    /// Where stages leave their output.
    pub fn exchange_directory(&self) -> PathBuf {
        self.directory.join("exchange")
    }

    /// Where a worker keeps its files.
    pub fn worker_directory(&self, worker: usize) -> PathBuf {
        self.directory.join(worker_name(worker))
    }

    /// Where a worker puts what does not fit in memory.
    pub fn spill_directory(&self, worker: usize) -> PathBuf {
        self.worker_directory(worker).join("spill")
    }
}

/// How much of the memory of a worker one query may use, where it has no leases.
const QUERY_MEMORY_PER_NODE: &str = "80%";

/// The `node.id` of the coordinator.
const COORDINATOR: &str = "coordinator";
/// The `node.id` of a coordinator that stands by.
const STANDBY: &str = "standby";

fn worker_name(worker: usize) -> String {
    format!("worker-{worker}")
}

fn port_of(address: &str) -> Result<u16, Failure> {
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
    port.ok_or_else(|| format!("the address {address} has no port").into())
}

impl LocalCluster {
    /// Starts a cluster and waits until all its workers are there.
    pub async fn start(options: ClusterOptions) -> Result<Self, Failure> {
        std::fs::create_dir_all(options.exchange_directory())?;
        std::fs::create_dir_all(options.directory.join("hive"))?;
        let mut options = options;
        let coordinator = options.start_node(COORDINATOR, None, &[]).await?;
        // One that is started again serves at the same address.
        options.port = port_of(coordinator.address())?;
        let mut cluster = LocalCluster { options, coordinator, workers: Vec::new() };
        for worker in 0..cluster.options.workers {
            let started = cluster.start_worker(worker).await?;
            cluster.workers.push(started);
        }
        cluster.wait_for_workers(cluster.options.workers).await?;
        Ok(cluster)
    }

    /// What it was started with.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// The address of the coordinator.
    pub fn address(&self) -> &str {
        self.coordinator.address()
    }

    /// The coordinator's process.
    pub fn coordinator(&self) -> &NodeProcess {
        &self.coordinator
    }

    /// A worker's process.
    pub fn worker(&self, worker: usize) -> &NodeProcess {
        &self.workers[worker]
    }

    /// The `node.id` of a worker.
    pub fn worker_node_id(&self, worker: usize) -> String {
        worker_name(worker)
    }

    /// A client of the coordinator.
    pub fn client(&self) -> Client {
        Client::new(self.address(), session("steadfast", "steadfast-local"))
    }

    /// Kills a worker at once, by SIGKILL, and waits until it is dead.
    pub async fn kill_worker(&mut self, worker: usize) -> Result<(), Failure> {
        self.workers[worker].kill().await
    }

    /// Waits until a worker's process has ended, and says how.
    pub async fn wait_for_end(&mut self, worker: usize) -> Result<ExitStatus, Failure> {
        self.workers[worker].wait().await
    }

    /// Starts one more worker, and says which. It may not be connected yet.
    pub async fn add_worker(&mut self) -> Result<usize, Failure> {
        let worker = self.workers.len();
        let started = self.start_worker(worker).await?;
        self.workers.push(started);
        self.options.workers = self.workers.len();
        Ok(worker)
    }

    /// Starts a worker that has ended again: a new life of the same node.
    pub async fn restart_worker(&mut self, worker: usize) -> Result<(), Failure> {
        self.workers[worker] = self.start_worker(worker).await?;
        Ok(())
    }

    /// Kills the coordinator at once, by SIGKILL, and waits until it is dead.
    pub async fn kill_coordinator(&mut self) -> Result<(), Failure> {
        self.coordinator.kill().await
    }

    /// Starts the coordinator again that was killed: with the same files, at the same address.
    pub async fn restart_coordinator(&mut self) -> Result<(), Failure> {
        self.coordinator = self.options.start_node(COORDINATOR, None, &[]).await?;
        Ok(())
    }

    /// Starts a coordinator that stands by, at an address of its own.
    pub async fn start_standby(&self) -> Result<NodeProcess, Failure> {
        let standby = ("coordinator.standby".to_string(), "true".to_string());
        let options = ClusterOptions { port: 0, ..self.options.clone() };
        options.start_node(STANDBY, None, &[standby]).await
    }

    async fn start_worker(&self, worker: usize) -> Result<NodeProcess, Failure> {
        let address = self.options.coordinator_address.as_deref().unwrap_or(self.address());
        self.options.start_node(&worker_name(worker), Some(address), &[]).await
    }

    /// Waits until so many workers are connected.
    pub async fn wait_for_workers(&self, count: usize) -> Result<(), Failure> {
        let client = self.client();
        let connected = async {
            loop {
                let nodes = client.document("/v1/node").await?;
                if nodes.as_array().map_or(0, Vec::len) >= count {
                    return Ok::<(), Failure>(());
                }
                tokio::time::sleep(READY_INTERVAL).await;
            }
        };
        match tokio::time::timeout(READY_TIMEOUT, connected).await {
            Ok(connected) => connected,
            Err(_) => Err(format!(
                "the cluster's {count} workers are not there after {} s; see the logs under {}",
                READY_TIMEOUT.as_secs(),
                self.options.directory.display()
            )
            .into()),
        }
    }

    /// Stops all processes in an orderly way.
    pub async fn stop(mut self) -> Result<(), Failure> {
        for worker in &mut self.workers {
            worker.stop().await?;
        }
        self.coordinator.stop().await
    }
}

impl ClusterOptions {
    /// Starts the process of a node: the coordinator, or a worker of that one, with properties of its own.
    async fn start_node(
        &self,
        id: &str,
        coordinator: Option<&str>,
        properties: &[(String, String)],
    ) -> Result<NodeProcess, Failure> {
        let mut node = self.node(id, coordinator);
        let properties = properties.iter();
        node.extra.extend(properties.map(|(name, value)| (Source::Config, name.clone(), value.clone())));
        node.write(&node.data_dir.join("etc"))?;
        let program = match &self.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        NodeProcess::start(&program, &node.data_dir).await
    }

    fn node(&self, id: &str, coordinator: Option<&str>) -> LocalNode {
        let mut extra = vec![
            (Source::Config, "memory.heap-headroom-per-node".to_string(), "0B".to_string()),
            // There are few users.
            (Source::Config, "query.max-memory-per-node".to_string(), QUERY_MEMORY_PER_NODE.to_string()),
        ];
        for catalog in &self.catalogs {
            let source = Source::Catalog(catalog.name.clone());
            let properties = catalog.properties.iter();
            extra.extend(properties.map(|(name, value)| (source.clone(), name.clone(), value.clone())));
        }
        extra.extend(
            self.properties.iter().map(|(name, value)| (Source::Config, name.clone(), value.clone())),
        );
        // The workers share this machine's processors.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let slots = (cores / self.workers.max(1)).max(1);
        LocalNode {
            coordinator: coordinator.is_none(),
            id: id.to_string(),
            http_port: if coordinator.is_none() { self.port } else { 0 },
            discovery_uri: coordinator.map(str::to_string),
            data_dir: self.directory.join(id),
            exchange_dir: self.has_exchange_manager.then(|| self.exchange_directory()),
            memory_limit: Some(self.memory_per_worker),
            task_slots: u32::try_from(slots).ok(),
            extra,
        }
    }
}
