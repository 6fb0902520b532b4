//! Reading committed outputs.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base::{Error, Result};
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, Stream, StreamExt};

use crate::frame::{FrameError, FrameHeader, HEADER_BYTES, decode};
use crate::handle::{Place, ReadPosition, SourceHandle};
use crate::options::ReadOptions;
use crate::storage_type::StorageSchema;
use crate::store::{ExchangeStore, StoreError, StoreErrorKind};

/// A handle of at most this many bytes is read by one request, a larger one by several.
const READ_BYTES_MAX: u64 = 4 << 20;

/// However small the prefetch is, a request is not smaller than this, in bytes.
const READ_BYTES_MIN: u64 = 64 << 10;

/// The rows of some handles, batch by batch: handle after handle, partition after partition, in the order
/// written.
///
/// It is a [`Stream`], and ends after the first error. What cannot be read although it was committed is
/// reported as [`Error::lost`] with the id of the output; a store that does not answer, as
/// `EXCHANGE_STORE_ERROR`.
pub struct BatchReader {
    storage: StorageSchema,
    frame_bytes_max: u64,
    handles: Arc<[SourceHandle]>,
    chunks: BoxStream<'static, (usize, Result<Bytes>)>,
    /// The handle that is being read, and how far.
    current: usize,
    position: ReadPosition,
    fetched: u64,
    buffer: BytesMut,
    ready: VecDeque<RecordBatch>,
    finished: bool,
}

impl fmt::Debug for BatchReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("BatchReader");
        text.field("current", &self.current).field("position", &self.position).finish_non_exhaustive()
    }
}

impl BatchReader {
    pub(crate) fn new(
        store: Arc<dyn ExchangeStore>,
        handles: Vec<SourceHandle>,
        schema: SchemaRef,
        options: &ReadOptions,
        frame_bytes_max: u64,
    ) -> Self {
        let handles: Arc<[SourceHandle]> = handles.into();
        let read_bytes = READ_BYTES_MAX.min(options.prefetch_bytes_max).max(READ_BYTES_MIN);
        let reads_max = usize::try_from(options.prefetch_bytes_max / read_bytes).unwrap_or(usize::MAX);
        let reads = options.concurrent_reads.min(reads_max).max(1);
        let all = Arc::clone(&handles);
        let ranges = (0..handles.len()).flat_map(move |at| {
            chunk_ranges(all[at].stored_bytes(), read_bytes).map(move |range| (at, range))
        });
        let all = Arc::clone(&handles);
        let chunks = stream::iter(ranges).map(move |(at, range)| {
            let (store, all) = (Arc::clone(&store), Arc::clone(&all));
            async move { (at, fetch(&*store, &all[at], range).await) }
        });
        BatchReader {
            storage: StorageSchema::new(schema),
            frame_bytes_max,
            handles,
            chunks: chunks.buffered(reads).boxed(),
            current: 0,
            position: ReadPosition::default(),
            fetched: 0,
            buffer: BytesMut::new(),
            ready: VecDeque::new(),
            finished: false,
        }
    }

    /// Which handle the last batch is from, and how far that handle has been read. [`SourceHandle::after`]
    /// goes on from there.
    ///
    /// The position moves by whole frames, which are one batch each, except that a frame whose dictionary
    /// keys do not suffice comes as several.
    pub fn position(&self) -> (usize, ReadPosition) {
        (self.current, self.position)
    }

    /// The next batch, `None` at the end.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.next().await.transpose()
    }

    fn lost(&self, what: impl fmt::Display) -> Error {
        lost(&self.handles[self.current], what)
    }

    /// Decodes the next frame, if it is in the buffer as a whole.
    fn decode_next(&mut self) -> Result<bool> {
        if self.buffer.len() < HEADER_BYTES {
            return Ok(false);
        }
        let header = FrameHeader::parse(&self.buffer[..HEADER_BYTES], self.frame_bytes_max);
        let header = header.map_err(|error| self.frame_error(error))?;
        let handle = &self.handles[self.current];
        let length = HEADER_BYTES + header.payload_length;
        if length as u64 > handle.stored_bytes() - self.position.bytes {
            return Err(self.frame_error(FrameError::Truncated));
        }
        if self.buffer.len() < length {
            return Ok(false);
        }
        let frame = self.buffer.split_to(length).freeze();
        let batch = decode(&header, &frame, &self.storage).map_err(|error| self.frame_error(error))?;
        if !handle.partitions().contains(&header.partition) {
            return Err(self.lost(format_args!("a frame is of partition {}", header.partition)));
        }
        self.position.bytes += length as u64;
        self.position.rows += u64::from(header.rows);
        let batches = self.storage.to_logical(&batch);
        let batches = batches
            .map_err(|error| Error::internal("Exchange source cannot restore a batch").caused_by(error));
        self.ready.extend(batches?);
        Ok(true)
    }

    fn frame_error(&self, error: FrameError) -> Error {
        match error {
            FrameError::Schema => Error::internal(format!("Exchange source: {error}")),
            error => self.lost(error),
        }
    }

    /// The current handle has been read to its end: all that was promised must have come.
    fn check_complete(&self) -> Result<()> {
        let Some(handle) = self.handles.get(self.current) else {
            return Ok(());
        };
        if !self.buffer.is_empty() || self.position.bytes != handle.stored_bytes() {
            return Err(self.lost("the last frame is truncated"));
        }
        if self.position.rows != handle.rows() {
            return Err(self.lost(format_args!("it has {} rows of {}", self.position.rows, handle.rows())));
        }
        Ok(())
    }

    /// Takes the next chunk, which may be the first of another handle.
    fn accept(&mut self, at: usize, chunk: Result<Bytes>) -> Result<()> {
        if at != self.current {
            self.check_complete()?;
            self.current = at;
            (self.position, self.fetched) = (ReadPosition::default(), 0);
        }
        let chunk = chunk?;
        self.fetched += chunk.len() as u64;
        if self.buffer.is_empty() {
            // No copy where the chunk is ours alone.
            self.buffer = chunk.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        } else {
            self.buffer.extend_from_slice(&chunk);
        }
        Ok(())
    }

    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<RecordBatch>>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Poll::Ready(Ok(Some(batch)));
            }
            if self.decode_next()? {
                continue;
            }
            match ready!(self.chunks.poll_next_unpin(context)) {
                Some((at, chunk)) => self.accept(at, chunk)?,
                None => return Poll::Ready(self.check_complete().map(|()| None)),
            }
        }
    }
}

impl Stream for BatchReader {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let next = ready!(self.poll_batch(context)).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.finished = true;
            self.chunks = stream::empty().boxed();
        }
        Poll::Ready(next)
    }
}

fn chunk_ranges(length: u64, read_bytes: u64) -> impl Iterator<Item = Range<u64>> + Send {
    let count = length.div_ceil(read_bytes);
    (0..count).map(move |at| at * read_bytes..length.min((at + 1) * read_bytes))
}

fn lost(handle: &SourceHandle, what: impl fmt::Display) -> Error {
    Error::lost(handle.output(), format!("Exchange data {} is lost: {what}", handle.key()))
}

/// Reads a part of a handle's frames.
async fn fetch(store: &dyn ExchangeStore, handle: &SourceHandle, range: Range<u64>) -> Result<Bytes> {
    let base = match handle.place() {
        Place::Embedded(frames) => {
            let part = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
            let part = part.filter(|(start, end)| start <= end && *end <= frames.len());
            return part
                .map(|(start, end)| frames.slice(start..end))
                .ok_or_else(|| lost(handle, "it is truncated"));
        }
        Place::Record { offset } | Place::Object { offset } => *offset,
    };
    let wanted = range.end - range.start;
    match store.read(&handle.key().to_string(), base + range.start..base + range.end).await {
        Ok(chunk) if chunk.len() as u64 == wanted => Ok(chunk),
        Ok(chunk) => Err(lost(handle, format_args!("{} bytes are there of {wanted}", chunk.len()))),
        Err(StoreError { kind: StoreErrorKind::NotFound, .. }) => {
            Err(lost(handle, "it is not there any more"))
        }
        Err(error) => Err(error.into()),
    }
}
