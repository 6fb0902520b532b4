//! From the plan's root to where its rows go.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use base::{Error, Result};
use connector::error::from_datafusion;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use exchange::ExchangeSink;
use exchange::direct::{Demand, DirectSink};
use futures::StreamExt;
use operators::{HashPartitioner, Sink};

use super::counters::AttemptCounters;

/// Where the rows of an attempt go.
pub(super) enum AttemptSink<'a> {
    /// Into an output that is committed when it is complete.
    Committed(&'a mut ExchangeSink),
    /// To consumers that run at the same time.
    Direct(&'a mut DirectSink),
}

impl AttemptSink<'_> {
    async fn push(
        &mut self,
        partition: u32,
        rows: RecordBatch,
        counters: &AttemptCounters,
    ) -> Result<Demand> {
        match self {
            AttemptSink::Committed(sink) => sink.push(partition, rows).await.map(|()| Demand::More),
            AttemptSink::Direct(sink) => counters.waits.during(sink.push(partition, rows)).await,
        }
    }

    async fn push_rows(
        &mut self,
        batch: RecordBatch,
        partition_of_rows: &[u32],
        counters: &AttemptCounters,
    ) -> Result<Demand> {
        match self {
            AttemptSink::Committed(sink) => {
                sink.push_rows(batch, partition_of_rows).await.map(|()| Demand::More)
            }
            AttemptSink::Direct(sink) => {
                counters.waits.during(sink.push_rows(batch, partition_of_rows)).await
            }
        }
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

    async fn push(
        &mut self,
        batch: RecordBatch,
        sink: &mut AttemptSink<'_>,
        counters: &AttemptCounters,
    ) -> Result<Demand> {
        match self {
            Router::Single => sink.push(0, batch, counters).await,
            Router::Hash(partitioner) => {
                let rows = partitioner.partition_of_rows(&batch).map_err(|error| from_datafusion(&error))?;
                sink.push_rows(batch, rows, counters).await
            }
        }
    }
}

/// Runs a plan and gives everything it produces to the sink, until that wants no more. Nothing is committed.
pub(super) async fn pump(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    to: &Sink,
    mut sink: AttemptSink<'_>,
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
        if router.push(batch, &mut sink, counters).await? == Demand::NoMore {
            return Ok(());
        }
        tokio::task::consume_budget().await;
    }
    Ok(())
}
