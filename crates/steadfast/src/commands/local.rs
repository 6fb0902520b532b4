//! `steadfast local`

use std::io::{IsTerminal, stderr, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use tempfile::TempDir;

use super::sql::execute;
use crate::Failure;
use crate::cli::{ClusterArguments, LocalArguments, RunOptions, prompt};
use crate::cluster::{ClusterOptions, LocalCluster};
use crate::server::stop_requested;

/// Runs a cluster on this machine.
pub async fn local(arguments: LocalArguments) -> Result<ExitCode, Failure> {
    let place = Place::of(&arguments.cluster)?;
    let mut options = cluster_options(&arguments.cluster, &place);
    // Statements given on the command line need no port that others know.
    options.port = if arguments.execute.is_some() { 0 } else { arguments.port };
    let cluster = LocalCluster::start(options).await?;
    let mut client = cluster.client();
    let code = match arguments.execute {
        Some(text) => {
            let progress = stderr().is_terminal();
            let options = RunOptions { format: arguments.output_format, progress, summary: false };
            execute(&mut client, &text, options).await?
        }
        None => {
            println!(
                "Steadfast is ready at {} with {} workers.",
                cluster.address(),
                arguments.cluster.workers
            );
            println!("Logs and data are under {}.", place.path().display());
            if stdin().is_terminal() {
                println!("Try: SELECT count(*) FROM tpch.tiny.lineitem;");
                let options = RunOptions { format: arguments.output_format, progress: true, summary: true };
                prompt(&mut client, options).await?;
            } else {
                stop_requested(false).await;
            }
            ExitCode::SUCCESS
        }
    };
    cluster.stop().await?;
    Ok(code)
}

/// Where a cluster keeps its files.
pub enum Place {
    /// In a directory that the user chose.
    Kept(PathBuf),
    /// In a directory that is removed at the end.
    Temporary(TempDir),
}

impl Place {
    /// The directory that the arguments name, or a temporary one.
    pub fn of(arguments: &ClusterArguments) -> Result<Self, Failure> {
        match &arguments.directory {
            Some(directory) => {
                std::fs::create_dir_all(directory)?;
                Ok(Place::Kept(std::fs::canonicalize(directory)?))
            }
            None => Ok(Place::Temporary(tempfile::Builder::new().prefix("steadfast-").tempdir()?)),
        }
    }

    /// The directory.
    pub fn path(&self) -> &std::path::Path {
        match self {
            Place::Kept(path) => path,
            Place::Temporary(directory) => directory.path(),
        }
    }
}

/// The cluster that the arguments describe.
pub fn cluster_options(arguments: &ClusterArguments, place: &Place) -> ClusterOptions {
    ClusterOptions {
        workers: arguments.workers.max(1),
        memory_per_worker: arguments.memory_per_worker,
        properties: arguments.properties.clone(),
        ..ClusterOptions::new(place.path())
    }
}
