//! Rows that wait to fill a frame.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base::Result;
use bytes::Bytes;

use crate::buffer::PartitionBuffer;
use crate::codec::ExchangeCompression;
use crate::column::{Column, Rows};
use crate::encode::{arrow_error, encode_frames};
use crate::frame::FrameEncoder;
use crate::storage_type::StorageSchema;

/// A frame, and what encoding it freed.
#[derive(Debug)]
pub(super) struct EncodedRows {
    pub(super) partition: u32,
    pub(super) frames: Vec<Bytes>,
    /// The memory that the rows took.
    pub(super) freed_bytes: u64,
}

/// The rows of an output that are not in frames yet, by partition.
#[derive(Debug)]
pub(super) struct RowBuffers {
    storage: Arc<StorageSchema>,
    encoder: FrameEncoder,
    partitions: Vec<PartitionBuffer>,
    /// Nothing is kept any more: the output has ended.
    is_closed: bool,
}

impl RowBuffers {
    pub(super) fn new(
        schema: SchemaRef,
        partitions: u32,
        codec: ExchangeCompression,
        frame_bytes_max: u64,
    ) -> Result<Self> {
        let storage = Arc::new(StorageSchema::new(schema));
        let encoder = FrameEncoder::new(Arc::clone(&storage), codec, frame_bytes_max).map_err(arrow_error)?;
        Ok(RowBuffers {
            storage,
            encoder: encoder.without_row_checksums().without_narrowing(),
            partitions: (0..partitions).map(|_| PartitionBuffer::default()).collect(),
            is_closed: false,
        })
    }

    pub(super) fn storage(&self) -> &Arc<StorageSchema> {
        &self.storage
    }

    /// The memory that the rows that wait in a partition take.
    pub(super) fn pending_bytes(&self, partition: u32) -> u64 {
        self.partitions[partition as usize].held_bytes()
    }

    /// Adds rows that are charged already. How much more, or less, the partition holds then comes back.
    pub(super) fn push(
        &mut self,
        partition: u32,
        columns: &[Column],
        rows: Rows<'_>,
        row_count: usize,
        charged: u64,
    ) -> Result<i64> {
        let buffer = &mut self.partitions[partition as usize];
        let expected = buffer.held_bytes() + charged;
        buffer.push_rows(self.storage.stored(), columns, rows, row_count).map_err(arrow_error)?;
        Ok(buffer.held_bytes() as i64 - expected as i64)
    }

    pub(super) fn is_full(&self, partition: u32, frame_bytes_target: u64) -> bool {
        self.partitions[partition as usize].is_full(frame_bytes_target)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Turns the rows that wait in a partition into frames.
    pub(super) fn encode_pending(&mut self, partition: u32) -> Result<Option<EncodedRows>> {
        let buffer = &mut self.partitions[partition as usize];
        if !buffer.is_pending() {
            return Ok(None);
        }
        let freed_bytes = buffer.held_bytes();
        let rows = buffer.take_pending(self.storage.stored()).map_err(arrow_error)?;
        let frames = self.encode(partition, &rows)?;
        Ok(Some(EncodedRows { partition, frames, freed_bytes }))
    }

    /// Encodes rows that do not wait for others.
    pub(super) fn encode(&mut self, partition: u32, rows: &RecordBatch) -> Result<Vec<Bytes>> {
        let frames = encode_frames(&mut self.encoder, partition, rows)?;
        Ok(frames.into_iter().map(|frame| frame.content).collect())
    }

    pub(super) fn all(&self) -> Range<u32> {
        0..self.partitions.len() as u32
    }

    /// Drops the rows of a partition. The memory that they took comes back.
    pub(super) fn discard(&mut self, partition: u32) -> u64 {
        std::mem::take(&mut self.partitions[partition as usize]).held_bytes()
    }

    /// Drops all rows, and all that may still come.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.partitions.iter_mut().for_each(|partition| *partition = PartitionBuffer::default());
    }
}
