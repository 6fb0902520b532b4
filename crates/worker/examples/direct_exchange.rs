//! How fast rows go from node to node: MB/s of values in memory, by codec, over loopback and within one process.
//! The second figure is MB for each second of processor time of both ends, which a busy machine changes little.
//!
//! `cargo run --release -p steadfast-worker --example direct_exchange -- [megabytes]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringViewArray};
use base::{AttemptId, Epoch, Incarnation, NodeId, Result, StageId, TaskId};
use exchange::ExchangeCompression;
use exchange::direct::{
    ConsumerId, Demand, DirectExchange, DirectReadOptions, DirectReader, DirectSinkOptions, DirectSource,
    FetchTransport, OutputLayout, OutputSlice,
};
use futures::StreamExt;
use protocol::direct::{Credentials, DirectConnections, DirectTransports};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use worker::direct::{direct_routes, serve};

const ROWS: i64 = 8_192;
const MEGABYTES: u64 = 1_000;
const LIFE: Incarnation = Incarnation(1);

/// Rows such as a fact table has: a key, a quantity, a price, a date, a comment.
fn batch(number: i64) -> RecordBatch {
    let start = number * ROWS;
    let scattered = |n: i64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) as u64 >> 33;
    let words =
        ["carefully", "final", "packages", "sleep", "furiously", "along", "the", "ironic", "deposits"];
    let comment = |n: i64| {
        let mut seed = scattered(n);
        let words = (0..4).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            words[(seed >> 40) as usize % words.len()]
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let rows = || start..start + ROWS;
    RecordBatch::try_from_iter([
        ("key", Arc::new(Int64Array::from_iter_values(rows().map(|n| n / 4))) as ArrayRef),
        ("quantity", Arc::new(Int64Array::from_iter_values(rows().map(|n| scattered(n) as i64 % 50))) as _),
        ("price", Arc::new(Float64Array::from_iter_values(rows().map(|n| scattered(n) as f64 / 100.0))) as _),
        ("date", Arc::new(Date32Array::from_iter_values(rows().map(|n| (scattered(n) % 2_500) as i32))) as _),
        ("comment", Arc::new(StringViewArray::from_iter_values(rows().map(comment))) as _),
    ])
    .expect("the columns are of one length")
}

/// The bytes of the values, strings as they are and not as views.
fn value_bytes(batch: &RecordBatch) -> u64 {
    let comments = batch.column(4).as_any().downcast_ref::<StringViewArray>();
    let text: usize =
        comments.map_or(0, |comments| comments.iter().flatten().map(|text| text.len() + 4).sum());
    (batch.num_rows() * (8 + 8 + 8 + 4) + text) as u64
}

fn attempt(run: &Run, partition: u32) -> Result<AttemptId, base::id::ParseIdError> {
    let query = "20261120_061411_00007_abcde".parse()?;
    let task = TaskId { query, stage: StageId(1), partition };
    Ok(AttemptId { task, generation: 0, epoch: Epoch(0), number: run.number })
}

/// The processor time of this process so far, in seconds, where the system tells it.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_ascii_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

struct Run {
    number: u32,
    codec: ExchangeCompression,
    producers: u32,
    partitions: u32,
    pushes: usize,
}

/// How long it takes, and how many bytes travel.
async fn run(
    run: &Run,
    batches: &Arc<Vec<RecordBatch>>,
    exchange: &DirectExchange,
    transport: &Arc<dyn FetchTransport>,
) -> Result<(Duration, u64), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let schema = batches[0].schema();
    let mut handles = Vec::new();
    let mut producing = Vec::new();
    for number in 0..run.producers {
        let options = DirectSinkOptions { compression: run.codec, ..DirectSinkOptions::default() };
        let layout = OutputLayout::Partitioned { partitions: run.partitions };
        let (mut sink, handle) =
            exchange.create_output(attempt(run, number)?, schema.clone(), layout, &options)?;
        handles.push(handle);
        let (batches, pushes, partitions) = (Arc::clone(batches), run.pushes, run.partitions);
        producing.push(tokio::spawn(async move {
            for at in 0..pushes {
                let batch = &batches[at % batches.len()];
                let rows = batch.num_rows() / partitions as usize;
                for partition in 0..partitions {
                    let part = batch.slice(partition as usize * rows, rows);
                    if sink.push(partition, part).await? == Demand::NoMore {
                        return Ok(());
                    }
                }
            }
            sink.finish().await
        }));
    }
    let mut reading = Vec::new();
    for partition in 0..run.partitions {
        let mut sources = Vec::new();
        for number in 0..run.producers {
            let (producer, consumer) = (attempt(run, number)?, ConsumerId(partition.into()));
            let slice = OutputSlice { producer, consumer, partitions: partition..partition + 1 };
            sources.push(DirectSource { slice, transport: Arc::clone(transport) });
        }
        let options = DirectReadOptions::new(Handle::current());
        let mut reader = DirectReader::new(sources, schema.clone(), options);
        reading.push(tokio::spawn(async move {
            while let Some(batch) = reader.next().await {
                batch?;
            }
            Ok::<_, base::Error>(reader.metrics().stored_bytes)
        }));
    }
    for task in producing {
        task.await??;
    }
    let mut stored = 0;
    for task in reading {
        stored += task.await??;
    }
    Ok((start.elapsed(), stored))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let megabytes = std::env::args().nth(1).map_or(Ok(MEGABYTES), |text| text.parse())?;
    let batches: Arc<Vec<_>> = Arc::new((0..64).map(batch).collect());
    let batch_bytes = batches.iter().map(value_bytes).sum::<u64>() / batches.len() as u64;

    let exchange = DirectExchange::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let routes = direct_routes(exchange.clone(), LIFE, None);
    tokio::spawn(serve(listener::BoundedListener::new(listener, 1_000), routes, std::future::pending()));
    let credentials = Credentials::new(None, &NodeId::new("reader"), Incarnation(2));
    let connections = DirectConnections::new(credentials, Handle::current());
    let transports = DirectTransports::with_own(uri.as_str(), LIFE, exchange.clone(), connections.clone());
    let local = transports.to(&uri, LIFE)?;
    let others = DirectTransports::new(connections);
    let loopback = others.to(&uri, LIFE)?;

    println!(
        "{:10} {:6} {:>9} {:>10} {:>9} {:>9} {:>7}",
        "way", "codec", "producers", "partitions", "MB/s", "MB/cpu-s", "ratio"
    );
    let mut number = 0;
    for (way, transport) in [("loopback", &loopback), ("local", &local)] {
        for codec in [ExchangeCompression::None, ExchangeCompression::Lz4, ExchangeCompression::Zstd] {
            for (producers, partitions) in [(1, 1), (4, 4), (2, 100), (2, 500)] {
                number += 1;
                let pushes = (megabytes << 20) / batch_bytes / u64::from(producers);
                let pushes = usize::try_from(pushes)?.max(1);
                let it = Run { number, codec, producers, partitions, pushes };
                let processor = processor_seconds();
                let (time, stored) = run(&it, &batches, &exchange, transport).await?;
                let bytes = batch_bytes * pushes as u64 * u64::from(producers);
                let in_megabytes = bytes as f64 / (1 << 20) as f64;
                let rate = in_megabytes / time.as_secs_f64();
                let by_processor = in_megabytes / (processor_seconds() - processor);
                let ratio = stored as f64 / bytes as f64;
                println!(
                    "{way:10} {:6} {producers:>9} {partitions:>10} {rate:>9.0} {by_processor:>9.0} {ratio:>7.2}",
                    codec.as_str()
                );
            }
        }
    }
    Ok(())
}
