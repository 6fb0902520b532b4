//! What the tests of the direct exchange share.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use base::{AttemptId, Error, ErrorCode, Result};
use exchange::MemoryCharge;
use exchange::direct::{
    ConsumerId, DirectExchange, DirectReadError, DirectReadOptions, DirectReader, DirectSinkOptions,
    DirectSource, FetchRequest, FetchTransport, OutputSlice,
};
use futures::StreamExt;
use tokio::runtime::Handle;

/// A test that waits longer than this for anything has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A pool that counts, and refuses above a limit.
#[derive(Debug)]
pub struct Pool {
    pub limit: u64,
    pub used: AtomicU64,
    pub peak: AtomicU64,
    pub refusals: AtomicU64,
}

impl Pool {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Pool { limit, used: 0.into(), peak: 0.into(), refusals: 0.into() })
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::SeqCst)
    }
}

impl MemoryCharge for Pool {
    fn try_grow(&self, bytes: u64) -> Result<()> {
        let used = self.used.fetch_add(bytes, Ordering::SeqCst) + bytes;
        if used > self.limit {
            self.used.fetch_sub(bytes, Ordering::SeqCst);
            self.refusals.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "the pool is exhausted"));
        }
        self.peak.fetch_max(used, Ordering::SeqCst);
        Ok(())
    }

    fn shrink(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
    }
}

pub fn sink_options(pool: &Arc<Pool>, buffer_bytes_max: u64) -> DirectSinkOptions {
    DirectSinkOptions {
        buffer_bytes_max,
        broadcast_buffer_bytes_max: buffer_bytes_max,
        frame_bytes_target: 64 << 10,
        memory: Some(pool.clone()),
        ..DirectSinkOptions::default()
    }
}

pub fn read_options() -> DirectReadOptions {
    DirectReadOptions { wait_max: Duration::from_millis(200), ..DirectReadOptions::new(Handle::current()) }
}

pub fn numbers(range: Range<i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(range)) as _)]).unwrap()
}

pub fn schema() -> SchemaRef {
    numbers(0..0).schema()
}

pub fn slice(producer: AttemptId, consumer: u64, partitions: Range<u32>) -> OutputSlice {
    OutputSlice { producer, consumer: ConsumerId(consumer), partitions }
}

pub fn source(exchange: &DirectExchange, slice: OutputSlice) -> DirectSource {
    DirectSource { slice, transport: Arc::new(exchange.clone()) }
}

pub fn reader(exchange: &DirectExchange, slices: &[OutputSlice]) -> DirectReader {
    let sources = slices.iter().map(|slice| source(exchange, slice.clone())).collect();
    DirectReader::new(sources, schema(), read_options())
}

pub fn request(slice: &OutputSlice, token: u64) -> FetchRequest {
    FetchRequest { slice: slice.clone(), token, bytes_max: u64::MAX, wait_max: PATIENCE }
}

/// All the numbers of a reader, in the order in which they come.
pub async fn read_all(mut reader: DirectReader) -> std::result::Result<Vec<i64>, DirectReadError> {
    let mut values = Vec::new();
    while let Some(batch) = reader.next().await {
        values.extend_from_slice(batch?.column(0).as_primitive::<Int64Type>().values());
    }
    Ok(values)
}

/// Waits until a condition holds that another task brings about.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < patience, "not in time: {what}");
        tokio::task::yield_now().await;
    }
}

/// Closes what a consumer reads, as a reader does when it is dropped.
pub async fn close(exchange: &DirectExchange, slice: &OutputSlice) {
    exchange.close(slice).await.unwrap();
}
