//! A whole cluster on this machine: a coordinator and workers as processes of their own.

mod node_process;

use std::path::{Path, PathBuf};
use std::time::Duration;

use base::DataSize;

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
    /// Catalogs: the name of each and the text of its file.
    pub catalogs: Vec<(String, String)>,
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
        let hive = format!(
            "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir={}\n",
            directory.join("hive").display()
        );
        ClusterOptions {
            workers: 2,
            memory_per_worker: DataSize::gigabytes(2),
            directory,
            port: 0,
            properties: Vec::new(),
            catalogs: vec![
                ("tpch".into(), "connector.name=tpch\n".into()),
                ("hive".into(), hive),
            ],
        }
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

fn worker_name(worker: usize) -> String {
    format!("worker-{worker}")
}

impl LocalCluster {
    /// Starts a cluster and waits until all its workers are there.
    pub async fn start(options: ClusterOptions) -> Result<Self, Failure> {
        std::fs::create_dir_all(options.exchange_directory())?;
        std::fs::create_dir_all(options.directory.join("hive"))?;
        let coordinator_directory = options.directory.join("coordinator");
        write_etc(&coordinator_directory, &coordinator_properties(&options), &options, "coordinator")?;
        let coordinator = NodeProcess::start(&coordinator_directory).await?;
        let mut cluster = LocalCluster { options, coordinator, workers: Vec::new() };
        for worker in 0..cluster.options.workers {
            let started = cluster.start_process(worker).await?;
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

    /// Starts a worker that was killed again: a new life of the same node.
    pub async fn restart_worker(&mut self, worker: usize) -> Result<(), Failure> {
        self.workers[worker] = self.start_process(worker).await?;
        Ok(())
    }

    async fn start_process(&self, worker: usize) -> Result<NodeProcess, Failure> {
        let directory = self.options.worker_directory(worker);
        let properties = worker_properties(&self.options, self.address());
        write_etc(&directory, &properties, &self.options, &worker_name(worker))?;
        NodeProcess::start(&directory).await
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

fn common_properties(options: &ClusterOptions) -> Vec<(String, String)> {
    let mut properties: Vec<(String, String)> = [
        ("retry-policy", "TASK".to_string()),
        ("memory.limit-per-node", options.memory_per_worker.to_string()),
        ("memory.heap-headroom-per-node", "0B".to_string()),
        ("shutdown.grace-period", "0s".to_string()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .to_vec();
    for (name, value) in &options.properties {
        properties.retain(|(known, _)| known != name);
        properties.push((name.clone(), value.clone()));
    }
    properties
}

fn coordinator_properties(options: &ClusterOptions) -> Vec<(String, String)> {
    let mut properties = common_properties(options);
    properties.insert(0, ("coordinator".into(), "true".into()));
    properties.insert(1, ("node-scheduler.include-coordinator".into(), "false".into()));
    properties.insert(2, ("http-server.http.port".into(), options.port.to_string()));
    properties
}

fn worker_properties(options: &ClusterOptions, coordinator: &str) -> Vec<(String, String)> {
    let mut properties = common_properties(options);
    properties.insert(0, ("coordinator".into(), "false".into()));
    properties.insert(1, ("discovery.uri".into(), coordinator.to_string()));
    properties.insert(2, ("http-server.http.port".into(), "0".into()));
    if !properties.iter().any(|(name, _)| name == "task.max-worker-threads") {
        // The workers share this machine's processors.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / options.workers.max(1)).max(1);
        properties.push(("task.max-worker-threads".into(), threads.to_string()));
    }
    properties
}

fn write_etc(
    directory: &Path,
    properties: &[(String, String)],
    options: &ClusterOptions,
    node: &str,
) -> Result<(), Failure> {
    let etc = directory.join("etc");
    std::fs::create_dir_all(etc.join("catalog"))?;
    let lines: String = properties.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    std::fs::write(etc.join("config.properties"), lines)?;
    std::fs::write(
        etc.join("node.properties"),
        format!(
            "node.environment=local\nnode.id={node}\nnode.data-dir={}\nnode.internal-address=127.0.0.1\nnode.bind-ip=127.0.0.1\n",
            directory.display()
        ),
    )?;
    std::fs::write(
        etc.join("exchange-manager.properties"),
        format!(
            "exchange-manager.name=filesystem\nexchange.base-directories={}\n",
            options.exchange_directory().display()
        ),
    )?;
    for (catalog, text) in &options.catalogs {
        std::fs::write(etc.join("catalog").join(format!("{catalog}.properties")), text)?;
    }
    Ok(())
}
