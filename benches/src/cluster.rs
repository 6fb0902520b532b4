//! Where queries run: a cluster of this build, or a server that is there.

use std::path::{Path, PathBuf};

use steadfast::client::{Client, session};
use steadfast::cluster::{CatalogOptions, ClusterOptions, LocalCluster};
use tempfile::TempDir;

use crate::Failure;
use crate::arguments::TargetArguments;
use crate::processes::Processes;

/// Where queries run.
pub enum Target {
    /// A cluster that was started for the bench.
    Cluster { cluster: Box<LocalCluster>, directory: TempDir },
    /// A server that runs already.
    Server(String),
}

impl Target {
    /// Starts a cluster, unless a server is named.
    pub async fn start(arguments: &TargetArguments) -> Result<Self, Failure> {
        if let Some(server) = &arguments.server {
            return Ok(Target::Server(server.clone()));
        }
        let directory = tempfile::Builder::new().prefix("steadfast-bench-").tempdir()?;
        let tpch = CatalogOptions::new("tpch", "tpch")
            .with("tpch.column-naming", "STANDARD")
            .with("tpch.double-type-mapping", "DECIMAL");
        let options = ClusterOptions {
            workers: arguments.workers,
            memory_per_worker: arguments.memory_per_worker,
            properties: arguments.properties.clone(),
            program: Some(program(arguments.program.as_deref())?),
            ..ClusterOptions::new(directory.path())
        };
        let cluster = Box::new(LocalCluster::start(options.with_catalog(tpch)).await?);
        Ok(Target::Cluster { cluster, directory })
    }

    /// A client with a catalog and a schema, whose queries run under that policy.
    pub fn client(&self, catalog: &str, schema: &str, policy: &str) -> Client {
        let mut client = match self {
            Target::Cluster { cluster, .. } => cluster.client(),
            Target::Server(server) => Client::new(server.clone(), session("bench", "bench")),
        };
        client.session.catalog = Some(catalog.into());
        client.session.schema = Some(schema.into());
        client.session.system_properties.insert("retry_policy".into(), policy.to_uppercase());
        client
    }

    /// The processes of the cluster. None that are known of a server.
    pub fn processes(&self) -> Processes {
        match self {
            Target::Cluster { cluster, .. } => {
                let workers = (0..cluster.options().workers).map(|worker| cluster.worker(worker));
                let nodes = std::iter::once(cluster.coordinator()).chain(workers);
                Processes::new(nodes.filter_map(|node| node.process_id()))
            }
            Target::Server(_) => Processes::default(),
        }
    }

    /// Stops the cluster.
    pub async fn stop(self) -> Result<(), Failure> {
        match self {
            Target::Cluster { cluster, directory } => {
                cluster.stop().await?;
                directory.close()?;
            }
            Target::Server(_) => {}
        }
        Ok(())
    }
}

fn program(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let program = match named {
        Some(program) => program.to_path_buf(),
        None => std::env::current_exe()?.with_file_name("steadfast"),
    };
    if program.exists() {
        return Ok(program);
    }
    let text = format!(
        "{} is not there; build it by `cargo build --release -p steadfast`, or name another by --program",
        program.display()
    );
    Err(text.into())
}
