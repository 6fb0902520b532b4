//! What a cluster is to be like.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base::DataSize;
use config::{LocalNode, Source};
use steadfast::Failure;

/// The catalog and schema of all queries.
pub(super) const CATALOG: &str = "tpch";
pub(super) const SCHEMA: &str = "sf1";

/// Memory of each worker.
const WORKER_MEMORY: DataSize = DataSize::gigabytes(2);

/// The size that tasks aim at: small, so that there are many moments at which a fault can strike.
const TASK_TARGET_SIZE: &str = "64MB";

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeName {
    /// A coordinator: the first, or the one that stands by.
    Coordinator(usize),
    /// A worker.
    Worker(usize),
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeName::Coordinator(number) => write!(f, "coordinator-{number}"),
            NodeName::Worker(number) => write!(f, "worker-{number}"),
        }
    }
}

/// What a cluster is to be like.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The program of the nodes.
    pub program: PathBuf,
    /// Where the cluster keeps its files.
    pub directory: PathBuf,
    /// How many workers.
    pub workers: usize,
    /// Whether a second coordinator stands by.
    pub has_standby: bool,
    /// Properties of every node, each with its file.
    properties: Vec<(Source, String, String)>,
    /// How many files each process may have open. None: as many as this one.
    pub descriptor_count_max: Option<u32>,
}

impl ClusterOptions {
    /// Two workers and one coordinator.
    pub fn new(program: PathBuf, directory: PathBuf) -> Self {
        ClusterOptions {
            program,
            directory,
            workers: 2,
            has_standby: false,
            properties: Vec::new(),
            descriptor_count_max: None,
        }
        .with(
            "fault-tolerant-execution-arbitrary-distribution-compute-task-target-size-min",
            TASK_TARGET_SIZE,
        )
        .with("fault-tolerant-execution-hash-distribution-compute-task-target-size", TASK_TARGET_SIZE)
        .with("query.client.timeout", "30s")
        .with("retry-initial-delay", "200ms")
        .with("shutdown.grace-period", "0s")
    }

    /// A property of `config.properties` on every node, stronger than what was set before.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.with_in(Source::Config, name, value)
    }

    /// A property of `exchange-manager.properties` on every node, stronger than what was set before.
    pub fn with_exchange(self, name: &str, value: &str) -> Self {
        self.with_in(Source::ExchangeManager, name, value)
    }

    /// Statements are answered when they are accepted, so that faults can strike their queries from the start.
    pub fn answering_at_once(self) -> Self {
        self.with("query.first-answer-wait", "0ms")
    }

    fn with_in(mut self, source: Source, name: &str, value: &str) -> Self {
        self.properties.push((source, name.to_string(), value.to_string()));
        self
    }

    /// Where stages leave their output.
    pub fn exchange_directory(&self) -> PathBuf {
        self.directory.join("exchange")
    }

    /// Coordinators keep what must outlive them in a directory of its own, not beside what stages leave.
    pub fn with_separate_state(self) -> Self {
        let directory = self.state_directory().to_string_lossy().into_owned();
        self.with("coordinator.state-directory", &directory)
    }

    /// The directory of its own in which coordinators may keep what must outlive them.
    pub fn state_directory(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Where a worker puts what does not fit in memory.
    pub fn spill_directory(&self, worker: usize) -> PathBuf {
        self.directory.join(NodeName::Worker(worker).to_string()).join("spill")
    }

    /// The configuration of a node.
    pub(super) fn node(&self, name: NodeName, port: u16, coordinator: Option<SocketAddr>) -> LocalNode {
        let catalog = Source::Catalog(CATALOG.to_string());
        let text = |value: &str| value.to_string();
        let mut extra = vec![
            (Source::Config, text("memory.heap-headroom-per-node"), text("0B")),
            (catalog.clone(), text("tpch.column-naming"), text("STANDARD")),
            // Sums of decimals do not depend on the order of rows.
            (catalog, text("tpch.double-type-mapping"), text("DECIMAL")),
        ];
        if self.has_standby && coordinator.is_none() {
            // Whichever comes first serves; the other one, and whichever comes back, stands by.
            extra.push((Source::Config, text("coordinator.standby"), text("true")));
        }
        extra.extend(self.properties.iter().cloned());
        LocalNode {
            coordinator: coordinator.is_none(),
            id: name.to_string(),
            http_port: port,
            discovery_uri: coordinator.map(|address| format!("http://{address}")),
            data_dir: self.directory.join(name.to_string()),
            exchange_dir: Some(self.exchange_directory()),
            memory_limit: Some(WORKER_MEMORY),
            task_slots: Some(1),
            extra,
        }
    }

    /// The program of a node: a script where limits have to be set before it starts.
    pub(super) fn program_of(&self, name: NodeName, directory: &Path) -> Result<PathBuf, Failure> {
        let Some(limit) = self.descriptor_count_max else {
            return Ok(self.program.clone());
        };
        let script = directory.join("limited.sh");
        let program = self.program.display();
        std::fs::write(&script, format!("#!/bin/sh\nulimit -n {limit}\nexec '{program}' \"$@\"\n"))?;
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755))
            .map_err(|error| format!("{name}: {error}"))?;
        Ok(script)
    }
}
