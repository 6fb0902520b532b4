use exchange::LocalStore;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

const LEASE: Duration = Duration::from_millis(300);
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

fn store() -> (TempDir, Arc<dyn ExchangeStore>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::new(directory.path(), false));
    (directory, store)
}

fn identity(id: &str) -> Identity {
    Identity { coordinator_id: id.into(), node_id: "n".into(), address: "http://127.0.0.1:1".into() }
}

async fn take(store: &Arc<dyn ExchangeStore>, id: &str) -> Arc<Leadership> {
    Arc::new(Leadership::take(Arc::clone(store), &identity(id), LEASE, None).await)
}

#[tokio::test]
async fn the_newest_life_leads_and_the_older_ones_notice() {
    let (_directory, store) = store();
    let first = take(&store, "aaaaa").await;
    assert_eq!((first.epoch(), first.confirm().await), (Epoch(1), Ok(())));
    let second = take(&store, "bbbbb").await;
    assert_eq!(second.epoch(), Epoch(2));
    timeout(PATIENCE, first.keep()).await.unwrap();
    assert_eq!(first.superseded().await, Epoch(2));
    assert!(first.confirm().await.is_err());
    assert_eq!(second.confirm().await, Ok(()));
    let known =
        FormerLives { coordinator_ids: vec!["aaaaa".into(), "bbbbb".into()], are_some_unknown: false };
    assert_eq!(former_lives(&*store).await.unwrap(), known);
}

#[tokio::test]
async fn lives_that_begin_at_once_have_epochs_of_their_own() {
    let (_directory, store) = store();
    let taken = (0..8).map(|at| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { take(&store, &format!("life{at}")).await.epoch() })
    });
    let taken: Vec<_> = taken.collect();
    let mut epochs = Vec::new();
    for taken in taken {
        epochs.push(taken.await.unwrap());
    }
    epochs.sort();
    assert_eq!(epochs, (1..=8).map(Epoch).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_that_stands_by_takes_over_only_when_there_is_no_sign_of_the_other() {
    let (_directory, store) = store();
    let first = take(&store, "aaaaa").await;
    let keeping = tokio::spawn({
        let first = Arc::clone(&first);
        async move { first.keep().await }
    });
    let standing_by = tokio::spawn({
        let store = Arc::clone(&store);
        async move { Leadership::stand_by(store, &identity("bbbbb"), LEASE).await.epoch() }
    });
    // It sees the lease renewed many times.
    let mut renewals = first.standing.subscribe();
    for _ in 0..3 * RENEWALS_PER_LEASE {
        timeout(PATIENCE, renewals.changed()).await.unwrap().unwrap();
    }
    assert!(!standing_by.is_finished());
    // Now the first one stands still.
    keeping.abort();
    assert_eq!(timeout(PATIENCE, standing_by).await.unwrap().unwrap(), Epoch(2));
    // When it goes on, it acts only after it has looked, and finds that it must not.
    *lock(&first.confirmed) -= 2 * LEASE;
    let acting = tokio::spawn({
        let first = Arc::clone(&first);
        async move { first.confirm().await }
    });
    first.keep().await;
    assert!(timeout(PATIENCE, acting).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn one_that_stood_still_and_still_leads_goes_on() {
    let (_directory, store) = store();
    let leadership = take(&store, "aaaaa").await;
    *lock(&leadership.confirmed) -= 2 * LEASE;
    let acting = tokio::spawn({
        let leadership = Arc::clone(&leadership);
        async move { leadership.confirm().await }
    });
    tokio::task::yield_now().await;
    assert!(!acting.is_finished(), "it acts before it has looked");
    let keeping = tokio::spawn({
        let leadership = Arc::clone(&leadership);
        async move { leadership.keep().await }
    });
    assert_eq!(timeout(PATIENCE, acting).await.unwrap().unwrap(), Ok(()));
    keeping.abort();
}

#[tokio::test]
async fn an_epoch_that_the_store_has_lost_is_not_taken_again() {
    let (_directory, store) = store();
    let first = take(&store, "aaaaa").await;
    // A worker tells of a life that the store knows nothing of.
    first.superseded_by(Epoch(7));
    assert!(first.confirm().await.is_err());
    assert!(first.is_newest_in_store().await);
    let heard = Some(first.superseded().await);
    let second = Leadership::take(Arc::clone(&store), &identity("bbbbb"), LEASE, heard).await;
    assert_eq!(second.epoch(), Epoch(8));
    assert!(!first.is_newest_in_store().await);
}
