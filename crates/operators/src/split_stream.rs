//! The rows of a scan's splits, one split after the other.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use connector::{Connector, Scan, Split};
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::BaselineMetrics;
use futures::{Stream, StreamExt};

use crate::TaskInputs;
use crate::leaf::conform;

pub(crate) struct SplitStream {
    pub number: u32,
    pub scan: Scan,
    pub splits: VecDeque<Split>,
    pub open: Option<SendableRecordBatchStream>,
    /// Rows still wanted. None: all.
    pub rows_left: Option<u64>,
    pub connector: Arc<dyn Connector>,
    pub inputs: Arc<dyn TaskInputs>,
    pub context: Arc<TaskContext>,
    pub metrics: BaselineMetrics,
}

impl SplitStream {
    fn next_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        loop {
            if self.rows_left == Some(0) {
                self.skip_the_rest();
                return Poll::Ready(None);
            }
            let Some(open) = &mut self.open else {
                let Some(split) = self.splits.pop_front() else {
                    return Poll::Ready(None);
                };
                // Connectors do their work when polled, so opening the next split ahead would gain nothing.
                match self.connector.open(&self.scan, &split, Arc::clone(&self.context)) {
                    Ok(stream) => self.open = Some(stream),
                    Err(error) => return Poll::Ready(Some(Err(connector::error::into_datafusion(error)))),
                }
                continue;
            };
            match ready!(open.poll_next_unpin(cx)) {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => return Poll::Ready(Some(self.checked(batch))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.open = None;
                    self.inputs.split_completed(self.number);
                }
            }
        }
    }

    /// The part of the batch that is wanted, under the scan's own schema.
    fn checked(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let batch = match &mut self.rows_left {
            Some(left) if *left < batch.num_rows() as u64 => {
                let wanted = batch.slice(0, usize::try_from(*left).unwrap_or(usize::MAX));
                *left = 0;
                wanted
            }
            Some(left) => {
                *left -= batch.num_rows() as u64;
                batch
            }
            None => batch,
        };
        conform(batch, &self.scan.schema)
    }

    /// Splits that need not be read count as read.
    fn skip_the_rest(&mut self) {
        let open = usize::from(self.open.take().is_some());
        for _ in 0..open + self.splits.len() {
            self.inputs.split_completed(self.number);
        }
        self.splits.clear();
    }
}

impl Stream for SplitStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let started = std::time::Instant::now();
        let poll = self.next_batch(cx);
        self.metrics.elapsed_compute().add_elapsed(started);
        self.metrics.record_poll(poll)
    }
}

impl RecordBatchStream for SplitStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.scan.schema)
    }
}
