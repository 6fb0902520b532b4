//! From an accepted query to rows: parse, analyse, plan, hand to the scheduler, read what it commits.

use std::sync::Arc;

use base::{Error, ErrorCode, Result};
use exchange::ObjectKey;
use scheduler::Record;
use sql::{AnalyzedQuery, Explain, OutputColumn, Statement};
use types::json::RowEncoder;

use super::explain_analyze::explain_analyze;
use super::limits::TimeLimits;
use super::pages::PageSource;
use super::recorded::Recorded;
use super::result_reader::ResultReader;
use super::{Query, QueryState};
use crate::dispatch::{Recovery, RootOutput};
use crate::plan::{self, PlannedQuery};
use crate::recovery::Remains;
use crate::services::Services;
use crate::state::PlanRecord;
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
    keep_limits(services, query, &context);
    check_length(services, query)?;
    let statement = statement::resolve(&context, &query.text)?;
    match &statement {
        Statement::Query(inner) => {
            let analyzed = services.analyzer.analyze(inner, &context.session).await?;
            start(services, query, &context, analyzed).await
        }
        Statement::Explain(Explain { analyze: true, statement, .. }) => {
            let Statement::Query(inner) = statement.as_ref() else {
                return Err(Error::not_supported("EXPLAIN ANALYZE of this statement is not supported"));
            };
            let analyzed = services.analyzer.analyze(inner, &context.session).await?;
            let planned = plan::plan(services, &context, analyzed).await?;
            let result = explain_analyze(services, query, &context, planned).await?;
            deliver(query, result).await
        }
        other => {
            let is_definition = statement::is_definition(other);
            if is_definition {
                // It must not be run again as if nothing had happened.
                services.make_durable(query).await?;
            }
            let result = statement::execute(services, &context, other).await?;
            if is_definition {
                // What was done is not to be done again by another coordinator.
                let done = Record::Done { outcome: Ok(()) };
                services.state.create_record(query.id, &done, Vec::new()).await?;
            }
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

/// Ends a query that passes one of its time limits.
fn keep_limits(services: &Arc<Services>, query: &Arc<Query>, context: &StatementContext) {
    let limits = TimeLimits {
        planning: context.settings.query_max_planning_time,
        execution: context.settings.query_max_execution_time,
        run: context.settings.query_max_run_time,
    };
    let (services, query) = (Arc::clone(services), Arc::clone(query));
    tokio::spawn(async move {
        let passed = services.stop.run_until_cancelled(limits.passed_by(&query)).await;
        if let Some(Some(error)) = passed {
            services.end(&query, error).await;
        }
    });
}

/// Hands a query to the scheduler, and lets the client read what its root tasks commit.
async fn start(
    services: &Arc<Services>,
    query: &Arc<Query>,
    context: &StatementContext,
    analyzed: AnalyzedQuery,
) -> Result<()> {
    let planned = plan::plan(services, context, analyzed).await?;
    let (root, record) = submit(services, query, context, planned).await?;
    serve(services, query, &root, record).await;
    Ok(())
}

/// Hands a planned query to the scheduler. It is recorded before if the query is.
pub async fn submit(
    services: &Arc<Services>,
    query: &Arc<Query>,
    context: &StatementContext,
    planned: PlannedQuery,
) -> Result<(Arc<RootOutput>, Arc<PlanRecord>)> {
    let PlannedQuery { plan, record } = planned;
    let mut record = Arc::new(record);
    let mut recorded = query.recorded.lock().await;
    let is_durable = matches!(*recorded, Recorded::Everything);
    if is_durable {
        let content = record.encode()?;
        let found = services.state.create(ObjectKey::Plan(query.id), content.clone()).await?;
        if found != content {
            // Another coordinator has planned it, and maybe more.
            record = Arc::new(PlanRecord::decode(query.id, &found)?);
            let root = go_on(services, query, context, &record).await?;
            return Ok((root, record));
        }
    }
    let root = Arc::new(RootOutput::default());
    let mut submission =
        plan::submission(services, &context.settings, query.id, &record, Some(&plan), Arc::clone(&root))?;
    submission.options.is_durable = is_durable;
    if let Err(error) = hand_over(query, &root) {
        // Its plan may have come after everything else of it went.
        services.dispatcher.close(query.id).await;
        return Err(error);
    }
    services.dispatcher.submit(submission).await;
    if !is_durable {
        *recorded = Recorded::NothingOf(Arc::clone(&record));
    }
    Ok((root, record))
}

/// Goes on with a query whose plan is recorded, from what former lives of the coordinator left of it. The result is
/// served as it comes.
pub async fn resume(services: &Arc<Services>, query: &Arc<Query>, record: PlanRecord) -> Result<()> {
    let context = StatementContext::of(services, query)?;
    keep_limits(services, query, &context);
    let root = go_on(services, query, &context, &record).await?;
    serve(services, query, &root, Arc::new(record)).await;
    Ok(())
}

async fn go_on(
    services: &Arc<Services>,
    query: &Arc<Query>,
    context: &StatementContext,
    record: &PlanRecord,
) -> Result<Arc<RootOutput>> {
    let left = Remains::read(services, query.id, record.epoch).await?;
    let root = Arc::new(RootOutput::default());
    let submission =
        plan::submission(services, &context.settings, query.id, record, None, Arc::clone(&root))?;
    hand_over(query, &root)?;
    let Remains { records, splits, commits } = left;
    services.dispatcher.recover(Recovery { submission, records, splits, commits }).await;
    Ok(root)
}

/// From now on, the scheduler ends the query.
fn hand_over(query: &Query, root: &Arc<RootOutput>) -> Result<()> {
    if !query.hand_over(Arc::clone(root)) {
        return Err(Error::new(ErrorCode::ABANDONED_QUERY, "Query was ended before it was started"));
    }
    // The scheduler may act at once, and then the query is to be seen running.
    for state in [QueryState::Planning, QueryState::Starting, QueryState::Running] {
        query.advance(state);
    }
    Ok(())
}

/// Lets the client read what the root tasks of a query commit.
async fn serve(
    services: &Arc<Services>,
    query: &Arc<Query>,
    root: &Arc<RootOutput>,
    record: Arc<PlanRecord>,
) {
    let reader = ResultReader {
        query: query.id,
        root: Arc::clone(root),
        schema: Arc::clone(&record.schema),
        exchange: Arc::clone(&services.exchange),
        dispatcher: services.dispatcher.clone(),
    };
    set_result(query, record.columns.clone(), PageSource::Exchange(reader)).await;
    tokio::spawn(watch(Arc::clone(services), Arc::clone(query), Arc::clone(root)));
}

/// Follows a query until the scheduler is done with it.
async fn watch(services: Arc<Services>, query: Arc<Query>, root: Arc<RootOutput>) {
    // A life that ends before the query tells nothing of it: the next one does.
    let Some(outcome) = services.stop.run_until_cancelled(root.finished()).await else {
        return;
    };
    match outcome {
        Ok(()) => {
            query.advance(QueryState::Finishing);
        }
        Err(error) => services.conclude(&query, Err(error)).await,
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
