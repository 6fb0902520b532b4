//! From an accepted query to rows: parse, analyse, plan, hand to the scheduler, read what it commits.

use std::sync::Arc;

use base::{Error, ErrorCode, Result};
use config::RetryPolicy;
use exchange::ObjectKey;
use planner::explain::{OutlineLine, outline};
use protocol::client::SessionUpdate;
use sql::{Explain, OutputColumn, Statement};
use types::json::RowEncoder;

use super::explain_analyze;
use super::limits::TimeLimits;
use super::pages::PageSource;
use super::recorded::Recorded;
use super::result_reader::ResultReader;
use super::result_stream::ResultStream;
use super::{Query, QueryState};
use crate::definition::{self, Intent, is_definition};
use crate::dispatch::{Recovery, RootOutput};
use crate::plan::{self, PlannedQuery};
use crate::recovery::Remains;
use crate::services::Services;
use crate::state::PlanRecord;
use crate::statement::{self, StatementContext, StatementResult};

/// Runs an accepted query to its end, or until this life of the coordinator ends.
pub async fn run(services: Arc<Services>, query: Arc<Query>) {
    if !query.advance(QueryState::Planning) {
        return;
    }
    if let Some(Err(error)) = services.stop.run_until_cancelled(run_to_rows(&services, &query)).await {
        services.end(&query, error).await;
    }
}

/// Goes on with a statement of which it is recorded what it changes, and maybe done.
pub async fn resume_definition(services: Arc<Services>, query: Arc<Query>, intent: Intent) {
    if !query.advance(QueryState::Planning) {
        return;
    }
    let carry_out = async {
        let context = StatementContext::of(&services, &query)?;
        keep_limits(&services, &query, &context);
        let statement = statement::resolve(&context, &query.text)?;
        definition::carry_out(&services, query.id, &intent).await?;
        deliver(&query, StatementResult::update(&statement, SessionUpdate::default())).await
    };
    if let Some(Err(error)) = services.stop.run_until_cancelled(carry_out).await {
        services.end(&query, error).await;
    }
}

/// Makes the answer of a statement once more whose outcome is recorded: its client may not have got it. Rows that
/// tasks computed are gone when everybody is done with them; of those nothing is made.
pub async fn answer_again(services: &Arc<Services>, query: &Arc<Query>) -> Result<()> {
    let (of_services, of_query) = (Arc::clone(services), Arc::clone(query));
    let result = plan::on_planning_thread(move || async move {
        let context = StatementContext::of(&of_services, &of_query)?;
        Ok(match &statement::resolve(&context, &of_query.text)? {
            Statement::Query(_) | Statement::Explain(Explain { analyze: true, .. }) => None,
            done if is_definition(done) => Some(StatementResult::update(done, SessionUpdate::default())),
            other => Some(statement::execute(&of_services, &context, other).await?),
        })
    });
    match result.await? {
        Some(result) => deliver(query, result).await,
        None => Ok(()),
    }
}

async fn run_to_rows(services: &Arc<Services>, query: &Arc<Query>) -> Result<()> {
    let context = Arc::new(StatementContext::of(services, query)?);
    keep_limits(services, query, &context);
    check_length(services, query)?;
    let prepared = {
        let (services, query, context) = (Arc::clone(services), Arc::clone(query), Arc::clone(&context));
        plan::on_planning_thread(move || async move { prepare(&services, &query, &context).await }).await?
    };
    match prepared {
        Prepared::Planned(planned) => {
            let (root, record) = submit(services, query, &context, *planned).await?;
            serve(services, query, &root, record).await;
            Ok(())
        }
        Prepared::Answered(result) => deliver(query, *result).await,
        Prepared::Definition(done) => {
            // A client that gets no answer may send its statement again. What changes something is begun when the
            // client has its answer, and is never done again as if nothing had happened.
            services.make_durable(query).await?;
            query.asked().await;
            definition::run(services, &context, query.id, &done).await?;
            deliver(query, StatementResult::update(&done, SessionUpdate::default())).await
        }
    }
}

/// A statement that was read, and what of it can be done without its client and without workers.
enum Prepared {
    /// Workers are to run it.
    Planned(Box<PlannedQuery>),
    /// It has its answer.
    Answered(Box<StatementResult>),
    /// It changes something.
    Definition(Statement),
}

/// Reads a statement, plans it if workers are to run it, and answers it if it changes nothing.
async fn prepare(
    services: &Arc<Services>,
    query: &Arc<Query>,
    context: &StatementContext,
) -> Result<Prepared> {
    let statement = statement::resolve(context, &query.text)?;
    let (inner, purpose) = match &statement {
        Statement::Query(inner) => (inner, Purpose::Rows),
        Statement::Explain(Explain { analyze: true, statement, .. }) => match statement.as_ref() {
            Statement::Query(inner) => (inner, Purpose::Analysis),
            _ => return Err(Error::not_supported("EXPLAIN ANALYZE of this statement is not supported")),
        },
        done if is_definition(done) => return Ok(Prepared::Definition(statement)),
        other => {
            let result = statement::execute(services, context, other).await?;
            return Ok(Prepared::Answered(Box::new(result)));
        }
    };
    let analyzed = services.analyzer.analyze(inner, &context.session).await?;
    let mut planned = plan::plan(services, context, analyzed).await?;
    if purpose == Purpose::Analysis {
        planned.record.outline = Some(outline(&planned.plan));
    }
    Ok(Prepared::Planned(Box::new(planned)))
}

/// What a query is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Its rows.
    Rows,
    /// What is measured meanwhile: `EXPLAIN ANALYZE`.
    Analysis,
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

/// Hands a planned query to the scheduler. It is recorded before if the query is.
async fn submit(
    services: &Arc<Services>,
    query: &Arc<Query>,
    context: &StatementContext,
    planned: PlannedQuery,
) -> Result<(Arc<RootOutput>, Arc<PlanRecord>)> {
    let PlannedQuery { plan, record } = planned;
    let mut record = Arc::new(record);
    let mut recorded = query.recorded.lock().await;
    // Another coordinator cannot go on with what runs all at once.
    let is_durable = matches!(*recorded, Recorded::Everything) && query.retry_policy == RetryPolicy::Task;
    if is_durable {
        let content = record.encode()?;
        let found = services.state.create(ObjectKey::Plan(query.id), content.clone()).await?;
        if found != content {
            // Another coordinator has planned it, and maybe more. Its plan has its epoch: what is ours is not its.
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
    if let Recorded::Nothing = *recorded {
        *recorded = Recorded::NothingOf(Arc::clone(&record));
    }
    Ok((root, record))
}

/// Goes on with a query whose plan is recorded, from what former lives of the coordinator left of it. The result is
/// served as it comes.
pub async fn resume(services: &Arc<Services>, query: &Arc<Query>, record: PlanRecord) -> Result<()> {
    let context = StatementContext::of(services, query)?;
    keep_limits(services, query, &context);
    query.was_begun();
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
    let left = Remains::read(&services.state, &services.exchange, query.id, record).await?;
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

/// Lets the client read what the root tasks of a query commit; of one that is analysed, what was measured in the end.
async fn serve(
    services: &Arc<Services>,
    query: &Arc<Query>,
    root: &Arc<RootOutput>,
    record: Arc<PlanRecord>,
) {
    let PlanRecord { schema, columns, outline, .. } = PlanRecord::clone(&record);
    let streamed = (query.retry_policy == RetryPolicy::None).then(|| {
        ResultStream::start(query.id, Arc::clone(root), Arc::clone(&schema), services.direct.clone())
    });
    match (&outline, streamed) {
        (None, Some(stream)) => set_result(query, columns, PageSource::Stream(stream)).await,
        (None, None) => {
            let reader = ResultReader {
                query: query.id,
                root: Arc::clone(root),
                schema,
                exchange: Arc::clone(&services.exchange),
                dispatcher: services.dispatcher.clone(),
            };
            set_result(query, columns, PageSource::Exchange(reader)).await;
        }
        (Some(_), Some(stream)) => {
            tokio::spawn(async move { stream.drain().await });
        }
        (Some(_), None) => {}
    }
    tokio::spawn(watch(Arc::clone(services), Arc::clone(query), Arc::clone(root), outline));
}

/// Follows a query until the scheduler is done with it.
async fn watch(
    services: Arc<Services>,
    query: Arc<Query>,
    root: Arc<RootOutput>,
    outline: Option<Vec<OutlineLine>>,
) {
    // A life that ends before the query tells nothing of it: the next one does.
    let Some(outcome) = services.stop.run_until_cancelled(root.finished()).await else {
        return;
    };
    match (outcome, outline) {
        (Ok(()), None) => {
            query.advance(QueryState::Finishing);
        }
        (Ok(()), Some(outline)) => {
            let told =
                async { deliver(&query, explain_analyze::result(&services, &query, &outline).await?).await };
            if let Err(error) = told.await {
                services.end(&query, error).await;
            }
        }
        (Err(error), _) => services.conclude(&query, Err(error)).await,
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
