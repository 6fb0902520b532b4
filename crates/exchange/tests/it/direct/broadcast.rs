//! An output that all consumers read.

use exchange::direct::{Demand, DirectExchange, OutputLayout};
use futures::StreamExt;
use tokio::time::timeout;

use super::support::{PATIENCE, Pool, eventually, numbers, read_all, reader, schema, sink_options, slice};
use crate::support::attempt;

const BATCH: i64 = 8_192;
const BATCHES: i64 = 100;

#[tokio::test]
async fn late_consumers_get_everything() {
    const BOUND: u64 = 2 << 20;
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let (mut sink, handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Broadcast, &sink_options(&pool, BOUND))
        .unwrap();
    let producer = tokio::spawn(async move {
        for at in 0..BATCHES {
            assert_eq!(sink.push(0, numbers(at * BATCH..(at + 1) * BATCH)).await.unwrap(), Demand::More);
        }
        sink.finish().await.unwrap();
    });
    let read = |consumer| tokio::spawn(read_all(reader(&exchange, &[slice(attempt(0, 0), consumer, 0..1)])));
    let early = [read(0), read(1)];
    // As long as more may come, nothing is dropped, and so the producer waits.
    eventually("the producer waits", || handle.metrics().memory_bytes > BOUND / 2).await;
    handle.set_consumer_count(3);
    assert!(!producer.is_finished() && !early[0].is_finished());
    let late = read(2);
    timeout(PATIENCE, producer).await.unwrap().unwrap();
    for reading in early.into_iter().chain([late]) {
        let values = timeout(PATIENCE, reading).await.unwrap().unwrap().unwrap();
        assert!(values.into_iter().eq(0..BATCHES * BATCH));
    }
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    assert!(pool.peak() <= BOUND, "{}", pool.peak());
    assert_eq!(pool.used(), 0);
    let refused = read(3).await.unwrap().unwrap_err();
    assert_eq!(base::Error::from(refused).code(), base::ErrorCode::GENERIC_INTERNAL_ERROR);
}

#[tokio::test]
async fn the_producer_stops_when_the_last_consumer_has_enough() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let (mut sink, handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Broadcast, &sink_options(&pool, 1 << 20))
        .unwrap();
    handle.set_consumer_count(2);
    let producer =
        tokio::spawn(async move { while sink.push(0, numbers(0..BATCH)).await.unwrap() == Demand::More {} });
    let mut readers =
        [0, 1].map(|consumer| reader(&exchange, &[slice(attempt(0, 0), consumer, 0..1)])).into_iter();
    let mut last = readers.next().unwrap();
    drop(readers);
    for _ in 0..50 {
        last.next().await.unwrap().unwrap();
    }
    assert!(!producer.is_finished());
    drop(last);
    timeout(PATIENCE, producer).await.unwrap().unwrap();
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    assert_eq!(pool.used(), 0);
}
