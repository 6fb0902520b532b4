//! Exchange memory, charged to the pool of an attempt.

use std::sync::Arc;

use base::Result;
use connector::error::from_datafusion;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use exchange::MemoryCharge;

use super::AttemptPool;

/// The name under which errors mention the sink's memory.
const SINK_NAME: &str = "ExchangeSink";

/// Charges what the sink of a committed output holds.
///
/// The sink spills when it is refused, and never holds more than its own small limit. So it takes what is free like
/// an operator that cannot spill: as one more that can, it would halve the share of a lone sort.
#[derive(Debug)]
pub(crate) struct SinkCharge(MemoryReservation);

impl SinkCharge {
    pub(crate) fn new(pool: &Arc<AttemptPool>) -> Self {
        let pool: Arc<dyn MemoryPool> = Arc::clone(pool) as _;
        SinkCharge(MemoryConsumer::new(SINK_NAME).register(&pool))
    }
}

impl MemoryCharge for SinkCharge {
    fn try_grow(&self, bytes: u64) -> Result<()> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.0.try_grow(bytes).map_err(|error| from_datafusion(&error))
    }

    fn shrink(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.0.shrink(bytes.min(self.0.size()));
    }
}

/// Charges what the buffers between attempts hold. All buffers of an attempt share it.
#[derive(Debug)]
pub(crate) struct BufferCharge(Arc<AttemptPool>);

impl BufferCharge {
    pub(crate) fn new(pool: &Arc<AttemptPool>) -> Self {
        BufferCharge(Arc::clone(pool))
    }
}

impl MemoryCharge for BufferCharge {
    fn try_grow(&self, bytes: u64) -> Result<()> {
        self.try_grow_from(0, bytes)
    }

    fn try_grow_from(&self, held: u64, bytes: u64) -> Result<()> {
        self.0.try_grow_buffer(held, bytes).map_err(|error| from_datafusion(&error))
    }

    fn shrink(&self, bytes: u64) {
        self.0.shrink_buffer(bytes);
    }
}
