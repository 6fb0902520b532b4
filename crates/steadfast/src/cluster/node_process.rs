//! One process of a cluster on this machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::Failure;

/// How long a node may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// One process of a cluster on this machine. It ends when this is dropped.
#[derive(Debug)]
pub struct NodeProcess {
    child: Child,
    /// The node stops when this end of its standard input is closed, however this process ends.
    stdin: Option<ChildStdin>,
    address: String,
    log: PathBuf,
}

impl NodeProcess {
    /// Starts the program as a server with the `etc` of that directory, and waits until it serves.
    pub async fn start(program: &Path, directory: &Path) -> Result<Self, Failure> {
        let log = directory.join("server.log");
        let log_file = File::options().create(true).append(true).open(&log)?;
        let mut child = Command::new(program)
            .arg("server")
            .arg("--etc-dir")
            .arg(directory.join("etc"))
            .args(["--print-address", "--stop-with-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .kill_on_drop(true)
            // A signal from the terminal is for the program that started the cluster.
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("the node has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(START_TIMEOUT, lines.next_line()).await;
        match first {
            Ok(Ok(Some(address))) => Ok(NodeProcess { child, stdin, address, log }),
            _ => {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let end: Vec<&str> = text.lines().rev().take(20).collect();
                let end: Vec<&str> = end.into_iter().rev().collect();
                Err(format!("a node did not start; its log {} ends with\n{}", log.display(), end.join("\n"))
                    .into())
            }
        }
    }

    /// Where it serves.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it logs.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The number of the process, while it lives.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let id = self.child.id().ok_or("the process has ended")?;
        kill(Pid::from_raw(i32::try_from(id)?), signal)?;
        Ok(())
    }

    /// Kills it by SIGKILL, and waits until it is dead.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait().await?;
        Ok(())
    }

    /// Waits until it has ended by itself or by a signal.
    pub async fn wait(&mut self) -> Result<ExitStatus, Failure> {
        Ok(self.child.wait().await?)
    }

    /// Stops it in an orderly way, and waits until it has ended.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        self.stdin = None;
        self.child.wait().await?;
        Ok(())
    }
}
