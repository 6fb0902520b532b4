//! Writing an output that is read at the same time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use base::{Error, Failure, Result};

use super::handle::DirectSinkMetrics;
use super::options::DirectSinkOptions;
use super::output::{Output, Reserved};
use super::rows::EncodedRows;
use crate::buffer::{FRAME_ROWS_MAX, frame_held_bytes, piece_rows, pieces, value_bytes};
use crate::column::{Column, Rows};
use crate::encode::arrow_error;
use crate::routes::Routes;
use crate::storage_type::StorageSchema;

/// Whether a producer should go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Demand {
    /// There is somebody who wants more.
    More,
    /// Nobody wants more: the attempt may stop, and has succeeded.
    NoMore,
}

/// The writing end of an output.
///
/// Rows of one partition are read in the order in which they were pushed. Memory is bounded whatever the number of
/// partitions is: where it is full, [`push`](DirectSink::push) waits. Dropping a sink that was not finished gives the
/// output up: its consumers find it gone.
#[derive(Debug)]
pub struct DirectSink {
    output: Arc<Output>,
    storage: Arc<StorageSchema>,
    partitions: u32,
    routes: Routes,
    frame_bytes_target: u64,
}

impl DirectSink {
    pub(super) fn new(
        output: Arc<Output>,
        storage: Arc<StorageSchema>,
        partitions: u32,
        options: &DirectSinkOptions,
    ) -> Self {
        let frame_bytes_target = options.frame_bytes_target.max(1);
        DirectSink { output, storage, partitions, routes: Routes::default(), frame_bytes_target }
    }

    /// Adds rows to a partition, and waits while the buffer is full. Rows that nobody wants are dropped. The types of
    /// the columns must be those of the schema.
    ///
    /// Fails with `NOT_SUPPORTED` when a single row is larger than a frame may be, and with the error of the memory
    /// pool when it refuses although the output holds nothing. After an error the sink can only be failed.
    pub async fn push(&mut self, partition: u32, batch: RecordBatch) -> Result<Demand> {
        if partition >= self.partitions {
            let count = self.partitions;
            return Err(Error::internal(format!(
                "Direct exchange sink has {count} partitions, and was given {partition}"
            )));
        }
        if self.output.is_ended() {
            return Ok(Demand::NoMore);
        }
        if batch.num_rows() == 0 || self.output.is_closed(partition) {
            return Ok(Demand::More);
        }
        let stored = self.storage.to_stored(&batch).map_err(arrow_error)?;
        drop(batch);
        let bytes = value_bytes(&stored);
        self.output.count_rows(partition, stored.num_rows(), bytes);
        if self.is_small(&stored, bytes) {
            return self.push_small(partition, &stored, bytes).await;
        }
        for piece in pieces(&stored, bytes, self.frame_bytes_target) {
            let bytes = value_bytes(&piece);
            let demand = if self.is_small(&piece, bytes) {
                self.push_small(partition, &piece, bytes).await?
            } else {
                self.push_frames(partition, &piece).await?
            };
            if demand == Demand::NoMore {
                return Ok(demand);
            }
        }
        Ok(Demand::More)
    }

    /// Adds each row to a partition of its own: given is the partition of every row. Otherwise as
    /// [`push`](Self::push).
    pub async fn push_rows(&mut self, batch: RecordBatch, partition_of_rows: &[u32]) -> Result<Demand> {
        let rows = batch.num_rows();
        if rows != partition_of_rows.len() {
            return Err(Error::internal(format!(
                "Direct exchange sink was given {} partitions for {rows} rows",
                partition_of_rows.len()
            )));
        }
        if self.output.is_ended() {
            return Ok(Demand::NoMore);
        }
        let stored = self.storage.to_stored(&batch).map_err(arrow_error)?;
        drop(batch);
        let piece_rows = piece_rows(rows, value_bytes(&stored), self.frame_bytes_target);
        for start in (0..rows).step_by(piece_rows) {
            let length = piece_rows.min(rows - start);
            let piece = stored.slice(start, length);
            if self.spread(&piece, &partition_of_rows[start..start + length]).await? == Demand::NoMore {
                return Ok(Demand::NoMore);
            }
        }
        Ok(Demand::More)
    }

    /// Lets rows wait in their partitions.
    async fn spread(&mut self, stored: &RecordBatch, partition_of_rows: &[u32]) -> Result<Demand> {
        let count = self.partitions;
        self.routes.group(partition_of_rows, count as usize).ok_or_else(|| {
            Error::internal(format!("Direct exchange sink has {count} partitions, and was given more"))
        })?;
        let columns: Vec<Column> = stored.columns().iter().map(Column::new).collect();
        let row_bytes = value_bytes(stored).div_ceil(stored.num_rows().max(1) as u64);
        for partition in 0..count {
            let rows = self.routes.of(partition as usize);
            if rows.is_empty() || self.output.is_closed(partition) {
                continue;
            }
            let bytes = row_bytes * rows.len() as u64;
            self.output.count_rows(partition, rows.len(), bytes);
            let demand = self.wait_with(partition, &columns, Rows::Chosen(rows), rows.len(), bytes).await?;
            if demand == Demand::NoMore {
                return Ok(demand);
            }
        }
        Ok(Demand::More)
    }

    fn is_small(&self, batch: &RecordBatch, bytes: u64) -> bool {
        bytes < self.frame_bytes_target && batch.num_rows() < FRAME_ROWS_MAX
    }

    async fn push_small(&self, partition: u32, batch: &RecordBatch, bytes: u64) -> Result<Demand> {
        let columns: Vec<Column> = batch.columns().iter().map(Column::new).collect();
        self.wait_with(partition, &columns, Rows::All, batch.num_rows(), bytes).await
    }

    /// Lets rows wait until there are enough for a frame, or somebody waits for them.
    async fn wait_with(
        &self,
        partition: u32,
        columns: &[Column],
        chosen: Rows<'_>,
        row_count: usize,
        bytes: u64,
    ) -> Result<Demand> {
        loop {
            let low_water = {
                let mut rows = self.output.rows.lock().await;
                // Columns that grow may take as much again as they have.
                let bytes = bytes + rows.pending_bytes(partition);
                match self.output.reserve(bytes)? {
                    Reserved::Ended => return Ok(Demand::NoMore),
                    Reserved::Full { low_water } => low_water,
                    Reserved::Granted => {
                        let difference = rows.push(partition, columns, chosen, row_count, bytes)?;
                        self.output.adjust(difference);
                        let is_due = rows.is_full(partition, self.frame_bytes_target)
                            || self.output.is_starving(partition);
                        if is_due && let Some(encoded) = rows.encode_pending(partition)? {
                            self.output.enqueue(encoded);
                        }
                        return Ok(Demand::More);
                    }
                }
            };
            self.output.make_room(low_water).await?;
        }
    }

    /// Turns rows into frames at once.
    async fn push_frames(&self, partition: u32, batch: &RecordBatch) -> Result<Demand> {
        let frames = {
            let mut rows = self.output.rows.lock().await;
            if let Some(encoded) = rows.encode_pending(partition)? {
                self.output.enqueue(encoded);
            }
            rows.encode(partition, batch)?
        };
        for frame in frames {
            let held = frame_held_bytes(&frame);
            loop {
                match self.output.reserve(held)? {
                    Reserved::Ended => return Ok(Demand::NoMore),
                    Reserved::Full { low_water } => self.output.make_room(low_water).await?,
                    Reserved::Granted => break,
                }
            }
            self.output.enqueue(EncodedRows { partition, frames: vec![frame], freed_bytes: held });
        }
        Ok(Demand::More)
    }

    /// Whether nobody wants more of a partition: its rows need not be made.
    pub fn is_closed(&self, partition: u32) -> bool {
        self.output.is_closed(partition)
    }

    /// Waits until nobody wants more. An attempt that computes without pushing learns it from here.
    pub fn satisfied(&self) -> impl Future<Output = ()> + Send + 'static {
        let output = Arc::clone(&self.output);
        async move { output.satisfied().await }
    }

    /// Completes the output. It stays until the consumers have read it; see
    /// [`OutputHandle::satisfied`](super::OutputHandle::satisfied).
    pub async fn finish(self) -> Result<()> {
        let flushed = self.output.flush(0..self.partitions).await;
        match &flushed {
            Ok(()) => self.output.finish(),
            Err(error) => self.output.fail(Failure::of(error.clone())),
        }
        flushed
    }

    /// Gives the output up, and tells the consumers why.
    pub fn fail(self, failure: Failure) {
        self.output.fail(failure);
    }

    /// What it has done so far.
    pub fn metrics(&self) -> DirectSinkMetrics {
        self.output.metrics()
    }
}

impl Drop for DirectSink {
    fn drop(&mut self) {
        self.output.abandon();
    }
}
