//! From an accepted query to rows: parse, analyse, plan, hand to the scheduler, read what it commits.

use std::sync::Arc;

use base::{Error, ErrorCode, Result};
use sql::{AnalyzedQuery, Explain, OutputColumn, Statement};
use types::json::RowEncoder;

use super::explain_analyze::explain_analyze;
use super::limits::TimeLimits;
use super::pages::PageSource;
use super::progress::QueryProgress;
use super::result_reader::ResultReader;
use super::{Query, QueryState};
use crate::dispatch::RootOutput;
use crate::plan::{self, PlannedQuery};
use crate::services::Services;
use crate::statement::{self, StatementContext, StatementResult};

/// Runs an accepted query to its end.
pub async fn run(services: Arc<Services>, query: Arc<Query>) {
    if !query.advance(QueryState::Planning) {
        return;
    }
    if let Err(error) = run_to_rows(&services, &query).await {
        services.end(&query, error).await;
    }
}

async fn run_to_rows(services: &Arc<Services>, query: &Arc<Query>) -> Result<()> {
    let context = StatementContext::of(services, query)?;
    let limits = TimeLimits {
        planning: context.settings.query_max_planning_time,
        execution: context.settings.query_max_execution_time,
        run: context.settings.query_max_run_time,
    };
    tokio::spawn({
        let (services, query) = (Arc::clone(services), Arc::clone(query));
        async move {
            if let Some(error) = limits.passed_by(&query).await {
                services.end(&query, error).await;
            }
        }
    });
    check_length(services, query)?;
    let statement = statement::resolve(&context, &query.text)?;
    match &statement {
        Statement::Query(inner) => {
            let analyzed = services.analyzer.analyze(inner, &context.session).await?;
            start(services, query, &context, analyzed).await
        }
        Statement::Explain(Explain { analyze: true, statement, verbose, .. }) => {
            let Statement::Query(inner) = statement.as_ref() else {
                return Err(Error::not_supported("EXPLAIN ANALYZE of this statement is not supported"));
            };
            let analyzed = services.analyzer.analyze(inner, &context.session).await?;
            let planned = plan::plan(services, &context, analyzed).await?;
            let result = explain_analyze(services, query, planned, *verbose).await?;
            deliver(query, result).await
        }
        other => {
            let result = statement::execute(services, &context, other).await?;
            deliver(query, result).await
        }
    }
}

/// Refuses a statement that is longer than `query.max-length`.
fn check_length(services: &Services, query: &Query) -> Result<()> {
    let length_max = services.config.query.max_length as usize;
    let length = query.text.chars().count();
    if length <= length_max {
        return Ok(());
    }
    let text = format!("Query text length ({length}) exceeds the maximum length ({length_max})");
    Err(Error::new(ErrorCode::QUERY_TEXT_TOO_LARGE, text))
}

/// Hands a query to the scheduler, and lets the client read what its root tasks commit.
async fn start(
    services: &Arc<Services>,
    query: &Arc<Query>,
    context: &StatementContext,
    analyzed: AnalyzedQuery,
) -> Result<()> {
    let columns = analyzed.output.clone();
    let planned = plan::plan(services, context, analyzed).await?;
    let schema = planned.output_schema.clone();
    let root = submit(services, query, planned).await;
    let reader = ResultReader {
        query: query.id,
        root: Arc::clone(&root),
        schema,
        exchange: Arc::clone(&services.exchange),
        dispatcher: services.dispatcher.clone(),
    };
    set_result(query, columns, PageSource::Exchange(reader)).await;
    tokio::spawn(watch(Arc::clone(services), Arc::clone(query), root));
    Ok(())
}

/// Hands a planned query to the scheduler.
pub async fn submit(services: &Arc<Services>, query: &Arc<Query>, planned: PlannedQuery) -> Arc<RootOutput> {
    let root = Arc::new(RootOutput::default());
    query.set_root(Arc::clone(&root));
    // The scheduler may act at once, and then the query is to be seen running.
    query.advance(QueryState::Starting);
    query.advance(QueryState::Running);
    services.dispatcher.submit(planned.into_submission(query.id, Arc::clone(&root))).await;
    if let Some(error) = query.error() {
        // It was ended before the scheduler knew of it.
        services.dispatcher.cancel(query.id, error).await;
        services.dispatcher.close(query.id).await;
    }
    root
}

/// Follows a query until the scheduler is done with it.
async fn watch(services: Arc<Services>, query: Arc<Query>, root: Arc<RootOutput>) {
    let outcome = root.finished().await;
    QueryProgress::refresh_with_attempts(&services, &query).await;
    match outcome {
        Ok(()) => {
            query.advance(QueryState::Finishing);
        }
        Err(error) => services.end(&query, error).await,
    }
}

/// Gives the client rows that are all here.
async fn deliver(query: &Arc<Query>, result: StatementResult) -> Result<()> {
    query.set_update(result.update_type, result.session_update);
    set_result(query, result.columns, PageSource::Rows(result.rows)).await;
    query.advance(QueryState::Finishing);
    Ok(())
}

async fn set_result(query: &Arc<Query>, columns: Vec<OutputColumn>, source: PageSource) {
    let types = columns.iter().map(|column| column.column_type.clone()).collect();
    let encoder = RowEncoder::new(types, query.client.capabilities);
    query.pages.lock().await.set_source(source, encoder);
    query.set_columns(columns);
}
