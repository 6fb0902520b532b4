//! Reads what the tasks of the root stage committed, from any position.
//!
//! The client gets the rows of each task from one version of its output. What it has got of a task may be computed again
//! all the same, by a coordinator that does not know that it was read:
//!
//! - *The task that the position is in*: then nobody knows where to go on, and the query fails.
//! - *A task before it, alone*: the client has all of an earlier version, and that is as good as the later one, whether the
//!   stage is determinate or not: both read the same, and nobody reads the output of a root task but the client.
//! - *A task before it, because what it reads is not what it was*: then all tasks of the stage are void with it, and that of
//!   the position among them.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base::{Error, ErrorCode, QueryId, Result};
use exchange::{CommitRecord, ExchangeManager};
use tokio::sync::mpsc;

use super::position::Position;
use crate::dispatch::{Dispatcher, NextOutput, RootOutput};

/// How many batches of a result are read ahead of the client.
pub(super) const RESULT_BATCH_COUNT_MAX: usize = 2;
/// How often an output is read on that the store does not give.
const READ_TRIES_MAX: u32 = 5;
/// How much longer the wait before each further try is.
const READ_DELAY: Duration = Duration::from_millis(200);

/// A batch of a result, and where it is from.
#[derive(Clone, Debug)]
pub struct ResultBatch {
    /// The task of the root stage that wrote it.
    pub task: u32,
    /// The version of the task's output.
    pub generation: u32,
    /// Its number within that output, counted from 0.
    pub batch: u64,
    /// The rows.
    pub rows: RecordBatch,
}

/// Whether the rows of an output may be given to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadConsent {
    /// They may, and the output will not be computed again.
    Given,
    /// They may not: the output does not count any more.
    Void,
}

/// Reads the result of one query.
#[derive(Clone, Debug)]
pub struct ResultReader {
    /// The query.
    pub query: QueryId,
    /// What was committed.
    pub root: Arc<RootOutput>,
    /// The columns of the result.
    pub schema: SchemaRef,
    /// Where it is read.
    pub exchange: Arc<ExchangeManager>,
    /// Who is told how far the client is.
    pub dispatcher: Dispatcher,
}

impl ResultReader {
    /// Begins to read after a position. Batches come from the one that the position names; of that, the client has
    /// some rows.
    ///
    /// Fails with `EXCHANGE_DATA_LOST` if the output that the position is in does not count any more.
    pub async fn open(&self, position: Option<Position>) -> Result<mpsc::Receiver<Result<ResultBatch>>> {
        let (task, batch) = position.map_or((0, 0), |position| (position.task, position.batch));
        if let Some(position) = position {
            for task in 0..position.task {
                self.dispatcher.result_read(self.query, task, None).await?;
            }
            if self.begin(position.task, position.generation).await? == ReadConsent::Void {
                let Position { task, generation, .. } = position;
                let text = format!(
                    "Task {task} of the result was computed again after the client had read of version {generation}"
                );
                return Err(Error::new(ErrorCode::EXCHANGE_DATA_LOST, text));
            }
        }
        let (batches, received) = mpsc::channel(RESULT_BATCH_COUNT_MAX);
        let reader = self.clone();
        tokio::spawn(async move {
            if let Err(error) = reader.read(task, batch, &batches).await {
                // A client that is gone needs no error.
                let _ = batches.send(Err(error)).await;
            }
        });
        Ok(received)
    }

    /// The client is about to get rows of a task.
    pub async fn begin(&self, task: u32, generation: u32) -> Result<ReadConsent> {
        self.dispatcher.result_read(self.query, task, Some(generation)).await
    }

    /// Reads task after task until all are read or nobody listens.
    async fn read(
        &self,
        mut task: u32,
        mut batch: u64,
        batches: &mpsc::Sender<Result<ResultBatch>>,
    ) -> Result<()> {
        let mut tries = 0;
        // Tasks from this one on have given nothing so far.
        let mut unread = task;
        let mut rollbacks = self.root.rollbacks();
        loop {
            let next = tokio::select! {
                next = self.root.next(task) => next?,
                () = batches.closed() => return Ok(()),
            };
            if let NextOutput::End = next {
                // Nobody is told that everything was there before that is on record.
                self.root.finished().await?;
            }
            let rollbacks_now = self.root.rollbacks();
            let are_same = std::mem::replace(&mut rollbacks, rollbacks_now) == rollbacks_now;
            if !are_same && batch == 0 && task != unread {
                // Tasks that had no rows may have some now. Who listens finds out whether what was sent counts.
                task = unread;
                continue;
            }
            let NextOutput::Output(record) = next else {
                return Ok(());
            };
            let error = match self.read_output(&record, task, &mut batch, batches).await {
                Ok(()) if batches.is_closed() => return Ok(()),
                Ok(()) => {
                    if batch > 0 {
                        unread = task + 1;
                    }
                    (task, batch, tries) = (task + 1, 0, 0);
                    continue;
                }
                Err(error) => error,
            };
            if let Some(output) = error.lost_output() {
                self.dispatcher.output_lost(output, error).await?;
                self.root.replaced(output).await?;
                batch = 0;
            } else if error.code() == ErrorCode::EXCHANGE_STORE_ERROR && tries < READ_TRIES_MAX {
                tries += 1;
                tokio::time::sleep(READ_DELAY * tries).await;
            } else {
                return Err(error);
            }
        }
    }

    /// Reads an output from a batch on. `batch` counts on as batches are sent.
    async fn read_output(
        &self,
        record: &CommitRecord,
        task: u32,
        batch: &mut u64,
        batches: &mpsc::Sender<Result<ResultBatch>>,
    ) -> Result<()> {
        let generation = record.attempt().generation;
        let options = self.exchange.options().read();
        let mut rows = self.exchange.open_output(record, Arc::clone(&self.schema), &options);
        let mut number = 0;
        while let Some(next) = rows.next_batch().await? {
            if number >= *batch {
                let sent = ResultBatch { task, generation, batch: number, rows: next };
                if batches.send(Ok(sent)).await.is_err() {
                    return Ok(());
                }
                *batch = number + 1;
            }
            number += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "result_reader_tests.rs"]
mod tests;
