//! What an attempt has done so far: counted while it runs, read by others at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::record_batch::RecordBatch;

use super::waits::Waits;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Rows and their bytes in memory.
#[derive(Debug, Default)]
pub(crate) struct RowCounter {
    pub(crate) batches: Counter,
    pub(crate) rows: Counter,
    pub(crate) bytes: Counter,
}

impl RowCounter {
    pub(crate) fn add(&self, batch: &RecordBatch) {
        self.batches.add(1);
        self.rows.add(batch.num_rows() as u64);
        self.bytes.add(batch_bytes(batch));
    }
}

/// What an attempt has done so far.
#[derive(Debug, Default)]
pub(crate) struct AttemptCounters {
    /// Rows read from tables.
    pub(crate) scanned: RowCounter,
    /// Rows read from the exchange.
    pub(crate) exchanged: RowCounter,
    /// Rows given to the sink.
    pub(crate) output: RowCounter,
    /// Bytes of output as they are stored.
    pub(crate) output_stored_bytes: Counter,
    /// Objects of output beside its commit record.
    pub(crate) output_objects: Counter,
    /// Bytes the sink had to write to disk before they could be stored.
    pub(crate) sink_spilled_bytes: Counter,
    /// Splits read to their end.
    pub(crate) completed_splits: Counter,
    /// The size of those, as the connector estimated it.
    pub(crate) completed_split_bytes: Counter,
    /// Time spent computing, apart from what operators do in tasks of their own.
    pub(crate) cpu_nanos: Counter,
    /// Where it waits for other attempts.
    pub(crate) waits: Arc<Waits>,
}

impl AttemptCounters {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A number that changes whenever rows move or a split is done. Time spent is no progress.
    pub(crate) fn progress(&self) -> u64 {
        [
            &self.scanned.batches,
            &self.exchanged.batches,
            &self.output.batches,
            &self.output_stored_bytes,
            &self.completed_splits,
        ]
        .iter()
        .fold(0, |sum: u64, counter| sum.wrapping_add(counter.get()))
    }

    pub(crate) fn add_cpu_time(&self, time: Duration) {
        self.cpu_nanos.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// The bytes of the rows of a batch, without what else is in the buffers they share with others.
fn batch_bytes(batch: &RecordBatch) -> u64 {
    let sum: usize = batch
        .columns()
        .iter()
        .map(|column| {
            let whole = column.get_buffer_memory_size();
            column.to_data().get_slice_memory_size().map_or(whole, |slice| slice.min(whole))
        })
        .sum();
    sum as u64
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("x", column)]).unwrap()
    }

    #[test]
    fn a_slice_counts_its_own_rows_only() {
        let counter = RowCounter::default();
        counter.add(&batch(1000).slice(10, 5));
        assert_eq!((counter.batches.get(), counter.rows.get(), counter.bytes.get()), (1, 5, 40));
    }

    #[test]
    fn every_kind_of_work_is_progress() {
        let counters = AttemptCounters::new();
        let mut last = counters.progress();
        let mut changed = || {
            let now = counters.progress();
            std::mem::replace(&mut last, now) != now
        };
        counters.scanned.add(&batch(0));
        assert!(changed());
        counters.exchanged.add(&batch(1));
        assert!(changed());
        counters.output.add(&batch(1));
        assert!(changed());
        counters.completed_splits.add(1);
        assert!(changed());
        counters.add_cpu_time(Duration::from_secs(1));
        assert!(!changed());
    }
}
