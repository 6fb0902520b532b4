use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use base::{OutputId, StageId, TaskId};
use exchange::{LocalStore, StoreError};
use tempfile::TempDir;

use super::super::Identity;
use super::*;
use crate::test_store::{HookedStore, StoreHooks};

/// Loses answers to creates, before or after they took effect.
#[derive(Debug)]
struct Forgetful {
    creates: AtomicU32,
    /// How many creates have no effect, and then how many have it and look as if they had not.
    without_effect: u32,
    with_effect: u32,
}

#[async_trait]
impl StoreHooks for Forgetful {
    async fn create(
        &self,
        store: &LocalStore,
        key: &str,
        content: Bytes,
    ) -> Result<CreateOutcome, StoreError> {
        if key.starts_with(exchange::layout::COORDINATOR_PREFIX) {
            return store.create(key, content).await;
        }
        let number = self.creates.fetch_add(1, Ordering::Relaxed);
        if number >= self.without_effect {
            let created = store.create(key, content).await;
            if number >= self.without_effect + self.with_effect {
                return created;
            }
        }
        Err(StoreError::new(StoreErrorKind::Unavailable, key, "no answer"))
    }
}

fn query() -> QueryId {
    "20261120_061411_00001_abcde".parse().unwrap()
}

async fn state(directory: &TempDir, without_effect: u32, with_effect: u32) -> StateStore {
    let forgetful = Forgetful { creates: AtomicU32::new(0), without_effect, with_effect };
    let store: Arc<dyn ExchangeStore> = HookedStore::new(directory.path(), forgetful);
    let identity = Identity { coordinator_id: "abcde".into(), node_id: "n".into(), address: String::new() };
    let lease = Duration::from_secs(3600);
    let leadership = Leadership::take(Arc::clone(&store), &identity, lease, None).await;
    StateStore::new(store, Arc::new(leadership))
}

fn rollback(generation: u32) -> Record {
    let task = TaskId { query: query(), stage: StageId(1), partition: 2 };
    Record::Rollback { number: 0, outputs: vec![OutputId { task, generation }] }
}

#[tokio::test]
async fn a_record_is_created_although_answers_are_lost() {
    for (without_effect, with_effect) in [(0, 0), (2, 0), (0, 1), (2, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let state = state(&directory, without_effect, with_effect).await;
        let record = rollback(0);
        let found = state.create_record(query(), &record, Vec::new()).await.unwrap();
        assert_eq!(found, (record.clone(), Vec::new()));
        assert_eq!(state.read_record(query(), record.key()).await.unwrap(), Some((record, Vec::new())));
    }
}

#[tokio::test]
async fn the_record_that_is_there_counts() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(&directory, 0, 0).await;
    state.create_record(query(), &rollback(0), Vec::new()).await.unwrap();
    let (found, _) = state.create_record(query(), &rollback(7), Vec::new()).await.unwrap();
    assert_eq!(found, rollback(0));
}

#[tokio::test]
async fn what_a_query_has_is_found_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(&directory, 0, 0).await;
    assert_eq!(state.look(query()).await.unwrap(), StoredQuery::default());
    state.create(ObjectKey::Query(query()), Bytes::from_static(b"q")).await.unwrap();
    state.create(ObjectKey::Plan(query()), Bytes::from_static(b"p")).await.unwrap();
    state.create_record(query(), &rollback(0), Vec::new()).await.unwrap();
    state.create_record(query(), &Record::Done { outcome: Ok(()) }, Vec::new()).await.unwrap();
    let records = vec![RecordKey::Rollback { number: 0 }];
    let expected = StoredQuery {
        has_query: true,
        has_plan: true,
        has_intent: false,
        is_done: true,
        records,
        has_output: false,
    };
    assert_eq!(state.look(query()).await.unwrap(), expected);
    state.forget_plan(query()).await.unwrap();
    assert!(!state.look(query()).await.unwrap().has_plan);
    assert_eq!(state.queries().await.unwrap(), [query()]);
    state.remove_query(query()).await.unwrap();
    assert_eq!(state.queries().await.unwrap(), []);
}

#[tokio::test]
async fn one_that_leads_no_more_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let old = state(&directory, 0, 0).await;
    let new = state(&directory, 0, 0).await;
    new.create(ObjectKey::Query(query()), Bytes::from_static(b"q")).await.unwrap();
    old.leadership().keep().await;
    assert!(old.create_record(query(), &rollback(0), Vec::new()).await.is_err());
    assert!(old.remove_query(query()).await.is_err());
    let expected = StoredQuery { has_query: true, ..StoredQuery::default() };
    assert_eq!(new.look(query()).await.unwrap(), expected);
}
