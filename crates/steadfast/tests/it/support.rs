//! Clusters for tests.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use steadfast::client::{Client, ClientError, QueryResult};
use steadfast::cluster::{CatalogOptions, ClusterOptions, LocalCluster};
use tempfile::TempDir;

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether something has happened.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A cluster that ends, with all it wrote, when the test does.
pub struct TestCluster {
    /// The cluster.
    pub cluster: LocalCluster,
    // Removed after the processes have ended.
    _directory: TempDir,
}

impl TestCluster {
    /// Two workers with `tpch` in its standard names and decimals, and `hive`.
    pub async fn start() -> Self {
        TestCluster::start_with(|options| options).await
    }

    /// The same, changed.
    pub async fn start_with(change: impl FnOnce(ClusterOptions) -> ClusterOptions) -> Self {
        let directory = tempfile::Builder::new().prefix("steadfast-it-").tempdir().unwrap();
        let tpch = CatalogOptions::new("tpch", "tpch")
            .with("tpch.column-naming", "STANDARD")
            .with("tpch.double-type-mapping", "DECIMAL");
        let mut options = ClusterOptions::new(directory.path()).with_catalog(tpch);
        options.program = Some(PathBuf::from(env!("CARGO_BIN_EXE_steadfast")));
        let cluster = LocalCluster::start(change(options)).await.unwrap();
        TestCluster { cluster, _directory: directory }
    }

    /// A client with a catalog and a schema.
    pub fn client(&self, catalog: &str, schema: &str) -> Client {
        let mut client = self.cluster.client();
        client.session.catalog = Some(catalog.into());
        client.session.schema = Some(schema.into());
        client
    }

    /// What the coordinator tells of a query.
    pub async fn describe(&self, id: &str) -> Value {
        self.cluster.client().document(&format!("/v1/query/{id}")).await.unwrap()
    }

    /// Waits until a worker runs an attempt of a query, and says which. None if the query has ended.
    pub async fn busy_worker(&self, running: &RunningQuery) -> Option<usize> {
        let deadline = Instant::now() + PATIENCE;
        while !running.is_finished() {
            assert!(Instant::now() < deadline, "no worker took the query up");
            let listed = attempts(&self.describe(&running.id).await);
            let busy = (0..self.cluster.options().workers).find(|worker| {
                let node = self.cluster.worker_node_id(*worker);
                listed.iter().any(|attempt| attempt.node == node && attempt.state == "RUNNING")
            });
            if busy.is_some() {
                return busy;
            }
        }
        None
    }

    /// Waits until nothing is left of any query: neither in the exchange nor where workers spill. Prints how long
    /// that took. Who leads stays on record.
    pub async fn is_clean(&self) {
        let options = self.cluster.options();
        let leadership = options.exchange_directory().join("coordinator");
        let mut places = vec![options.exchange_directory()];
        places.extend((0..options.workers).map(|worker| options.spill_directory(worker)));
        let started = Instant::now();
        until(PATIENCE, || {
            let mut left: Vec<PathBuf> = places.iter().flat_map(|place| files_under(place)).collect();
            left.retain(|file| !file.starts_with(&leadership));
            if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}")) }
        })
        .await;
        eprintln!("clean after {:?}", started.elapsed());
    }
}

/// A query that runs beside the test.
pub struct RunningQuery {
    /// Its id.
    pub id: String,
    result: tokio::task::JoinHandle<Result<QueryResult, ClientError>>,
}

impl RunningQuery {
    /// Starts a query, and fetches its result as it comes.
    pub async fn start(client: &Client, text: &str) -> Self {
        let (tell_id, id) = tokio::sync::oneshot::channel();
        let (mut client, text) = (client.clone(), text.to_string());
        let result = tokio::spawn(async move {
            let mut result = QueryResult::default();
            let mut statement = client.start(&text).await?;
            let mut tell_id = Some(tell_id);
            while let Some(page) = statement.next().await? {
                if let Some(tell_id) = tell_id.take() {
                    tell_id.send(page.id.clone()).unwrap();
                }
                result.id = page.id;
                result.columns = page.columns.unwrap_or(result.columns);
                result.rows.extend(page.rows);
            }
            Ok(result)
        });
        RunningQuery { id: id.await.unwrap(), result }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.result.is_finished()
    }

    /// Its result.
    pub async fn result(self) -> Result<QueryResult, ClientError> {
        tokio::time::timeout(PATIENCE, self.result).await.expect("the query ends").unwrap()
    }
}

/// An attempt in the coordinator's description of a query.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub task: (u64, u64),
    pub generation: u64,
    pub epoch: u64,
    pub number: u64,
    pub node: String,
    pub state: String,
    pub started_unix_millis: u64,
    /// None while it runs.
    pub ended_unix_millis: Option<u64>,
}

/// The attempts of a query.
pub fn attempts(description: &Value) -> Vec<Attempt> {
    let attempt = |value: &Value| Attempt {
        task: (value["stage"].as_u64().unwrap(), value["partition"].as_u64().unwrap()),
        generation: value["generation"].as_u64().unwrap(),
        epoch: value["epoch"].as_u64().unwrap(),
        number: value["number"].as_u64().unwrap(),
        node: value["nodeId"].as_str().unwrap().to_string(),
        state: value["state"].as_str().unwrap().to_string(),
        started_unix_millis: value["startedUnixMillis"].as_u64().unwrap(),
        ended_unix_millis: value["endedUnixMillis"].as_u64(),
    };
    description["attempts"].as_array().map(|all| all.iter().map(attempt).collect()).unwrap_or_default()
}

/// Waits until something holds; fails with what it says when it does not in time.
pub async fn until<T>(within: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = tokio::time::Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return found,
            Err(text) if tokio::time::Instant::now() > deadline => panic!("{text}"),
            Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

/// The same, for what can only be looked at by waiting.
pub async fn until_async<T>(within: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = tokio::time::Instant::now() + within;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(text) if tokio::time::Instant::now() > deadline => panic!("{text}"),
            Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

/// The error of a query that must fail: its name and its message.
pub fn failure<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (String, String) {
    match result {
        Err(ClientError::Query { error, .. }) => (error.error_name.clone(), error.message.clone()),
        other => panic!("the query should have failed: {other:?}"),
    }
}

fn files_under(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The rows of a result as they would be compared without order.
pub fn sorted(result: &QueryResult) -> Vec<String> {
    let mut rows: Vec<String> = result.rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    rows.sort();
    rows
}
