use std::ops::Range;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use base::{AttemptId, Epoch, StageId, TaskId};
use exchange::ExchangeOptions;
use scheduler::CoreOptions;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::dispatch::DispatcherOptions;
use crate::query::QueryRegistry;
use crate::state::{Identity, Leadership, StateStore};

/// Rows of one batch that is written.
const BATCH_ROWS: i64 = 700;

struct Fixture {
    directory: TempDir,
    reader: ResultReader,
    _stop: DropGuard,
}

fn batch(rows: Range<i64>) -> RecordBatch {
    let texts: Vec<String> = rows.clone().map(|row| format!("text {}", row % 10)).collect();
    let keys: Int64Array = rows.collect();
    let texts = StringArray::from_iter_values(texts);
    RecordBatch::try_from_iter([("row", Arc::new(keys) as ArrayRef), ("text", Arc::new(texts))]).unwrap()
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = ExchangeOptions {
            base_directories: vec![directory.path().to_str().unwrap().to_owned()],
            ..ExchangeOptions::default()
        };
        let exchange = Arc::new(ExchangeManager::new(options).unwrap());
        let identity =
            Identity { coordinator_id: "abcde".into(), node_id: "n".into(), address: String::new() };
        let store = Arc::clone(exchange.store());
        let leadership =
            Leadership::take(Arc::clone(&store), &identity, Duration::from_secs(3600), None).await;
        let stop = CancellationToken::new();
        let dispatcher = Dispatcher::start(DispatcherOptions {
            core: CoreOptions::default(),
            state: StateStore::new(store, Arc::new(leadership)),
            exchange: Arc::clone(&exchange),
            queries: Arc::new(QueryRegistry::new(1, Duration::ZERO)),
            coordinator_ids: vec!["abcde".into()],
            stop: stop.clone(),
        });
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let root = Arc::new(RootOutput::default());
        let reader = ResultReader { query, root, schema: batch(0..1).schema(), exchange, dispatcher };
        Fixture { directory, reader, _stop: stop.drop_guard() }
    }

    fn attempt(&self, task: u32) -> AttemptId {
        self.attempt_of(task, 0)
    }

    fn attempt_of(&self, task: u32, generation: u32) -> AttemptId {
        let task = TaskId { query: self.reader.query, stage: StageId(0), partition: task };
        AttemptId { task, generation, epoch: Epoch(1), number: 0 }
    }

    /// Writes the output of a root task, in batches, and tells that it is decided.
    async fn commit(&self, task: u32, rows: Range<i64>) {
        self.commit_version(task, 0, rows).await;
    }

    async fn commit_version(&self, task: u32, generation: u32, rows: Range<i64>) {
        let attempt = self.attempt_of(task, generation);
        let exchange = &self.reader.exchange;
        let mut options = exchange.options().sink(self.directory.path().join("spill"));
        // Many frames.
        options.sink_memory_bytes_max = 16 << 10;
        let schema = Arc::clone(&self.reader.schema);
        let mut sink = exchange.sink(attempt, schema, 1, options).unwrap();
        let end = rows.end;
        for start in rows.step_by(BATCH_ROWS as usize) {
            sink.push(0, batch(start..end.min(start + BATCH_ROWS))).await.unwrap();
        }
        let committed = sink.finish().await.unwrap();
        self.reader.root.select(attempt.output(), Arc::new(committed.record));
    }

    /// Everything after a position: where each batch is from, and its first column.
    async fn read(&self, position: Option<Position>) -> Vec<(u32, u64, Vec<i64>)> {
        let mut batches = self.reader.open(position).await.unwrap();
        let mut read = Vec::new();
        while let Some(batch) = batches.recv().await {
            let batch = batch.unwrap();
            let rows = batch.rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
            read.push((batch.task, batch.batch, rows));
        }
        read
    }
}

#[tokio::test]
async fn reading_goes_on_at_any_batch_of_any_task() {
    let fixture = Fixture::new().await;
    fixture.commit(0, 0..20_000).await;
    fixture.commit(1, 0..0).await;
    fixture.commit(2, 20_000..30_000).await;
    fixture.reader.root.seal(3);
    fixture.reader.root.finish(Ok(()));
    let all = fixture.read(None).await;
    let rows: Vec<i64> = all.iter().flat_map(|(_, _, rows)| rows.clone()).collect();
    assert_eq!(rows, (0..30_000).collect::<Vec<_>>());
    assert!(all.len() > 4, "there are {} batches", all.len());
    for (at, (task, batch, rows)) in all.iter().enumerate() {
        let row = rows.len() as u64;
        let position = Position { task: *task, generation: 0, batch: *batch, row };
        let rest = fixture.read(Some(position)).await;
        // The batch that the position names comes again: who reads drops the rows that were delivered.
        assert_eq!(rest, all[at..], "from batch {batch} of task {task}");
    }
}

#[tokio::test]
async fn the_end_is_told_only_when_the_outcome_is_known() {
    let fixture = Fixture::new().await;
    fixture.commit(0, 0..10).await;
    fixture.reader.root.seal(1);
    let mut batches = fixture.reader.open(None).await.unwrap();
    assert!(batches.recv().await.unwrap().is_ok());
    assert!(batches.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Empty));
    fixture.reader.root.finish(Err(Error::new(ErrorCode::USER_CANCELED, "Query was canceled")));
    assert_eq!(batches.recv().await.unwrap().unwrap_err().code(), ErrorCode::USER_CANCELED);
    assert!(batches.recv().await.is_none());
}

#[tokio::test]
async fn an_output_that_is_lost_and_will_not_come_again_is_an_error() {
    let fixture = Fixture::new().await;
    fixture.commit(0, 0..200_000).await;
    let output = fixture.attempt(0).output();
    fixture.reader.exchange.remove_query(output.task.query).await.unwrap();
    let mut batches = fixture.reader.open(None).await.unwrap();
    let error = batches.recv().await.unwrap().unwrap_err();
    assert_eq!(error.lost_output(), Some(output));
}

#[tokio::test]
async fn rows_of_a_task_that_had_none_before_it_was_computed_again_are_not_missed() {
    // Whether the other task has an output when the first one is passed, and whether all tasks are known then.
    for (is_other_there, is_sealed) in [(false, false), (true, false), (true, true)] {
        let fixture = Fixture::new().await;
        let root = &fixture.reader.root;
        fixture.commit(0, 0..0).await;
        if is_other_there {
            fixture.commit(1, 0..0).await;
        }
        if is_sealed {
            root.seal(2);
        }
        let mut batches = fixture.reader.open(None).await.unwrap();
        // What is in commit records is read at once: it has passed what is there.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(batches.try_recv().is_err());
        root.roll_back(&[fixture.attempt(0).output(), fixture.attempt(1).output()]);
        fixture.commit_version(1, 1, 10..20).await;
        fixture.commit_version(0, 1, 0..10).await;
        root.seal(2);
        root.finish(Ok(()));
        let mut rows = Vec::new();
        while let Some(batch) = batches.recv().await {
            let batch = batch.unwrap();
            assert_eq!(batch.generation, 1);
            let keys = batch.rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
            rows.extend(keys.values().iter().copied());
        }
        assert_eq!(rows, (0..20).collect::<Vec<_>>(), "{is_other_there} {is_sealed}");
    }
}
