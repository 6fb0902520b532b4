//! Nodes of a cluster on one machine.

use std::path::{Path, PathBuf};

use base::DataSize;

use crate::load::Source;
use crate::problem::ConfigErrors;
use crate::properties_file::escape;
use crate::server::ServerConfig;

/// A node of a cluster on one machine: all that such nodes differ in.
///
/// Tasks are retried, over an exchange in a directory; the catalog `tpch` is there.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalNode {
    /// Whether it is the coordinator. A coordinator runs no tasks.
    pub coordinator: bool,
    /// Its name.
    pub id: String,
    /// The port to listen on. 0: any free one.
    pub http_port: u16,
    /// The address of the coordinator. Needed on workers.
    pub discovery_uri: Option<String>,
    /// The directory for what it writes on local disk. Not shared with other nodes.
    pub data_dir: PathBuf,
    /// The directory of the exchange. Shared by all nodes. None: there is no exchange manager.
    pub exchange_dir: Option<PathBuf>,
    /// How much memory it may use. None: as much as [`ServerConfig`] says of nodes without a limit.
    pub memory_limit: Option<DataSize>,
    /// How many tasks it runs at a time. None: as many as there are cores.
    pub task_slots: Option<u32>,
    /// Further properties, stronger than those above.
    pub extra: Vec<(Source, String, String)>,
}

impl LocalNode {
    /// The properties of the node, each with the file it belongs in.
    pub fn properties(&self) -> Vec<(Source, String, String)> {
        let mut properties = Vec::new();
        let mut add = |source: Source, name: &str, value: String| {
            properties.push((source, name.to_owned(), value));
        };
        add(Source::Node, "node.environment", "local".to_owned());
        add(Source::Node, "node.id", self.id.clone());
        add(Source::Node, "node.data-dir", self.data_dir.to_string_lossy().into_owned());
        add(Source::Node, "node.internal-address", "127.0.0.1".to_owned());
        add(Source::Node, "node.bind-ip", "127.0.0.1".to_owned());
        add(Source::Config, "coordinator", self.coordinator.to_string());
        if self.coordinator {
            add(Source::Config, "node-scheduler.include-coordinator", "false".to_owned());
        }
        add(Source::Config, "http-server.http.port", self.http_port.to_string());
        if let Some(uri) = &self.discovery_uri {
            add(Source::Config, "discovery.uri", uri.clone());
        }
        add(Source::Config, "retry-policy", "TASK".to_owned());
        if let Some(limit) = self.memory_limit {
            add(Source::Config, "memory.limit-per-node", limit.to_string());
        }
        if let Some(slots) = self.task_slots {
            add(Source::Config, "task.max-worker-threads", slots.to_string());
        }
        if let Some(exchange_dir) = &self.exchange_dir {
            add(Source::ExchangeManager, "exchange-manager.name", "filesystem".to_owned());
            let exchange_dir = exchange_dir.to_string_lossy().into_owned();
            add(Source::ExchangeManager, "exchange.base-directories", exchange_dir);
        }
        add(Source::Catalog("tpch".to_owned()), "connector.name", "tpch".to_owned());
        for (source, name, value) in &self.extra {
            properties.retain(|(at, known, _)| (at, known) != (source, name));
            properties.push((source.clone(), name.clone(), value.clone()));
        }
        properties
    }

    /// Writes the properties into an `etc` directory, for a process to be started with.
    ///
    /// # Errors
    /// Whatever keeps files from being written.
    pub fn write(&self, etc_dir: &Path) -> std::io::Result<()> {
        let mut files: std::collections::BTreeMap<PathBuf, String> = std::collections::BTreeMap::new();
        for (source, name, value) in self.properties() {
            let text = files.entry(etc_dir.join(source.path())).or_default();
            text.push_str(&format!("{name}={}\n", escape(&value)));
        }
        for (path, text) in files {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            std::fs::write(path, text)?;
        }
        Ok(())
    }
}

impl ServerConfig {
    /// The configuration of a node of a cluster on one machine.
    ///
    /// # Errors
    /// What is wrong with its [`LocalNode::extra`] properties.
    pub fn for_local(node: &LocalNode) -> Result<Self, ConfigErrors> {
        Self::from_properties(node.properties())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::RetryPolicy;

    fn worker() -> LocalNode {
        LocalNode {
            coordinator: false,
            id: "worker-1".to_owned(),
            http_port: 0,
            discovery_uri: Some("http://127.0.0.1:8080".to_owned()),
            data_dir: PathBuf::from("/tmp/a b"),
            exchange_dir: Some(PathBuf::from("/tmp/exchange")),
            memory_limit: Some(DataSize::megabytes(700)),
            task_slots: Some(3),
            extra: vec![
                (Source::Config, "task.max-worker-threads".to_owned(), "4".to_owned()),
                (Source::Catalog("tpch".to_owned()), "tpch.splits-per-node".to_owned(), "2".to_owned()),
            ],
        }
    }

    #[test]
    fn a_local_worker_retries_tasks() {
        let config = ServerConfig::for_local(&worker()).unwrap();
        assert_eq!(config.warnings, []);
        assert_eq!(config.retry.policy, RetryPolicy::Task);
        assert_eq!(config.task.max_worker_threads, 4);
        assert_eq!(config.memory.limit_per_node, Some(DataSize::megabytes(700)));
        assert_eq!(config.task.spill_paths, [PathBuf::from("/tmp/a b/spill")]);
        assert_eq!(config.require_exchange_manager().unwrap().base_directories, ["/tmp/exchange"]);
        assert_eq!(config.catalogs[0].integer("tpch.splits-per-node"), Some(2));
        assert!(!config.node.coordinator && !config.node.include_coordinator);
    }

    #[test]
    fn what_is_written_loads_the_same() {
        let directory = tempfile::tempdir().unwrap();
        worker().write(directory.path()).unwrap();
        let loaded = ServerConfig::load(directory.path()).unwrap();
        let direct = ServerConfig::for_local(&worker()).unwrap();
        assert_eq!((loaded.node, loaded.task), (direct.node, direct.task));
        assert_eq!((loaded.retry, loaded.exchange_manager), (direct.retry, direct.exchange_manager));
    }
}
