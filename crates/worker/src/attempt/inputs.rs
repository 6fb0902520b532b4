//! What the leaves of an attempt's plan read, counted on the way.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use base::{Error, Failure};
use connector::error::into_datafusion;
use connector::{Catalogs, Connector, Scan, Split, SplitOptions, TableHandle, TableMetadata};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use exchange::direct::{DirectReadOptions, DirectReader, DirectSource};
use exchange::{ExchangeManager, ReadOptions, SourceHandle};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use operators::TaskInputs;

use super::counters::{AttemptCounters, RowCounter};

/// What one attempt reads.
pub(crate) struct AttemptInputs {
    /// The catalogs of the node.
    pub(crate) catalogs: Catalogs,
    /// For each scan of the fragment, the splits to read.
    pub(crate) scans: Vec<ScanInput>,
    /// For each input of the fragment, the outputs to read, in order.
    pub(crate) inputs: Vec<InputSources>,
    pub(crate) exchange: Arc<ExchangeManager>,
    pub(crate) read_options: ReadOptions,
    pub(crate) direct_options: DirectReadOptions,
    pub(crate) counters: Arc<AttemptCounters>,
    /// Takes the failure of an input that is the fault of others.
    pub(crate) input_failure: Arc<OnceLock<Failure>>,
}

/// The outputs that an input reads.
pub(crate) enum InputSources {
    Committed(Vec<SourceHandle>),
    Direct(DirectInput),
}

/// Outputs of attempts that run at the same time.
pub(crate) struct DirectInput {
    sources: Vec<DirectSource>,
    is_opened: AtomicBool,
}

impl DirectInput {
    pub(crate) fn new(sources: Vec<DirectSource>) -> Self {
        DirectInput { sources, is_opened: AtomicBool::new(false) }
    }

    fn open(&self) -> Vec<DirectSource> {
        self.is_opened.store(true, Ordering::Relaxed);
        self.sources.clone()
    }
}

impl Drop for AttemptInputs {
    /// What no operator asked for is closed too: whoever produces it waits for that.
    fn drop(&mut self) {
        for input in &mut self.inputs {
            if let InputSources::Direct(DirectInput { sources, is_opened }) = input
                && !*is_opened.get_mut()
            {
                let (sources, nothing) = (std::mem::take(sources), Arc::new(Schema::empty()));
                drop(DirectReader::new(sources, nothing, self.direct_options.clone()));
            }
        }
    }
}

/// The splits of a scan, and how many of them were read.
#[derive(Debug, Default)]
pub(crate) struct ScanInput {
    splits: Vec<Split>,
    completed: AtomicUsize,
}

impl From<Vec<Split>> for ScanInput {
    fn from(splits: Vec<Split>) -> Self {
        ScanInput { splits, completed: AtomicUsize::new(0) }
    }
}

impl AttemptInputs {
    fn sources(&self, input: u32) -> Result<&InputSources> {
        self.inputs.get(input as usize).ok_or_else(|| {
            into_datafusion(Error::internal(format!("The task was not told what input {input} reads")))
        })
    }

    /// Lets the task yield now and then, and counts what is read.
    fn metered(
        &self,
        schema: SchemaRef,
        stream: impl Stream<Item = base::Result<RecordBatch>> + Send + 'static,
    ) -> SendableRecordBatchStream {
        let stream = stream.map_err(into_datafusion);
        let stream: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(schema, stream));
        metered(stream, &self.counters, |counters| &counters.exchanged)
    }

    /// The same of attempts that run at the same time. To wait for their rows is not to be stuck.
    fn metered_direct(&self, schema: SchemaRef, reader: DirectReader) -> SendableRecordBatchStream {
        let input_failure = Arc::clone(&self.input_failure);
        let rows = self.counters.waits.stream(reader).map_err(move |error| {
            let failure = Failure::from(error);
            let error = failure.error.clone();
            // Of several inputs that fail, the first one counts.
            input_failure.set(failure).ok();
            error
        });
        self.metered(schema, rows)
    }
}

impl TaskInputs for AttemptInputs {
    fn splits(&self, scan: u32) -> Vec<Split> {
        self.scans.get(scan as usize).map(|scan| scan.splits.clone()).unwrap_or_default()
    }

    fn connector(&self, catalog: &str) -> Result<Arc<dyn Connector>> {
        let connector = self.catalogs.require(catalog).map_err(into_datafusion)?;
        Ok(Arc::new(MeteredConnector {
            connector: Arc::clone(connector),
            counters: Arc::clone(&self.counters),
        }))
    }

    fn exchange(&self, input: u32, schema: SchemaRef) -> Result<SendableRecordBatchStream> {
        match self.sources(input)? {
            InputSources::Committed(handles) => {
                let rows = self.exchange.open(handles.clone(), Arc::clone(&schema), &self.read_options);
                Ok(self.metered(schema, rows))
            }
            InputSources::Direct(input) => {
                let options = self.direct_options.clone();
                let reader = DirectReader::new(input.open(), Arc::clone(&schema), options);
                Ok(self.metered_direct(schema, reader))
            }
        }
    }

    fn exchange_streams(&self, input: u32, schema: SchemaRef) -> Result<Vec<SendableRecordBatchStream>> {
        let streams = match self.sources(input)? {
            InputSources::Committed(handles) => {
                let open = |handle: &SourceHandle| {
                    self.exchange.open_one(handle.clone(), Arc::clone(&schema), &self.read_options)
                };
                let rows = handles.iter().map(open);
                rows.map(|rows| self.metered(Arc::clone(&schema), rows)).collect()
            }
            InputSources::Direct(input) => {
                let readers = DirectReader::each(input.open(), Arc::clone(&schema), &self.direct_options);
                let rows = readers.into_iter();
                rows.map(|reader| self.metered_direct(Arc::clone(&schema), reader)).collect()
            }
        };
        Ok(streams)
    }

    fn split_completed(&self, scan: u32) {
        self.counters.completed_splits.add(1);
        if let Some(scan) = self.scans.get(scan as usize) {
            let number = scan.completed.fetch_add(1, Ordering::Relaxed);
            let size_bytes = scan.splits.get(number).map_or(0, |split| split.size_bytes);
            self.counters.completed_split_bytes.add(size_bytes);
        }
    }
}

/// A connector whose scans are counted. A worker only opens splits.
struct MeteredConnector {
    connector: Arc<dyn Connector>,
    counters: Arc<AttemptCounters>,
}

impl fmt::Debug for MeteredConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connector.fmt(f)
    }
}

#[async_trait]
impl Connector for MeteredConnector {
    async fn schemas(&self) -> base::Result<Vec<String>> {
        self.connector.schemas().await
    }

    async fn tables(&self, schema: &str) -> base::Result<Vec<String>> {
        self.connector.tables(schema).await
    }

    async fn table(&self, schema: &str, table: &str) -> base::Result<Option<TableMetadata>> {
        self.connector.table(schema, table).await
    }

    fn is_parallel(&self, table: &TableHandle) -> bool {
        self.connector.is_parallel(table)
    }

    async fn splits(
        &self,
        scan: &Scan,
        options: &SplitOptions,
    ) -> base::Result<BoxStream<'static, base::Result<Vec<Split>>>> {
        self.connector.splits(scan, options).await
    }

    fn open(
        &self,
        scan: &Scan,
        split: &Split,
        context: Arc<TaskContext>,
    ) -> base::Result<SendableRecordBatchStream> {
        let stream = self.connector.open(scan, split, context)?;
        Ok(metered(stream, &self.counters, |counters| &counters.scanned))
    }
}

fn metered(
    inner: SendableRecordBatchStream,
    counters: &Arc<AttemptCounters>,
    counter: fn(&AttemptCounters) -> &RowCounter,
) -> SendableRecordBatchStream {
    make_cooperative(Box::pin(MeteredStream { inner, counters: Arc::clone(counters), counter }))
}

struct MeteredStream {
    inner: SendableRecordBatchStream,
    counters: Arc<AttemptCounters>,
    counter: fn(&AttemptCounters) -> &RowCounter,
}

impl Stream for MeteredStream {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(batch))) = &polled {
            (self.counter)(&self.counters).add(batch);
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl RecordBatchStream for MeteredStream {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}
