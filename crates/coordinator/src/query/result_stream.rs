//! Reads what the tasks of the root stage write, while they run: the result of a query that is not retried.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use base::{Error, ErrorCode, QueryId, Result};
use exchange::direct::{
    ConsumerId, DirectReadError, DirectReadOptions, DirectReader, DirectSource, OutputSlice,
};
use futures::StreamExt;
use protocol::direct::DirectTransports;
use tokio::sync::mpsc;

use super::position::Position;
use super::result_reader::{RESULT_BATCH_COUNT_MAX, ResultBatch};
use crate::dispatch::{Producer, RootOutput};

/// Who the coordinator is to the tasks of root stages.
const CONSUMER: ConsumerId = ConsumerId(u64::MAX);

/// How the outputs of running attempts are read.
#[derive(Clone, Debug)]
pub struct DirectInput {
    /// The ways to the workers.
    pub transports: DirectTransports,
    /// How much is read ahead, and how long a worker may be silent.
    pub options: DirectReadOptions,
}

impl DirectInput {
    fn reader(&self, producers: &[Producer], schema: SchemaRef) -> Result<DirectReader> {
        let source = |producer: &Producer| {
            let transport = self.transports.to(&producer.uri, producer.incarnation)?;
            let slice = OutputSlice { producer: producer.attempt, consumer: CONSUMER, partitions: 0..1 };
            Ok(DirectSource { slice, transport })
        };
        let sources = producers.iter().map(source).collect::<Result<_>>()?;
        Ok(DirectReader::new(sources, schema, self.options.clone()))
    }
}

/// The result of one query, which can be read once.
#[derive(Debug)]
pub struct ResultStream {
    query: QueryId,
    root: Arc<RootOutput>,
    schema: SchemaRef,
    input: DirectInput,
    is_read: AtomicBool,
}

impl ResultStream {
    /// The result of a query, which has these columns.
    pub fn new(query: QueryId, root: Arc<RootOutput>, schema: SchemaRef, input: DirectInput) -> Self {
        ResultStream { query, root, schema, input, is_read: AtomicBool::new(false) }
    }

    /// Begins to read.
    ///
    /// # Errors
    /// If it was begun before: what was read is gone.
    pub fn open(&self, position: Option<Position>) -> Result<mpsc::Receiver<Result<ResultBatch>>> {
        if position.is_some() || self.is_read.swap(true, Ordering::AcqRel) {
            let text = format!("The rows of query {} are not kept, and cannot be read again", self.query);
            return Err(Error::new(ErrorCode::EXCHANGE_DATA_LOST, text));
        }
        let (batches, received) = mpsc::channel(RESULT_BATCH_COUNT_MAX);
        let reading = Reading {
            root: Arc::clone(&self.root),
            schema: Arc::clone(&self.schema),
            input: self.input.clone(),
            batches,
        };
        tokio::spawn(reading.run());
        Ok(received)
    }

    /// Reads everything, and drops it. Ends early if the query fails.
    pub async fn drain(&self) {
        if let Ok(mut batches) = self.open(None) {
            while let Some(Ok(_)) = batches.recv().await {}
        }
    }
}

struct Reading {
    root: Arc<RootOutput>,
    schema: SchemaRef,
    input: DirectInput,
    batches: mpsc::Sender<Result<ResultBatch>>,
}

impl Reading {
    async fn run(self) {
        let read = tokio::select! {
            read = self.read() => read,
            // What has not reached the client by then never will.
            error = self.root.failed() => Err(error),
            () = self.batches.closed() => return,
        };
        if let Err(error) = read {
            // A client that is gone needs no error.
            let _ = self.batches.send(Err(error)).await;
        }
    }

    async fn read(&self) -> Result<()> {
        let producers = self.root.producers().await?;
        let mut reader = self.input.reader(&producers, Arc::clone(&self.schema))?;
        let mut batch = 0;
        while let Some(rows) = reader.next().await {
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) => return Err(self.cause_of(error).await),
            };
            let read = ResultBatch { task: 0, generation: 0, batch, rows };
            if self.batches.send(Ok(read)).await.is_err() {
                return Ok(());
            }
            batch += 1;
        }
        // That everything was there is told when it is known that nothing failed.
        self.root.finished().await
    }

    /// Why the rows cannot be read. What the scheduler says of a worker or an attempt is nearer to the cause than
    /// what its reader sees, and comes in a moment.
    async fn cause_of(&self, error: DirectReadError) -> Error {
        if matches!(error, DirectReadError::Corrupt { .. } | DirectReadError::Local(_)) {
            return error.into();
        }
        let told = tokio::time::timeout(self.input.options.error_duration_max, self.root.failed()).await;
        told.unwrap_or_else(|_| error.into())
    }
}

#[cfg(test)]
#[path = "result_stream_tests.rs"]
mod tests;
