//! Lives of a coordinator within a test: one after the other, or beside each other, on one directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use base::{NodeId, QueryId};
use bytes::Bytes;
use config::{ServerConfig, Source};
use connector::Catalogs;
use exchange::{ExchangeManager, ExchangeOptions, ExchangeStore, ObjectKey};
use protocol::client::ClientContext;
use serde_json::Value;
use tempfile::TempDir;
use tonic::codegen::Service;

use crate::life::{Beginning, Life, LifeOptions};
use crate::node::NodeDescription;
use crate::query::Query;

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long what is not to happen is given to happen.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// No document is larger than this many bytes.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// What lives of a coordinator share.
pub struct TestState {
    directory: TempDir,
    catalogs: Catalogs,
    first_answer_wait: &'static str,
    client_timeout: &'static str,
}

/// A life of a coordinator. It ends when this is dropped, as if the process had been killed.
pub struct TestLife {
    router: Router,
    life: Life,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null if it is no JSON.
    pub document: Value,
    pub text: String,
}

impl Answer {
    /// Where the client goes on.
    pub fn next(&self) -> Option<String> {
        self.document["nextUri"].as_str().map(str::to_owned)
    }

    /// The name of the error.
    pub fn error(&self) -> Option<&str> {
        self.document["error"]["errorName"].as_str()
    }
}

impl TestState {
    pub fn new(catalogs: Catalogs) -> Self {
        TestState {
            directory: tempfile::tempdir().unwrap(),
            catalogs,
            first_answer_wait: "10s",
            client_timeout: "5m",
        }
    }

    /// No query is taken for a short one: all are recorded before they are answered.
    pub fn recording(self) -> Self {
        TestState { first_answer_wait: "0s", ..self }
    }

    /// From now on, clients are waited for so long.
    pub fn with_client_timeout(self, client_timeout: &'static str) -> Self {
        TestState { client_timeout, ..self }
    }

    /// From now on with other catalogs.
    pub fn with_catalogs(mut self, catalogs: Catalogs) -> Self {
        self.catalogs = catalogs;
        self
    }

    fn exchange(&self) -> Arc<ExchangeManager> {
        let options = ExchangeOptions {
            base_directories: vec![self.directory.path().to_str().unwrap().to_owned()],
            ..ExchangeOptions::default()
        };
        Arc::new(ExchangeManager::new(options).unwrap())
    }

    /// Begins the next life.
    pub async fn begin(&self) -> TestLife {
        let config = |name: &str, value: &str| (Source::Config, name.to_owned(), value.to_owned());
        let mut properties = vec![config("coordinator", "true"), config("http-server.http.port", "0")];
        properties.push((Source::Node, "node.environment".into(), "test".into()));
        properties.push(config("retry-policy", "TASK"));
        properties.push(config("query.first-answer-wait", self.first_answer_wait));
        properties.push(config("query.client.timeout", self.client_timeout));
        for (name, value) in
            [("exchange-manager.name", "filesystem"), ("exchange.base-directories", "/exchange")]
        {
            properties.push((Source::ExchangeManager, name.into(), value.into()));
        }
        let config = Arc::new(ServerConfig::from_properties(properties).unwrap());
        let exchange = self.exchange();
        let options = LifeOptions {
            config,
            catalogs: self.catalogs.clone(),
            connector_names: Vec::new(),
            state: Arc::clone(exchange.store()),
            exchange,
            build: "test".into(),
            node: NodeDescription {
                node_id: NodeId::new("coordinator"),
                environment: "test".into(),
                coordinator_id: String::new(),
                http_uri: "http://coordinator".into(),
                process_forwarded: false,
                started: Instant::now(),
            },
        };
        let life = Life::begin(&options, Beginning::AtOnce { heard: None });
        let life = tokio::time::timeout(PATIENCE, life).await.expect("it begins in time").unwrap();
        TestLife { router: life.router(), life }
    }

    /// The store, as another process sees it.
    pub fn store(&self) -> Arc<dyn ExchangeStore> {
        Arc::clone(self.exchange().store())
    }

    /// Records a statement as a life does that dies as soon as it has. Its id, and where its client goes on.
    pub async fn accepted(&self, life: TestLife, text: &str, client: ClientContext) -> (QueryId, String) {
        let other = life.post("SHOW CATALOGS").await.document["id"].as_str().unwrap().to_owned();
        drop(life);
        let id: QueryId = format!("{}_99999{}", &other[..15], &other[21..]).parse().unwrap();
        let query = Query::new(id, text.to_owned(), client);
        let key = ObjectKey::Query(id).to_string();
        self.store().create(&key, query.record().encode()).await.unwrap();
        (id, format!("/v1/statement/executing/{id}/{}/0", query.slug.make(0, None)))
    }

    /// Writes an object that a life would write, or something else in its place.
    pub async fn put(&self, key: ObjectKey, content: impl Into<Bytes>) {
        let key = key.to_string();
        self.store().remove(&key).await.unwrap();
        self.store().create(&key, content.into()).await.unwrap();
    }

    /// Makes an object larger than any record is.
    pub fn enlarge(&self, key: &str) {
        self.resize(key, 1 << 40);
    }

    /// Takes the content of an object, as a power cut does.
    pub fn empty(&self, key: &str) {
        self.resize(key, 0);
    }

    fn resize(&self, key: &str, length_bytes: u64) {
        let file = std::fs::File::options().write(true).open(self.directory.path().join(key));
        file.unwrap().set_len(length_bytes).unwrap();
    }

    /// Whether an object is there.
    pub async fn has(&self, key: ObjectKey) -> bool {
        let objects = self.store().list(&exchange::layout::query_prefix(key.query())).await.unwrap();
        objects.iter().any(|object| object.key == key.to_string())
    }
}

impl TestLife {
    async fn ask(&self, request: Request<Body>) -> Answer {
        let mut router = self.router.clone();
        let response =
            tokio::time::timeout(PATIENCE, router.call(request)).await.expect("an answer").unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, DOCUMENT_BYTES_MAX).await.unwrap();
        let document = serde_json::from_slice(&body).unwrap_or_default();
        let text = String::from_utf8_lossy(&body).into_owned();
        Answer { status: parts.status, headers: parts.headers, document, text }
    }

    /// Sends a statement with headers.
    pub async fn post_with(&self, text: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request =
            Request::post("/v1/statement").header("Host", "coordinator").header("X-Trino-User", "anna");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.body(Body::from(text.to_owned())).unwrap()).await
    }

    /// Sends a statement.
    pub async fn post(&self, text: &str) -> Answer {
        self.post_with(text, &[]).await
    }

    /// As if the process had stood still for longer than a lease lasts.
    pub fn lapse(&self) {
        self.life.leadership().lapse();
    }

    async fn request(&self, method: &str, uri: &str) -> Answer {
        let request = Request::builder().method(method).uri(uri).header("Host", "coordinator");
        self.ask(request.header("X-Trino-User", "anna").body(Body::empty()).unwrap()).await
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.request("GET", uri).await
    }

    pub async fn head(&self, uri: &str) -> StatusCode {
        self.request("HEAD", uri).await.status
    }

    pub async fn delete(&self, uri: &str) -> Answer {
        self.request("DELETE", uri).await
    }

    /// What is told of a query.
    pub async fn describe(&self, id: &str) -> Value {
        self.get(&format!("/v1/query/{id}")).await.document
    }

    /// Follows a statement from an answer to its last one. All answers, in their order.
    pub async fn follow(&self, answer: Answer) -> Vec<Answer> {
        let mut answers = vec![answer];
        while let Some(next) = answers.last().and_then(Answer::next) {
            let answer = self.get(&next).await;
            assert_eq!(answer.status, StatusCode::OK, "{next}");
            answers.push(answer);
        }
        answers
    }

    /// Runs a statement to its end: its rows, and the last answer.
    pub async fn run(&self, text: &str) -> (Vec<Value>, Answer) {
        let mut answers = self.follow(self.post(text).await).await;
        (rows(&answers), answers.pop().unwrap())
    }
}

/// The rows of answers.
pub fn rows(answers: &[Answer]) -> Vec<Value> {
    answers.iter().filter_map(|answer| answer.document["data"].as_array()).flatten().cloned().collect()
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !holds().await {
        assert!(since.elapsed() < PATIENCE, "{what}: not in time");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
