//! From an accepted query to rows: parse, analyse, plan, hand to the scheduler, read what it commits.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use base::{Error, ErrorCode, Result};
use sql::{AnalyzedQuery, Explain, OutputColumn, Statement};
use tokio::sync::mpsc;
use types::json::RowEncoder;

use super::explain_analyze::explain_analyze;
use super::limits::TimeLimits;
use super::pages::PageSource;
use super::progress::QueryProgress;
use super::{Query, QueryState};
use crate::dispatch::{NextOutput, RootOutput};
use crate::plan::{self, PlannedQuery};
use crate::services::Services;
use crate::statement::{self, StatementContext, StatementResult};

/// How many batches of a result are read ahead of the client.
const RESULT_BATCH_COUNT_MAX: usize = 2;

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
    let (batches, source) = mpsc::channel(RESULT_BATCH_COUNT_MAX);
    tokio::spawn(read_result(Arc::clone(services), Arc::clone(&root), schema, batches));
    set_result(query, columns, PageSource::Stream(source)).await;
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

async fn read_result(
    services: Arc<Services>,
    root: Arc<RootOutput>,
    schema: SchemaRef,
    batches: mpsc::Sender<Result<arrow::array::RecordBatch>>,
) {
    let mut partition = 0;
    loop {
        let record = match root.next(partition).await {
            Ok(NextOutput::Output(record)) => record,
            Ok(NextOutput::End) => return,
            Err(error) => {
                // A client that is gone needs no error.
                let _ = batches.send(Err(error)).await;
                return;
            }
        };
        if !services.dispatcher.read_result(Arc::clone(&record)).await {
            continue;
        }
        let mut rows =
            services.exchange.open_output(&record, Arc::clone(&schema), &services.exchange.options().read());
        while let Some(batch) = rows.next_batch().await.transpose() {
            let failed = batch.is_err();
            if batches.send(batch).await.is_err() || failed {
                return;
            }
        }
        partition += 1;
    }
}

/// Gives the client rows that are all here.
async fn deliver(query: &Arc<Query>, result: StatementResult) -> Result<()> {
    query.set_update(result.update_type, result.session_update);
    set_result(query, result.columns, PageSource::Rows(VecDeque::from(result.rows))).await;
    query.advance(QueryState::Finishing);
    Ok(())
}

async fn set_result(query: &Arc<Query>, columns: Vec<OutputColumn>, source: PageSource) {
    let types = columns.iter().map(|column| column.column_type.clone()).collect();
    let encoder = RowEncoder::new(types, query.client.capabilities);
    query.pages.lock().await.set_source(source, encoder);
    query.set_columns(columns);
}
