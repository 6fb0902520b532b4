//! Reads what the tasks of the root stage write, while they run: the result of a query that is not retried.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

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

/// How much of a result is read ahead of the client, in bytes: about a page.
const READ_AHEAD_BYTES: usize = 1 << 20;

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

/// The result of one query. It is read once, and a little ahead of its client: a short one is here before anybody asks.
#[derive(Debug)]
pub struct ResultStream {
    query: QueryId,
    /// None: somebody has it.
    batches: Mutex<Option<mpsc::Receiver<Result<ResultBatch>>>>,
}

impl ResultStream {
    /// Begins to read the result of a query, which has these columns.
    pub fn start(query: QueryId, root: Arc<RootOutput>, schema: SchemaRef, input: DirectInput) -> Self {
        let (batches, received) = mpsc::channel(RESULT_BATCH_COUNT_MAX);
        tokio::spawn(Reading { root, schema, input, batches }.run());
        ResultStream { query, batches: Mutex::new(Some(received)) }
    }

    /// What is read.
    ///
    /// # Errors
    /// If it was asked for before, or not from the beginning: what was read is gone.
    pub fn open(&self, position: Option<Position>) -> Result<mpsc::Receiver<Result<ResultBatch>>> {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.take().filter(|_| position.is_none()).ok_or_else(|| {
            let text = format!("The rows of query {} are not kept, and cannot be read again", self.query);
            Error::new(ErrorCode::EXCHANGE_DATA_LOST, text)
        })
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
        let mut reader = Some(self.input.reader(&producers, Arc::clone(&self.schema))?);
        let mut ahead = VecDeque::new();
        let (mut ahead_bytes, mut batch) = (0, 0);
        while reader.is_some() || !ahead.is_empty() {
            let wants_more = reader.is_some() && ahead_bytes < READ_AHEAD_BYTES;
            let next = async {
                match &mut reader {
                    Some(reader) => reader.next().await,
                    None => None,
                }
            };
            tokio::select! {
                permit = self.batches.reserve(), if !ahead.is_empty() => {
                    let (Ok(permit), Some((rows, bytes))) = (permit, ahead.pop_front()) else {
                        return Ok(());
                    };
                    ahead_bytes -= bytes;
                    permit.send(Ok(ResultBatch { task: 0, generation: 0, batch, rows }));
                    batch += 1;
                }
                next = next, if wants_more => match next {
                    Some(Ok(rows)) => {
                        let bytes = rows.get_array_memory_size();
                        ahead_bytes += bytes;
                        ahead.push_back((rows, bytes));
                    }
                    Some(Err(error)) => return Err(self.cause_of(error).await),
                    // The tasks may end, however slow the client is.
                    None => reader = None,
                },
            }
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
