//! `/v1/statement`: the statement protocol.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use base::ErrorCode;
use protocol::client::ClientContext;
use protocol::client::headers::request::PREPARED_STATEMENT;
use serde::Deserialize;
use tokio::time::Instant;

use super::authentication::basic_user;
use super::base_uri::BaseUri;
use super::results::respond;
use super::{HttpState, Refusal};
use crate::query::{Page, PageError, Position, Query, QueryProgress, QueryState, run};
use crate::recovery::recover_late;
use crate::services::Services;
use crate::slug::SlugContext;

/// How long a request for a page waits for something to tell.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What a client is told whose query is not on record.
const ENDED_WITH_COORDINATOR: &str = "Query not found: the coordinator that ran it has ended, and a query under \
    retry-policy NONE or QUERY ends with it. Run it again";

/// The resources.
pub fn routes() -> Router<HttpState> {
    Router::new()
        .route("/v1/statement", post(submit).head(|| async { StatusCode::OK }))
        .route("/v1/statement/queued/{query}/{slug}/{token}", get(queued).delete(cancel_queued))
        .route(
            "/v1/statement/executing/{query}/{slug}/{token}",
            get(executing).head(heartbeat).delete(cancel_executing),
        )
        .route("/v1/statement/executing/partialCancel/{query}/{stage}/{slug}/{token}", delete(partial_cancel))
}

/// The parts of a page's address.
type Address = Path<(String, String, u64)>;

/// Where a page goes on, in its address.
#[derive(Deserialize)]
struct PagePosition {
    position: Option<String>,
}

impl PagePosition {
    /// None: at the beginning.
    fn parse(&self) -> Result<Option<Position>, Refusal> {
        let position = self.position.as_deref().map(str::parse).transpose();
        position.map_err(|_| Refusal::not_found("Query not found"))
    }
}

async fn submit(
    State(services): State<Arc<Services>>,
    base: BaseUri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let text = std::str::from_utf8(&body).map_err(|_| Refusal::bad_request("SQL statement is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(Refusal::bad_request("SQL statement is empty"));
    }
    let client = client_context(&headers)?;
    check_prepared_statements(&client)?;
    let accepted = services.accept(text.to_string(), client).await;
    let query =
        accepted.map_err(|error| Refusal(StatusCode::SERVICE_UNAVAILABLE, error.message().to_owned()))?;
    let next = queued_uri(&base, &query, 1);
    Ok(respond(&base, &query, &Page::default(), Some(next)))
}

fn client_context(headers: &HeaderMap) -> Result<ClientContext, Refusal> {
    let mut texts = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Refusal::bad_request(format!("header {name} is not UTF-8")))?;
        texts.push((name.as_str(), value));
    }
    let user = basic_user(headers)?;
    ClientContext::from_headers(texts, user.as_deref(), None)
        .map_err(|error| Refusal::bad_request(error.to_string()))
}

/// Prepared statements must be statements, whether this request uses them or not.
fn check_prepared_statements(client: &ClientContext) -> Result<(), Refusal> {
    for text in client.prepared_statements.values() {
        let parsed = sql::count_parameters(text).and_then(|count| {
            let unknown = vec![sql::Expression::null(); count];
            sql::parse_with_parameters(text, &unknown)
        });
        if let Err(error) = parsed
            && error.code() == ErrorCode::SYNTAX_ERROR
        {
            let header = client.prefix.header(PREPARED_STATEMENT);
            return Err(Refusal::bad_request(format!("Invalid {header} header: {error}")));
        }
    }
    Ok(())
}

async fn queued(
    State(services): State<Arc<Services>>,
    base: BaseUri,
    Path((id, slug, token)): Address,
) -> Result<Response, Refusal> {
    let query = find(&services, &id, SlugContext::Queued, token, None, &slug).await?;
    let _attended = query.attend();
    if token == 0 || token > query.queued_token() + 1 {
        return Err(Refusal::gone("Invalid token"));
    }
    query.raise_queued_token(token);
    begin(&services, &query);
    // Waiting in vain is no error: the client asks again.
    let _ = tokio::time::timeout(WAIT_MAX, query.reached(QueryState::Planning)).await;
    let next = match query.state() {
        QueryState::Queued => Some(queued_uri(&base, &query, token + 1)),
        QueryState::Failed => None,
        _ => Some(executing_uri(&base, &query, 0, None)),
    };
    if next.is_none() {
        query.set_told();
    }
    Ok(respond(&base, &query, &Page::default(), next))
}

/// Begins a query, if it was not begun.
fn begin(services: &Arc<Services>, query: &Arc<Query>) {
    if query.begin() {
        tokio::spawn(run(Arc::clone(services), Arc::clone(query)));
    }
}

async fn executing(
    State(services): State<Arc<Services>>,
    base: BaseUri,
    Path((id, slug, token)): Address,
    Parameters(position): Parameters<PagePosition>,
) -> Result<Response, Refusal> {
    let position = position.parse()?;
    let query = find(&services, &id, SlugContext::Executing, token, position, &slug).await?;
    let _attended = query.attend();
    // Another coordinator may have begun it and got nowhere.
    begin(&services, &query);
    let page = page(&services, &query, token, position).await?;
    QueryProgress::refresh(&services, &query).await;
    let failed = query.state() == QueryState::Failed;
    let is_final = page.is_last && page.data.is_none();
    let next = (!failed && !is_final).then(|| executing_uri(&base, &query, token + 1, page.next));
    if next.is_none() {
        query.set_told();
    }
    let page = if failed { Page::default() } else { page };
    Ok(respond(&base, &query, &page, next))
}

/// The page of a token: the one that is kept, or the next one.
async fn page(
    services: &Arc<Services>,
    query: &Arc<Query>,
    token: u64,
    position: Option<Position>,
) -> Result<Page, Refusal> {
    let deadline = Instant::now() + WAIT_MAX;
    let mut pages = query.pages.lock().await;
    pages.check(token).map_err(|error| match error {
        PageError::Gone => Refusal::gone("Invalid token"),
        PageError::Unknown => Refusal::not_found("Invalid token"),
    })?;
    if let Some(page) = pages.kept(token) {
        return Ok(page);
    }
    if !pages.has_source() {
        // The lock is free while nothing is known, so that rows can come.
        drop(pages);
        let _ = tokio::time::timeout_at(deadline, query.has_columns()).await;
        pages = query.pages.lock().await;
        if let Some(page) = pages.kept(token) {
            return Ok(page);
        }
    }
    match query.state() {
        QueryState::Failed => return Ok(pages.keep_empty(token, position, true)),
        // A former life of the coordinator has delivered everything.
        QueryState::Finished if !pages.has_source() => {
            return Ok(pages.keep_empty(token, position, true));
        }
        _ => {}
    }
    if !pages.has_source() {
        return Ok(pages.keep_empty(token, position, false));
    }
    match pages.make(token, position, deadline).await {
        Ok(page) => {
            if page.is_last && page.data.is_none() {
                services.finish(query).await;
            }
            Ok(page)
        }
        Err(error) => {
            pages.rewind();
            drop(pages);
            services.end(query, error).await;
            // The client is told when the outcome is on record.
            let _ = tokio::time::timeout_at(deadline, query.reached(QueryState::Finished)).await;
            let is_final = query.state().is_final();
            Ok(query.pages.lock().await.keep_empty(token, position, is_final))
        }
    }
}

async fn heartbeat(
    State(services): State<Arc<Services>>,
    Path((id, slug, token)): Address,
    Parameters(position): Parameters<PagePosition>,
) -> Result<StatusCode, Refusal> {
    let query = find(&services, &id, SlugContext::Executing, token, position.parse()?, &slug).await?;
    drop(query.attend());
    Ok(StatusCode::OK)
}

async fn cancel_queued(
    State(services): State<Arc<Services>>,
    Path((id, slug, token)): Address,
) -> Result<StatusCode, Refusal> {
    let query = find(&services, &id, SlugContext::Queued, token, None, &slug).await?;
    query.set_told();
    services.end(&query, Query::canceled()).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn cancel_executing(
    State(services): State<Arc<Services>>,
    Path((id, slug, token)): Address,
    Parameters(position): Parameters<PagePosition>,
) -> Result<StatusCode, Refusal> {
    let query = find(&services, &id, SlugContext::Executing, token, position.parse()?, &slug).await?;
    query.set_told();
    services.end(&query, Query::canceled()).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Under fault-tolerant execution no single stage can be cancelled; as in Trino, asking for it does nothing.
async fn partial_cancel(
    State(services): State<Arc<Services>>,
    Path((id, _stage, slug, token)): Path<(String, u32, String, u64)>,
) -> Result<Response, Refusal> {
    find(&services, &id, SlugContext::Executing, token, None, &slug).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn find(
    services: &Arc<Services>,
    id: &str,
    context: SlugContext,
    token: u64,
    position: Option<Position>,
    slug: &str,
) -> Result<Arc<Query>, Refusal> {
    let known = match services.query(id) {
        Some(query) => Some(query),
        // Whether there is one cannot be said now. The client asks again.
        None => recover_late(services, id)
            .await
            .map_err(|error| Refusal(StatusCode::SERVICE_UNAVAILABLE, error.message().to_owned()))?,
    };
    known.filter(|query| query.slug.is_valid(context, token, position, slug)).ok_or_else(|| {
        match services.is_of_former_life(id) {
            true => Refusal::not_found(ENDED_WITH_COORDINATOR),
            false => Refusal::not_found("Query not found"),
        }
    })
}

fn queued_uri(base: &BaseUri, query: &Query, token: u64) -> String {
    let slug = query.slug.make(SlugContext::Queued, token, None);
    format!("{}/v1/statement/queued/{}/{slug}/{token}", base.0, query.id)
}

fn executing_uri(base: &BaseUri, query: &Query, token: u64, position: Option<Position>) -> String {
    let slug = query.slug.make(SlugContext::Executing, token, position);
    let mut uri = format!("{}/v1/statement/executing/{}/{slug}/{token}", base.0, query.id);
    if let Some(position) = position {
        uri.push_str(&format!("?position={position}"));
    }
    uri
}
