//! What attempts have done, in numbers that last longer than they.

use crate::attempt::AttemptProgress;

/// What attempts have done, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Bytes written to the exchange, as they are stored.
    pub(crate) exchange_written_bytes: u64,
    /// Bytes read from the exchange, in memory.
    pub(crate) exchange_read_bytes: u64,
    /// Bytes written to disk because memory was short.
    pub(crate) spilled_bytes: u64,
}

impl Work {
    /// What an attempt has done so far.
    pub(crate) fn of(progress: &AttemptProgress) -> Self {
        let counters = &progress.counters;
        Work {
            exchange_written_bytes: counters.output_stored_bytes.get(),
            exchange_read_bytes: counters.exchanged.bytes.get(),
            spilled_bytes: progress.spill.written_bytes() + counters.sink_spilled_bytes.get(),
        }
    }

    pub(crate) fn add(&mut self, other: &Work) {
        self.exchange_written_bytes += other.exchange_written_bytes;
        self.exchange_read_bytes += other.exchange_read_bytes;
        self.spilled_bytes += other.spilled_bytes;
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The output of its task is committed.
    Committed,
    /// It failed.
    Failed,
    /// It was told to end.
    Aborted,
}
