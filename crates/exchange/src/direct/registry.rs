//! The outputs of the attempts of a node.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use base::{AttemptId, Error, Failure, Result};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::fetch::{FetchError, FetchRequest, FetchResponse, FetchTransport, OutputSlice};
use super::handle::OutputHandle;
use super::options::DirectSinkOptions;
use super::output::Output;
use super::queues::OutputLayout;
use super::sink::DirectSink;

/// How many outputs that are gone are remembered, so that a late consumer is told so at once instead of waiting for
/// a producer that it takes for a late one.
const REMEMBERED_COUNT_MAX: usize = 4096;

/// The outputs of the attempts of a node. Cheap to clone: all clones are the same.
///
/// It is a [`FetchTransport`] too, for consumers in the same process.
#[derive(Clone, Debug, Default)]
pub struct DirectExchange {
    outputs: Arc<Mutex<Outputs>>,
}

#[derive(Debug, Default)]
struct Outputs {
    by_attempt: HashMap<AttemptId, Slot>,
    /// How the outputs that are gone failed, if they did.
    removed: HashMap<AttemptId, Option<Failure>>,
    /// They in the order in which they went.
    removed_order: VecDeque<AttemptId>,
}

#[derive(Debug)]
enum Slot {
    Here(Arc<Output>),
    /// So many consumers wait for it.
    Awaited {
        arrival: Arc<Notify>,
        waiters: usize,
    },
}

impl DirectExchange {
    /// No outputs yet.
    pub fn new() -> Self {
        DirectExchange::default()
    }

    fn outputs(&self) -> MutexGuard<'_, Outputs> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An output of an attempt that is about to start: its writing end, and what keeps it readable.
    ///
    /// Fails where the attempt has, or had, one already.
    pub fn create_output(
        &self,
        attempt: AttemptId,
        schema: SchemaRef,
        layout: OutputLayout,
        options: &DirectSinkOptions,
    ) -> Result<(DirectSink, OutputHandle)> {
        let output = Output::new(schema, layout, options)?;
        let storage = output.rows.try_lock().map(|rows| Arc::clone(rows.storage()));
        let storage = storage.map_err(|_| Error::internal("a new output is in use"))?;
        let output = Arc::new(output);
        let mut outputs = self.outputs();
        let place = outputs.by_attempt.get(&attempt);
        if matches!(place, Some(Slot::Here(_))) || outputs.removed.contains_key(&attempt) {
            return Err(Error::internal(format!("{attempt} has, or had, an output already")));
        }
        if let Some(Slot::Awaited { arrival, .. }) = place {
            arrival.notify_waiters();
        }
        outputs.by_attempt.insert(attempt, Slot::Here(Arc::clone(&output)));
        drop(outputs);
        let sink = DirectSink::new(Arc::clone(&output), storage, layout.partitions(), options);
        let registration = Registration { exchange: self.clone(), attempt };
        Ok((sink, OutputHandle { output, registration }))
    }

    /// How many outputs there are, and attempts whose output is waited for.
    pub fn len(&self) -> usize {
        self.outputs().by_attempt.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The schema of an output, waiting for it for so long.
    pub async fn schema(&self, producer: AttemptId, wait_max: Duration) -> Result<SchemaRef, FetchError> {
        let output = self.output(producer, Instant::now() + wait_max).await?;
        let rows = output.rows.lock().await;
        Ok(SchemaRef::clone(rows.storage().logical()))
    }

    fn remove(&self, attempt: AttemptId) {
        let mut outputs = self.outputs();
        let Some(Slot::Here(output)) = outputs.by_attempt.remove(&attempt) else {
            return;
        };
        if outputs.removed_order.len() >= REMEMBERED_COUNT_MAX
            && let Some(oldest) = outputs.removed_order.pop_front()
        {
            outputs.removed.remove(&oldest);
        }
        outputs.removed.insert(attempt, output.remove());
        outputs.removed_order.push_back(attempt);
    }

    fn find(&self, attempt: AttemptId) -> Result<Found, FetchError> {
        let mut outputs = self.outputs();
        if let Some(removed) = outputs.removed.get(&attempt) {
            return Err(removed.clone().map_or(FetchError::Gone, FetchError::Failed));
        }
        let slot = outputs
            .by_attempt
            .entry(attempt)
            .or_insert_with(|| Slot::Awaited { arrival: Arc::default(), waiters: 0 });
        match slot {
            Slot::Here(output) => Ok(Found::Here(Arc::clone(output))),
            Slot::Awaited { arrival, waiters } => {
                *waiters += 1;
                let arrival = Arc::clone(arrival);
                Ok(Found::Awaited(Waiter { exchange: self.clone(), attempt, arrival }))
            }
        }
    }

    /// The output, waiting for it until then.
    async fn output(&self, attempt: AttemptId, deadline: Instant) -> Result<Arc<Output>, FetchError> {
        loop {
            let waiter = match self.find(attempt)? {
                Found::Here(output) => return Ok(output),
                Found::Awaited(waiter) => waiter,
            };
            let mut arrived = std::pin::pin!(waiter.arrival.notified());
            arrived.as_mut().enable();
            // It may have come between the look and the listening.
            let is_here = matches!(self.outputs().by_attempt.get(&attempt), Some(Slot::Here(_)));
            if !is_here && timeout_at(deadline, arrived).await.is_err() {
                return Err(FetchError::NotStarted);
            }
        }
    }
}

enum Found {
    Here(Arc<Output>),
    Awaited(Waiter),
}

/// A consumer that waits for an output. The last one takes its place in the table away.
struct Waiter {
    exchange: DirectExchange,
    attempt: AttemptId,
    arrival: Arc<Notify>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut outputs = self.exchange.outputs();
        if let Some(Slot::Awaited { waiters, .. }) = outputs.by_attempt.get_mut(&self.attempt) {
            *waiters -= 1;
            if *waiters == 0 {
                outputs.by_attempt.remove(&self.attempt);
            }
        }
    }
}

/// The place of an output in the table. It goes with this.
#[derive(Debug)]
pub(super) struct Registration {
    exchange: DirectExchange,
    attempt: AttemptId,
}

impl Registration {
    pub(super) fn attempt(&self) -> AttemptId {
        self.attempt
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.exchange.remove(self.attempt);
    }
}

#[async_trait]
impl FetchTransport for DirectExchange {
    async fn fetch(&self, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        let start = Instant::now();
        let output = self.output(request.slice.producer, start + request.wait_max).await?;
        let wait_max = request.wait_max.saturating_sub(start.elapsed());
        output.fetch(&FetchRequest { wait_max, ..request.clone() }).await
    }

    async fn close(&self, slice: &OutputSlice) -> Result<(), FetchError> {
        let output = {
            let outputs = self.outputs();
            match outputs.by_attempt.get(&slice.producer) {
                Some(Slot::Here(output)) => Arc::clone(output),
                Some(Slot::Awaited { .. }) | None if outputs.removed.contains_key(&slice.producer) => {
                    return Ok(());
                }
                Some(Slot::Awaited { .. }) | None => return Err(FetchError::NotStarted),
            }
        };
        Ok(output.close(slice).await?)
    }
}
