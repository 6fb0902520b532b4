//! Writing the output of an attempt.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base::{AttemptId, Error, ErrorCode, Result};
use bytes::{Bytes, BytesMut};

use crate::buffer::{FRAME_ROWS_MAX, PartitionBuffer, frame_held_bytes, piece_rows, pieces, value_bytes};
use crate::column::{Column, Rows};
use crate::commit::{Committed, commit};
use crate::encode::{arrow_error, encode_frames};
use crate::frame::FrameEncoder;
use crate::index::{PartitionEntry, footer};
use crate::layout::ObjectKey;
use crate::memory::MemoryAccount;
use crate::options::SinkOptions;
use crate::record::{CommitRecord, OutputLocation};
use crate::routes::Routes;
use crate::spill::{RunReader, SpillFile};
use crate::storage_type::StorageSchema;
use crate::store::{ExchangeStore, Upload};

/// Merging runs may read ahead this part of the memory of a sink.
const MERGE_SHARE: u64 = 4;

/// So many frames of every partition fit into the memory of a sink at least. Smaller frames cost more, but rows that
/// wait to fill larger ones would crowd out the frames that are finished.
const FRAMES_PER_PARTITION_MIN: u64 = 3;

/// However many partitions there are, frames are not made smaller than this, in bytes of values.
const FRAME_BYTES_MIN: u64 = 64 << 10;

/// Rows are spread over partitions in pieces of at most this part of the memory of a sink.
const PIECE_SHARE: u64 = 8;

/// What a sink has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkMetrics {
    /// The memory that it holds now, in bytes.
    pub memory_bytes: u64,
    /// The most memory that it held, in bytes.
    pub memory_bytes_peak: u64,
    /// The rows that were pushed.
    pub rows: u64,
    /// The bytes that were spilled to disk.
    pub spilled_bytes: u64,
    /// How often it spilled.
    pub spill_runs: u64,
}

/// Collects the output of an attempt by partition, and commits it.
///
/// Rows of one partition are read in the order in which they were pushed. Memory is bounded whatever the
/// number of partitions is: beyond the bound, runs go to the spill directory. Dropping a sink gives up what
/// it wrote.
#[derive(Debug)]
pub struct ExchangeSink {
    store: Arc<dyn ExchangeStore>,
    attempt: AttemptId,
    storage: Arc<StorageSchema>,
    encoder: FrameEncoder,
    options: SinkOptions,
    partitions: Vec<PartitionBuffer>,
    routes: Routes,
    account: MemoryAccount,
    /// What the partitions hold.
    held: u64,
    /// What of that is charged to the account, or charged ahead.
    charged: u64,
    spill: Option<SpillFile>,
    upload: Option<Box<dyn Upload>>,
    uploaded: u64,
    rows: u64,
}

impl ExchangeSink {
    pub(crate) fn new(
        store: Arc<dyn ExchangeStore>,
        attempt: AttemptId,
        schema: SchemaRef,
        partitions: u32,
        mut options: SinkOptions,
    ) -> Result<Self> {
        let share = options.sink_memory_bytes_max / (u64::from(partitions.max(1)) * FRAMES_PER_PARTITION_MIN);
        options.frame_bytes_target = options.frame_bytes_target.min(share.max(FRAME_BYTES_MIN)).max(1);
        let storage = Arc::new(StorageSchema::new(schema));
        let encoder = FrameEncoder::new(Arc::clone(&storage), options.compression, options.frame_bytes_max);
        let encoder = encoder.map_err(arrow_error)?;
        let mut account = MemoryAccount::new(options.memory.clone());
        account.try_grow(u64::from(partitions) * size_of::<PartitionBuffer>() as u64)?;
        Ok(ExchangeSink {
            store,
            attempt,
            storage,
            encoder,
            partitions: (0..partitions).map(|_| PartitionBuffer::default()).collect(),
            options,
            routes: Routes::default(),
            account,
            held: 0,
            charged: 0,
            spill: None,
            upload: None,
            uploaded: 0,
            rows: 0,
        })
    }

    /// What it has done so far.
    pub fn metrics(&self) -> SinkMetrics {
        SinkMetrics {
            memory_bytes: self.account.used(),
            memory_bytes_peak: self.account.peak(),
            rows: self.rows,
            spilled_bytes: self.spill.as_ref().map_or(0, SpillFile::length),
            spill_runs: self.spill.as_ref().map_or(0, |spill| spill.run_count() as u64),
        }
    }

    /// Adds rows to a partition. The types of the columns must be those of the schema.
    ///
    /// Fails with `NOT_SUPPORTED` when a single row is larger than a frame may be, and with the error of the
    /// memory pool when it refuses even after a spill. After an error the sink can only be aborted.
    pub async fn push(&mut self, partition: u32, batch: RecordBatch) -> Result<()> {
        if partition as usize >= self.partitions.len() {
            let count = self.partitions.len();
            return Err(Error::internal(format!(
                "Exchange sink has {count} partitions, and was given {partition}"
            )));
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows() as u64;
        let stored = self.storage.to_stored(&batch).map_err(arrow_error)?;
        drop(batch);
        let target = self.options.frame_bytes_target;
        let bytes = value_bytes(&stored);
        if bytes < target && stored.num_rows() <= FRAME_ROWS_MAX {
            return self.push_small(partition as usize, &stored, bytes).await;
        }
        for piece in pieces(&stored, bytes, target) {
            let bytes = value_bytes(&piece);
            if bytes < target && piece.num_rows() < FRAME_ROWS_MAX {
                self.push_small(partition as usize, &piece, bytes).await?;
            } else {
                self.encode_pending(partition as usize).await?;
                let frames = self.encode(partition as usize, &piece)?;
                self.keep(partition as usize, frames).await?;
            }
        }
        Ok(())
    }

    /// Adds each row to a partition of its own: given is the partition of every row. Otherwise as
    /// [`push`](Self::push).
    pub async fn push_rows(&mut self, batch: RecordBatch, partition_of_rows: &[u32]) -> Result<()> {
        let rows = batch.num_rows();
        if rows != partition_of_rows.len() {
            let text =
                format!("Exchange sink was given {} partitions for {rows} rows", partition_of_rows.len());
            return Err(Error::internal(text));
        }
        if rows == 0 {
            return Ok(());
        }
        let stored = self.storage.to_stored(&batch).map_err(arrow_error)?;
        drop(batch);
        let bytes_max = (self.options.sink_memory_bytes_max / PIECE_SHARE).max(1);
        let piece_rows = piece_rows(rows, value_bytes(&stored), bytes_max);
        for start in (0..rows).step_by(piece_rows) {
            let length = piece_rows.min(rows - start);
            self.spread(&stored.slice(start, length), &partition_of_rows[start..start + length]).await?;
        }
        self.rows += rows as u64;
        Ok(())
    }

    /// Lets rows wait in their partitions.
    async fn spread(&mut self, stored: &RecordBatch, partition_of_rows: &[u32]) -> Result<()> {
        let count = self.partitions.len();
        self.routes.group(partition_of_rows, count).ok_or_else(|| {
            Error::internal(format!("Exchange sink has {count} partitions, and was given more"))
        })?;
        let bytes = value_bytes(stored);
        self.reserve(bytes).await?;
        let row_bytes = bytes.div_ceil(stored.num_rows().max(1) as u64);
        let columns: Vec<Column> = stored.columns().iter().map(Column::new).collect();
        let routes = std::mem::take(&mut self.routes);
        let mut full = Vec::new();
        for at in 0..count {
            let rows = routes.of(at);
            if rows.is_empty() {
                continue;
            }
            // Columns that grow may take as much again as they have, and those of all partitions grow together.
            let growth = row_bytes * rows.len() as u64 + self.partitions[at].pending_bytes();
            if self.held > 0 && self.held + growth > self.options.sink_memory_bytes_max {
                self.spill().await?;
                full.clear();
            }
            let partition = &mut self.partitions[at];
            let before = partition.held_bytes();
            let pushed = partition.push_rows(self.storage.stored(), &columns, Rows::Chosen(rows), rows.len());
            pushed.map_err(arrow_error)?;
            self.held = self.held + partition.held_bytes() - before;
            if partition.is_full(self.options.frame_bytes_target) {
                full.push(at);
            }
        }
        self.routes = routes;
        self.settle().await?;
        for partition in full {
            self.encode_pending(partition).await?;
        }
        Ok(())
    }

    /// Lets rows wait until there are enough for a frame.
    async fn push_small(&mut self, partition: usize, stored: &RecordBatch, bytes: u64) -> Result<()> {
        self.reserve(bytes).await?;
        let buffer = &mut self.partitions[partition];
        let before = buffer.held_bytes();
        buffer.push(self.storage.stored(), stored).map_err(arrow_error)?;
        self.held = self.held + buffer.held_bytes() - before;
        let is_full = buffer.is_full(self.options.frame_bytes_target);
        self.settle().await?;
        if is_full { self.encode_pending(partition).await } else { Ok(()) }
    }

    /// Makes room for so many more bytes, by spilling where that helps, and charges them ahead.
    async fn reserve(&mut self, bytes: u64) -> Result<()> {
        if self.held > 0 && self.account.used() + bytes > self.options.sink_memory_bytes_max {
            self.spill().await?;
        }
        match self.account.try_grow(bytes) {
            Err(_) if self.held > 0 => {
                self.spill().await?;
                self.account.try_grow(bytes)?;
            }
            other => other?,
        }
        self.charged += bytes;
        Ok(())
    }

    /// Brings what is charged in line with what the partitions hold, by spilling where memory is refused.
    async fn settle(&mut self) -> Result<()> {
        if self.held > self.charged && self.account.try_grow(self.held - self.charged).is_err() {
            return self.spill().await;
        }
        self.give_back();
        self.charged = self.held;
        Ok(())
    }

    /// Gives back what is charged and not held any more.
    fn give_back(&mut self) {
        if self.charged > self.held {
            self.account.shrink(self.charged - self.held);
            self.charged = self.held;
        }
    }

    /// Turns the rows that wait in a partition into frames.
    async fn encode_pending(&mut self, partition: usize) -> Result<()> {
        if !self.partitions[partition].is_pending() {
            return Ok(());
        }
        let frames = self.take_pending(partition)?;
        self.keep(partition, frames).await
    }

    fn take_pending(&mut self, partition: usize) -> Result<Vec<Bytes>> {
        let buffer = &mut self.partitions[partition];
        if !buffer.is_pending() {
            return Ok(Vec::new());
        }
        let before = buffer.held_bytes();
        let batch = buffer.take_pending(self.storage.stored()).map_err(arrow_error)?;
        let after = buffer.held_bytes();
        let frames = self.encode(partition, &batch)?;
        drop(batch);
        self.held = self.held + after - before;
        self.give_back();
        Ok(frames)
    }

    /// Encodes a batch, in halves where it is too large for one frame, and counts the frames.
    fn encode(&mut self, partition: usize, batch: &RecordBatch) -> Result<Vec<Bytes>> {
        let frames = encode_frames(&mut self.encoder, partition as u32, batch)?;
        frames.iter().for_each(|frame| self.partitions[partition].count(frame));
        Ok(frames.into_iter().map(|frame| frame.content).collect())
    }

    /// Keeps frames in memory, or lets them stream out where there is one partition only.
    async fn keep(&mut self, partition: usize, frames: Vec<Bytes>) -> Result<()> {
        for frame in frames {
            let held = frame_held_bytes(&frame);
            self.reserve(held).await?;
            self.held += held;
            self.partitions[partition].keep(frame);
        }
        let streams = self.partitions.len() == 1 && self.held > self.options.in_record_bytes_max();
        if streams { self.stream_out().await } else { Ok(()) }
    }

    /// Frees the memory that the partitions hold.
    async fn spill(&mut self) -> Result<()> {
        if self.partitions.len() == 1 {
            return self.stream_out().await;
        }
        let mut spill = match self.spill.take() {
            Some(spill) => spill,
            None => SpillFile::create(self.options.spill_directory.clone()).await?,
        };
        spill.begin_run(self.partitions.len());
        for partition in 0..self.partitions.len() {
            let frames = self.take_all(partition)?;
            spill.append(frames).await?;
        }
        spill.flush().await?;
        self.spill = Some(spill);
        self.account.try_grow(SpillFile::run_index_bytes(self.partitions.len()))
    }

    /// Takes everything out of a partition, as frames.
    fn take_all(&mut self, partition: usize) -> Result<Vec<Bytes>> {
        let buffer = &mut self.partitions[partition];
        let before = buffer.held_bytes();
        let mut frames = buffer.take_frames();
        self.held = self.held + buffer.held_bytes() - before;
        self.give_back();
        frames.extend(self.take_pending(partition)?);
        Ok(frames)
    }

    /// Of a single partition, frames are in their final order at once and go to the object.
    async fn stream_out(&mut self) -> Result<()> {
        let frames = self.take_all(0)?;
        self.write(frames).await
    }

    async fn write(&mut self, frames: Vec<Bytes>) -> Result<()> {
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => self.store.upload(&ObjectKey::Data(self.attempt).to_string()).await?,
        };
        for frame in frames {
            self.uploaded += frame.len() as u64;
            upload.write(frame).await?;
        }
        self.upload = Some(upload);
        Ok(())
    }

    /// Completes the output and commits it. The winner may be a rival, whose record comes back then. One that is
    /// small enough is only completed, and touches no store: see [`Committed::is_inline`].
    ///
    /// After an error the output may be committed or not: only reading back can tell.
    pub async fn finish(mut self) -> Result<Committed> {
        // While nothing has left memory, the whole may be small enough to travel in the record.
        for partition in 0..self.partitions.len() {
            if self.spill.is_none() && self.upload.is_none() {
                self.encode_pending(partition).await?;
            }
        }
        let length: u64 = self.partitions.iter().map(|partition| partition.entry().length).sum();
        let in_memory = self.spill.is_none() && self.upload.is_none();
        let location = if in_memory && length <= self.options.in_record_bytes_max() {
            let mut frames = BytesMut::with_capacity(length as usize);
            for partition in &mut self.partitions {
                partition.take_frames().iter().for_each(|frame| frames.extend_from_slice(frame));
            }
            OutputLocation::Inline(frames.freeze())
        } else {
            OutputLocation::Object { bytes: self.write_object().await? }
        };
        let record = CommitRecord::new(self.attempt, location, self.index());
        let is_inline = matches!(record.location(), OutputLocation::Inline(_));
        if is_inline && record.stored_bytes() <= self.options.unstored_bytes_max {
            return Ok(Committed { winner: self.attempt, record, is_inline: true });
        }
        let store = Arc::clone(&self.store);
        drop(self);
        commit(&*store, record).await
    }

    /// Writes all partitions in order, then the index.
    async fn write_object(&mut self) -> Result<u64> {
        let mut runs = self.open_runs().await?;
        for partition in 0..self.partitions.len() {
            for run in &mut runs {
                run.next_partition();
                while let Some(content) = run.next().await? {
                    self.write(vec![content]).await?;
                }
            }
            let frames = self.take_all(partition)?;
            self.write(frames).await?;
        }
        let footer = Bytes::from(footer(&self.index()));
        self.write(vec![footer]).await?;
        let Some(upload) = self.upload.take() else {
            return Err(Error::internal("Exchange sink has no upload"));
        };
        let written = upload.finish().await?;
        if written == self.uploaded {
            Ok(written)
        } else {
            let text = format!("Exchange object has {written} bytes of {}", self.uploaded);
            Err(Error::new(ErrorCode::EXCHANGE_STORE_ERROR, text))
        }
    }

    /// Opens the runs to be merged, and charges what that reads ahead. It may take one more spill, and so
    /// one more run.
    async fn open_runs(&mut self) -> Result<Vec<RunReader>> {
        let bytes_max = self.options.sink_memory_bytes_max / MERGE_SHARE;
        let Some(spill) = &self.spill else {
            return Ok(Vec::new());
        };
        let per_run = spill.merge_bytes_per_run(bytes_max);
        let bytes = per_run * spill.run_count() as u64;
        let fits = self.account.used() + bytes <= self.options.sink_memory_bytes_max;
        if fits && self.account.try_grow(bytes).is_ok() {
            return Ok(spill.readers(per_run));
        }
        if self.held > 0 {
            self.spill().await?;
        }
        let Some(spill) = &self.spill else {
            return Ok(Vec::new());
        };
        let per_run = spill.merge_bytes_per_run(bytes_max);
        self.account.try_grow(per_run * spill.run_count() as u64)?;
        Ok(spill.readers(per_run))
    }

    fn index(&self) -> Arc<[PartitionEntry]> {
        let mut offset = 0;
        let entry = |partition: &PartitionBuffer| {
            let entry = PartitionEntry { offset, ..partition.entry() };
            offset += entry.length;
            entry
        };
        self.partitions.iter().map(entry).collect()
    }

    /// Gives up: removes everything that was written. Nothing was committed.
    pub async fn abort(mut self) -> Result<()> {
        match self.upload.take() {
            Some(upload) => Ok(upload.abort().await?),
            None => Ok(()),
        }
    }
}
