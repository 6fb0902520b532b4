//! How fast rows go into an exchange and come out of it again: MB/s of their values in memory, by codec and number of
//! partitions. *Spooled* is an object in a directory, *direct* is frames that another attempt of the process reads.
//! Each is written by one task and read by one, so the figures are those of one core, as far as the store is no bottleneck.
//!
//! `cargo bench -p steadfast-exchange --bench throughput -- [megabytes]`

#![allow(clippy::unwrap_used, missing_docs, reason = "it may fail")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::SchemaRef;
use base::{AttemptId, Epoch, StageId, TaskId};
use exchange::direct::{
    ConsumerId, Demand, DirectExchange, DirectReadOptions, DirectReader, DirectSink, DirectSinkOptions,
    DirectSource, FetchRequest, FetchTransport, OutputLayout, OutputSlice,
};
use exchange::{ExchangeCompression, ExchangeManager, ExchangeOptions, ExchangeSink, SourceHandle};
use futures::StreamExt;
use tokio::runtime::Handle;

const MEGABYTES: u64 = 128;
const BATCH_ROWS: i64 = 8_192;
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

/// What is written, and how many partitions its rows are spread over.
struct Load<'a> {
    batches: &'a [RecordBatch],
    partitions: u32,
    partition_of_rows: Vec<u32>,
    megabytes: f64,
}

impl<'a> Load<'a> {
    fn new(batches: &'a [RecordBatch], partitions: u32) -> Self {
        let megabytes = batches.iter().map(value_bytes).sum::<u64>() as f64 / f64::from(1 << 20);
        // As a hash does, it leaves no pattern.
        let partition = |row: u64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32 % partitions;
        let partition_of_rows = (0..BATCH_ROWS as u64).map(partition).collect();
        Load { batches, partitions, partition_of_rows, megabytes }
    }

    fn schema(&self) -> SchemaRef {
        self.batches[0].schema()
    }

    async fn write_direct(&self, sink: &mut DirectSink) {
        for batch in self.batches.iter().cloned() {
            let demand = match self.partitions {
                1 => sink.push(0, batch).await.unwrap(),
                _ => sink.push_rows(batch, &self.partition_of_rows).await.unwrap(),
            };
            assert_eq!(demand, Demand::More);
        }
    }

    async fn write_spooled(&self, sink: &mut ExchangeSink) {
        for batch in self.batches.iter().cloned() {
            match self.partitions {
                1 => sink.push(0, batch).await.unwrap(),
                _ => sink.push_rows(batch, &self.partition_of_rows).await.unwrap(),
            }
        }
    }

    fn print(&self, way: &str, codec: ExchangeCompression, written: Duration, read: Duration, rest: &str) {
        let rate = |time: Duration| self.megabytes / time.as_secs_f64();
        let partitions = self.partitions;
        let (written, read) = (rate(written), rate(read));
        println!("{way:8} {:5} {partitions:>10} {written:>10.0} {read:>10.0}   {rest}", codec.as_str());
    }
}

fn attempt(number: u32) -> AttemptId {
    let query = "20261120_061411_00007_abcde".parse().unwrap();
    let task = TaskId { query, stage: StageId(1), partition: number };
    AttemptId { task, generation: 0, epoch: Epoch(0), number: 0 }
}

async fn spooled(load: &Load<'_>, codec: ExchangeCompression, number: u32) {
    let directory = tempfile::tempdir().unwrap();
    let options = ExchangeOptions {
        base_directories: vec![directory.path().join("exchange").to_str().unwrap().to_owned()],
        compression: codec,
        ..ExchangeOptions::default()
    };
    let manager = ExchangeManager::new(options).unwrap();
    let (schema, partitions) = (load.schema(), load.partitions);
    let start = Instant::now();
    let options = manager.options().sink(directory.path().join("spill"));
    let mut sink = manager.sink(attempt(number), Arc::clone(&schema), partitions, options).unwrap();
    load.write_spooled(&mut sink).await;
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

async fn direct(load: &Load<'_>, codec: ExchangeCompression, number: u32) {
    let exchange = DirectExchange::new();
    let (schema, partitions) = (load.schema(), load.partitions);
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
    load.write_direct(&mut sink).await;
    sink.finish().await.unwrap();
    futures::future::join_all(draining).await;
    let written = start.elapsed();
    let metrics = handle.metrics();

    // To read alone, all frames are there before.
    let options = DirectSinkOptions { buffer_bytes_max: u64::MAX, ..options };
    let producer = attempt(number + 1);
    let (mut sink, whole) = exchange.create_output(producer, Arc::clone(&schema), layout, &options).unwrap();
    load.write_direct(&mut sink).await;
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
    let count = ((megabytes << 20) / value_bytes(&batch(0))).max(1);
    let batches: Vec<_> = (0..count as i64).map(batch).collect();
    println!("{:8} {:5} {:>10} {:>10} {:>10}", "way", "codec", "partitions", "write MB/s", "read MB/s");
    let mut number = 0;
    for codec in CODECS {
        for partitions in PARTITIONS {
            let load = Load::new(&batches, partitions);
            spooled(&load, codec, number).await;
            direct(&load, codec, number + 1).await;
            number += 3;
        }
    }
}
