//! What a sink holds of one partition: rows that wait to fill a frame, and finished frames.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;

use crate::frame::Frame;
use crate::index::PartitionEntry;

/// How many batches of one level become one batch of the next. Each row is copied once per level.
const FAN_IN: usize = 16;

/// A frame has no more rows than this, however narrow they are.
pub(crate) const FRAME_ROWS_MAX: usize = 1 << 15;

/// What a batch costs beside its arrays, in bytes.
const BATCH_OVERHEAD_BYTES: u64 = 64;

/// What a frame costs beside its content, in bytes.
const FRAME_OVERHEAD_BYTES: u64 = 64;

/// What each column may waste by rounding and bookkeeping before a batch is worth copying, in bytes.
const COLUMN_WASTE_BYTES_MAX: u64 = 1024;

#[derive(Debug)]
struct Pending {
    batch: RecordBatch,
    bytes: u64,
    level: u8,
}

/// One partition of a sink.
#[derive(Debug, Default)]
pub(crate) struct PartitionBuffer {
    pending: Vec<Pending>,
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

    pub(crate) fn entry(&self) -> PartitionEntry {
        self.entry
    }

    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the rows that wait are enough for a frame.
    pub(crate) fn is_full(&self, frame_bytes_target: u64) -> bool {
        self.pending_bytes >= frame_bytes_target || self.pending_rows >= FRAME_ROWS_MAX
    }

    /// Adds rows. Small batches are merged as they come, so that a thousand partitions do not hold a million
    /// tiny arrays.
    pub(crate) fn push(&mut self, schema: &SchemaRef, batch: RecordBatch) -> Result<(), ArrowError> {
        self.pending_rows += batch.num_rows();
        self.push_pending(batch, 0);
        while let Some(level) = self.full_level() {
            let merged = self.pending.split_off(self.pending.len() - FAN_IN);
            self.pending_bytes -= merged.iter().map(|pending| pending.bytes).sum::<u64>();
            let batch = concat_batches(schema, merged.iter().map(|pending| &pending.batch))?;
            self.push_pending(batch, level + 1);
        }
        Ok(())
    }

    fn push_pending(&mut self, batch: RecordBatch, level: u8) {
        let bytes = held_bytes(&batch);
        self.pending_bytes += bytes;
        self.pending.push(Pending { batch, bytes, level });
    }

    /// The level of the last [`FAN_IN`] batches, if it is one.
    fn full_level(&self) -> Option<u8> {
        let last = self.pending.last()?.level;
        let start = self.pending.len().checked_sub(FAN_IN)?;
        self.pending[start..].iter().all(|pending| pending.level == last).then_some(last)
    }

    /// Takes out the rows that wait, as one batch.
    pub(crate) fn take_pending(&mut self, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let pending = std::mem::take(&mut self.pending);
        (self.pending_rows, self.pending_bytes) = (0, 0);
        concat_batches(schema, pending.iter().map(|pending| &pending.batch))
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

/// The memory that a batch holds, in bytes.
pub(crate) fn held_bytes(batch: &RecordBatch) -> u64 {
    batch.get_array_memory_size() as u64 + BATCH_OVERHEAD_BYTES
}

/// The bytes of the values of a batch: of a slice only what it shows.
pub(crate) fn value_bytes(batch: &RecordBatch) -> u64 {
    let sizes = batch.columns().iter().map(|column| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    });
    sizes.sum::<usize>() as u64
}

/// The batch, copied where it holds far more memory than its values need: a slice keeps all of its origin.
pub(crate) fn compacted(batch: RecordBatch, value_bytes: u64) -> Result<RecordBatch, ArrowError> {
    let waste_max = value_bytes + COLUMN_WASTE_BYTES_MAX * batch.num_columns() as u64;
    if batch.num_columns() == 0 || held_bytes(&batch) <= value_bytes + waste_max {
        return Ok(batch);
    }
    let copies: Result<Vec<ArrayRef>, ArrowError> = batch.columns().iter().map(copied).collect();
    RecordBatch::try_new(batch.schema(), copies?)
}

/// Concatenation with nothing copies; with one array alone it would not.
fn copied(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let nothing = column.slice(0, 0);
    concat(&[column.as_ref(), nothing.as_ref()])
}

/// Cuts a batch into pieces of about so many bytes each, without copying.
pub(crate) fn pieces(
    batch: &RecordBatch,
    bytes: u64,
    bytes_target: u64,
) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    let share = (rows as u128 * u128::from(bytes_target)).div_ceil(u128::from(bytes.max(1)));
    let piece_rows = usize::try_from(share).unwrap_or(usize::MAX).clamp(1, FRAME_ROWS_MAX);
    let batch = batch.clone();
    (0..rows).step_by(piece_rows).map(move |start| batch.slice(start, piece_rows.min(rows - start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatchOptions, StringArray};
    use arrow::datatypes::Schema;
    use std::sync::Arc;

    fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
        let words: Vec<_> = range.clone().map(|n| format!("word {n}")).collect();
        RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef),
            ("w", Arc::new(StringArray::from(words)) as ArrayRef),
        ])
        .unwrap()
    }

    #[test]
    fn many_tiny_batches_are_merged_in_order() {
        let mut buffer = PartitionBuffer::default();
        let schema = numbers(0..0).schema();
        let mut unmerged = 0;
        for at in 0..1000 {
            let batch = numbers(at..at + 1);
            unmerged += held_bytes(&batch);
            buffer.push(&schema, batch).unwrap();
        }
        assert!(buffer.pending.len() < 3 * FAN_IN);
        assert!(buffer.held_bytes() * 5 < unmerged, "{} {unmerged}", buffer.held_bytes());
        assert_eq!(buffer.take_pending(&schema).unwrap(), numbers(0..1000));
        assert_eq!(buffer.held_bytes(), 0);
    }

    #[test]
    fn a_slice_is_copied_only_where_that_saves_memory() {
        let whole = numbers(0..10_000);
        let slice = whole.slice(5_000, 10);
        assert!(value_bytes(&slice) < 1_000);
        let copy = compacted(slice.clone(), value_bytes(&slice)).unwrap();
        assert_eq!(copy, slice);
        assert!(held_bytes(&copy) < 4_000);
        let kept = compacted(whole.clone(), value_bytes(&whole)).unwrap();
        assert_eq!(held_bytes(&kept), held_bytes(&whole));
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
