//! Many partitions in little memory.

use std::sync::atomic::Ordering;

use exchange::direct::{Demand, DirectExchange, OutputLayout};
use tokio::time::timeout;

use super::support::{PATIENCE, Pool, eventually, numbers, read_all, reader, schema, sink_options, slice};
use crate::support::attempt;

const ROWS_PER_PARTITION: i64 = 10_000;

/// The rows of a partition: its number and theirs in one.
fn rows(partition: u32, from: i64, count: i64) -> arrow::array::RecordBatch {
    let start = i64::from(partition) * ROWS_PER_PARTITION + from;
    numbers(start..start + count)
}

/// Writes that many rows to each partition, some at a time, and reads them by as many consumers.
async fn exchange_all(partitions: u32, consumers: u32, rows_at_once: i64) {
    const BOUND: u64 = 4 << 20;
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let layout = OutputLayout::Partitioned { partitions };
    let mut options = sink_options(&pool, BOUND);
    options.frame_bytes_target = 1 << 20;
    let (mut sink, handle) = exchange.create_output(attempt(0, 0), schema(), layout, &options).unwrap();
    let producer = tokio::spawn(async move {
        for from in (0..ROWS_PER_PARTITION).step_by(rows_at_once as usize) {
            for partition in 0..partitions {
                let demand = sink.push(partition, rows(partition, from, rows_at_once)).await.unwrap();
                assert_eq!(demand, Demand::More);
            }
        }
        sink.finish().await.unwrap();
    });
    let share = partitions / consumers;
    let readings: Vec<_> = (0..consumers)
        .map(|consumer| {
            let read = consumer * share..(consumer + 1) * share;
            let reader = reader(&exchange, &[slice(attempt(0, 0), consumer.into(), read.clone())]);
            tokio::spawn(async move {
                let mut values = read_all(reader).await.unwrap();
                values.sort_unstable();
                let range =
                    i64::from(read.start) * ROWS_PER_PARTITION..i64::from(read.end) * ROWS_PER_PARTITION;
                assert!(values.into_iter().eq(range), "consumer {consumer}");
            })
        })
        .collect();
    producer.await.unwrap();
    for reading in readings {
        reading.await.unwrap();
    }
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    let metrics = handle.metrics();
    eprintln!("{partitions} partitions, {consumers} consumers: {metrics:?}");
    assert_eq!(metrics.rows, u64::from(partitions) * ROWS_PER_PARTITION as u64);
    let partition_bytes = handle.partition_bytes();
    assert_eq!(partition_bytes.len(), partitions as usize);
    assert!(
        partition_bytes.iter().all(|bytes| *bytes == 8 * ROWS_PER_PARTITION as u64),
        "{partition_bytes:?}"
    );
    assert!(pool.peak() <= BOUND, "{} bytes", pool.peak());
    assert_eq!(pool.used.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_partitions_with_a_consumer_each() {
    exchange_all(500, 500, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_partitions_for_four_consumers() {
    exchange_all(500, 4, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_the_sink_spreads_keep_their_order() {
    const PARTITIONS: u32 = 50;
    const BATCHES: i64 = 40;
    const BATCH_ROWS: i64 = 1_000;
    const BOUND: u64 = 1 << 20;
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let layout = OutputLayout::Partitioned { partitions: PARTITIONS };
    let options = sink_options(&pool, BOUND);
    let (mut sink, handle) = exchange.create_output(attempt(0, 0), schema(), layout, &options).unwrap();
    let partition_of = |row: i64| (row * 31 % 47) as u32;
    let producer = tokio::spawn(async move {
        for from in (0..BATCHES * BATCH_ROWS).step_by(BATCH_ROWS as usize) {
            let partition_of_rows: Vec<u32> = (from..from + BATCH_ROWS).map(partition_of).collect();
            let demand = sink.push_rows(numbers(from..from + BATCH_ROWS), &partition_of_rows).await.unwrap();
            assert_eq!(demand, Demand::More);
        }
        sink.push_rows(numbers(0..2), &[0]).await.unwrap_err();
        sink.push_rows(numbers(0..2), &[0, PARTITIONS]).await.unwrap_err();
        sink.finish().await.unwrap();
    });
    for partition in 0..PARTITIONS {
        let consumer = slice(attempt(0, 0), partition.into(), partition..partition + 1);
        let values = read_all(reader(&exchange, &[consumer])).await.unwrap();
        let expected = (0..BATCHES * BATCH_ROWS).filter(|row| partition_of(*row) == partition);
        assert!(values.into_iter().eq(expected), "partition {partition}");
    }
    producer.await.unwrap();
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    assert_eq!(handle.metrics().rows, (BATCHES * BATCH_ROWS) as u64);
    assert!(handle.partition_bytes().iter().sum::<u64>() == 8 * (BATCHES * BATCH_ROWS) as u64);
    assert!(pool.peak() <= BOUND && pool.used() == 0, "{} bytes", pool.peak());
}

/// However small the pieces are that come, and although memory suffices for a small part of a frame for each partition.
#[tokio::test]
async fn a_full_buffer_makes_frames_that_are_worth_their_overhead() {
    const BOUND: u64 = 4 << 20;
    const PARTITIONS: u32 = 500;
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let layout = OutputLayout::Partitioned { partitions: PARTITIONS };
    let (mut sink, handle) =
        exchange.create_output(attempt(0, 0), schema(), layout, &sink_options(&pool, BOUND)).unwrap();
    let producer = tokio::spawn(async move {
        for from in (0..ROWS_PER_PARTITION).step_by(16) {
            for partition in 0..PARTITIONS {
                let _ = sink.push(partition, rows(partition, from, 16)).await.unwrap();
            }
        }
        sink.finish().await.unwrap();
    });
    eventually("the producer waits", || handle.metrics().frames >= PARTITIONS.into()).await;
    let metrics = handle.metrics();
    assert_eq!(metrics.frames, u64::from(PARTITIONS), "a frame of each partition");
    assert!(metrics.rows / metrics.frames > 400, "{metrics:?}");
    for partition in 0..PARTITIONS {
        drop(reader(&exchange, &[slice(attempt(0, 0), partition.into(), partition..partition + 1)]));
    }
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    producer.await.unwrap();
    assert!(pool.peak() <= BOUND && pool.used() == 0, "{} bytes", pool.peak());
}
