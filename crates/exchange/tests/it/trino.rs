//! Trino's own tests of an exchange manager, where they apply. EX-4 is in `damage`; EX-6 has no counterpart:
//! reads are futures.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use base::ErrorCode;
use exchange::{CommitRecord, SourceHandle};

use crate::support::{Exchange, attempt, query, words};

fn texts(values: &[String]) -> RecordBatch {
    RecordBatch::try_from_iter([("v", Arc::new(StringArray::from(values.to_vec())) as ArrayRef)]).unwrap()
}

/// EX-1: committed attempts are read once, aborted and losing ones never.
#[tokio::test]
async fn happy_path() {
    let exchange = Exchange::new();
    let schema = texts(&[]).schema();
    let write = async |task: u32, number: u32, failed: bool| {
        let mut sink = exchange.sink(attempt(task, number), &schema, 2);
        for partition in 0..2 {
            for row in 0..if task == 2 { 1 } else { 2 } {
                let value = if failed { "failed".to_string() } else { format!("{task}-{partition}-{row}") };
                sink.push(partition, texts(&[value])).await.unwrap();
            }
        }
        sink
    };
    for task in 0..2 {
        assert_eq!(write(task, 0, false).await.finish().await.unwrap().winner, attempt(task, 0));
        assert_eq!(write(task, 1, false).await.finish().await.unwrap().winner, attempt(task, 0));
        write(task, 2, true).await.abort().await.unwrap();
    }
    write(2, 0, true).await.abort().await.unwrap();
    write(2, 1, true).await.abort().await.unwrap();
    assert_eq!(write(2, 2, false).await.finish().await.unwrap().winner, attempt(2, 2));
    assert_eq!(exchange.manager.objects(query()).await.unwrap().len(), 3);

    for partition in 0..2u32 {
        let mut handles = Vec::new();
        for task in 0..3 {
            let record = exchange.manager.committed(attempt(task, 0).output()).await.unwrap().unwrap();
            handles.extend(SourceHandle::of(&record, partition..partition + 1));
        }
        let rows = exchange.read_all(handles, &schema).await.unwrap();
        let rows: Vec<_> =
            rows.column(0).as_string::<i32>().iter().map(|row| row.unwrap().to_string()).collect();
        let expected = ["0", "0", "1", "1", "2"].iter().zip(["0", "1", "0", "1", "0"]);
        let expected: Vec<_> = expected.map(|(task, row)| format!("{task}-{partition}-{row}")).collect();
        assert_eq!(rows, expected);
    }
    exchange.manager.remove_query(query()).await.unwrap();
    exchange.assert_empty();
}

/// EX-2: rows of very different sizes, up to the largest that is allowed, reach every partition.
#[tokio::test]
async fn large_pages() {
    let exchange = Exchange::with(|options| options.sink_memory_bytes_max = 24 << 20);
    let sizes = [123, 66 << 10, (5 << 20) - 4, (16 << 20) - 4];
    let page = |size: usize, fill: u8| {
        let column = BinaryArray::from_iter_values([vec![fill; size]]);
        RecordBatch::try_from_iter([("p", Arc::new(column) as ArrayRef)]).unwrap()
    };
    let schema = page(1, 0).schema();
    let mut records: Vec<CommitRecord> = Vec::new();
    for task in 0..3u32 {
        let mut sink = exchange.sink(attempt(task, 0), &schema, 3);
        for (at, size) in sizes.iter().enumerate() {
            for partition in 0..3 {
                sink.push(partition, page(*size, (task * 16 + at as u32) as u8)).await.unwrap();
            }
        }
        records.push(sink.finish().await.unwrap().record);
    }
    for partition in 0..3 {
        let handles: Vec<_> =
            records.iter().filter_map(|record| SourceHandle::of(record, partition..partition + 1)).collect();
        assert_eq!(handles.len(), 3);
        let rows = exchange.read_all(handles, &schema).await.unwrap();
        let mut found = BTreeMap::new();
        for (at, row) in rows.column(0).as_binary::<i32>().iter().enumerate() {
            let (row, expected) = (row.unwrap(), (at / 4 * 16 + at % 4) as u8);
            assert!(row.iter().all(|byte| *byte == expected));
            *found.entry(row.len()).or_insert(0) += 1;
        }
        assert_eq!(found, sizes.iter().map(|size| (*size, 3)).collect());
    }
}

/// EX-3: more partitions than allowed are refused by Trino's code.
#[tokio::test]
async fn max_output_partition_count() {
    let exchange = Exchange::with(|options| options.output_partition_count_max = 50);
    let schema = words(0..1).schema();
    let error = exchange.manager.sink(attempt(0, 0), schema, 51, exchange.sink_options()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::MAX_OUTPUT_PARTITION_COUNT_EXCEEDED);
    assert!(error.message().starts_with("Max number of output partitions exceeded for exchange"));
}
