//! The records of queries in the store.
//!
//! A record is created once, by conditional create, and never changed. Whoever finds another's record under the key
//! that he wanted to create takes what is there for his own: two coordinators can only agree.

use std::sync::Arc;
use std::time::Duration;

use base::{Error, ErrorCode, QueryId, Result};
use bytes::Bytes;
use exchange::layout::FLIGHT_PREFIX;
use exchange::{CoordinatorKey, CreateOutcome, ExchangeStore, ObjectKey, StoreErrorKind};
use protocol::state::{self, TasksContent, record_from_content, record_to_content, wire};
use scheduler::{Record, RecordKey};
use tokio::time::sleep;

use super::leadership::{FormerLives, Leadership, former_lives};
use crate::capsule::CapsuleKey;

/// No record is larger than this many bytes.
const RECORD_BYTES_MAX: u64 = 256 << 20;
/// How long to wait before a record is created again, at first and at most.
const RETRY_DELAY_FIRST: Duration = Duration::from_millis(20);
const RETRY_DELAY_LONGEST: Duration = Duration::from_secs(2);
/// How many flight recordings are kept.
const RECORDING_COUNT_MAX: usize = 20;
/// How often a request is made that somebody waits for who can make it again himself.
const TRIES_MAX: u32 = 5;

/// The records of queries in the store, as one life of the coordinator writes them.
#[derive(Clone, Debug)]
pub struct StateStore {
    store: Arc<dyn ExchangeStore>,
    leadership: Arc<Leadership>,
}

/// The keys of what is in the store of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredQuery {
    /// Whether its statement is there. It is created first and removed last but for the outcome.
    pub has_query: bool,
    /// Whether its plan is there.
    pub has_plan: bool,
    /// Whether it is there what it is about to change in a catalog.
    pub has_intent: bool,
    /// Whether its outcome is there.
    pub is_done: bool,
    /// Its other records.
    pub records: Vec<RecordKey>,
    /// Whether a task has committed an output.
    pub has_output: bool,
}

impl StoredQuery {
    /// Whether tasks of it were formed.
    pub fn has_tasks(&self) -> bool {
        self.has_output || !self.records.is_empty()
    }
}

impl StateStore {
    /// The records, for a life of the coordinator.
    pub fn new(store: Arc<dyn ExchangeStore>, leadership: Arc<Leadership>) -> Self {
        StateStore { store, leadership }
    }

    /// The leadership of the life.
    pub fn leadership(&self) -> &Arc<Leadership> {
        &self.leadership
    }

    /// Creates an object, again and again until it is known what is there, which is returned.
    ///
    /// # Errors
    ///
    /// If this life of the coordinator leads no more.
    pub async fn create(&self, key: ObjectKey, content: Bytes) -> Result<Bytes> {
        self.create_at(&key.to_string(), content).await
    }

    async fn create_at(&self, key: &str, content: Bytes) -> Result<Bytes> {
        let mut delay = RETRY_DELAY_FIRST;
        let mut is_told = false;
        loop {
            match self.create_once(key, &content).await? {
                Ok(found) => return Ok(found),
                Err(error) if !std::mem::replace(&mut is_told, true) => {
                    tracing::warn!(%key, %error, "a record cannot be created yet");
                }
                Err(_) => {}
            }
            sleep(delay).await;
            delay = (2 * delay).min(RETRY_DELAY_LONGEST);
        }
    }

    /// One try. The inner error says that it is not known what is there.
    async fn create_once(&self, key: &str, content: &Bytes) -> Result<Result<Bytes>> {
        self.leadership.confirm().await?;
        let doubt = match self.store.create(key, content.clone()).await {
            Ok(CreateOutcome::Created) => return Ok(Ok(content.clone())),
            // It may be our own earlier try whose answer was lost.
            Ok(CreateOutcome::AlreadyExists) => None,
            Err(error) => Some(error),
        };
        Ok(match (self.store.read_all(key, RECORD_BYTES_MAX).await, doubt) {
            (Ok(found), _) => Ok(found),
            (Err(_), Some(doubt)) => Err(doubt.into()),
            (Err(error), None) => Err(error.into()),
        })
    }

    /// Creates a record of the core's, and says what is there. `splits` are those that a record of tasks is about.
    ///
    /// # Errors
    ///
    /// If this life of the coordinator leads no more, or if what is there is unreadable.
    pub async fn create_record(
        &self,
        query: QueryId,
        record: &Record,
        splits: TasksContent,
    ) -> Result<(Record, TasksContent)> {
        let key = object_key(query, record.key());
        let content = record_to_content(record, splits.clone());
        let found = self.create(key, content.clone()).await?;
        if found == content {
            return Ok((record.clone(), splits));
        }
        tracing::info!(%key, "another coordinator's record is there");
        record_from_content(query, record.key(), &key.to_string(), &found)
    }

    /// Reads a record of the core's, if it is there.
    pub async fn read_record(
        &self,
        query: QueryId,
        key: RecordKey,
    ) -> Result<Option<(Record, TasksContent)>> {
        let object = object_key(query, key);
        let Some(stored) = self.read(object).await? else {
            return Ok(None);
        };
        record_from_content(query, key, &object.to_string(), &stored).map(Some)
    }

    /// Reads an object, if it is there.
    pub async fn read(&self, key: ObjectKey) -> Result<Option<Bytes>> {
        let mut delay = RETRY_DELAY_FIRST;
        let mut tries = 1;
        loop {
            match self.store.read_all(&key.to_string(), RECORD_BYTES_MAX).await {
                Ok(stored) => return Ok(Some(stored)),
                Err(error) => match error.kind {
                    StoreErrorKind::NotFound => return Ok(None),
                    StoreErrorKind::Unavailable if tries < TRIES_MAX => tries += 1,
                    StoreErrorKind::TooLarge => {
                        let text = format!("The record {key} is unreadable: it is too large");
                        return Err(Error::new(ErrorCode::EXCHANGE_DATA_LOST, text));
                    }
                    _ => return Err(error.into()),
                },
            }
            sleep(delay).await;
            delay = (2 * delay).min(RETRY_DELAY_LONGEST);
        }
    }

    /// All queries that have anything in the store, in ascending order.
    pub async fn queries(&self) -> Result<Vec<QueryId>> {
        let groups = self.store.list_groups().await?;
        Ok(groups.iter().filter_map(|group| group.parse().ok()).collect())
    }

    /// What is in the store of a query.
    pub async fn look(&self, query: QueryId) -> Result<StoredQuery> {
        let mut found = StoredQuery::default();
        for object in self.store.list(&exchange::layout::query_prefix(query)).await? {
            match object.key.parse() {
                Ok(ObjectKey::Query(_)) => found.has_query = true,
                Ok(ObjectKey::Plan(_)) => found.has_plan = true,
                Ok(ObjectKey::Intent(_)) => found.has_intent = true,
                Ok(ObjectKey::Done(_)) => found.is_done = true,
                Ok(ObjectKey::Tasks { stage, number, .. }) => {
                    found.records.push(RecordKey::Tasks { stage, number });
                }
                Ok(ObjectKey::Rollback { number, .. }) => found.records.push(RecordKey::Rollback { number }),
                Ok(ObjectKey::Commit(_)) => found.has_output = true,
                Ok(ObjectKey::Data(_)) | Err(_) => {}
            }
        }
        found.records.sort();
        Ok(found)
    }

    /// The names of all lives of the coordinator that ever led here: what the ids of their queries end in.
    pub async fn coordinator_ids(&self) -> Result<Vec<String>> {
        let FormerLives { mut coordinator_ids, are_some_unknown } = former_lives(&*self.store).await?;
        if are_some_unknown {
            // Others may leave their output here, but statements are recorded by lives of this coordinator only.
            for query in self.queries().await? {
                let is_known = coordinator_ids.iter().any(|id| query.as_str().ends_with(id.as_str()));
                if !is_known && self.look(query).await?.has_query {
                    let name = query.as_str().rsplit('_').next().unwrap_or_default();
                    tracing::warn!(%query, "the query of a former coordinator of which nothing else is known");
                    coordinator_ids.push(name.to_owned());
                }
            }
        }
        Ok(coordinator_ids)
    }

    /// What statements are sealed with, which all lives share. The first one makes it.
    pub async fn capsule_key(&self) -> Result<CapsuleKey> {
        let key = CoordinatorKey::CapsuleKey.to_string();
        let made = CapsuleKey::random();
        let content = state::encode(&wire::CapsuleKeyRecord { key: Bytes::copy_from_slice(made.bytes()) });
        let found = self.create_at(&key, content).await?;
        let record = state::decode::<wire::CapsuleKeyRecord>(&key, &found);
        let key = record.ok().and_then(|record| record.key[..].try_into().ok());
        if key.is_none() {
            tracing::warn!(
                "the key of all coordinators is unreadable: what this one seals no other one can open"
            );
        }
        Ok(key.map_or(made, CapsuleKey::of))
    }

    /// Keeps the flight recording of a query that failed, and as many of those before as there may be.
    pub async fn keep_recording(&self, query: QueryId, content: Bytes) -> Result<()> {
        self.leadership.confirm().await?;
        let key = CoordinatorKey::Flight(query).to_string();
        tracing::info!(%query, key, bytes = content.len(), "what the scheduler was told is recorded");
        self.store.create(&key, content).await?;
        let kept = self.store.list(FLIGHT_PREFIX).await?;
        // The ids of queries, and with them the keys, are in the order of time.
        let older = kept.len().saturating_sub(RECORDING_COUNT_MAX);
        for object in &kept[..older] {
            self.store.remove(&object.key).await?;
        }
        Ok(())
    }

    /// Removes the plan of a query, after which nobody goes on with it. Only the leader does that.
    pub async fn forget_plan(&self, query: QueryId) -> Result<()> {
        self.leadership.confirm().await?;
        Ok(self.store.remove(&ObjectKey::Plan(query).to_string()).await?)
    }

    /// Removes everything of a query, its outcome last. Only the leader does that.
    pub async fn remove_query(&self, query: QueryId) -> Result<()> {
        self.leadership.confirm().await?;
        let prefix = exchange::layout::query_prefix(query);
        for object in self.store.list(&prefix).await? {
            if !matches!(object.key.parse(), Ok(ObjectKey::Done(_))) {
                // The process may stand still in between, and somebody else write what is removed.
                self.leadership.confirm().await?;
                self.store.remove(&object.key).await?;
            }
        }
        self.leadership.confirm().await?;
        Ok(self.store.remove_prefix(&prefix).await?)
    }
}

/// Where a record of the core's is kept.
fn object_key(query: QueryId, key: RecordKey) -> ObjectKey {
    match key {
        RecordKey::Tasks { stage, number } => ObjectKey::Tasks { query, stage, number },
        RecordKey::Rollback { number } => ObjectKey::Rollback { query, number },
        RecordKey::Done => ObjectKey::Done(query),
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
