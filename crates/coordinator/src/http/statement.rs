//! `/v1/statement`: the statement protocol.
//!
//! A statement starts when it is posted, and is answered when its result is there, or soon. The answer never has rows
//! or an error: some clients look for them on the pages only that they fetch.

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
use super::results::{respond, respond_accepted};
use super::{HttpState, Refusal};
use crate::first_answer::Waiting;
use crate::query::{FirstAnswer, Page, PageError, Position, Query, QueryProgress, QueryState, run};
use crate::recovery::recover_late;
use crate::services::Services;
use crate::slug::FIRST_TOKEN;

/// How long a request for a page waits for something to tell.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What a client is told whose query is not on record.
const ENDED_WITH_COORDINATOR: &str = "Query not found: the coordinator that ran it has ended, and a query under \
    retry-policy NONE or QUERY ends with it. Run it again";

/// The resources.
pub fn routes() -> Router<HttpState> {
    Router::new()
        .route("/v1/statement", post(submit).head(|| async { StatusCode::OK }))
        .route(
            "/v1/statement/executing/{query}/{slug}/{token}",
            get(executing).head(heartbeat).delete(cancel),
        )
        .route("/v1/statement/executing/partialCancel/{query}/{stage}/{slug}/{token}", delete(partial_cancel))
}

/// The parts of a page's address.
type Address = Path<(String, String, u64)>;

/// What else is in the address of a page.
#[derive(Deserialize)]
struct PageParameters {
    /// Where the page goes on. None: at the beginning.
    position: Option<String>,
    /// The statement of a short query, for another coordinator.
    capsule: Option<String>,
}

impl PageParameters {
    fn position(&self) -> Result<Option<Position>, Refusal> {
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
    let query = services.accept(text.to_string(), client);
    let _attended = query.attend();
    let waiting = Waiting::new(&services, &query);
    begin(&services, &query);
    let answer = first_answer(&services, &query).await?;
    waiting.answered();
    let mut next = page_uri(&base, &query, FIRST_TOKEN, None);
    if let FirstAnswer::Short { capsule } = answer {
        next.push_str("?capsule=");
        next.push_str(&capsule);
    }
    Ok(respond_accepted(&base, &query, next))
}

async fn first_answer(services: &Arc<Services>, query: &Arc<Query>) -> Result<FirstAnswer, Refusal> {
    let answer = services.first_answer(query).await;
    answer.map_err(|error| Refusal(StatusCode::SERVICE_UNAVAILABLE, error.message().to_owned()))
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
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<Response, Refusal> {
    let position = parameters.position()?;
    let query = match find(&services, &id, token, position, &slug).await {
        Ok(query) => query,
        Err(refusal) => {
            services.run_again(unrecorded(&services, &id, token, &parameters, &slug).ok_or(refusal)?)
        }
    };
    let _attended = query.attend();
    query.set_asked();
    // Another coordinator may have begun it and got nowhere.
    begin(&services, &query);
    first_answer(&services, &query).await?;
    let page = page(&services, &query, token, position).await?;
    QueryProgress::refresh(&services, &query).await;
    let failed = query.state() == QueryState::Failed;
    let next = (!failed && !page.is_final).then(|| page_uri(&base, &query, token + 1, page.next));
    if next.is_none() {
        query.set_told();
    }
    let page = if failed { Page::default() } else { page };
    Ok(respond(&base, &query, &page, next))
}

/// The query of an address that a former life of the coordinator gave out without recording the query.
fn unrecorded(
    services: &Services,
    id: &str,
    token: u64,
    parameters: &PageParameters,
    slug: &str,
) -> Option<Query> {
    let capsule = parameters.capsule.as_deref().filter(|_| token == FIRST_TOKEN)?;
    let query = services.open_capsule(id.parse().ok()?, capsule)?;
    query.slug.is_valid(token, None, slug).then_some(query)
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
        drop(pages);
        deliver_short(services, query, &page).await;
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
            if page.is_final {
                pages.release();
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

/// The page of a query that was kept before it was asked for is about to be delivered. If no page follows, the query has
/// ended, and its rows are not kept for ever.
async fn deliver_short(services: &Arc<Services>, query: &Arc<Query>, page: &Page) {
    if page.is_final && !query.state().is_final() {
        query.pages.lock().await.release();
        services.finish(query).await;
        if let Some(rows) = &page.data {
            services.delivered.delivered(query, rows.len()).await;
        }
    }
}

async fn heartbeat(
    State(services): State<Arc<Services>>,
    Path((id, slug, token)): Address,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<StatusCode, Refusal> {
    match find(&services, &id, token, parameters.position()?, &slug).await {
        Ok(query) => drop(query.attend()),
        // It runs again when its client asks for its rows.
        Err(refusal) => drop(unrecorded(&services, &id, token, &parameters, &slug).ok_or(refusal)?),
    }
    Ok(StatusCode::OK)
}

async fn cancel(
    State(services): State<Arc<Services>>,
    Path((id, slug, token)): Address,
    Parameters(parameters): Parameters<PageParameters>,
) -> Result<StatusCode, Refusal> {
    match find(&services, &id, token, parameters.position()?, &slug).await {
        Ok(query) => {
            query.set_told();
            services.end(&query, Query::canceled()).await;
        }
        Err(refusal) => {
            let query = unrecorded(&services, &id, token, &parameters, &slug).ok_or(refusal)?;
            services.end(&services.remember(query).0, Query::canceled()).await;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Under fault-tolerant execution no single stage can be cancelled; as in Trino, asking for it does nothing.
async fn partial_cancel(
    State(services): State<Arc<Services>>,
    Path((id, _stage, slug, token)): Path<(String, u32, String, u64)>,
) -> Result<Response, Refusal> {
    find(&services, &id, token, None, &slug).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn find(
    services: &Arc<Services>,
    id: &str,
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
    if let Some(query) = &known
        && let Some(error) = query.record_error()
    {
        query.set_told();
        return Err(Refusal::not_found(error.message()));
    }
    known.filter(|query| query.slug.is_valid(token, position, slug)).ok_or_else(|| {
        match services.is_of_former_life(id) {
            true => Refusal::not_found(ENDED_WITH_COORDINATOR),
            false => Refusal::not_found("Query not found"),
        }
    })
}

fn page_uri(base: &BaseUri, query: &Query, token: u64, position: Option<Position>) -> String {
    let slug = query.slug.make(token, position);
    let mut uri = format!("{}/v1/statement/executing/{}/{slug}/{token}", base.0, query.id);
    if let Some(position) = position {
        uri.push_str(&format!("?position={position}"));
    }
    uri
}
