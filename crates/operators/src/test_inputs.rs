//! A connector and task inputs for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use connector::{Connector, Scan, Split, SplitOptions, TableHandle, TableMetadata};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionConfig;
use futures::stream::BoxStream;

use crate::{TaskInputs, TaskInputsExtension, task_context};

/// One column of numbers.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

pub(crate) fn batch(numbers: &[i64]) -> RecordBatch {
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(numbers.to_vec()))]).unwrap()
}

pub(crate) fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| {
        batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
    };
    batches.iter().flat_map(column).collect()
}

pub(crate) fn scan(limit: Option<u64>) -> Scan {
    Scan { table: TableHandle(Bytes::from_static(b"table")), schema: schema(), predicate: None, limit }
}

fn stream(batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    let batches = futures::stream::iter(batches.into_iter().map(Ok));
    Box::pin(RecordBatchStreamAdapter::new(schema(), batches))
}

/// A split `b"7"` has the rows 70 to 79.
#[derive(Debug)]
pub(crate) struct TenRowsPerSplit;

#[async_trait]
impl Connector for TenRowsPerSplit {
    async fn schemas(&self) -> base::Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn tables(&self, _schema: &str) -> base::Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn table(&self, _schema: &str, _table: &str) -> base::Result<Option<TableMetadata>> {
        Ok(None)
    }

    async fn splits(
        &self,
        _scan: &Scan,
        _options: &SplitOptions,
    ) -> base::Result<BoxStream<'static, base::Result<Vec<Split>>>> {
        Ok(Box::pin(futures::stream::empty()))
    }

    fn open(
        &self,
        _scan: &Scan,
        split: &Split,
        _context: Arc<TaskContext>,
    ) -> base::Result<SendableRecordBatchStream> {
        let number: i64 = std::str::from_utf8(&split.payload).unwrap().parse().unwrap();
        let rows: Vec<i64> = (number * 10..number * 10 + 10).collect();
        Ok(stream(vec![batch(&rows[..4]), batch(&[]), batch(&rows[4..])]))
    }
}

/// Three splits for every scan; an exchange with the given batches, one producer each.
#[derive(Default)]
pub(crate) struct TestInputs {
    pub exchange: Vec<RecordBatch>,
    pub completed: AtomicUsize,
}

impl TaskInputs for TestInputs {
    fn splits(&self, _scan: u32) -> Vec<Split> {
        [1, 2, 3].map(|n| Split { payload: Bytes::from(n.to_string()), size_bytes: 80 }).to_vec()
    }

    fn connector(&self, _catalog: &str) -> Result<Arc<dyn Connector>> {
        Ok(Arc::new(TenRowsPerSplit))
    }

    fn exchange(&self, _input: u32, _schema: SchemaRef) -> Result<SendableRecordBatchStream> {
        Ok(stream(self.exchange.clone()))
    }

    fn exchange_streams(&self, _input: u32, _schema: SchemaRef) -> Result<Vec<SendableRecordBatchStream>> {
        Ok(self.exchange.iter().map(|batch| stream(vec![batch.clone()])).collect())
    }

    fn split_completed(&self, _scan: u32) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn context_of(inputs: &Arc<TestInputs>) -> Arc<TaskContext> {
    let inputs: Arc<dyn TaskInputs> = Arc::<TestInputs>::clone(inputs);
    let config = SessionConfig::new().with_extension(Arc::new(TaskInputsExtension(inputs)));
    Arc::new(task_context(config, Arc::default()))
}
