//! Reading the outputs of producers that run at the same time.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base::Error;
use futures::stream::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::credit::Credit;
use super::error::DirectReadError;
use super::fetch::{FetchTransport, OutputSlice};
use super::options::DirectReadOptions;
use super::source::{Arrival, Source, SourceEvent, close, share_bytes};
use crate::frame::{FrameError, FrameHeader, decode_verified};
use crate::storage_type::StorageSchema;

/// How many frames may wait to be read, however small they are.
const FRAMES_WAITING_MAX: usize = 1024;

/// An output to read, and how it is reached.
#[derive(Clone, Debug)]
pub struct DirectSource {
    /// What is read.
    pub slice: OutputSlice,
    /// How it is reached.
    pub transport: Arc<dyn FetchTransport>,
}

/// What a reader has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectReadMetrics {
    /// The bytes of the frames that were read.
    pub stored_bytes: u64,
    /// Their number.
    pub frames: u64,
    /// The rows in them.
    pub rows: u64,
    /// The bytes that are asked for, or wait to be read.
    pub memory_bytes: u64,
    /// The most of these at once.
    pub memory_bytes_peak: u64,
}

/// The rows of some outputs in the order in which they arrive. Those of one partition of one producer keep their order.
///
/// It is a [`Stream`], asks all producers at once, and ends after the first error. Nothing is asked for before the
/// first poll. When it is dropped, or has come to the end, it tells the producers that it wants no more.
pub struct DirectReader {
    storage: StorageSchema,
    options: Arc<DirectReadOptions>,
    credit: Credit,
    sources: Vec<DirectSource>,
    is_open: Vec<bool>,
    open_count: usize,
    /// There from the first poll on.
    running: Option<Running>,
    ready: VecDeque<RecordBatch>,
    is_finished: bool,
    metrics: DirectReadMetrics,
}

struct Running {
    events: mpsc::Receiver<SourceEvent>,
    tasks: JoinSet<()>,
}

impl Running {
    /// The next event. A source that panicked is one too.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<SourceEvent> {
        let ended = || DirectReadError::from(Error::internal("A source of a direct exchange panicked"));
        match self.events.poll_recv(context) {
            Poll::Ready(event) => Poll::Ready(event.unwrap_or_else(|| SourceEvent::Failed(ended()))),
            Poll::Pending => loop {
                match ready!(self.tasks.poll_join_next(context)) {
                    Some(Ok(())) => {}
                    Some(Err(_)) => return Poll::Ready(SourceEvent::Failed(ended())),
                    // What the last of them told is on its way: the channel wakes.
                    None => return Poll::Pending,
                }
            },
        }
    }
}

impl fmt::Debug for DirectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("DirectReader");
        text.field("sources", &self.sources).field("open", &self.open_count).finish_non_exhaustive()
    }
}

impl DirectReader {
    /// Reads these outputs, whose rows have that schema.
    pub fn new(sources: Vec<DirectSource>, schema: SchemaRef, options: DirectReadOptions) -> Self {
        DirectReader {
            storage: StorageSchema::new(schema),
            credit: Credit::new(options.buffer_bytes_max, options.memory.clone()),
            options: Arc::new(options),
            is_open: vec![true; sources.len()],
            open_count: sources.len(),
            sources,
            running: None,
            ready: VecDeque::new(),
            is_finished: false,
            metrics: DirectReadMetrics::default(),
        }
    }

    /// Reads each output on its own, for merges. Each has its part of the buffer, so that one that is not read does
    /// not keep another from getting what the merge waits for.
    pub fn each(sources: Vec<DirectSource>, schema: SchemaRef, options: &DirectReadOptions) -> Vec<Self> {
        let buffer_bytes_max = options.buffer_bytes_max / sources.len().max(1) as u64;
        let options = DirectReadOptions { buffer_bytes_max, ..options.clone() };
        let reader = |source| DirectReader::new(vec![source], Arc::clone(&schema), options.clone());
        sources.into_iter().map(reader).collect()
    }

    /// What it has done so far.
    pub fn metrics(&self) -> DirectReadMetrics {
        DirectReadMetrics {
            memory_bytes: self.credit.used_bytes(),
            memory_bytes_peak: self.credit.peak_bytes(),
            ..self.metrics
        }
    }

    fn start(&self) -> Running {
        let (sender, events) = mpsc::channel(FRAMES_WAITING_MAX);
        let mut tasks = JoinSet::new();
        let share_bytes = share_bytes(&self.options, self.sources.len());
        for (number, source) in self.sources.iter().enumerate() {
            let source = Source {
                number,
                slice: source.slice.clone(),
                transport: Arc::clone(&source.transport),
                options: Arc::clone(&self.options),
                credit: self.credit.clone(),
                share_bytes,
                events: sender.clone(),
            };
            tasks.spawn_on(source.run(), &self.options.runtime);
        }
        Running { events, tasks }
    }

    fn poll_batch(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<RecordBatch>, DirectReadError>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Poll::Ready(Ok(Some(batch)));
            }
            if self.open_count == 0 {
                return Poll::Ready(Ok(None));
            }
            if self.running.is_none() {
                self.running = Some(self.start());
            }
            let Some(running) = &mut self.running else {
                continue;
            };
            match ready!(running.poll_event(context)) {
                SourceEvent::Arrived(arrival) => self.read(&arrival)?,
                SourceEvent::Ended(source) => self.close(source),
                SourceEvent::Failed(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn read(&mut self, arrival: &Arrival) -> Result<(), DirectReadError> {
        let slice = &self.sources[arrival.source].slice;
        let failed = |error| match error {
            FrameError::Schema => Error::internal(format!("Direct exchange reader: {error}")).into(),
            error => DirectReadError::Corrupt { producer: slice.producer, reason: error.to_string() },
        };
        let header = FrameHeader::parse(&arrival.frame, self.options.frame_bytes_max).map_err(failed)?;
        if !slice.partitions.contains(&header.partition) {
            let reason = format!("a frame is of partition {}", header.partition);
            return Err(DirectReadError::Corrupt { producer: slice.producer, reason });
        }
        let batch = decode_verified(&header, &arrival.frame, &self.storage).map_err(failed)?;
        let batches = self.storage.to_logical(&batch);
        let batches = batches.map_err(|error| {
            Error::internal("Direct exchange reader cannot restore a batch").caused_by(error)
        });
        self.ready.extend(batches?);
        self.metrics.stored_bytes += arrival.frame.len() as u64;
        self.metrics.frames += 1;
        self.metrics.rows += u64::from(header.rows);
        Ok(())
    }

    /// Tells a producer that no more is wanted, without waiting until it knows.
    fn close(&mut self, source: usize) {
        if std::mem::replace(&mut self.is_open[source], false) {
            self.open_count -= 1;
            let DirectSource { slice, transport } = self.sources[source].clone();
            self.options.runtime.spawn(close(slice, transport, self.options.start_wait_max));
        }
    }

    fn end(&mut self) {
        self.is_finished = true;
        self.running = None;
        self.ready.clear();
        (0..self.sources.len()).for_each(|source| self.close(source));
    }
}

impl Stream for DirectReader {
    type Item = Result<RecordBatch, DirectReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_finished {
            return Poll::Ready(None);
        }
        let next = ready!(self.poll_batch(context)).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.end();
        }
        Poll::Ready(next)
    }
}

impl Drop for DirectReader {
    fn drop(&mut self) {
        self.end();
    }
}
