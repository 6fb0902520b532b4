//! Connections that break.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::{ErrorCode, Failure, FailureClass};
use exchange::ExchangeCompression;
use exchange::direct::{Demand, DirectExchange, DirectReadError, DirectReader, FetchRequest, OutputLayout};
use listener::BoundedListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use worker::direct::{direct_routes, serve};

use crate::support::{
    CuttingProxy, LIFE, Node, PATIENCE, Pool, attempt, numbers, read_all, read_options, schema, sink_options,
    slice, source, transports,
};

const BATCH: i64 = 8_192;
const BATCHES: i64 = 300;

#[tokio::test]
async fn frames_that_were_not_acknowledged_come_again_after_a_cut() {
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let mut options = sink_options(&pool, 4 << 20);
    // 20 MB that stay 20 MB.
    options.compression = ExchangeCompression::None;
    let (mut sink, handle) =
        node.exchange.create_output(attempt(0), schema(), OutputLayout::Single, &options).unwrap();
    let producer = tokio::spawn(async move {
        for at in 0..BATCHES {
            assert_eq!(sink.push(0, numbers(at * BATCH..(at + 1) * BATCH)).await.unwrap(), Demand::More);
        }
        sink.finish().await.unwrap();
    });
    // In the middle of a frame, each time somewhere else.
    let proxy = CuttingProxy::start(node.address, 5, 2_345_678).await;
    let sources = vec![source(&transports(None), proxy.address, slice(attempt(0), 0, 0..1))];
    let reading = read_all(DirectReader::new(sources, schema(), read_options()));
    let values = timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert!(values.into_iter().eq(0..BATCHES * BATCH), "every row, once, in order");
    assert_eq!(proxy.cuts.load(Ordering::SeqCst), 5, "all cuts landed");
    producer.await.unwrap();
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    assert_eq!(pool.used(), 0);
}

#[tokio::test]
async fn asking_again_gives_equal_bytes_over_the_network() {
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let (mut sink, _handle) = node
        .exchange
        .create_output(attempt(0), schema(), OutputLayout::Single, &sink_options(&pool, 64 << 20))
        .unwrap();
    for at in 0..BATCHES {
        let _ = sink.push(0, numbers(at * BATCH..(at + 1) * BATCH)).await.unwrap();
    }
    let slice = slice(attempt(0), 0, 0..1);
    let transport = source(&transports(None), node.address, slice.clone()).transport;
    let ask =
        |token| FetchRequest { slice: slice.clone(), token, bytes_max: 4 << 20, wait_max: Duration::ZERO };
    let first = transport.fetch(&ask(0)).await.unwrap();
    assert!(first.frames.len() > 2 && first.next_frame_bytes > 0 && !first.is_end);
    assert!(first.bytes() <= 4 << 20);
    assert_eq!(transport.fetch(&ask(0)).await.unwrap().frames, first.frames);
    sink.finish().await.unwrap();
    assert_eq!(transport.fetch(&ask(0)).await.unwrap().frames, first.frames);
    assert_eq!(transport.fetch(&ask(2)).await.unwrap().frames, first.frames[2..]);
    assert!(transport.fetch(&ask(1)).await.is_err(), "it was acknowledged");
    let tiny = FetchRequest { bytes_max: 10, ..ask(2) };
    let hint = transport.fetch(&tiny).await.unwrap();
    assert_eq!((hint.frames.len(), hint.next_frame_bytes), (0, first.frames[2].len() as u64));
}

#[tokio::test]
async fn a_worker_that_dies_is_given_up_in_time() {
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let (mut sink, handle) = node
        .exchange
        .create_output(attempt(0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
        .unwrap();
    let _ = sink.push(0, numbers(0..BATCH)).await.unwrap();
    let proxy = CuttingProxy::start(node.address, usize::MAX, 1_000).await;
    let mut options = read_options();
    options.error_duration_max = Duration::from_millis(500);
    let sources = vec![source(&transports(None), proxy.address, slice(attempt(0), 0, 0..1))];
    let reading = read_all(DirectReader::new(sources, schema(), options));
    let error = timeout(PATIENCE, reading).await.unwrap().unwrap_err();
    assert!(matches!(&error, DirectReadError::Unreachable { failures: 3.., .. }), "{error:?}");
    assert!(proxy.cuts.load(Ordering::SeqCst) > 1, "the cuts landed");
    let failure = Failure::from(error);
    assert_eq!(
        (failure.class, failure.error.code()),
        (FailureClass::WorkerLost, ErrorCode::PAGE_TRANSPORT_TIMEOUT)
    );
    drop((sink, handle));
    assert!(node.exchange.is_empty() && pool.used() == 0);
}

#[tokio::test]
async fn connections_are_shared_and_forgotten() {
    let node = Node::start(None).await;
    let transports = transports(None);
    for number in 0..3 {
        source(&transports, node.address, slice(attempt(number), 0, 0..1));
    }
    assert_eq!(transports.connections().len(), 1);
    transports.connections().retain(|_| false);
    assert!(transports.connections().is_empty());
    assert!(transports.to("no address", LIFE).is_err());
}

#[tokio::test]
async fn consumers_that_wait_do_not_hold_up_others_on_their_connection() {
    const WAITING: u32 = 300;
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let transports = transports(None);
    let mut options = read_options();
    // Longer than the patience: none of them makes room by giving up for a moment.
    options.wait_max = 2 * PATIENCE;
    let waiting: Vec<_> = (1..=WAITING)
        .map(|number| {
            let sources = vec![source(&transports, node.address, slice(attempt(number), 0, 0..1))];
            tokio::spawn(read_all(DirectReader::new(sources, schema(), options.clone())))
        })
        .collect();
    let patience = tokio::time::Instant::now() + PATIENCE;
    while node.exchange.len() < WAITING as usize {
        assert!(tokio::time::Instant::now() < patience, "{} of them wait", node.exchange.len());
        tokio::task::yield_now().await;
    }
    let (mut sink, handle) = node
        .exchange
        .create_output(attempt(0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
        .unwrap();
    let producer = tokio::spawn(async move {
        for at in 0..100 {
            let _ = sink.push(0, numbers(at * BATCH..(at + 1) * BATCH)).await.unwrap();
        }
        sink.finish().await.unwrap();
    });
    let sources = vec![source(&transports, node.address, slice(attempt(0), 0, 0..1))];
    let reading = tokio::spawn(read_all(DirectReader::new(sources, schema(), options)));
    // They all go away at once, in the middle of it.
    for waiting in waiting {
        assert!(!waiting.is_finished());
        waiting.abort();
    }
    let values = timeout(PATIENCE, reading).await.unwrap().unwrap().unwrap();
    assert!(values.into_iter().eq(0..100 * BATCH));
    producer.await.unwrap();
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    drop(handle);
    let patience = tokio::time::Instant::now() + PATIENCE;
    while !node.exchange.is_empty() {
        assert!(tokio::time::Instant::now() < patience, "{} are left", node.exchange.len());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_socket_serves_people_and_nodes() {
    let (exchange, pool) = (DirectExchange::new(), Arc::new(Pool::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = axum::Router::new()
        .route("/v1/info", axum::routing::get(|| async { "info" }))
        .merge(direct_routes(exchange.clone(), LIFE, None));
    let stop = CancellationToken::new();
    let server =
        tokio::spawn(serve(BoundedListener::new(listener, 1_000), routes, stop.clone().cancelled_owned()));
    let (sink, _handle) = exchange
        .create_output(attempt(0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
        .unwrap();
    sink.finish().await.unwrap();
    let client = reqwest::Client::builder().http1_only().build().unwrap();
    let answer = client.get(format!("http://{address}/v1/info")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "info");
    let unknown = client.get(format!("http://{address}/v1/other")).send().await.unwrap();
    assert_eq!(unknown.status().as_u16(), 404);
    let sources = vec![source(&transports(None), address, slice(attempt(0), 0, 0..1))];
    let values = read_all(DirectReader::new(sources, schema(), read_options())).await.unwrap();
    assert!(values.is_empty());
    drop(client);
    stop.cancel();
    timeout(PATIENCE, server).await.unwrap().unwrap().unwrap();
}
