//! Going on with the queries of former lives of the coordinator.
//!
//! Everything is found in the store. A statement that was only accepted runs when its client asks for it. One that was
//! about to change a catalog does what is recorded, before other clients are let in. A planned one goes on from what was
//! decided and committed, and one that has ended is served until its client has got the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{Error, ErrorCode, QueryId, Result, StageId, TaskId};
use exchange::{CommitRecord, ExchangeManager, ObjectKey};
use futures::{StreamExt, TryStreamExt, stream};
use protocol::state::KnownSplit;
use scheduler::{Distribution, QueryShape, Record, RecordKey};

use crate::definition::Intent;
use crate::query::{Query, answer_again, resume, resume_definition};
use crate::services::Services;
use crate::state::{PlanRecord, QueryRecord, StateStore, StoredQuery};

/// How many queries are recovered at once, and how many records of each are read at once.
const QUERY_COUNT_MAX: usize = 4;
const READ_COUNT_MAX: usize = 16;
/// How long to wait before a query is looked at again of which the store did not tell everything.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long other clients wait at most until a change of a catalog is done that another coordinator began.
const DEFINITION_PATIENCE: Duration = Duration::from_secs(10);

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

/// Goes on with a query whose record a former life created while this one had begun and looked. None: there is no such
/// query.
pub async fn recover_late(services: &Arc<Services>, id: &str) -> Result<Option<Arc<Query>>> {
    let is_former = services.is_of_former_life(id);
    let Some(id) = id.parse().ok().filter(|_| is_former) else {
        return Ok(None);
    };
    // One after the other: nobody gains by asking for many that do not exist.
    let _recovering = services.recovering.lock().await;
    if services.queries.get(&id).is_none() && services.state.read(ObjectKey::Query(id)).await?.is_some() {
        tracing::info!(query = %id, "a query was accepted by another coordinator when this one led already");
        recover_query(services, id).await?;
    }
    Ok(services.queries.get(&id))
}

/// The same with all such queries. Their clients may never ask for them.
pub async fn recover_all_late(services: &Arc<Services>) -> Result<()> {
    for id in services.state.queries().await? {
        if services.queries.get(&id).is_none()
            && let Err(error) = recover_late(services, id.as_str()).await
        {
            // The others are looked at all the same, and this one the next time.
            tracing::warn!(query = %id, %error, "a query cannot be recovered yet");
        }
    }
    Ok(())
}

/// Goes on with a query. Fails only if it could not be found out what there is.
async fn recover_query(services: &Arc<Services>, id: QueryId) -> Result<()> {
    let stored = services.state.look(id).await?;
    let content = match services.state.read(ObjectKey::Query(id)).await {
        Err(error) if error.code() != ErrorCode::EXCHANGE_STORE_ERROR => Err(error),
        content => Ok(content?),
    };
    let Some(content) = content.transpose() else {
        // It was ended and told and not wholly deleted; or not all of it was recorded, and nobody was promised
        // anything.
        services.dispatcher.close(id).await;
        return Ok(());
    };
    let record = match content.and_then(|content| QueryRecord::decode(id, &content)) {
        Ok(record) => record,
        Err(error) => {
            // Neither can it be run, nor its client be known. Whoever asks is told, and then it is deleted.
            tracing::error!(query = %id, %error, "a query is given up");
            services.queries.insert(Arc::new(Query::unreadable(id, error)));
            services.dispatcher.close(id).await;
            return Ok(());
        }
    };
    let policy = services.config.session_retry_policy(&record.client.system_properties);
    let query = Arc::new(Query::recovered(id, record).under(policy));
    services.queries.insert(Arc::clone(&query));
    if let Err(error) = go_on(services, &query, &stored).await {
        if error.code() == ErrorCode::EXCHANGE_STORE_ERROR {
            return Err(error);
        }
        services.end(&query, error).await;
    }
    Ok(())
}

async fn go_on(services: &Arc<Services>, query: &Arc<Query>, stored: &StoredQuery) -> Result<()> {
    let read = async |is_there: bool, key: ObjectKey| match is_there {
        true => services.state.read(key).await,
        false => Ok(None),
    };
    let outcome = match stored.is_done {
        true => services.state.read_record(query.id, RecordKey::Done).await?,
        false => None,
    };
    let outcome = outcome.and_then(|(record, _)| match record {
        Record::Done { outcome } => Some(outcome),
        Record::Tasks { .. } | Record::Rollback { .. } => None,
    });
    let plan = read(stored.has_plan, ObjectKey::Plan(query.id)).await?;
    let intent = read(stored.has_intent, ObjectKey::Intent(query.id)).await?;
    match (outcome, plan, intent) {
        (Some(Err(error)), _, _) => {
            tracing::info!(query = %query.id, "a query had failed under another coordinator");
            query.begin();
            query.ending();
            services.conclude(query, Err(error)).await;
        }
        (Some(Ok(())), None, _) => {
            query.begin();
            query.ending();
            // Without it, the client is at least told that it was done.
            if let Err(error) = answer_again(services, query).await {
                tracing::warn!(query = %query.id, %error, "an answer cannot be given again");
            }
            services.conclude(query, Ok(())).await;
        }
        (_, Some(plan), _) => {
            tracing::info!(query = %query.id, "going on with a query of another coordinator");
            query.begin();
            resume(services, query, PlanRecord::decode(query.id, &plan)?).await?;
        }
        (None, None, Some(intent)) => {
            tracing::info!(query = %query.id, "going on with a change of a catalog of another coordinator");
            query.begin();
            let intent = Intent::decode(query.id, &intent)?;
            let done = tokio::spawn(resume_definition(Arc::clone(services), Arc::clone(query), intent));
            // A catalog that does not answer holds up its own statements only.
            let _ = tokio::time::timeout(DEFINITION_PATIENCE, done).await;
        }
        // Tasks are formed when the plan is there, and it goes when the outcome is.
        (None, None, None) if stored.has_tasks() => {
            return Err(lost_record(ObjectKey::Plan(query.id)));
        }
        (None, None, None) => {
            tracing::info!(query = %query.id, "a query that another coordinator accepted waits for its client");
        }
    }
    Ok(())
}

/// A record that was there is not there any more.
fn lost_record(key: ObjectKey) -> Error {
    Error::new(ErrorCode::EXCHANGE_DATA_LOST, format!("The record {key} is lost"))
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
    /// Reads everything that belongs to a plan.
    ///
    /// # Errors
    /// If something cannot be read. With `EXCHANGE_DATA_LOST` if a record is lost without which tasks would be formed
    /// otherwise than they were.
    pub async fn read(
        state: &StateStore,
        exchange: &ExchangeManager,
        query: QueryId,
        plan: &PlanRecord,
    ) -> Result<Self> {
        // Another coordinator may still write. Of what is committed by now, the tasks are on record by now.
        let mut commits = commits(exchange, query).await?;
        commits.retain(|commit| commit.attempt().epoch >= plan.epoch);
        let stored = state.look(query).await?;
        let mut keys = stored.records;
        keys.extend(stored.is_done.then_some(RecordKey::Done));
        let found: Vec<_> = stream::iter(keys)
            .map(|key| state.read_record(query, key))
            .buffered(READ_COUNT_MAX)
            .try_collect()
            .await?;
        let mut remains = Remains { records: Vec::new(), splits: Vec::new(), commits };
        for (record, splits) in found.into_iter().flatten() {
            if let Record::Tasks { stage, .. } = &record {
                remains.splits.extend(splits.into_iter().map(|split| (*stage, split)));
            }
            remains.records.push(record);
        }
        remains.check_whole(query, &plan.shape)?;
        Ok(remains)
    }

    /// Fails if a record is missing. Those of a kind are numbered; that the last one is missing shows in what its tasks
    /// have committed.
    fn check_whole(&self, query: QueryId, shape: &QueryShape) -> Result<()> {
        let mut formed: BTreeMap<StageId, (u32, u32)> = BTreeMap::new();
        let mut rollbacks = 0;
        // They are in the order of their keys.
        for record in &self.records {
            match record {
                Record::Tasks { stage, number, tasks, .. } => {
                    let (records, count) = formed.entry(*stage).or_default();
                    if number != records {
                        let (stage, number) = (*stage, *records);
                        return Err(lost_record(ObjectKey::Tasks { query, stage, number }));
                    }
                    *records += 1;
                    *count += u32::try_from(tasks.len()).unwrap_or(u32::MAX);
                }
                Record::Rollback { number, .. } if *number != rollbacks => {
                    return Err(lost_record(ObjectKey::Rollback { query, number: rollbacks }));
                }
                Record::Rollback { .. } => rollbacks += 1,
                Record::Done { .. } => {}
            }
        }
        for commit in &self.commits {
            let TaskId { stage, partition, .. } = commit.attempt().task;
            let is_recorded = shape
                .stages
                .get(stage.0 as usize)
                .is_some_and(|shape| shape.distribution != Distribution::Single);
            let (number, count) = formed.get(&stage).copied().unwrap_or_default();
            if is_recorded && partition >= count {
                return Err(lost_record(ObjectKey::Tasks { query, stage, number }));
            }
        }
        Ok(())
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

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
