//! Back-pressure, early stop, order, memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use exchange::direct::{
    Demand, DirectExchange, DirectReader, DirectSource, FetchError, FetchRequest, FetchResponse,
    FetchTransport, OutputLayout, OutputSlice,
};
use futures::StreamExt;
use tokio::time::timeout;

use super::support::{
    PATIENCE, Pool, close, eventually, numbers, read_all, read_options, reader, request, schema,
    sink_options, slice, source,
};
use crate::support::attempt;

const BATCH: i64 = 8_192;

#[tokio::test]
async fn a_slow_consumer_bounds_the_memory_of_its_producer() {
    const BOUND: u64 = 1 << 20;
    const BATCHES: i64 = 200;
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let (mut sink, handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Single, &sink_options(&pool, BOUND))
        .unwrap();
    let producer = tokio::spawn(async move {
        for at in 0..BATCHES {
            assert_eq!(sink.push(0, numbers(at * BATCH..(at + 1) * BATCH)).await.unwrap(), Demand::More);
        }
        sink.finish().await.unwrap();
    });
    eventually("the producer waits", || handle.metrics().memory_bytes > BOUND / 2).await;
    // 12 MB are to come: only somebody who reads lets them.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!producer.is_finished());
    assert!(handle.metrics().rows < (BATCHES * BATCH) as u64 / 2, "{:?}", handle.metrics());
    let values = read_all(reader(&exchange, &[slice(attempt(0, 0), 0, 0..1)])).await.unwrap();
    assert!(values.into_iter().eq(0..BATCHES * BATCH), "every row, once, in order");
    timeout(PATIENCE, producer).await.unwrap().unwrap();
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    let metrics = handle.metrics();
    assert!(metrics.waits > 0 && pool.peak() <= BOUND, "{metrics:?}");
    assert_eq!((pool.used(), metrics.memory_bytes_peak), (0, pool.peak()));
}

#[tokio::test]
async fn a_consumer_that_has_enough_ends_its_producer() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let layout = OutputLayout::Partitioned { partitions: 2 };
    let (mut sink, handle) =
        exchange.create_output(attempt(0, 0), schema(), layout, &sink_options(&pool, 1 << 20)).unwrap();
    let satisfied = sink.satisfied();
    let producer = tokio::spawn(async move {
        let mut pushed = 0;
        // Without a consumer that stops it, this would never end.
        loop {
            for partition in 0..2 {
                if sink.push(partition, numbers(0..BATCH)).await.unwrap() == Demand::NoMore {
                    return pushed;
                }
                pushed += 1;
            }
        }
    });
    let mut first = reader(&exchange, &[slice(attempt(0, 0), 0, 0..1)]);
    first.next().await.unwrap().unwrap();
    drop(first);
    let mut second = reader(&exchange, &[slice(attempt(0, 0), 1, 1..2)]);
    let mut rows = 0;
    // More than the buffer holds: what is closed does not hold up what is open.
    while rows < 1_000_000 {
        rows += second.next().await.unwrap().unwrap().num_rows();
    }
    assert!(!producer.is_finished());
    drop(second);
    timeout(PATIENCE, satisfied).await.unwrap();
    assert!(timeout(PATIENCE, producer).await.unwrap().unwrap() > 100);
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    assert_eq!(pool.used(), 0);
    drop(handle);
    assert!(exchange.is_empty());
}

/// Counts how often it was too early to close.
#[derive(Debug)]
struct Early(DirectExchange, AtomicUsize);

#[async_trait]
impl FetchTransport for Early {
    async fn fetch(&self, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        self.0.fetch(request).await
    }

    async fn close(&self, slice: &OutputSlice) -> Result<(), FetchError> {
        let closed = self.0.close(slice).await;
        if closed == Err(FetchError::NotStarted) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        closed
    }
}

#[tokio::test]
async fn a_reader_that_was_never_polled_closes_too_even_before_the_producer_is_there() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let transport = Arc::new(Early(exchange.clone(), AtomicUsize::new(0)));
    let source = DirectSource { slice: slice(attempt(0, 0), 0, 0..1), transport: transport.clone() };
    drop(DirectReader::new(vec![source], schema(), read_options()));
    eventually("it is closed too early", || transport.1.load(Ordering::SeqCst) > 0).await;
    let (_sink, handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
        .unwrap();
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
}

#[tokio::test]
async fn rows_that_fill_no_frame_reach_a_consumer_that_waits() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let (mut sink, handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
        .unwrap();
    let mut reader = reader(&exchange, &[slice(attempt(0, 0), 0, 0..1)]);
    for at in 0..5 {
        assert_eq!(sink.push(0, numbers(at..at + 1)).await.unwrap(), Demand::More);
        let batch = timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(batch, numbers(at..at + 1));
    }
    sink.finish().await.unwrap();
    assert!(timeout(PATIENCE, reader.next()).await.unwrap().is_none());
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
}

#[tokio::test]
async fn a_consumer_may_come_before_its_producer() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let reading = tokio::spawn(read_all(reader(&exchange, &[slice(attempt(0, 0), 0, 0..1)])));
    eventually("the consumer waits", || exchange.len() == 1).await;
    let (mut sink, handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
        .unwrap();
    let _ = sink.push(0, numbers(0..10)).await.unwrap();
    sink.finish().await.unwrap();
    assert_eq!(timeout(PATIENCE, reading).await.unwrap().unwrap().unwrap(), (0..10).collect::<Vec<_>>());
    drop(handle);
    assert!(exchange.is_empty());
}

#[tokio::test]
async fn a_merge_reads_each_producer_at_its_own_pace() {
    const PRODUCERS: u32 = 8;
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let mut handles = Vec::new();
    for number in 0..PRODUCERS {
        let attempt = attempt(number, 0);
        let (mut sink, handle) = exchange
            .create_output(attempt, schema(), OutputLayout::Single, &sink_options(&pool, 256 << 10))
            .unwrap();
        handles.push(handle);
        tokio::spawn(async move {
            for at in 0..40 {
                let _ = sink.push(0, numbers(at * BATCH..(at + 1) * BATCH)).await.unwrap();
            }
            sink.finish().await.unwrap();
        });
    }
    let sources =
        (0..PRODUCERS).map(|number| source(&exchange, slice(attempt(number, 0), 0, 0..1))).collect();
    let mut options = read_options();
    options.buffer_bytes_max = 1 << 20;
    let memory = Pool::new(u64::MAX);
    options.memory = Some(memory.clone());
    // The last one first: the others fill their part of the buffer and wait.
    for reader in DirectReader::each(sources, schema(), &options).into_iter().rev() {
        let values = timeout(PATIENCE, read_all(reader)).await.unwrap().unwrap();
        assert!(values.into_iter().eq(0..40 * BATCH));
    }
    assert!(memory.peak() <= 1 << 20 && memory.peak() > 0);
    assert_eq!(memory.used(), 0);
}

#[tokio::test]
async fn a_reader_keeps_within_its_buffer_and_gives_it_back() {
    const PRODUCERS: u32 = 100;
    const BATCHES: i64 = 5;
    const BOUND: u64 = 512 << 10;
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let mut handles = Vec::new();
    for number in 0..PRODUCERS {
        let mut options = sink_options(&pool, 4 << 20);
        options.compression = exchange::ExchangeCompression::None;
        let (mut sink, handle) =
            exchange.create_output(attempt(number, 0), schema(), OutputLayout::Single, &options).unwrap();
        let start = i64::from(number) * BATCHES * BATCH;
        for at in 0..BATCHES {
            let _ = sink.push(0, numbers(start + at * BATCH..start + (at + 1) * BATCH)).await.unwrap();
        }
        sink.finish().await.unwrap();
        handles.push(handle);
    }
    let slices: Vec<_> = (0..PRODUCERS).map(|number| slice(attempt(number, 0), 0, 0..1)).collect();
    let memory = Pool::new(u64::MAX);
    let mut options = read_options();
    options.buffer_bytes_max = BOUND;
    options.memory = Some(memory.clone());
    let sources = slices.iter().map(|slice| source(&exchange, slice.clone())).collect();
    let values = read_all(DirectReader::new(sources, schema(), options)).await.unwrap();
    let mut expected: Vec<_> = (0..i64::from(PRODUCERS)).map(|number| number * BATCHES * BATCH).collect();
    for value in values {
        let next = &mut expected[(value / (BATCHES * BATCH)) as usize];
        assert_eq!(value, *next, "every row of a producer, in order");
        *next += 1;
    }
    assert!(expected.into_iter().eq((1..=i64::from(PRODUCERS)).map(|number| number * BATCHES * BATCH)));
    assert!(memory.peak() <= BOUND && memory.peak() > BOUND / 2, "{}", memory.peak());
    assert_eq!(memory.used(), 0);
    for handle in &handles {
        timeout(PATIENCE, handle.satisfied()).await.unwrap();
    }
    assert_eq!(pool.used(), 0);
}

#[tokio::test]
async fn a_pool_that_refuses_makes_the_producer_wait() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(300 << 10));
    let (mut sink, handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Single, &sink_options(&pool, 100 << 20))
        .unwrap();
    let reading = tokio::spawn(read_all(reader(&exchange, &[slice(attempt(0, 0), 0, 0..1)])));
    for at in 0..100 {
        assert_eq!(sink.push(0, numbers(at * BATCH..(at + 1) * BATCH)).await.unwrap(), Demand::More);
    }
    sink.finish().await.unwrap();
    assert!(reading.await.unwrap().unwrap().into_iter().eq(0..100 * BATCH));
    assert!(pool.refusals.load(Ordering::SeqCst) > 0);
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    assert_eq!(pool.used(), 0);

    let nothing = Pool::new(100);
    let (mut sink, _handle) = exchange
        .create_output(attempt(1, 0), schema(), OutputLayout::Single, &sink_options(&nothing, 1 << 20))
        .unwrap();
    let error = sink.push(0, numbers(0..1_000)).await.unwrap_err();
    assert_eq!(error.code(), base::ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT);
}

#[tokio::test]
async fn the_same_token_gives_equal_bytes() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let (mut sink, _handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Single, &sink_options(&pool, 8 << 20))
        .unwrap();
    for at in 0..20 {
        let _ = sink.push(0, numbers(at * BATCH..(at + 1) * BATCH)).await.unwrap();
    }
    let slice = slice(attempt(0, 0), 0, 0..1);
    let first = exchange.fetch(&request(&slice, 0)).await.unwrap();
    assert!(first.frames.len() > 3 && !first.is_end);
    let _ = sink.push(0, numbers(0..10)).await.unwrap();
    sink.finish().await.unwrap();
    let again = exchange.fetch(&request(&slice, 0)).await.unwrap();
    assert_eq!(again.frames, first.frames);
    let tail = exchange.fetch(&request(&slice, 2)).await.unwrap();
    assert_eq!(tail.frames, first.frames[2..]);
    let used = pool.used();
    let token = first.frames.len() as u64;
    let rest = exchange.fetch(&request(&slice, token)).await.unwrap();
    assert!(rest.is_end && !rest.frames.is_empty());
    assert!(pool.used() < used, "what was acknowledged is dropped");
    assert_eq!(exchange.fetch(&request(&slice, token)).await.unwrap(), rest);
    assert!(exchange.fetch(&request(&slice, 0)).await.is_err(), "it is not there any more");
    close(&exchange, &slice).await;
    assert_eq!(pool.used(), 0);
    let closed = exchange.fetch(&request(&slice, token)).await.unwrap();
    assert!(closed.is_end && closed.frames.is_empty());
}

#[tokio::test]
async fn string_views_are_compacted_before_they_are_kept() {
    let pool = Pool::new(u64::MAX);
    let exchange = DirectExchange::new();
    let batch = crate::support::words(0..8_192);
    let (mut sink, handle) = exchange
        .create_output(attempt(0, 0), batch.schema(), OutputLayout::Single, &sink_options(&pool, 64 << 20))
        .unwrap();
    // Each slice drags the buffers of the whole batch along.
    for at in 0..100 {
        let _ = sink.push(0, batch.slice(at * 80, 1)).await.unwrap();
    }
    assert!(pool.peak() < 200 << 10, "{}", pool.peak());
    sink.finish().await.unwrap();
    let sources = vec![source(&exchange, slice(attempt(0, 0), 0, 0..1))];
    let mut reader = DirectReader::new(sources, batch.schema(), read_options());
    let mut rows = Vec::new();
    while let Some(part) = reader.next().await {
        rows.push(part.unwrap());
    }
    let expected: Vec<_> = (0..100).map(|at| batch.slice(at * 80, 1)).collect();
    let concat = |parts: &[_]| arrow::compute::concat_batches(&batch.schema(), parts).unwrap();
    assert_eq!(concat(&rows), concat(&expected));
    drop((handle, Arc::clone(&pool)));
}
