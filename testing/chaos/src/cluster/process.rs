//! The place of a node: one process after the other.

use std::path::PathBuf;
use std::time::Duration;

use steadfast::Failure;
use steadfast::cluster::NodeProcess;

/// The place of a node: one process after the other.
pub(super) struct NodeSlot {
    program: PathBuf,
    directory: PathBuf,
    port: u16,
    process: Option<NodeProcess>,
}

impl NodeSlot {
    /// A place where no process has run yet.
    pub fn new(program: PathBuf, directory: PathBuf, port: u16) -> Self {
        NodeSlot { program, directory, port, process: None }
    }

    /// The port it was told to listen on. 0: any.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where all its lives log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// Starts a process.
    pub async fn start(&mut self) -> Result<(), Failure> {
        self.process = None;
        self.process = Some(NodeProcess::start(&self.program, &self.directory).await?);
        Ok(())
    }

    /// The process that runs.
    pub fn running(&self) -> Result<&NodeProcess, Failure> {
        self.process.as_ref().ok_or_else(|| format!("{} does not run", self.directory.display()).into())
    }

    /// Whether there is no process.
    pub fn has_ended(&mut self) -> bool {
        match &mut self.process {
            Some(process) => process.has_ended(),
            None => true,
        }
    }

    /// Kills the process by SIGKILL.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Err(format!("{} does not run", self.directory.display()).into()),
        }
    }

    /// Waits until the process has ended.
    pub async fn wait_for_end(&mut self) -> Result<(), Failure> {
        if let Some(process) = &mut self.process {
            process.wait().await?;
        }
        self.process = None;
        Ok(())
    }

    /// Ends the process in an orderly way, or by SIGKILL if that takes too long.
    pub async fn stop(&mut self, within: Duration) -> Result<(), Failure> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        match tokio::time::timeout(within, process.stop()).await {
            Ok(stopped) => stopped,
            Err(_) => process.kill().await,
        }
    }
}
