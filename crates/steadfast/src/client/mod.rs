//! A client of the statement protocol, for Steadfast and Trino alike.

use std::time::{Duration, Instant};

use protocol::client::{
    ClientCapabilities, ClientContext, ClientTransaction, Column, QueryError, QueryResults, SessionUpdate,
    StatementStats,
};
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// How often a request that a server could not answer is tried again.
const ATTEMPT_COUNT_MAX: u32 = 20;
/// How much longer the wait before each further try is, up to the longest one.
const ATTEMPT_DELAY: Duration = Duration::from_millis(100);
const ATTEMPT_DELAY_LONGEST: Duration = Duration::from_secs(1);
/// How long a page of a statement that runs is asked for, whatever happens to the server meanwhile. Trino's clients
/// wait as long.
const PAGE_PATIENCE: Duration = Duration::from_secs(120);

/// Why a statement gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The query failed.
    #[error("Query {id} failed: {error}")]
    Query {
        /// The query.
        id: String,
        /// Why.
        error: Box<QueryError>,
    },
    /// The server does not answer, or not as it should.
    #[error("{server}: {source}")]
    Connection {
        /// The server.
        server: String,
        /// What the connection says.
        source: reqwest::Error,
    },
    /// The server refused the request.
    #[error("{server} answered {status}: {text}")]
    Refused {
        /// The server.
        server: String,
        /// The status.
        status: StatusCode,
        /// What it says.
        text: String,
    },
    /// The server answered something that is no page.
    #[error("the server's answer makes no sense: {0}")]
    Nonsense(#[from] serde_json::Error),
}

/// A client with a session.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    /// The session, which statements change.
    pub session: ClientContext,
}

/// A page of a result.
#[derive(Debug)]
pub struct Page {
    /// The query.
    pub id: String,
    /// The columns, once known.
    pub columns: Option<Vec<Column>>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
    /// How far the query is.
    pub stats: StatementStats,
    /// What kind of statement it is, if not one for rows.
    pub update_type: Option<String>,
    /// How many rows it changed.
    pub update_count: Option<i64>,
}

/// A statement that runs.
#[derive(Debug)]
pub struct Statement<'a> {
    client: &'a mut Client,
    next_uri: Option<String>,
    first: Option<QueryResults>,
}

/// A whole result.
#[derive(Debug, Default)]
pub struct QueryResult {
    /// The query.
    pub id: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

impl Client {
    /// A client of the server at that address.
    pub fn new(server: impl Into<String>, session: ClientContext) -> Self {
        let server = server.into().trim_end_matches('/').to_string();
        Client { http: reqwest::Client::new(), server, session }
    }

    /// Sends a statement.
    pub async fn start(&mut self, text: &str) -> Result<Statement<'_>, ClientError> {
        let request = self.http.post(format!("{}/v1/statement", self.server)).body(text.to_string());
        let request = self
            .session
            .to_headers()
            .into_iter()
            .fold(request, |request, (name, value)| request.header(name, value));
        let first = self.page(request).await?;
        Ok(Statement { next_uri: first.next_uri.clone(), first: Some(first), client: self })
    }

    /// Sends a statement and fetches all of its result.
    pub async fn query(&mut self, text: &str) -> Result<QueryResult, ClientError> {
        let mut result = QueryResult::default();
        let mut statement = self.start(text).await?;
        while let Some(page) = statement.next().await? {
            result.id = page.id;
            if let Some(columns) = page.columns {
                result.columns = columns;
            }
            result.rows.extend(page.rows);
        }
        Ok(result)
    }

    /// A document of the server.
    pub async fn document(&self, path: &str) -> Result<Value, ClientError> {
        let response = self.send(self.http.get(format!("{}{path}", self.server))).await?;
        Ok(serde_json::from_slice(&self.body(response).await?)?)
    }

    /// The next page of a statement that runs. The server, or the connection to it, may go away meanwhile and come
    /// back.
    async fn next_page(&mut self, uri: &str) -> Result<QueryResults, ClientError> {
        let deadline = Instant::now() + PAGE_PATIENCE;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.page(self.http.get(uri)).await {
                Err(error @ ClientError::Connection { .. }) => error,
                Err(ClientError::Refused { server, status, text }) if is_transient(status) => {
                    ClientError::Refused { server, status, text }
                }
                answered => return answered,
            };
            if Instant::now() >= deadline {
                return Err(error);
            }
            tokio::time::sleep((ATTEMPT_DELAY * attempt).min(ATTEMPT_DELAY_LONGEST)).await;
        }
    }

    async fn page(&mut self, request: RequestBuilder) -> Result<QueryResults, ClientError> {
        let response = self.send(request).await?;
        self.session.apply(&session_update(&self.session, response.headers()));
        let body = self.body(response).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn body(&self, response: Response) -> Result<bytes::Bytes, ClientError> {
        response.bytes().await.map_err(|source| self.broken(source))
    }

    /// Sends a request, again and again while the server or the network says that this may help.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let again = request.try_clone().filter(|_| attempt < ATTEMPT_COUNT_MAX);
            let sent = match &again {
                Some(_) => request.try_clone().map(RequestBuilder::send),
                None => None,
            };
            let outcome = match sent {
                Some(sent) => sent.await,
                None => return self.accept(request.send().await).await,
            };
            let transient = match &outcome {
                Ok(response) => is_transient(response.status()),
                Err(error) => error.is_request() && !error.is_connect(),
            };
            if !transient {
                return self.accept(outcome).await;
            }
            tokio::time::sleep((ATTEMPT_DELAY * attempt).min(ATTEMPT_DELAY_LONGEST)).await;
        }
    }

    async fn accept(&self, outcome: reqwest::Result<Response>) -> Result<Response, ClientError> {
        let response = outcome.map_err(|source| self.broken(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        Err(ClientError::Refused { server: self.server.clone(), status, text })
    }

    fn broken(&self, source: reqwest::Error) -> ClientError {
        ClientError::Connection { server: self.server.clone(), source }
    }
}

/// Whether a server that answers so may answer otherwise soon.
fn is_transient(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// The session of a user who has set nothing.
pub fn session(user: &str, source: &str) -> ClientContext {
    ClientContext {
        user: user.to_string(),
        source: Some(source.to_string()),
        capabilities: ClientCapabilities::ALL,
        transaction: ClientTransaction::None,
        ..ClientContext::default()
    }
}

fn session_update(session: &ClientContext, headers: &HeaderMap) -> SessionUpdate {
    let headers = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    SessionUpdate::from_headers(headers, &session.prefix)
}

impl Statement<'_> {
    /// The next page. None after the last.
    pub async fn next(&mut self) -> Result<Option<Page>, ClientError> {
        let results = match (self.first.take(), self.next_uri.take()) {
            (Some(first), next) => {
                self.next_uri = next;
                first
            }
            (None, Some(next)) => self.client.next_page(&next).await?,
            (None, None) => return Ok(None),
        };
        self.next_uri = results.next_uri;
        if let Some(error) = results.error {
            return Err(ClientError::Query { id: results.id, error: Box::new(error) });
        }
        let rows = results.data.map(|data| serde_json::from_str(data.get())).transpose()?;
        Ok(Some(Page {
            id: results.id,
            columns: results.columns,
            rows: rows.unwrap_or_default(),
            stats: results.stats,
            update_type: results.update_type,
            update_count: results.update_count,
        }))
    }

    /// Whether there is a page to be asked for.
    pub fn has_next(&self) -> bool {
        self.next_uri.is_some()
    }

    /// Cancels the statement.
    pub async fn cancel(&mut self) -> Result<(), ClientError> {
        if let Some(next) = self.next_uri.take() {
            let request = self.client.http.delete(next);
            self.client.send(request).await?;
        }
        Ok(())
    }
}
