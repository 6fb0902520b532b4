//! How fast rows go into an exchange and come out of it again: MB/s of their values in memory, by codec and number of
//! partitions. *Spooled* is an object in a directory, *direct* is frames that another attempt of the process reads.
//! Each is written by one task and read by one, so the figures are those of one core, as far as the store is no bottleneck.
//!
//! `cargo bench -p steadfast-exchange --bench throughput -- [megabytes]`

#![allow(clippy::unwrap_used, missing_docs, reason = "it may fail")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringViewArray};
use base::{AttemptId, Epoch, StageId, TaskId};
use exchange::direct::{
    ConsumerId, Demand, DirectExchange, DirectReadOptions, DirectReader, DirectSinkOptions, DirectSource,
    FetchRequest, FetchTransport, OutputLayout, OutputSlice,
};
use exchange::{ExchangeCompression, ExchangeManager, ExchangeOptions, SourceHandle};
use futures::StreamExt;
use tokio::runtime::Handle;

const MEGABYTES: u64 = 256;
const BATCH_ROWS: i64 = 8_192;
const BATCHES: i64 = 32;
const PARTITIONS: [u32; 4] = [1, 50, 500, 1_000];
const CODECS: [ExchangeCompression; 3] =
    [ExchangeCompression::None, ExchangeCompression::Lz4, ExchangeCompression::Zstd];

/// Rows such as a fact table has: keys, a price, a date, and some words.
fn batch(number: i64) -> RecordBatch {
    const WORDS: [&str; 8] =
        ["quickly", "express", "requests", "nag", "blithely", "ironic", "accounts", "above"];
    let rows = || number * BATCH_ROWS..(number + 1) * BATCH_ROWS;
    let mixed = |n: i64| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let words = |n: i64| {
        let word = |at: u32| WORDS[(mixed(n) >> (3 * at)) as usize % WORDS.len()];
        (0..4).map(word).collect::<Vec<_>>().join(" ")
    };
    RecordBatch::try_from_iter([
        ("order", Arc::new(Int64Array::from_iter_values(rows().map(|n| n / 4))) as ArrayRef),
        ("part", Arc::new(Int64Array::from_iter_values(rows().map(|n| mixed(n) as i64 % 200_000))) as _),
        ("price", Arc::new(Float64Array::from_iter_values(rows().map(|n| mixed(n) as f64 / 100.0))) as _),
        ("date", Arc::new(Date32Array::from_iter_values(rows().map(|n| (mixed(n) % 2_500) as i32))) as _),
        ("comment", Arc::new(StringViewArray::from_iter_values(rows().map(words))) as _),
    ])
    .unwrap()
}

/// The bytes of the values, with words as they are.
fn value_bytes(batch: &RecordBatch) -> u64 {
    let comments = batch.column(4).as_any().downcast_ref::<StringViewArray>().unwrap();
    let words: usize = comments.iter().flatten().map(|text| text.len() + 4).sum();
    (batch.num_rows() * (8 + 8 + 8 + 4) + words) as u64
}

/// What is written, again and again: each batch in pieces, one for each partition.
struct Load {
    pieces: Vec<Vec<(u32, RecordBatch)>>,
    rounds: u64,
    megabytes: f64,
}

impl Load {
    fn new(batches: &[RecordBatch], partitions: u32, megabytes: u64) -> Self {
        let split = |batch: &RecordBatch| {
            let rows = batch.num_rows().div_ceil(partitions as usize);
            let piece = |partition: u32| {
                let from = (partition as usize * rows).min(batch.num_rows());
                (partition, batch.slice(from, rows.min(batch.num_rows() - from)))
            };
            (0..partitions).map(piece).collect()
        };
        let bytes: u64 = batches.iter().map(value_bytes).sum();
        let rounds = ((megabytes << 20) / bytes).max(1);
        let megabytes = (rounds * bytes) as f64 / f64::from(1 << 20);
        Load { pieces: batches.iter().map(split).collect(), rounds, megabytes }
    }

    fn pieces(&self) -> impl Iterator<Item = (u32, RecordBatch)> {
        let rounds = (0..self.rounds).flat_map(|_| self.pieces.iter().flatten());
        rounds.map(|(partition, piece)| (*partition, piece.clone()))
    }

    fn print(&self, way: &str, codec: ExchangeCompression, written: Duration, read: Duration, rest: &str) {
        let rate = |time: Duration| self.megabytes / time.as_secs_f64();
        let partitions = self.pieces[0].len();
        let (written, read) = (rate(written), rate(read));
        println!("{way:8} {:5} {partitions:>10} {written:>10.0} {read:>10.0}   {rest}", codec.as_str());
    }
}

fn attempt(number: u32) -> AttemptId {
    let query = "20261120_061411_00007_abcde".parse().unwrap();
    let task = TaskId { query, stage: StageId(1), partition: number };
    AttemptId { task, generation: 0, epoch: Epoch(0), number: 0 }
}

async fn spooled(load: &Load, codec: ExchangeCompression, number: u32) {
    let directory = tempfile::tempdir().unwrap();
    let options = ExchangeOptions {
        base_directories: vec![directory.path().join("exchange").to_str().unwrap().to_owned()],
        compression: codec,
        ..ExchangeOptions::default()
    };
    let manager = ExchangeManager::new(options).unwrap();
    let (schema, partitions) = (load.pieces[0][0].1.schema(), load.pieces[0].len() as u32);
    let start = Instant::now();
    let options = manager.options().sink(directory.path().join("spill"));
    let mut sink = manager.sink(attempt(number), Arc::clone(&schema), partitions, options).unwrap();
    for (partition, piece) in load.pieces() {
        sink.push(partition, piece).await.unwrap();
    }
    let metrics = sink.metrics();
    let record = sink.finish().await.unwrap().record;
    let written = start.elapsed();

    let start = Instant::now();
    for partition in 0..partitions {
        let handles = SourceHandle::of(&record, partition..partition + 1).into_iter().collect();
        let mut reader = manager.open(handles, Arc::clone(&schema), &manager.options().read());
        while reader.next_batch().await.unwrap().is_some() {}
    }
    let read = start.elapsed();
    let rest = format!(
        "{:.1} MB of memory, {:.0} MB spilled, {:.0} MB stored",
        metrics.memory_bytes_peak as f64 / f64::from(1 << 20),
        metrics.spilled_bytes as f64 / f64::from(1 << 20),
        record.stored_bytes() as f64 / f64::from(1 << 20),
    );
    load.print("spooled", codec, written, read, &rest);
}

/// Takes frames as a consumer does, and does not look at them.
async fn drain(exchange: &DirectExchange, slice: OutputSlice) {
    let mut token = 0;
    loop {
        let wait_max = Duration::from_secs(1);
        let request = FetchRequest { slice: slice.clone(), token, bytes_max: 16 << 20, wait_max };
        let response = exchange.fetch(&request).await.unwrap();
        token += response.frames.len() as u64;
        if response.is_end {
            break;
        }
    }
    exchange.close(&slice).await.unwrap();
}

async fn direct(load: &Load, codec: ExchangeCompression, number: u32) {
    let exchange = DirectExchange::new();
    let (schema, partitions) = (load.pieces[0][0].1.schema(), load.pieces[0].len() as u32);
    let layout = OutputLayout::Partitioned { partitions };
    let slice = |producer, partition: u32| {
        let consumer = ConsumerId(partition.into());
        OutputSlice { producer, consumer, partitions: partition..partition + 1 }
    };
    let options = DirectSinkOptions { compression: codec, ..DirectSinkOptions::default() };
    let (mut sink, handle) =
        exchange.create_output(attempt(number), Arc::clone(&schema), layout, &options).unwrap();
    let draining: Vec<_> = (0..partitions)
        .map(|partition| {
            let (exchange, slice) = (exchange.clone(), slice(attempt(number), partition));
            tokio::spawn(async move { drain(&exchange, slice).await })
        })
        .collect();
    let start = Instant::now();
    for (partition, piece) in load.pieces() {
        assert_eq!(sink.push(partition, piece).await.unwrap(), Demand::More);
    }
    sink.finish().await.unwrap();
    futures::future::join_all(draining).await;
    let written = start.elapsed();
    let metrics = handle.metrics();

    // To read alone, all frames are there before.
    let options = DirectSinkOptions { buffer_bytes_max: u64::MAX, ..options };
    let producer = attempt(number + 1);
    let (mut sink, whole) = exchange.create_output(producer, Arc::clone(&schema), layout, &options).unwrap();
    for (partition, piece) in load.pieces() {
        assert_eq!(sink.push(partition, piece).await.unwrap(), Demand::More);
    }
    sink.finish().await.unwrap();
    let start = Instant::now();
    let transport: Arc<dyn FetchTransport> = Arc::new(exchange.clone());
    for partition in 0..partitions {
        let source = DirectSource { slice: slice(producer, partition), transport: Arc::clone(&transport) };
        let options = DirectReadOptions::new(Handle::current());
        let mut reader = DirectReader::new(vec![source], Arc::clone(&schema), options);
        while reader.next().await.transpose().unwrap().is_some() {}
    }
    let read = start.elapsed();
    drop(whole);
    let rest = format!(
        "{:.1} MB of memory, {} frames",
        metrics.memory_bytes_peak as f64 / f64::from(1 << 20),
        metrics.frames
    );
    load.print("direct", codec, written, read, &rest);
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let megabytes = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(MEGABYTES);
    let batches: Vec<_> = (0..BATCHES).map(batch).collect();
    println!("{:8} {:5} {:>10} {:>10} {:>10}", "way", "codec", "partitions", "write MB/s", "read MB/s");
    let mut number = 0;
    for codec in CODECS {
        for partitions in PARTITIONS {
            let load = Load::new(&batches, partitions, megabytes);
            spooled(&load, codec, number).await;
            direct(&load, codec, number + 1).await;
            number += 3;
        }
    }
}
