//! What the tests share: an exchange in a temporary directory, batches, and a store that misbehaves.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use base::{AttemptId, Epoch, QueryId, StageId, TaskId};
use bytes::Bytes;
use exchange::store::StoreResult;
use exchange::{
    CommitRecord, Committed, CreateOutcome, ExchangeManager, ExchangeOptions, ExchangeSink, ExchangeStore,
    LocalStore, ObjectMeta, SinkOptions, SourceHandle, StoreError, StoreErrorKind, Upload,
};
use tempfile::TempDir;

pub struct Exchange {
    pub manager: ExchangeManager,
    pub directory: TempDir,
    pub spill: TempDir,
}

impl Exchange {
    pub fn new() -> Self {
        Exchange::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut ExchangeOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = ExchangeOptions {
            base_directories: vec![directory.path().to_str().unwrap().to_string()],
            ..ExchangeOptions::default()
        };
        change(&mut options);
        let manager = ExchangeManager::new(options).unwrap();
        Exchange { manager, directory, spill: tempfile::tempdir().unwrap() }
    }

    pub fn sink_options(&self) -> SinkOptions {
        self.manager.options().sink(self.spill.path().join("attempt"))
    }

    pub fn sink(&self, attempt: AttemptId, schema: &SchemaRef, partitions: u32) -> ExchangeSink {
        self.manager.sink(attempt, Arc::clone(schema), partitions, self.sink_options()).unwrap()
    }

    /// Writes batches to partitions and commits.
    pub async fn write(
        &self,
        attempt: AttemptId,
        schema: &SchemaRef,
        partitions: u32,
        pushes: &[(u32, RecordBatch)],
    ) -> Committed {
        let mut sink = self.sink(attempt, schema, partitions);
        for (partition, batch) in pushes {
            sink.push(*partition, batch.clone()).await.unwrap();
        }
        sink.finish().await.unwrap()
    }

    /// The rows of a range of partitions of an output, as one batch.
    pub async fn read(
        &self,
        record: &CommitRecord,
        schema: &SchemaRef,
        range: Range<u32>,
    ) -> base::Result<RecordBatch> {
        self.read_all(SourceHandle::of(record, range).into_iter().collect(), schema).await
    }

    pub async fn read_all(
        &self,
        handles: Vec<SourceHandle>,
        schema: &SchemaRef,
    ) -> base::Result<RecordBatch> {
        // Handles travel to workers in their binary form.
        let handles = handles.iter().map(|handle| SourceHandle::decode(&handle.encode()).unwrap()).collect();
        let mut reader = self.manager.open(handles, Arc::clone(schema), &self.manager.options().read());
        let mut batches = Vec::new();
        while let Some(batch) = reader.next_batch().await? {
            assert_eq!(&batch.schema(), schema);
            batches.push(batch);
        }
        Ok(concat_batches(schema, &batches).unwrap())
    }

    /// Every file in the exchange, temporary ones too.
    pub fn files(&self) -> usize {
        count_entries(self.directory.path())
    }

    pub fn assert_empty(&self) {
        assert_eq!(self.files(), 0, "the exchange directory is empty");
        assert_eq!(count_entries(self.spill.path()), 0, "the spill directory is empty");
    }
}

/// Files and directories below a path.
pub fn count_entries(path: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    entries.map(|entry| 1 + count_entries(&entry.unwrap().path())).sum()
}

pub fn query() -> QueryId {
    "20261120_061411_00007_abcde".parse().unwrap()
}

pub fn attempt(partition: u32, number: u32) -> AttemptId {
    let task = TaskId { query: query(), stage: StageId(1), partition };
    AttemptId { task, generation: 0, epoch: Epoch(0), number }
}

/// Rows that say where they come from.
pub fn words(range: Range<i64>) -> RecordBatch {
    let words: Vec<_> =
        range.clone().map(|n| format!("a word that is long enough for a buffer: {n}")).collect();
    RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef),
        ("w", Arc::new(StringViewArray::from_iter_values(words)) as ArrayRef),
    ])
    .unwrap()
}

/// A store that fails in a chosen way for so many creates.
#[derive(Debug)]
pub struct FaultyStore {
    pub inner: LocalStore,
    pub fault: Fault,
    pub faults_left: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The create is applied, and its answer lost.
    LostAnswer,
    /// The create is not applied.
    Refused,
    /// The create is not applied, and "already exists" is the answer.
    FalseConflict,
}

impl FaultyStore {
    pub fn new(path: &Path, fault: Fault, faults: usize) -> Self {
        FaultyStore { inner: LocalStore::new(path, false), fault, faults_left: AtomicUsize::new(faults) }
    }

    fn is_faulty(&self) -> bool {
        let left = self.faults_left.load(Ordering::Relaxed);
        self.faults_left.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }
}

#[async_trait]
impl ExchangeStore for FaultyStore {
    async fn upload(&self, key: &str) -> StoreResult<Box<dyn Upload>> {
        self.inner.upload(key).await
    }

    async fn create(&self, key: &str, content: Bytes) -> StoreResult<CreateOutcome> {
        if !self.is_faulty() {
            return self.inner.create(key, content).await;
        }
        match self.fault {
            Fault::FalseConflict => return Ok(CreateOutcome::AlreadyExists),
            Fault::LostAnswer => drop(self.inner.create(key, content).await?),
            Fault::Refused => {}
        }
        Err(StoreError::new(StoreErrorKind::Unavailable, key, "injected"))
    }

    async fn read(&self, key: &str, range: Range<u64>) -> StoreResult<Bytes> {
        self.inner.read(key, range).await
    }

    async fn read_all(&self, key: &str, bytes_max: u64) -> StoreResult<Bytes> {
        self.inner.read_all(key, bytes_max).await
    }

    async fn list(&self, prefix: &str) -> StoreResult<Vec<ObjectMeta>> {
        self.inner.list(prefix).await
    }

    async fn list_groups(&self) -> StoreResult<Vec<String>> {
        self.inner.list_groups().await
    }

    async fn remove(&self, key: &str) -> StoreResult<()> {
        self.inner.remove(key).await
    }

    async fn remove_prefix(&self, prefix: &str) -> StoreResult<()> {
        self.inner.remove_prefix(prefix).await
    }
}
