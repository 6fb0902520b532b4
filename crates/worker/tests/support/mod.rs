//! What the tests of a whole worker share.

#![allow(dead_code, reason = "not every test file uses everything")]

pub mod connector;
pub mod coordinator;
pub mod plans;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::connector::Catalogs;
use base::{DataSize, NodeId};
use exchange::direct::{DirectReadOptions, DirectSinkOptions};
use exchange::{ExchangeManager, ExchangeOptions};
use protocol::node::SharedSecret;
use scheduler::Capacity;
use tempfile::TempDir;
use tokio::runtime::Handle;
use worker::{Worker, WorkerHandle, WorkerOptions};

use self::connector::TestConnector;
use self::coordinator::{Attached, FakeCoordinator};

/// A worker that is attached to a fake coordinator, with everything around it.
pub struct Fixture {
    pub coordinator: FakeCoordinator,
    pub attached: Attached,
    pub worker: WorkerHandle,
    pub connector: Arc<TestConnector>,
    pub exchange: Arc<ExchangeManager>,
    pub directories: Directories,
}

pub struct Directories {
    root: TempDir,
}

impl Directories {
    pub fn new() -> Self {
        Directories { root: tempfile::tempdir().unwrap() }
    }

    pub fn spill(&self) -> PathBuf {
        self.root.path().join("spill")
    }

    pub fn exchange(&self) -> PathBuf {
        self.root.path().join("exchange")
    }

    /// Every file in the spill directory and the exchange.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect_files(&self.spill(), &mut files);
        collect_files(&self.exchange(), &mut files);
        files
    }
}

fn collect_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Options of a worker with two slots.
pub fn options(
    coordinator_uri: String,
    connector: &Arc<TestConnector>,
    directories: &Directories,
) -> WorkerOptions {
    let mut catalogs = Catalogs::default();
    catalogs.insert("test", Arc::clone(connector) as _);
    catalogs.insert("tpch", connector_tpch::create("tpch", &Default::default()).unwrap());
    let exchange_options = ExchangeOptions {
        base_directories: vec![directories.exchange().to_str().unwrap().to_owned()],
        ..ExchangeOptions::default()
    };
    let sink_options = exchange_options.sink("");
    let read_options = exchange_options.read();
    WorkerOptions {
        connection_count_max: 100,
        node_id: NodeId::new("worker-1"),
        environment: "test".to_owned(),
        build: "build-1".to_owned(),
        coordinator_uri,
        http_listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        http_uri: None,
        capacity: Capacity { memory_bytes: 1 << 30, slots: 2 },
        catalogs,
        exchange: Arc::new(ExchangeManager::new(exchange_options).unwrap()),
        sink_options,
        read_options,
        direct_sink_options: DirectSinkOptions::default(),
        direct_read_options: DirectReadOptions::new(Handle::current()),
        spill_directory: directories.spill(),
        spill_bytes_max: DataSize::gigabytes(1),
        no_progress_timeout: Duration::from_secs(600),
        drain_grace: Duration::from_secs(600),
        shared_secret: Some(SharedSecret::new("secret")),
        failure_injections: Vec::new(),
    }
}

impl Fixture {
    pub async fn start() -> Self {
        Fixture::start_with(|_| {}).await
    }

    /// Starts a worker with changed options.
    pub async fn start_with(change: impl FnOnce(&mut WorkerOptions)) -> Self {
        let mut coordinator = FakeCoordinator::start().await;
        let connector = TestConnector::new();
        let directories = Directories::new();
        let mut options = options(coordinator.uri.clone(), &connector, &directories);
        change(&mut options);
        let exchange = Arc::clone(&options.exchange);
        let worker = Worker::start(options).await.unwrap();
        let attached = coordinator.attached().await;
        Fixture { coordinator, attached, worker, connector, exchange, directories }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.worker.http_address())
    }
}
