//! Whole outputs from node to node.

use std::sync::Arc;
use std::time::Duration;

use base::{Error, ErrorCode, ErrorLocation, Failure};
use exchange::direct::{Demand, DirectReadError, DirectReader, FetchError, FetchRequest, OutputLayout};
use futures::StreamExt;
use protocol::node::SharedSecret;
use tokio::time::timeout;

use crate::support::{
    Node, PATIENCE, Pool, attempt, numbers, read_all, read_options, schema, sink_options, slice, source,
    transports,
};

const BATCH: i64 = 8_192;

#[tokio::test]
async fn a_slow_consumer_on_another_node_bounds_its_producer() {
    const BOUND: u64 = 2 << 20;
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let (mut sink, handle) = node
        .exchange
        .create_output(attempt(0), schema(), OutputLayout::Single, &sink_options(&pool, BOUND))
        .unwrap();
    let producer = tokio::spawn(async move {
        for at in 0..500 {
            assert_eq!(sink.push(0, numbers(at * BATCH..(at + 1) * BATCH)).await.unwrap(), Demand::More);
        }
        sink.finish().await.unwrap();
    });
    let memory = Arc::new(Pool::default());
    let mut options = read_options();
    options.buffer_bytes_max = BOUND;
    options.memory = Some(memory.clone());
    let sources = vec![source(&transports(None), node.address, slice(attempt(0), 0, 0..1))];
    let mut reader = DirectReader::new(sources, schema(), options);
    let first = timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
    let patience = tokio::time::Instant::now() + PATIENCE;
    while handle.metrics().waits == 0 && handle.metrics().memory_bytes < BOUND / 2 {
        assert!(tokio::time::Instant::now() < patience, "the producer does not wait");
        tokio::task::yield_now().await;
    }
    assert!(!producer.is_finished(), "32 MB do not fit into the buffers");
    let mut rows = first.num_rows() as i64;
    while let Some(batch) = timeout(PATIENCE, reader.next()).await.unwrap() {
        let batch = batch.unwrap();
        assert_eq!(batch, numbers(rows..rows + batch.num_rows() as i64));
        rows += batch.num_rows() as i64;
    }
    assert_eq!(rows, 500 * BATCH);
    producer.await.unwrap();
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    assert!(pool.peak() <= BOUND && memory.peak() <= BOUND, "{} {}", pool.peak(), memory.peak());
    assert_eq!((pool.used(), memory.used()), (0, 0));
}

#[tokio::test]
async fn enough_on_one_node_stops_producers_on_another() {
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let mut producers = Vec::new();
    let mut handles = Vec::new();
    for number in 0..3 {
        let (mut sink, handle) = node
            .exchange
            .create_output(attempt(number), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
            .unwrap();
        handles.push(handle);
        producers.push(tokio::spawn(async move {
            while sink.push(0, numbers(0..BATCH)).await.unwrap() == Demand::More {}
        }));
    }
    let transports = transports(None);
    let sources =
        (0..3).map(|number| source(&transports, node.address, slice(attempt(number), 0, 0..1))).collect();
    let mut reader = DirectReader::new(sources, schema(), read_options());
    timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
    drop(reader);
    for (producer, handle) in producers.into_iter().zip(handles) {
        timeout(PATIENCE, producer).await.unwrap().unwrap();
        timeout(PATIENCE, handle.satisfied()).await.unwrap();
    }
    assert!(node.exchange.is_empty() && pool.used() == 0);
}

#[tokio::test]
async fn a_broadcast_reaches_nodes_that_come_late() {
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let (mut sink, handle) = node
        .exchange
        .create_output(attempt(0), schema(), OutputLayout::Broadcast, &sink_options(&pool, 1 << 20))
        .unwrap();
    let producer = tokio::spawn(async move {
        for at in 0..200 {
            let _ = sink.push(0, numbers(at * BATCH..(at + 1) * BATCH)).await.unwrap();
        }
        sink.finish().await.unwrap();
    });
    let read = |consumer| {
        let sources = vec![source(&transports(None), node.address, slice(attempt(0), consumer, 0..1))];
        tokio::spawn(read_all(DirectReader::new(sources, schema(), read_options())))
    };
    let mut readings = vec![read(0)];
    let patience = tokio::time::Instant::now() + PATIENCE;
    while handle.metrics().memory_bytes < 512 << 10 {
        assert!(tokio::time::Instant::now() < patience, "nothing is kept for the others");
        tokio::task::yield_now().await;
    }
    handle.set_consumer_count(3);
    readings.extend([read(1), read(2)]);
    for reading in readings {
        let values = timeout(PATIENCE, reading).await.unwrap().unwrap().unwrap();
        assert!(values.into_iter().eq(0..200 * BATCH));
    }
    producer.await.unwrap();
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    assert!(pool.peak() <= 1 << 20 && pool.used() == 0);
}

#[tokio::test]
async fn a_producers_failure_crosses_the_network_as_it_was() {
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let (mut sink, _handle) = node
        .exchange
        .create_output(attempt(0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
        .unwrap();
    let _ = sink.push(0, numbers(0..10)).await.unwrap();
    let sources = vec![source(&transports(None), node.address, slice(attempt(0), 0, 0..1))];
    let mut reader = DirectReader::new(sources, schema(), read_options());
    timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
    let error =
        Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero").at(ErrorLocation { line: 1, column: 8 });
    let failure = Failure::of(error);
    sink.fail(failure.clone());
    let error = timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error, DirectReadError::ProducerFailed { producer: attempt(0), failure });
    assert_eq!(pool.used(), 0);
}

#[tokio::test]
async fn another_life_of_a_worker_has_nothing_of_the_last_one() {
    let node = Node::start(None).await;
    let transport = transports(None).to(&format!("http://{}", node.address), base::Incarnation(6)).unwrap();
    let gone = exchange::direct::DirectSource { slice: slice(attempt(0), 0, 0..1), transport };
    let error = read_all(DirectReader::new(vec![gone], schema(), read_options())).await.unwrap_err();
    assert_eq!(error, DirectReadError::WorkerLost { producer: attempt(0) });
    assert!(node.exchange.is_empty());
}

#[tokio::test]
async fn only_who_knows_the_secret_reads() {
    let secret = SharedSecret::new("ours");
    let (node, pool) = (Node::start(Some(secret.clone())).await, Arc::new(Pool::default()));
    let (sink, _handle) = node
        .exchange
        .create_output(attempt(0), schema(), OutputLayout::Single, &sink_options(&pool, 1 << 20))
        .unwrap();
    sink.finish().await.unwrap();
    let slice = slice(attempt(0), 0, 0..1);
    let request =
        FetchRequest { slice: slice.clone(), token: 0, bytes_max: 1 << 20, wait_max: Duration::ZERO };
    for other in [None, Some(SharedSecret::new("other"))] {
        let stranger = source(&transports(other.as_ref()), node.address, slice.clone());
        let refused = stranger.transport.fetch(&request).await.unwrap_err();
        assert!(matches!(refused, FetchError::Refused(_)), "{refused:?}");
        assert!(stranger.transport.close(&slice).await.is_err());
    }
    let ours = source(&transports(Some(&secret)), node.address, slice.clone());
    assert!(ours.transport.fetch(&request).await.unwrap().is_end);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_partitions_of_a_hundred_thousand_rows() {
    const PARTITIONS: u32 = 500;
    const ROWS: i64 = 100_000;
    const AT_ONCE: i64 = 1_000;
    const BOUND: u64 = 32 << 20;
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let layout = OutputLayout::Partitioned { partitions: PARTITIONS };
    let (mut sink, handle) =
        node.exchange.create_output(attempt(0), schema(), layout, &sink_options(&pool, BOUND)).unwrap();
    let producer = tokio::spawn(async move {
        // The same rows for each partition: the first column of a row is its number there.
        for from in (0..ROWS).step_by(AT_ONCE as usize) {
            let rows = numbers(from..from + AT_ONCE);
            for partition in 0..PARTITIONS {
                assert_eq!(sink.push(partition, rows.clone()).await.unwrap(), Demand::More);
            }
        }
        sink.finish().await.unwrap();
    });
    let transports = transports(None);
    let memory = Arc::new(Pool::default());
    let readings: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let slice = slice(attempt(0), partition.into(), partition..partition + 1);
            let sources = vec![source(&transports, node.address, slice)];
            let mut options = read_options();
            options.memory = Some(memory.clone());
            let mut reader = DirectReader::new(sources, schema(), options);
            tokio::spawn(async move {
                let mut rows = 0;
                while let Some(batch) = reader.next().await {
                    let batch = batch.unwrap();
                    assert_eq!(batch, numbers(rows..rows + batch.num_rows() as i64));
                    rows += batch.num_rows() as i64;
                }
                assert_eq!(rows, ROWS, "partition {partition}");
            })
        })
        .collect();
    producer.await.unwrap();
    for reading in readings {
        reading.await.unwrap();
    }
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    eprintln!("{:?}", handle.metrics());
    assert!(pool.peak() <= BOUND, "{} bytes", pool.peak());
    assert_eq!((pool.used(), memory.used()), (0, 0));
}
