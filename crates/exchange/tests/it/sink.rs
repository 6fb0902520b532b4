//! What sinks write is what a model says, in order, whether it stayed in memory, was spilled or was streamed.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use base::ErrorCode;
use exchange::{ExchangeCompression, OutputLocation, SourceHandle};
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{Exchange, attempt, words};

fn random_batch(random: &mut StdRng, counter: &mut i64) -> RecordBatch {
    let rows = match random.random_range(0..10) {
        0 => 0,
        1..8 => random.random_range(1..40),
        _ => random.random_range(100..3000),
    };
    let numbers: Vec<i64> = (*counter..*counter + rows).collect();
    *counter += rows;
    let texts: Vec<_> = numbers
        .iter()
        .map(|n| {
            let length = if random.random_bool(0.01) { 5_000 } else { random.random_range(0..60) };
            random.random_bool(0.9).then(|| format!("{n}-").repeat(length / 4))
        })
        .collect();
    let columns: [(_, ArrayRef, _); 2] =
        [("n", Arc::new(Int64Array::from(numbers)), true), ("t", Arc::new(StringArray::from(texts)), true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[tokio::test]
async fn spilled_and_merged_output_equals_the_model() {
    let (mut spilled, mut inline) = (0, 0);
    for seed in 0..40u64 {
        let mut random = StdRng::seed_from_u64(seed);
        let exchange = Exchange::with(|options| {
            options.frame_bytes_target = 1 << random.random_range(10..18);
            options.sink_memory_bytes_max = 1 << random.random_range(12..23);
            options.inline_bytes_max = 1 << random.random_range(0..24);
            options.prefetch_bytes_max = 1 << random.random_range(14..22);
            options.compression =
                [ExchangeCompression::None, ExchangeCompression::Lz4, ExchangeCompression::Zstd]
                    [(seed % 3) as usize];
        });
        let partitions = random.random_range(1..30u32);
        let mut counter = 0;
        let mut model: Vec<Vec<RecordBatch>> = vec![Vec::new(); partitions as usize];
        let schema = random_batch(&mut random, &mut counter).schema();
        let mut sink = exchange.sink(attempt(0, 0), &schema, partitions);
        for _ in 0..random.random_range(0..150) {
            let batch = random_batch(&mut random, &mut counter);
            let partition = random.random_range(0..partitions);
            model[partition as usize].push(batch.clone());
            sink.push(partition, batch).await.unwrap();
        }
        spilled += usize::from(sink.metrics().spill_runs > 0);
        let record = sink.finish().await.unwrap().record;
        inline += usize::from(matches!(record.location(), OutputLocation::Inline(_)));
        for (partition, batches) in model.iter().enumerate() {
            let expected = concat_batches(&schema, batches).unwrap();
            let range = partition as u32..partition as u32 + 1;
            let back = exchange.read(&record, &schema, range).await.unwrap();
            assert_eq!(back, expected, "seed {seed} partition {partition}");
        }
        let start = random.random_range(0..partitions);
        let range = start..random.random_range(start..=partitions);
        let expected = model[range.start as usize..range.end as usize].iter().flatten();
        let expected = concat_batches(&schema, expected).unwrap();
        assert_eq!(exchange.read(&record, &schema, range).await.unwrap(), expected, "seed {seed}");
        exchange.manager.remove_query(crate::support::query()).await.unwrap();
        exchange.assert_empty();
    }
    assert!(spilled >= 10 && inline >= 3, "the seeds reach all ways: {spilled} spilled, {inline} inline");
}

#[tokio::test]
async fn one_partition_streams_to_the_store_without_spilling() {
    let exchange = Exchange::with(|options| options.sink_memory_bytes_max = 4 << 20);
    let schema = words(0..1).schema();
    let mut sink = exchange.sink(attempt(0, 0), &schema, 1);
    for at in 0..100 {
        sink.push(0, words(at * 5_000..(at + 1) * 5_000)).await.unwrap();
    }
    let metrics = sink.metrics();
    assert_eq!((metrics.spill_runs, metrics.rows), (0, 500_000));
    assert!(metrics.memory_bytes_peak < 4 << 20, "{metrics:?}");
    let record = sink.finish().await.unwrap().record;
    assert_eq!(exchange.read(&record, &schema, 0..1).await.unwrap(), words(0..500_000));
}

#[tokio::test]
async fn a_data_object_explains_itself() {
    let exchange = Exchange::with(|options| options.inline_bytes_max = 0);
    let schema = words(0..1).schema();
    let pushes = [(2, words(0..100)), (0, words(100..150)), (2, words(150..160))];
    let record = exchange.write(attempt(0, 0), &schema, 4, &pushes).await.record;
    let key = exchange::ObjectKey::Data(attempt(0, 0)).to_string();
    let object = exchange.manager.store().read_all(&key, u64::MAX).await.unwrap();
    assert_eq!(record.location(), &OutputLocation::Object { bytes: object.len() as u64 });
    assert_eq!(exchange::index::read_footer(&object).unwrap(), *record.index());
}

#[tokio::test]
async fn many_producers_are_read_in_the_order_of_their_handles() {
    let exchange = Exchange::with(|options| options.inline_bytes_max = 20_000);
    let schema = words(0..1).schema();
    let mut handles = Vec::new();
    for producer in 0..40u32 {
        let start = i64::from(producer) * 10_000;
        // Some are embedded, some inline, some in objects.
        let rows = [20, 700, 10_000][producer as usize % 3];
        let pushes = [(0, words(start..start + rows)), (1, words(0..1))];
        let record = exchange.write(attempt(producer, 0), &schema, 2, &pushes).await.record;
        handles.extend(SourceHandle::of(&record, 0..1));
    }
    for concurrent_reads in [1, 3, 16] {
        let mut options = exchange.manager.options().read();
        options.concurrent_reads = concurrent_reads;
        options.prefetch_bytes_max = 1 << 18;
        let mut reader = exchange.manager.open(handles.clone(), schema.clone(), &options);
        let mut numbers = Vec::new();
        while let Some(batch) = reader.next().await {
            let batch = batch.unwrap();
            let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
            numbers.extend_from_slice(column.values());
        }
        let expected = (0..40i64).flat_map(|producer| {
            let start = producer * 10_000;
            start..start + [20, 700, 10_000][producer as usize % 3]
        });
        assert_eq!(numbers, expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_result_can_be_read_on_from_any_position() {
    let exchange = Exchange::with(|options| {
        options.inline_bytes_max = 0;
        options.frame_bytes_target = 4_000;
    });
    let schema = words(0..1).schema();
    let pushes: Vec<_> = (0..20).map(|at| (0, words(at * 100..(at + 1) * 100))).collect();
    let record = exchange.write(attempt(0, 0), &schema, 1, &pushes).await.record;
    let options = exchange.manager.options().read();
    let mut reader = exchange.manager.open_output(&record, schema.clone(), &options);
    let handle = SourceHandle::of(&record, 0..1).unwrap();
    let (mut rows, mut positions) = (0, 0);
    while let Some(batch) = reader.next_batch().await.unwrap() {
        rows += batch.num_rows() as i64;
        let (_, position) = reader.position();
        assert_eq!(position.rows, rows as u64);
        let rest = exchange.read_all(handle.after(position).into_iter().collect(), &schema).await.unwrap();
        assert_eq!(rest, words(rows..2_000));
        positions += 1;
    }
    assert!(positions > 5);
}

#[tokio::test]
async fn a_row_that_is_too_large_is_refused_and_one_that_just_fits_is_not() {
    let exchange = Exchange::with(|options| options.frame_bytes_max = 8 << 20);
    let large = |bytes: usize| {
        let column = BinaryArray::from_iter_values([vec![1u8; 10], vec![7; bytes], vec![2; 10]]);
        RecordBatch::try_from_iter([("b", Arc::new(column) as ArrayRef)]).unwrap()
    };
    let fits = large(8 << 20);
    let record = exchange.write(attempt(0, 0), &fits.schema(), 2, &[(1, fits.clone())]).await.record;
    assert_eq!(exchange.read(&record, &fits.schema(), 0..2).await.unwrap(), fits);
    let mut sink = exchange.sink(attempt(1, 0), &fits.schema(), 2);
    let error = sink.push(1, large(12 << 20)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NOT_SUPPORTED);
    assert!(error.message().starts_with("Max row size of 8MB exceeded: "), "{error}");
}

#[tokio::test]
async fn a_wrong_partition_or_schema_is_an_error() {
    let exchange = Exchange::new();
    let schema = words(0..1).schema();
    let mut sink = exchange.sink(attempt(0, 0), &schema, 2);
    assert!(sink.push(2, words(0..1)).await.is_err());
    assert!(sink.push(0, words(0..1).project(&[1, 0]).unwrap()).await.is_err());
    let record = exchange.write(attempt(1, 0), &schema, 1, &[(0, words(0..10))]).await.record;
    let other = words(0..1).project(&[1, 0]).unwrap().schema();
    let error = exchange.read(&record, &other, 0..1).await.unwrap_err();
    assert_eq!((error.code(), error.lost_output()), (ErrorCode::GENERIC_INTERNAL_ERROR, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sinks_and_sources_move_between_threads() {
    let exchange = Exchange::with(|options| options.inline_bytes_max = 0);
    let schema = words(0..1).schema();
    let mut sink = exchange.sink(attempt(0, 0), &schema, 3);
    let written = tokio::spawn(async move {
        sink.push(2, words(0..9_000)).await?;
        sink.finish().await
    });
    let record = written.await.unwrap().unwrap().record;
    let mut reader = exchange.manager.open_output(&record, schema, &exchange.manager.options().read());
    let read = tokio::spawn(async move {
        let mut rows = 0;
        while let Some(batch) = reader.next_batch().await? {
            rows += batch.num_rows();
        }
        Ok::<_, base::Error>(rows)
    });
    assert_eq!(read.await.unwrap().unwrap(), 9_000);
}
