use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use base::Epoch;
use bytes::Bytes;
use exchange::{
    CreateOutcome, ExchangeOptions, ExchangeStore, LocalStore, ObjectMeta, StoreError, StoreErrorKind, Upload,
};
use scheduler::CoreOptions;
use tempfile::TempDir;

use super::*;

const OURS: &str = "20261120_061411_00001_abcde";
const OTHERS: &str = "20261120_061411_00001_fghij";

/// A directory that refuses the first removals.
#[derive(Debug)]
struct Stubborn {
    local: LocalStore,
    refusals: AtomicU32,
}

#[async_trait]
impl ExchangeStore for Stubborn {
    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.local.upload(key).await
    }

    async fn create(&self, key: &str, content: Bytes) -> Result<CreateOutcome, StoreError> {
        self.local.create(key, content).await
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.local.read(key, range).await
    }

    async fn read_all(&self, key: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        self.local.read_all(key, bytes_max).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.local.list(prefix).await
    }

    async fn list_groups(&self) -> Result<Vec<String>, StoreError> {
        self.local.list_groups().await
    }

    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        self.local.remove(key).await
    }

    async fn remove_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        let refused = |left: u32| left.checked_sub(1);
        if self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refused).is_ok() {
            return Err(StoreError::new(StoreErrorKind::Denied, prefix, "not now"));
        }
        self.local.remove_prefix(prefix).await
    }
}

const SELDOM: Duration = Duration::from_secs(3600);
const OFTEN: Duration = Duration::from_millis(5);
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

struct Fixture {
    directory: TempDir,
    store: Arc<Stubborn>,
    cleaner: Cleaner,
}

impl Fixture {
    fn new(refusals: u32, times: SweepTimes) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Stubborn {
            local: LocalStore::new(directory.path(), false),
            refusals: AtomicU32::new(refusals),
        });
        let exchange = ExchangeManager::with_store(Arc::clone(&store) as _, ExchangeOptions::default());
        let exchange = Arc::new(exchange);
        let options = CoreOptions::default();
        let dispatcher = Dispatcher::start(Epoch(1), "abcde", options, Arc::clone(&exchange));
        let known = KnownQueries { coordinator_id: "abcde".to_owned(), dispatcher };
        let fixture = Fixture { directory, store, cleaner: Cleaner::start(exchange, known, times) };
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
    SweepTimes { interval: SELDOM, interval_in_distrust: OFTEN, distrust_period: SELDOM }
}

#[tokio::test]
async fn a_removal_that_is_refused_is_done_again() {
    let fixture = Fixture::new(3, sweeps_in_distrust_only());
    fixture.cleaner.clean(OURS.parse().unwrap());
    fixture.cleaned().await;
    assert_eq!(fixture.store.refusals.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_written_after_the_removal_goes_too() {
    let fixture = Fixture::new(0, sweeps_in_distrust_only());
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
    Fixture::new(0, times).cleaned().await;
}
