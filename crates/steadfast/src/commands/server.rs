//! `steadfast server`

use std::io::Write;
use std::process::ExitCode;

use config::ServerConfig;
use tracing_subscriber::EnvFilter;

use crate::Failure;
use crate::cli::ServerArguments;
use crate::server::{Node, stop_requested};

/// Runs a node until it is told to stop.
pub async fn server(arguments: ServerArguments) -> Result<ExitCode, Failure> {
    let config = ServerConfig::load(&arguments.etc_dir)?;
    let filter =
        EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(config.log.directives()))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // Signals that arrive while the node starts must not be lost.
    let stop = tokio::spawn(stop_requested(arguments.stop_with_stdin));
    let node = Node::start(config).await?;
    tracing::info!(address = node.address(), "the node is ready");
    if arguments.print_address {
        println!("{}", node.address());
        std::io::stdout().flush()?;
    }
    let stop = async { stop.await.unwrap_or(crate::server::StopReason::Terminated) };
    node.run(stop).await?;
    tracing::info!("the node has stopped");
    Ok(ExitCode::SUCCESS)
}
