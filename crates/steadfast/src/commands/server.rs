//! `steadfast server`

use std::io::Write;
use std::process::ExitCode;

use config::{RetryPolicy, ServerConfig, WarningKind};
use tracing_subscriber::EnvFilter;

use crate::Failure;
use crate::cli::ServerArguments;
use crate::server::{Node, StopRequests};

/// A server that is told to ask for passwords, and cannot, must not let everybody in instead.
fn refuse_open_door(config: &ServerConfig) -> Result<(), Failure> {
    const AUTHENTICATION: &str = "http-server.authentication.type";
    let asked = config.warnings.iter().find(
        |warning| matches!(&warning.kind, WarningKind::NoProtection { name } if name == AUTHENTICATION),
    );
    match asked {
        Some(warning) => Err(format!(
            "{warning}\nRemove {AUTHENTICATION} to start a server without authentication, which is all there is yet."
        )
        .into()),
        None => Ok(()),
    }
}

/// Runs a node until it is told to stop. A signal that comes while it starts takes effect when it has started; the
/// process answers to it with the exit code of [`crate::server::Ending`].
pub async fn server(arguments: ServerArguments) -> Result<ExitCode, Failure> {
    let config = ServerConfig::load(&arguments.etc_dir)?;
    let filter =
        EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(config.log.directives()))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if config.node.coordinator && config.retry.policy != RetryPolicy::Task {
        tracing::warn!(
            "retry-policy={} runs as TASK for now: every stage leaves its output in the exchange",
            config.retry.policy.as_str()
        );
    }
    refuse_open_door(&config)?;
    // Signals that arrive while the node starts must not be lost.
    let mut stop = StopRequests::listen(arguments.stop_with_stdin);
    let node = Node::start(config).await?;
    tracing::info!(address = node.address(), "the node is ready");
    if arguments.print_address {
        println!("{}", node.address());
        std::io::stdout().flush()?;
    }
    let ending = node.run(&mut stop).await?;
    tracing::info!(exit_code = ending.exit_code(), "the node has stopped");
    Ok(ExitCode::from(ending.exit_code()))
}
