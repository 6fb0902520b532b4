//! A connector whose splits do what a test wants.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use base::Result;
use bytes::Bytes;
use connector::{Connector, Scan, Split, SplitOptions, TableHandle, TableMetadata};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::coordinator::PATIENCE;

pub const BATCH_ROWS: i64 = 8192;

/// What the reading of a split does.
#[derive(Clone, Copy, Debug)]
pub enum Behaviour {
    /// So many rows, counted from 0.
    Rows(i64),
    /// Rows without end.
    Endless,
    /// Waits until released, then gives one row.
    Wait,
    /// Keeps its thread busy until released, then gives one row.
    Spin,
    /// Panics.
    Panic,
}

impl Behaviour {
    /// A split that is read so.
    pub fn split(self) -> Split {
        let (kind, rows) = match self {
            Behaviour::Rows(rows) => (0, rows),
            Behaviour::Endless => (1, 0),
            Behaviour::Wait => (2, 0),
            Behaviour::Spin => (3, 0),
            Behaviour::Panic => (4, 0),
        };
        let payload: Vec<u8> = [i64::to_be_bytes(kind), i64::to_be_bytes(rows)].concat();
        Split { payload: Bytes::from(payload), size_bytes: 8 * rows as u64 }
    }

    fn of(split: &Split) -> Self {
        let number = |at: usize| i64::from_be_bytes(split.payload[at..at + 8].try_into().unwrap());
        match number(0) {
            0 => Behaviour::Rows(number(8)),
            1 => Behaviour::Endless,
            2 => Behaviour::Wait,
            3 => Behaviour::Spin,
            _ => Behaviour::Panic,
        }
    }
}

/// The schema of its one table.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// The connector, and what a test sees and does of its splits.
#[derive(Debug)]
pub struct TestConnector {
    /// A permit for each split that began to be read.
    started: Arc<Semaphore>,
    /// A permit for each split whose reading was over, for whatever reason.
    dropped: Arc<Semaphore>,
    spin: Arc<AtomicBool>,
    wait: watch::Sender<bool>,
}

impl TestConnector {
    pub fn new() -> Arc<Self> {
        Arc::new(TestConnector {
            started: Arc::new(Semaphore::new(0)),
            dropped: Arc::new(Semaphore::new(0)),
            spin: Arc::new(AtomicBool::new(true)),
            wait: watch::Sender::new(true),
        })
    }

    /// Lets splits that wait or spin go on.
    pub fn release(&self) {
        self.spin.store(false, Ordering::SeqCst);
        self.wait.send_replace(false);
    }

    /// Waits until so many splits began to be read.
    pub async fn splits_started(&self, count: u32) {
        permits(&self.started, count).await;
    }

    /// Waits until so many splits are read no more.
    pub async fn splits_dropped(&self, count: u32) {
        permits(&self.dropped, count).await;
    }
}

async fn permits(semaphore: &Semaphore, count: u32) {
    timeout(PATIENCE, semaphore.acquire_many(count)).await.expect("it must happen").unwrap().forget();
}

#[async_trait]
impl Connector for TestConnector {
    async fn schemas(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn tables(&self, _schema: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn table(&self, _schema: &str, _table: &str) -> Result<Option<TableMetadata>> {
        Ok(None)
    }

    async fn splits(&self, _: &Scan, _: &SplitOptions) -> Result<BoxStream<'static, Result<Vec<Split>>>> {
        Ok(Box::pin(futures::stream::empty()))
    }

    fn open(&self, _: &Scan, split: &Split, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let behaviour = Behaviour::of(split);
        let mut wait = self.wait.subscribe();
        let released = Box::pin(async move {
            wait.wait_for(|waits| !waits).await.ok();
        });
        Ok(Box::pin(Reading {
            behaviour,
            next: 0,
            end: match behaviour {
                Behaviour::Rows(rows) => rows,
                Behaviour::Endless => i64::MAX,
                Behaviour::Wait | Behaviour::Spin | Behaviour::Panic => 1,
            },
            is_started: false,
            started: Arc::clone(&self.started),
            dropped: Arc::clone(&self.dropped),
            spin: Arc::clone(&self.spin),
            released,
        }))
    }
}

/// The scan of the connector's table.
pub fn scan() -> Scan {
    Scan { table: TableHandle(Bytes::new()), schema: schema(), predicate: None, limit: None }
}

struct Reading {
    behaviour: Behaviour,
    next: i64,
    end: i64,
    is_started: bool,
    started: Arc<Semaphore>,
    dropped: Arc<Semaphore>,
    spin: Arc<AtomicBool>,
    released: BoxFuture<'static, ()>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.dropped.add_permits(1);
    }
}

impl Stream for Reading {
    type Item = datafusion::error::Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.is_started {
            self.is_started = true;
            self.started.add_permits(1);
        }
        if self.next >= self.end {
            return Poll::Ready(None);
        }
        match self.behaviour {
            Behaviour::Rows(_) | Behaviour::Endless => {}
            Behaviour::Wait => {
                if self.released.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
            Behaviour::Spin => {
                while self.spin.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            }
            Behaviour::Panic => panic!("the split is cursed"),
        }
        let to = (self.next + BATCH_ROWS).min(self.end);
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(self.next..to));
        self.next = to;
        Poll::Ready(Some(Ok(RecordBatch::try_new(schema(), vec![column])?)))
    }
}

impl RecordBatchStream for Reading {
    fn schema(&self) -> SchemaRef {
        schema()
    }
}
