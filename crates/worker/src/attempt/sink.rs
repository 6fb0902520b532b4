//! From the plan's root into the exchange.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use base::{Error, Result};
use connector::error::from_datafusion;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use exchange::{ExchangeSink, MemoryCharge};
use futures::StreamExt;
use operators::{HashPartitioner, Sink};

use super::counters::AttemptCounters;

/// The name under which errors mention the sink's memory.
const CONSUMER_NAME: &str = "ExchangeSink";

/// Charges the sink's memory to the attempt's pool.
///
/// The sink spills when it is refused, and never holds more than its own small limit. So it takes what is free like
/// an operator that cannot spill: as one more that can, it would halve the share of a lone sort.
#[derive(Debug)]
pub(super) struct PoolCharge(MemoryReservation);

impl PoolCharge {
    pub(super) fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        PoolCharge(MemoryConsumer::new(CONSUMER_NAME).register(pool))
    }
}

impl MemoryCharge for PoolCharge {
    fn try_grow(&self, bytes: u64) -> Result<()> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.0.try_grow(bytes).map_err(|error| from_datafusion(&error))
    }

    fn shrink(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.0.shrink(bytes.min(self.0.size()));
    }
}

/// Which partition rows go to.
enum Router {
    Single,
    Hash(Box<HashPartitioner>),
}

impl Router {
    fn new(sink: &Sink) -> Result<Self> {
        match sink {
            Sink::Single => Ok(Router::Single),
            Sink::Hash { keys, partitions } => HashPartitioner::new(keys.clone(), *partitions)
                .map(|partitioner| Router::Hash(Box::new(partitioner)))
                .map_err(|error| from_datafusion(&error)),
        }
    }

    async fn push(&mut self, batch: RecordBatch, sink: &mut ExchangeSink) -> Result<()> {
        match self {
            Router::Single => sink.push(0, batch).await,
            Router::Hash(partitioner) => {
                let rows = partitioner.partition_of_rows(&batch).map_err(|error| from_datafusion(&error))?;
                sink.push_rows(batch, rows).await
            }
        }
    }
}

/// Runs a plan and gives everything it produces to the sink. Nothing is committed.
pub(super) async fn pump(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    to: &Sink,
    sink: &mut ExchangeSink,
    counters: &AttemptCounters,
) -> Result<()> {
    let partitions = plan.properties().output_partitioning().partition_count();
    if partitions != 1 {
        return Err(Error::internal(format!(
            "The plan of a fragment has {partitions} partitions instead of 1"
        )));
    }
    let mut router = Router::new(to)?;
    let mut rows = execute_stream(plan, context).map_err(|error| from_datafusion(&error))?;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| from_datafusion(&error))?;
        if batch.num_rows() == 0 {
            continue;
        }
        counters.output.add(&batch);
        router.push(batch, sink).await?;
        tokio::task::consume_budget().await;
    }
    Ok(())
}
