//! Failures, lost answers, corruption, and what is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base::{Error, ErrorCode, ErrorLocation, Failure, FailureClass};
use bytes::Bytes;
use exchange::direct::{
    DataIntegrity, Demand, DirectExchange, DirectReadError, DirectReader, DirectSource, FetchError,
    FetchRequest, FetchResponse, FetchTransport, OutputLayout, OutputSlice,
};
use futures::StreamExt;
use tokio::time::{Instant, timeout};

use super::support::{
    PATIENCE, Pool, eventually, numbers, read_all, read_options, reader, request, schema, sink_options,
    slice, source,
};
use crate::support::attempt;

/// Loses answers and flips bits on the way: each so many times, of every second answer with frames.
#[derive(Debug)]
struct Faulty {
    inner: DirectExchange,
    answers: AtomicUsize,
    lost: AtomicUsize,
    flipped: AtomicUsize,
}

impl Faulty {
    fn new(inner: &DirectExchange, lost: usize, flipped: usize) -> Arc<Self> {
        Arc::new(Faulty {
            inner: inner.clone(),
            answers: 0.into(),
            lost: lost.into(),
            flipped: flipped.into(),
        })
    }
}

fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl FetchTransport for Faulty {
    async fn fetch(&self, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        let mut response = self.inner.fetch(request).await?;
        if response.frames.is_empty() || !self.answers.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            return Ok(response);
        }
        if take_one(&self.lost) {
            return Err(FetchError::Unreachable("the answer was lost".to_owned()));
        }
        if take_one(&self.flipped) {
            let mut frame = response.frames[0].to_vec();
            *frame.last_mut().unwrap() ^= 1;
            response.frames[0] = Bytes::from(frame);
        }
        Ok(response)
    }

    async fn close(&self, slice: &OutputSlice) -> Result<(), FetchError> {
        self.inner.close(slice).await
    }
}

/// Every answer is lost.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl FetchTransport for Silent {
    async fn fetch(&self, _request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        Err(FetchError::Unreachable("connection refused".to_owned()))
    }

    async fn close(&self, _slice: &OutputSlice) -> Result<(), FetchError> {
        Ok(())
    }
}

/// A producer of 40 batches, in the background.
fn produce(exchange: &DirectExchange, pool: &Arc<Pool>) -> exchange::direct::OutputHandle {
    let (mut sink, handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Single, &sink_options(pool, 1 << 20))
        .unwrap();
    tokio::spawn(async move {
        for at in 0..40 {
            if sink.push(0, numbers(at * 8_192..(at + 1) * 8_192)).await.unwrap() == Demand::NoMore {
                return;
            }
        }
        sink.finish().await.unwrap();
    });
    handle
}

fn faulty_reader(transport: Arc<Faulty>, integrity: DataIntegrity) -> DirectReader {
    let sources = vec![DirectSource { slice: slice(attempt(0, 0), 0, 0..1), transport }];
    let mut options = read_options();
    (options.integrity, options.response_bytes_max) = (integrity, 128 << 10);
    DirectReader::new(sources, schema(), options)
}

#[tokio::test]
async fn lost_answers_are_asked_for_again() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let handle = produce(&exchange, &pool);
    let transport = Faulty::new(&exchange, 5, 0);
    let values = read_all(faulty_reader(transport.clone(), DataIntegrity::Abort)).await.unwrap();
    assert!(values.into_iter().eq(0..40 * 8_192));
    assert_eq!(transport.lost.load(Ordering::SeqCst), 0, "all faults landed");
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    assert_eq!(pool.used(), 0);
}

#[tokio::test]
async fn corrupt_frames_are_fetched_again_where_that_is_wanted() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let _handle = produce(&exchange, &pool);
    let transport = Faulty::new(&exchange, 0, 3);
    let values = read_all(faulty_reader(transport.clone(), DataIntegrity::Retry)).await.unwrap();
    assert!(values.into_iter().eq(0..40 * 8_192));
    assert_eq!(transport.flipped.load(Ordering::SeqCst), 0, "all faults landed");
}

#[tokio::test]
async fn a_corrupt_frame_fails_the_reader_where_it_is_not() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let _handle = produce(&exchange, &pool);
    let transport = Faulty::new(&exchange, 0, 1);
    let error = read_all(faulty_reader(transport, DataIntegrity::Abort)).await.unwrap_err();
    assert!(matches!(error, DirectReadError::Corrupt { .. }), "{error:?}");
    assert_eq!(Error::from(error).code(), ErrorCode::CORRUPT_PAGE);
}

#[tokio::test]
async fn a_producers_failure_arrives_as_it_was() {
    for finish_first in [false, true] {
        let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
        let (mut sink, handle) = exchange
            .create_output(attempt(0, 0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
            .unwrap();
        let _ = sink.push(0, numbers(0..10)).await.unwrap();
        let mut reader = reader(&exchange, &[slice(attempt(0, 0), 0, 0..1)]);
        reader.next().await.unwrap().unwrap();
        let error = Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero")
            .at(ErrorLocation { line: 1, column: 8 });
        let failure = Failure::of(error);
        if finish_first {
            // It failed, and was put away before the consumer asked.
            sink.fail(failure.clone());
            drop(handle);
        } else {
            handle.fail(failure.clone());
            assert_eq!(sink.push(0, numbers(0..10)).await.unwrap(), Demand::NoMore);
        }
        let error = timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.producer(), Some(attempt(0, 0)));
        assert_eq!(Failure::from(error), failure);
        assert!(reader.next().await.is_none());
        assert_eq!(pool.used(), 0);
    }
}

#[tokio::test]
async fn a_reader_whose_producer_failed_waits_to_be_ended_and_then_blames_nobody() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let (sink, handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
        .unwrap();
    sink.fail(Failure::of(Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero")));
    let mut options = read_options();
    options.verdict_wait_max = Duration::from_millis(300);
    let sources = vec![source(&exchange, slice(attempt(0, 0), 0, 0..1))];
    let start = Instant::now();
    let error = read_all(DirectReader::new(sources, schema(), options)).await.unwrap_err();
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(matches!(error, DirectReadError::NoVerdict { .. }), "{error:?}");
    let failure = Failure::from(error);
    assert_eq!(failure.class, FailureClass::WorkerLost);
    assert_eq!(failure.error.code(), ErrorCode::PAGE_TRANSPORT_TIMEOUT);
    drop(handle);
}

#[tokio::test]
async fn an_output_that_was_given_up_is_gone_at_once() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let (mut sink, handle) = exchange
        .create_output(attempt(0, 0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
        .unwrap();
    let _ = sink.push(0, numbers(0..10)).await.unwrap();
    let reading = tokio::spawn(read_all(reader(&exchange, &[slice(attempt(0, 0), 0, 0..1)])));
    drop(sink);
    let error = timeout(PATIENCE, reading).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error, DirectReadError::OutputGone { producer: attempt(0, 0) });
    drop(handle);
    // Also for who asks later: nobody waits for an attempt that has been there.
    let late = timeout(PATIENCE, read_all(reader(&exchange, &[slice(attempt(0, 0), 0, 0..1)]))).await;
    assert_eq!(late.unwrap().unwrap_err(), error);
    assert_eq!((pool.used(), exchange.len()), (0, 0));
}

#[tokio::test]
async fn a_producer_that_does_not_start_is_waited_for_so_long_and_no_longer() {
    let exchange = DirectExchange::new();
    let mut options = read_options();
    options.wait_max = Duration::from_millis(20);
    options.start_wait_max = Duration::from_millis(300);
    let sources = vec![source(&exchange, slice(attempt(0, 0), 0, 0..1))];
    let start = Instant::now();
    let error = read_all(DirectReader::new(sources, schema(), options)).await.unwrap_err();
    assert!(matches!(error, DirectReadError::NotStarted { .. }), "{error:?}");
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(exchange.is_empty());
}

#[tokio::test]
async fn a_producer_out_of_reach_is_given_up_in_time() {
    let mut options = read_options();
    options.error_duration_max = Duration::from_millis(400);
    let silent = DirectSource { slice: slice(attempt(0, 0), 0, 0..1), transport: Arc::new(Silent) };
    let error = read_all(DirectReader::new(vec![silent], schema(), options)).await.unwrap_err();
    let DirectReadError::Unreachable { failures, duration, ref reason, .. } = error else {
        panic!("{error:?}")
    };
    assert!(failures > 2 && duration >= Duration::from_millis(400) && reason == "connection refused");
    let failure = Failure::from(error);
    assert_eq!(failure.class, FailureClass::WorkerLost);
    assert_eq!(failure.error.code(), ErrorCode::PAGE_TRANSPORT_TIMEOUT);
}

#[tokio::test]
async fn a_panic_on_the_way_fails_the_reader_instead_of_hanging_it() {
    #[derive(Debug)]
    struct Broken;
    #[async_trait]
    impl FetchTransport for Broken {
        #[allow(clippy::panic, reason = "this is what is tested")]
        async fn fetch(&self, _request: &FetchRequest) -> Result<FetchResponse, FetchError> {
            panic!("this panic is part of the test")
        }

        async fn close(&self, _slice: &OutputSlice) -> Result<(), FetchError> {
            Ok(())
        }
    }
    let exchange = DirectExchange::new();
    let waits = source(&exchange, slice(attempt(1, 0), 0, 0..1));
    let broken = DirectSource { slice: slice(attempt(0, 0), 0, 0..1), transport: Arc::new(Broken) };
    let reading = read_all(DirectReader::new(vec![waits, broken], schema(), read_options()));
    let error = timeout(PATIENCE, reading).await.unwrap().unwrap_err();
    assert!(matches!(error, DirectReadError::Local(_)), "{error:?}");
}

#[tokio::test]
async fn nothing_is_left_when_everybody_went_away() {
    let (exchange, pool) = (DirectExchange::new(), Pool::new(u64::MAX));
    let memory = Pool::new(u64::MAX);
    let handle = produce(&exchange, &pool);
    let mut options = read_options();
    options.memory = Some(memory.clone());
    let sources = vec![source(&exchange, slice(attempt(0, 0), 0, 0..1))];
    let mut reader = DirectReader::new(sources, schema(), options);
    reader.next().await.unwrap().unwrap();
    drop(handle);
    assert!(exchange.is_empty());
    drop(reader);
    eventually("the producer's memory is back", || pool.used() == 0).await;
    eventually("the consumer's memory is back", || memory.used() == 0).await;
    // A consumer that gave up waiting leaves nothing either.
    let waiting = slice(attempt(5, 0), 0, 0..1);
    assert!(timeout(Duration::from_millis(20), exchange.fetch(&request(&waiting, 0))).await.is_err());
    assert!(exchange.is_empty());
}
