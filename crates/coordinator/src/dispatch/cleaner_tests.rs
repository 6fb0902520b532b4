use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use exchange::{ExchangeOptions, ExchangeStore, LocalStore, ObjectKey, StoreError, StoreErrorKind};
use scheduler::{CoreOptions, Record};
use tempfile::TempDir;

use super::super::DispatcherOptions;
use super::*;
use crate::query::Query;
use crate::state::{Identity, Leadership};
use crate::test_store::{HookedStore, StoreHooks};
use protocol::client::ClientContext;

const OURS: &str = "20261120_061411_00001_abcde";
const OTHERS: &str = "20261120_061411_00001_fghij";

/// Refuses the first removals.
#[derive(Debug)]
struct Stubborn {
    refusals: AtomicU32,
}

#[async_trait]
impl StoreHooks for Stubborn {
    async fn remove_prefix(&self, store: &LocalStore, prefix: &str) -> Result<(), StoreError> {
        let refused = |left: u32| left.checked_sub(1);
        if self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refused).is_ok() {
            return Err(StoreError::new(StoreErrorKind::Denied, prefix, "not now"));
        }
        store.remove_prefix(prefix).await
    }
}

const SELDOM: Duration = Duration::from_secs(3600);
const OFTEN: Duration = Duration::from_millis(5);
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

struct Fixture {
    directory: TempDir,
    store: Arc<HookedStore<Stubborn>>,
    state: StateStore,
    queries: Arc<QueryRegistry>,
    cleaner: Cleaner,
    _stop: tokio_util::sync::DropGuard,
}

impl Fixture {
    async fn new(refusals: u32, times: SweepTimes) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = HookedStore::new(directory.path(), Stubborn { refusals: AtomicU32::new(refusals) });
        let exchange = ExchangeManager::with_store(Arc::clone(&store) as _, ExchangeOptions::default());
        let exchange = Arc::new(exchange);
        let identity =
            Identity { coordinator_id: "abcde".into(), node_id: "n".into(), address: String::new() };
        let leadership = Leadership::take(Arc::clone(&store) as _, &identity, SELDOM, None).await;
        let state = StateStore::new(Arc::clone(&store) as _, Arc::new(leadership));
        let queries = Arc::new(QueryRegistry::new(1, SELDOM));
        let stop = CancellationToken::new();
        let dispatcher = Dispatcher::start(DispatcherOptions {
            core: CoreOptions::default(),
            exchange: Arc::clone(&exchange),
            state: state.clone(),
            queries: Arc::clone(&queries),
            coordinator_ids: vec!["abcde".to_owned()],
            stop: stop.clone(),
        });
        let coordinator_ids = vec!["abcde".to_owned()];
        let known = KnownQueries { coordinator_ids, queries: Arc::clone(&queries), dispatcher };
        let cleaner = Cleaner::start(exchange, state.clone(), known, times, stop.clone());
        let fixture = Fixture { directory, store, state, queries, cleaner, _stop: stop.drop_guard() };
        fixture.write(OURS);
        fixture.write(OTHERS);
        fixture
    }

    fn write(&self, query: &str) {
        let directory = self.directory.path().join(query).join("0");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("0.0.data"), "late").unwrap();
    }

    fn exists(&self, query: &str) -> bool {
        self.directory.path().join(query).exists()
    }

    /// Waits until nothing of our query is left.
    async fn cleaned(&self) {
        let since = Instant::now();
        while self.exists(OURS) {
            assert!(since.elapsed() < PATIENCE, "it stays");
            tokio::time::sleep(OFTEN).await;
        }
        assert!(self.exists(OTHERS), "the query of another coordinator is touched");
    }
}

fn sweeps_in_distrust_only() -> SweepTimes {
    SweepTimes {
        interval: SELDOM,
        interval_in_distrust: OFTEN,
        distrust_period: SELDOM,
        done_retention: Duration::ZERO,
        untold_retention: SELDOM,
    }
}

#[tokio::test]
async fn a_removal_that_is_refused_is_done_again() {
    let fixture = Fixture::new(3, sweeps_in_distrust_only()).await;
    fixture.cleaner.clean(OURS.parse().unwrap());
    fixture.cleaned().await;
    assert_eq!(fixture.store.refusals.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_written_after_the_removal_goes_too() {
    let fixture = Fixture::new(0, sweeps_in_distrust_only()).await;
    fixture.cleaner.clean(OURS.parse().unwrap());
    fixture.cleaned().await;
    fixture.cleaner.distrust();
    for _ in 0..3 {
        fixture.write(OURS);
        fixture.cleaned().await;
    }
}

#[tokio::test]
async fn what_nobody_suspects_is_found_too() {
    let times = SweepTimes { interval: OFTEN, ..sweeps_in_distrust_only() };
    Fixture::new(0, times).await.cleaned().await;
}

#[tokio::test]
async fn a_query_that_was_not_ended_stays() {
    let times = SweepTimes { interval: OFTEN, ..sweeps_in_distrust_only() };
    let fixture = Fixture::new(0, times).await;
    let kept = "20261120_061411_00003_abcde";
    let query: QueryId = kept.parse().unwrap();
    fixture.state.create(ObjectKey::Query(query), Bytes::from_static(b"query")).await.unwrap();
    fixture.write(kept);
    // A query of another kind comes and goes: the store was swept meanwhile.
    let other: QueryId = "20261120_061411_00002_abcde".parse().unwrap();
    for _ in 0..3 {
        fixture.write(other.as_str());
        let since = Instant::now();
        while fixture.exists(other.as_str()) {
            assert!(since.elapsed() < PATIENCE, "it stays");
            tokio::time::sleep(OFTEN).await;
        }
    }
    assert!(fixture.exists(kept));
    let done = Record::Done { outcome: Ok(()) };
    fixture.state.create_record(query, &done, Vec::new()).await.unwrap();
    let since = Instant::now();
    while fixture.exists(kept) {
        assert!(since.elapsed() < PATIENCE, "it stays");
        tokio::time::sleep(OFTEN).await;
    }
}

#[tokio::test]
async fn the_outcome_stays_for_a_while() {
    let times = SweepTimes { done_retention: SELDOM, ..sweeps_in_distrust_only() };
    let fixture = Fixture::new(0, times).await;
    let query: QueryId = OURS.parse().unwrap();
    for key in [ObjectKey::Query(query), ObjectKey::Plan(query), ObjectKey::Done(query)] {
        fixture.state.create(key, Bytes::from_static(b"content")).await.unwrap();
    }
    fixture.cleaner.clean(query);
    let since = Instant::now();
    while fixture.exists(&format!("{OURS}/0")) {
        assert!(since.elapsed() < PATIENCE, "it stays");
        tokio::time::sleep(OFTEN).await;
    }
    let left = fixture.state.look(query).await.unwrap();
    assert!(left.has_query && left.is_done && !left.has_plan, "{left:?}");
}

#[tokio::test]
async fn an_outcome_that_nobody_was_told_stays_until_somebody_is() {
    let fixture = Fixture::new(0, sweeps_in_distrust_only()).await;
    let query = Arc::new(Query::new(OURS.parse().unwrap(), "SELECT".into(), ClientContext::default()));
    fixture.queries.insert(Arc::clone(&query));
    query.fail(Query::canceled());
    for key in [ObjectKey::Query(query.id), ObjectKey::Done(query.id)] {
        fixture.state.create(key, Bytes::from_static(b"content")).await.unwrap();
    }
    fixture.cleaner.clean(query.id);
    let since = Instant::now();
    while fixture.exists(&format!("{OURS}/0")) {
        assert!(since.elapsed() < PATIENCE, "it stays");
        tokio::time::sleep(OFTEN).await;
    }
    // Another query is asked for later, and gone.
    fixture.write("20261120_061411_00002_abcde");
    fixture.cleaner.clean("20261120_061411_00002_abcde".parse().unwrap());
    while fixture.exists("20261120_061411_00002_abcde") {
        assert!(since.elapsed() < PATIENCE, "it stays");
        tokio::time::sleep(OFTEN).await;
    }
    let left = fixture.state.look(query.id).await.unwrap();
    assert!(left.has_query && left.is_done, "{left:?}");
    query.set_told();
    fixture.cleaned().await;
}

#[tokio::test]
async fn of_a_result_that_could_not_be_given_everything_stays_until_its_client_was_told() {
    let fixture = Fixture::new(0, sweeps_in_distrust_only()).await;
    let query = Arc::new(Query::new(OURS.parse().unwrap(), "SELECT".into(), ClientContext::default()));
    fixture.queries.insert(Arc::clone(&query));
    for key in [ObjectKey::Query(query.id), ObjectKey::Plan(query.id), ObjectKey::Done(query.id)] {
        fixture.state.create(key, Bytes::from_static(b"content")).await.unwrap();
    }
    query.set_undelivered();
    query.fail(Query::canceled());
    fixture.cleaner.forget_plan(query.id);
    fixture.cleaner.clean(query.id);
    // Another query is asked for later, and gone.
    let other = "20261120_061411_00002_abcde";
    fixture.write(other);
    fixture.cleaner.clean(other.parse().unwrap());
    let since = Instant::now();
    while fixture.exists(other) {
        assert!(since.elapsed() < PATIENCE, "it stays");
        tokio::time::sleep(OFTEN).await;
    }
    assert!(fixture.exists(&format!("{OURS}/0")), "its output is removed");
    assert!(fixture.state.look(query.id).await.unwrap().has_plan);
    query.set_told();
    fixture.cleaned().await;
}
