//! Clusters of real processes, on ports of this machine that are free.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::Request;
use super::program::steadfast;

/// How long a node may take to start, and the workers to be known.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How many lines of a log are shown when a node does not start.
const LOG_LINES_SHOWN: usize = 20;

/// A coordinator that runs no tasks, and one worker. The processes end when this is dropped, or this process ends.
pub struct Cluster {
    // In the order in which they end: the directory goes last.
    _worker: Node,
    coordinator: Node,
    directory: TempDir,
}

/// One process. It stops when its standard input is closed.
pub struct Node {
    child: Child,
    stdin: Option<ChildStdin>,
    address: String,
}

impl Cluster {
    /// A cluster whose nodes have these properties in `config.properties`, besides the usual ones.
    pub fn start(properties: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("steadfast-compatibility-").tempdir();
        let directory = directory.expect("a temporary directory can be made");
        let coordinator = start_node(directory.path(), "coordinator", None, properties);
        let worker = start_node(directory.path(), "worker", Some(&coordinator.address), properties);
        let cluster = Cluster { _worker: worker, coordinator, directory };
        cluster.wait_for_worker();
        cluster
    }

    /// `host:port` of the coordinator.
    pub fn authority(&self) -> &str {
        self.coordinator.authority()
    }

    /// What a client's test-suite has to know, as JSON.
    pub fn description(&self) -> Value {
        json!({
            "server": self.coordinator.address,
            "coordinator_process_id": self.coordinator.child.id(),
            "places_to_be_clean": self.places_to_be_clean(),
        })
    }

    /// Where nothing may be left of a query that has ended: the exchange, and where workers spill.
    fn places_to_be_clean(&self) -> [PathBuf; 2] {
        [self.directory.path().join("exchange"), self.directory.path().join("worker/spill")]
    }

    fn wait_for_worker(&self) {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let nodes = Request::get("/v1/node").send(self.authority()).json();
            if nodes.as_array().is_some_and(|nodes| !nodes.is_empty()) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the worker is not there; log:\n{}",
                log_end(&self.log("worker"))
            );
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    fn log(&self, node: &str) -> PathBuf {
        self.directory.path().join(node).join("server.log")
    }
}

impl Node {
    /// Starts the program with an `etc` directory, and waits until it serves.
    ///
    /// # Errors
    /// The end of its log, if it ends before it serves.
    pub fn start(etc: &Path, log: &Path) -> Result<Self, String> {
        let log_file = File::create(log).map_err(|error| error.to_string())?;
        let mut child = command(etc)
            .args(["--print-address", "--stop-with-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .map_err(|error| error.to_string())?;
        let stdin = child.stdin.take();
        let mut address = String::new();
        let mut stdout = BufReader::new(child.stdout.take().ok_or("the node has no standard output")?);
        stdout.read_line(&mut address).map_err(|error| error.to_string())?;
        if address.is_empty() {
            // It has closed its standard output: it is ending.
            let _ = child.wait();
            return Err(log_end(log));
        }
        Ok(Node { child, stdin, address: address.trim().to_owned() })
    }

    /// `host:port`
    pub fn authority(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    /// Stops it in an orderly way. Whether it ended well.
    pub fn stop(mut self) -> bool {
        self.stdin = None;
        self.child.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `steadfast server` with an `etc` directory.
pub fn command(etc: &Path) -> Command {
    let mut command = Command::new(steadfast());
    command.arg("server").arg("--etc-dir").arg(etc).env_remove("RUST_LOG");
    command
}

/// Writes a file, and the directories above it.
pub fn write_file(path: &Path, text: &str) {
    let directory = path.parent().expect("files are in directories");
    std::fs::create_dir_all(directory).expect("directories can be made");
    std::fs::write(path, text).expect("files can be written");
}

fn start_node(root: &Path, id: &str, coordinator: Option<&str>, properties: &[(&str, &str)]) -> Node {
    let data = root.join(id);
    let etc = data.join("etc");
    let hive = root.join("hive");
    std::fs::create_dir_all(&hive).expect("directories can be made");
    let mut config = String::from(
        "http-server.http.port=0\nretry-policy=TASK\nmemory.limit-per-node=2GB\n\
         memory.heap-headroom-per-node=0B\nshutdown.grace-period=0s\n",
    );
    match coordinator {
        None => config.push_str("coordinator=true\nnode-scheduler.include-coordinator=false\n"),
        Some(uri) => config.push_str(&format!("coordinator=false\ndiscovery.uri={uri}\n")),
    }
    for (name, value) in properties {
        config.push_str(&format!("{name}={value}\n"));
    }
    let data_dir = data.display();
    for (file, text) in [
        ("config.properties", config),
        (
            "node.properties",
            format!(
                "node.environment=compatibility\nnode.id={id}\nnode.data-dir={data_dir}\n\
                 node.bind-ip=127.0.0.1\nnode.internal-address=127.0.0.1\n"
            ),
        ),
        (
            "exchange-manager.properties",
            format!(
                "exchange-manager.name=filesystem\nexchange.base-directories={}/exchange\n",
                root.display()
            ),
        ),
        ("catalog/tpch.properties", "connector.name=tpch\n".to_owned()),
        (
            "catalog/hive.properties",
            format!(
                "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir={}\n",
                hive.display()
            ),
        ),
    ] {
        write_file(&etc.join(file), &text);
    }
    Node::start(&etc, &data.join("server.log")).unwrap_or_else(|log| panic!("{id} did not start:\n{log}"))
}

fn log_end(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}
