//! The memory of a sink is bounded, whatever the number of partitions is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::UInt32Array;
use base::{Error, ErrorCode, Result};
use exchange::MemoryCharge;

use crate::support::{Exchange, attempt, query, words};

/// A pool of a fixed size.
#[derive(Debug)]
struct Pool {
    size: u64,
    used: AtomicU64,
    peak: AtomicU64,
    refusals: AtomicU64,
}

impl Pool {
    fn new(size: u64) -> Arc<Self> {
        Arc::new(Pool { size, used: 0.into(), peak: 0.into(), refusals: 0.into() })
    }
}

impl MemoryCharge for Pool {
    fn try_grow(&self, bytes: u64) -> Result<()> {
        let used = self.used.load(Ordering::Relaxed) + bytes;
        if used > self.size {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            return Err(Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "the pool is exhausted"));
        }
        self.used.store(used, Ordering::Relaxed);
        self.peak.fetch_max(used, Ordering::Relaxed);
        Ok(())
    }

    fn shrink(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Pushes as a hash partitioner does: of each batch of 8192 rows, a few rows to every partition. Returns the
/// rows pushed.
async fn push_all(sink: &mut exchange::ExchangeSink, partitions: u32, batches: i64) -> Result<u64> {
    let per_partition = 8_192 / partitions as usize;
    for at in 0..batches {
        let batch = words(at * 8_192..(at + 1) * 8_192);
        for partition in 0..partitions {
            let indices =
                UInt32Array::from_iter_values((0..per_partition as u32).map(|n| n * partitions + partition));
            let rows = arrow::compute::take_record_batch(&batch, &indices).unwrap();
            sink.push(partition, rows).await?;
        }
    }
    Ok(per_partition as u64 * u64::from(partitions) * batches as u64)
}

/// Lets the sink spread rows. Returns the rows pushed.
async fn spread_all(sink: &mut exchange::ExchangeSink, partitions: u32, batches: i64) -> Result<u64> {
    let partition_of_rows: Vec<u32> = (0..8_192).map(|row: u32| row % partitions).collect();
    for at in 0..batches {
        sink.push_rows(words(at * 8_192..(at + 1) * 8_192), &partition_of_rows).await?;
    }
    Ok(8_192 * batches as u64)
}

#[tokio::test]
async fn memory_stays_below_the_bound_at_any_partition_count() {
    const BOUND: u64 = 4 << 20;
    for (partitions, spreads) in [1, 50, 500, 1000].into_iter().flat_map(|n| [(n, false), (n, true)]) {
        let pool = Pool::new(u64::MAX);
        let exchange = Exchange::with(|options| options.sink_memory_bytes_max = BOUND);
        let mut options = exchange.sink_options();
        options.memory = Some(pool.clone());
        let schema = words(0..1).schema();
        let mut sink = exchange.manager.sink(attempt(0, 0), schema.clone(), partitions, options).unwrap();
        let rows = if spreads {
            spread_all(&mut sink, partitions, 60).await.unwrap()
        } else {
            push_all(&mut sink, partitions, 60).await.unwrap()
        };
        let metrics = sink.metrics();
        let record = sink.finish().await.unwrap().record;
        let peak = pool.peak.load(Ordering::Relaxed);
        eprintln!(
            "{partitions} partitions: peak {peak} bytes, {metrics:?}, object {} bytes",
            record.stored_bytes()
        );
        assert!(peak <= BOUND + (1 << 20), "{partitions} partitions: {peak} bytes");
        assert!(metrics.memory_bytes_peak <= peak);
        assert!(partitions == 1 || metrics.spill_runs > 0, "the bound was reached");
        assert_eq!(pool.used.load(Ordering::Relaxed), 0, "everything is given back");
        assert_eq!(record.rows(), rows);
        let back = exchange.read(&record, &schema, 0..partitions).await.unwrap();
        assert_eq!(back.num_rows() as u64, rows);
        exchange.manager.remove_query(query()).await.unwrap();
        exchange.assert_empty();
    }
}

#[tokio::test]
async fn a_sink_spills_when_the_pool_refuses_and_fails_only_when_that_does_not_help() {
    let exchange = Exchange::new();
    let schema = words(0..1).schema();
    let pool = Pool::new(2 << 20);
    let mut options = exchange.sink_options();
    options.memory = Some(pool.clone());
    let mut sink = exchange.manager.sink(attempt(0, 0), schema.clone(), 20, options.clone()).unwrap();
    let rows = push_all(&mut sink, 20, 10).await.unwrap();
    assert!(sink.metrics().spill_runs > 0 && pool.refusals.load(Ordering::Relaxed) > 0);
    drop(sink);
    assert_eq!(pool.used.load(Ordering::Relaxed), 0);
    assert!(rows > 0);
    exchange.assert_empty();

    options.memory = Some(Pool::new(20_000));
    let mut sink = exchange.manager.sink(attempt(0, 1), schema, 20, options).unwrap();
    let error = sink.push(0, words(0..1_000)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT);
    drop(sink);
    exchange.assert_empty();
}
