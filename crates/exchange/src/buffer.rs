//! What a sink holds of one partition: rows that wait to fill a frame, and finished frames.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;

use crate::column::{Column, ColumnBuilder, Rows};
use crate::frame::Frame;
use crate::index::PartitionEntry;

/// A frame has no more rows than this, however narrow they are.
pub(crate) const FRAME_ROWS_MAX: usize = 1 << 15;

/// What a frame costs beside its content, in bytes.
const FRAME_OVERHEAD_BYTES: u64 = 64;

/// One partition of a sink.
#[derive(Debug, Default)]
pub(crate) struct PartitionBuffer {
    /// The rows that wait. Empty before there were any.
    pending: Vec<ColumnBuilder>,
    pending_rows: usize,
    pending_bytes: u64,
    frames: Vec<Bytes>,
    frames_bytes: u64,
    /// Everything encoded so far, here or elsewhere. The offset is not known yet.
    entry: PartitionEntry,
}

impl PartitionBuffer {
    /// The memory that it holds, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.pending_bytes + self.frames_bytes
    }

    /// The memory that the rows that wait take, in bytes.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    pub(crate) fn entry(&self) -> PartitionEntry {
        self.entry
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending_rows > 0
    }

    /// Whether the rows that wait are enough for a frame.
    pub(crate) fn is_full(&self, frame_bytes_target: u64) -> bool {
        self.pending_bytes >= frame_bytes_target || self.pending_rows >= FRAME_ROWS_MAX
    }

    /// Adds all rows of a batch, whose types are those of the schema. They are copied.
    pub(crate) fn push(&mut self, schema: &SchemaRef, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns: Vec<Column> = batch.columns().iter().map(Column::new).collect();
        self.push_rows(schema, &columns, Rows::All, batch.num_rows())
    }

    /// Adds rows of columns whose types are those of the schema; so many they are. They are copied.
    pub(crate) fn push_rows(
        &mut self,
        schema: &SchemaRef,
        columns: &[Column],
        rows: Rows<'_>,
        row_count: usize,
    ) -> Result<(), ArrowError> {
        if self.pending.is_empty() {
            let types = schema.fields().iter().map(|field| field.data_type());
            self.pending = types.map(ColumnBuilder::new).collect();
        }
        self.pending_rows += row_count;
        self.pending_bytes = 0;
        for (builder, column) in self.pending.iter_mut().zip(columns) {
            builder.append(column, rows)?;
            self.pending_bytes += builder.held_bytes();
        }
        Ok(())
    }

    /// Takes out the rows that wait, as one batch.
    pub(crate) fn take_pending(&mut self, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let rows = RecordBatchOptions::new().with_row_count(Some(self.pending_rows));
        (self.pending_rows, self.pending_bytes) = (0, 0);
        let columns = self.pending.iter_mut().zip(schema.fields());
        let columns: Result<_, _> = columns.map(|(column, field)| column.finish(field.data_type())).collect();
        RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &rows)
    }

    /// Counts a frame, wherever it goes.
    pub(crate) fn count(&mut self, frame: &Frame) {
        self.entry.length += frame.content.len() as u64;
        self.entry.rows += frame.rows;
        self.entry.bytes += frame.raw_bytes;
        self.entry.checksum = self.entry.checksum.wrapping_add(frame.checksum);
    }

    /// Keeps a frame that was counted.
    pub(crate) fn keep(&mut self, frame: Bytes) {
        self.frames_bytes += frame_held_bytes(&frame);
        self.frames.push(frame);
    }

    pub(crate) fn take_frames(&mut self) -> Vec<Bytes> {
        self.frames_bytes = 0;
        std::mem::take(&mut self.frames)
    }
}

/// The memory that keeping a frame takes, in bytes.
pub(crate) fn frame_held_bytes(frame: &Bytes) -> u64 {
    frame.len() as u64 + FRAME_OVERHEAD_BYTES
}

/// The bytes of the values of a batch: of a slice only what it shows.
pub(crate) fn value_bytes(batch: &RecordBatch) -> u64 {
    let sizes = batch.columns().iter().map(|column| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    });
    sizes.sum::<usize>() as u64
}

/// Cuts a batch into pieces of about so many bytes each, without copying.
pub(crate) fn pieces(
    batch: &RecordBatch,
    bytes: u64,
    bytes_target: u64,
) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    let piece_rows = piece_rows(rows, bytes, bytes_target);
    let batch = batch.clone();
    (0..rows).step_by(piece_rows).map(move |start| batch.slice(start, piece_rows.min(rows - start)))
}

/// How many of the rows of a batch of so many bytes make a piece of about so many bytes.
pub(crate) fn piece_rows(rows: usize, bytes: u64, bytes_target: u64) -> usize {
    let share = (rows as u128 * u128::from(bytes_target)).div_ceil(u128::from(bytes.max(1)));
    usize::try_from(share).unwrap_or(usize::MAX).clamp(1, FRAME_ROWS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::Schema;

    fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
        let words: Vec<_> = range.clone().map(|n| format!("word {n}")).collect();
        RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef),
            ("w", Arc::new(StringArray::from(words)) as ArrayRef),
        ])
        .unwrap()
    }

    #[test]
    fn tiny_batches_become_one_and_hold_little_more_than_their_values() {
        let mut buffer = PartitionBuffer::default();
        let whole = numbers(0..1_000);
        let schema = whole.schema();
        for at in 0..1_000 {
            // A slice keeps all of its origin, a copy does not.
            buffer.push(&schema, &whole.slice(at, 1)).unwrap();
        }
        assert!(buffer.is_pending());
        assert!(buffer.held_bytes() < 3 * value_bytes(&whole), "{}", buffer.held_bytes());
        assert_eq!(buffer.take_pending(&schema).unwrap(), whole);
        assert_eq!((buffer.held_bytes(), buffer.is_pending()), (0, false));
        assert_eq!(buffer.take_pending(&schema).unwrap().num_rows(), 0);
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let mut buffer = PartitionBuffer::default();
        let schema = Arc::new(Schema::empty());
        let options = RecordBatchOptions::new().with_row_count(Some(10));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&schema), vec![], &options).unwrap();
        buffer.push(&schema, &rows).unwrap();
        buffer.push_rows(&schema, &[], Rows::Chosen(&[1, 2]), 2).unwrap();
        assert_eq!(buffer.take_pending(&schema).unwrap().num_rows(), 12);
    }

    #[test]
    fn pieces_cover_all_rows_in_order() {
        let whole = numbers(0..1_000);
        let parts: Vec<_> = pieces(&whole, value_bytes(&whole), 1_000).collect();
        assert!(parts.len() > 10);
        assert_eq!(concat_batches(&whole.schema(), &parts).unwrap(), whole);
        let options = RecordBatchOptions::new().with_row_count(Some(100_000));
        let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(pieces(&empty, 0, 1_000).map(|piece| piece.num_rows()).sum::<usize>(), 100_000);
    }
}
