//! Going on with the queries of former lives of the coordinator.
//!
//! Everything is found in the store: a statement that was not planned is planned again, a planned one goes on from
//! what was decided and committed, one that has ended is served until its client has got the answer.

use std::sync::Arc;
use std::time::Duration;

use base::{Epoch, Error, ErrorCode, QueryId, Result, StageId};
use exchange::{CommitRecord, ExchangeManager, ObjectKey};
use futures::{StreamExt, TryStreamExt, stream};
use protocol::state::KnownSplit;
use scheduler::{Record, RecordKey};

use crate::query::{Query, resume, run};
use crate::services::Services;
use crate::state::{PlanRecord, QueryRecord};

/// How many queries are recovered at once, and how many records of each are read at once.
const QUERY_COUNT_MAX: usize = 4;
const READ_COUNT_MAX: usize = 16;
/// How long to wait before a query is looked at again of which the store did not tell everything.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Goes on with all queries that are in the store. Returns when they are all known again.
pub async fn recover(services: &Arc<Services>, coordinator_ids: &[String]) -> Result<()> {
    let mut queries = services.state.queries().await?;
    queries.retain(|query| coordinator_ids.iter().any(|id| query.as_str().ends_with(id.as_str())));
    stream::iter(queries)
        .for_each_concurrent(QUERY_COUNT_MAX, |query| async move {
            while let Err(error) = recover_query(services, query).await {
                tracing::warn!(%query, %error, "a query cannot be recovered yet");
                if error.code() != ErrorCode::EXCHANGE_STORE_ERROR {
                    break;
                }
                tokio::time::sleep(RETRY_DELAY).await;
            }
        })
        .await;
    // What was told to the event loop has been heard.
    services.dispatcher.inspect(|_| ()).await
}

/// Goes on with a query. Fails only if it could not be found out what there is.
async fn recover_query(services: &Arc<Services>, id: QueryId) -> Result<()> {
    let stored = services.state.look(id).await?;
    let content = services.state.read(ObjectKey::Query(id)).await?;
    let Some(content) = content else {
        // It was ended and told and not wholly deleted; or not all of it was recorded, and nobody was promised
        // anything.
        services.dispatcher.close(id).await;
        return Ok(());
    };
    let query = Arc::new(Query::recovered(id, QueryRecord::decode(id, &content)?));
    services.queries.insert(Arc::clone(&query));
    if let Err(error) = go_on(services, &query, stored.is_done, stored.has_plan).await {
        if error.code() == ErrorCode::EXCHANGE_STORE_ERROR {
            return Err(error);
        }
        services.end(&query, error).await;
    }
    Ok(())
}

async fn go_on(services: &Arc<Services>, query: &Arc<Query>, is_done: bool, has_plan: bool) -> Result<()> {
    let outcome = match is_done {
        true => services.state.read_record(query.id, RecordKey::Done).await?,
        false => None,
    };
    let outcome = outcome.and_then(|(record, _)| match record {
        Record::Done { outcome } => Some(outcome),
        Record::Tasks { .. } | Record::Rollback { .. } => None,
    });
    let plan = match has_plan {
        true => services.state.read(ObjectKey::Plan(query.id)).await?,
        false => None,
    };
    let plan = plan.map(|content| PlanRecord::decode(query.id, &content)).transpose()?;
    match (outcome, plan) {
        (Some(Err(error)), _) => {
            tracing::info!(query = %query.id, "a query had failed under another coordinator");
            query.ending();
            services.conclude(query, Err(error)).await;
        }
        (Some(Ok(())), None) => {
            // Its client has got everything, except maybe the word that it has.
            query.ending();
            services.conclude(query, Ok(())).await;
        }
        (_, Some(plan)) if plan.is_analyzed => return Err(analysis_lost()),
        (_, Some(plan)) => {
            tracing::info!(query = %query.id, "going on with a query of another coordinator");
            resume(services, query, plan).await?;
        }
        (None, None) => {
            tracing::info!(query = %query.id, "starting a query that another coordinator had not planned");
            tokio::spawn(run(Arc::clone(services), Arc::clone(query)));
        }
    }
    Ok(())
}

/// What `EXPLAIN ANALYZE` tells is known to one coordinator only.
fn analysis_lost() -> Error {
    let text = "The coordinator ended while EXPLAIN ANALYZE ran. What it had measured is lost; run it again";
    Error::new(ErrorCode::SERVER_SHUTTING_DOWN, text)
}

/// What was left of a planned query.
pub struct Remains {
    /// What was decided.
    pub records: Vec<Record>,
    /// The splits that recorded tasks read.
    pub splits: Vec<(StageId, KnownSplit)>,
    /// What was committed.
    pub commits: Vec<CommitRecord>,
}

impl Remains {
    /// Reads everything that belongs to the plan of that life of the coordinator. Fails if something cannot be read.
    pub async fn read(services: &Services, query: QueryId, planned: Epoch) -> Result<Self> {
        let stored = services.state.look(query).await?;
        let mut keys = stored.records;
        keys.extend(stored.is_done.then_some(RecordKey::Done));
        let found: Vec<_> = stream::iter(keys)
            .map(|key| services.state.read_record(query, key))
            .buffered(READ_COUNT_MAX)
            .try_collect()
            .await?;
        let mut remains = Remains {
            records: Vec::new(),
            splits: Vec::new(),
            commits: commits(&services.exchange, query).await?,
        };
        remains.commits.retain(|commit| commit.attempt().epoch >= planned);
        for (record, splits) in found.into_iter().flatten() {
            if let Record::Tasks { stage, .. } = &record {
                remains.splits.extend(splits.into_iter().map(|split| (*stage, split)));
            }
            remains.records.push(record);
        }
        Ok(remains)
    }
}

/// Everything that was committed. What cannot be read although it is there is left out, and found lost by whoever
/// commits it again.
async fn commits(exchange: &ExchangeManager, query: QueryId) -> Result<Vec<CommitRecord>> {
    let keys = exchange.objects(query).await?;
    let outputs = keys.into_iter().filter_map(|key| match key {
        ObjectKey::Commit(output) => Some(output),
        _ => None,
    });
    let read = stream::iter(outputs).map(|output| async move {
        match exchange.committed(output).await {
            Err(error) if error.lost_output().is_some() => {
                tracing::warn!(%error, "a commit record cannot be read");
                Ok(None)
            }
            read => read,
        }
    });
    let found: Vec<_> = read.buffered(READ_COUNT_MAX).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}
