//! Every type that SQL uses comes back as it was, whole, sliced and empty, with every codec.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use exchange::ExchangeCompression;

use crate::support::{Exchange, attempt};

const ROWS: usize = 97;

/// Every seventh value is null.
fn some<T>(at: usize, value: T) -> Option<T> {
    (at % 7 != 3).then_some(value)
}

fn text(at: usize) -> String {
    "long text with ünïcode ".repeat(at % 4) + &at.to_string()
}

fn strings() -> Vec<Option<String>> {
    (0..ROWS).map(|at| some(at, text(at))).collect()
}

fn maps() -> ArrayRef {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for at in 0..ROWS {
        for key in 0..at % 3 {
            builder.keys().append_value(format!("key {key}"));
            builder.values().append_option(some(at + key, key as i32));
        }
        builder.append(at % 7 != 3).unwrap();
    }
    Arc::new(builder.finish())
}

fn structs() -> ArrayRef {
    let inner: ArrayRef = Arc::new(StringViewArray::from(strings()));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int16Type, _, _>(
        (0..ROWS).map(|at| some(at, (0..at % 5).map(|n| some(n, n as i16)).collect::<Vec<_>>())),
    ));
    let fields = vec![
        Field::new("text", DataType::Utf8View, true),
        Field::new("numbers", lists.data_type().clone(), true),
    ];
    let nulls = (0..ROWS).map(|at| at % 5 != 4).collect::<Vec<_>>();
    Arc::new(StructArray::new(fields.into(), vec![inner, lists], Some(nulls.into())))
}

fn dictionaries(values: ArrayRef) -> ArrayRef {
    let keys = Int32Array::from_iter((0..ROWS).map(|at| some(at, (at % 5) as i32)));
    Arc::new(DictionaryArray::new(keys, values.slice(10, 20)))
}

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let numbers = 0..ROWS;
    let views = Arc::new(StringViewArray::from(strings()));
    let mut lists = ListBuilder::new(StringDictionaryBuilder::<Int16Type>::new());
    for at in 0..ROWS {
        (0..at % 4).for_each(|n| lists.values().append_value(format!("word {n}")));
        lists.append(at % 7 != 3);
    }
    let timestamps = || (0..ROWS).map(|at| some(at, at as i64 * 1_234_567_890));
    vec![
        ("null", Arc::new(NullArray::new(ROWS))),
        ("boolean", Arc::new(BooleanArray::from_iter(numbers.clone().map(|at| some(at, at % 3 == 0))))),
        ("tinyint", Arc::new(Int8Array::from_iter(numbers.clone().map(|at| some(at, at as i8))))),
        ("smallint", Arc::new(Int16Array::from_iter(numbers.clone().map(|at| some(at, at as i16))))),
        ("integer", Arc::new(Int32Array::from_iter(numbers.clone().map(|at| some(at, -(at as i32)))))),
        ("bigint", Arc::new(Int64Array::from_iter_values(numbers.clone().map(|at| at as i64 - 50)))),
        (
            "unsigned",
            Arc::new(UInt64Array::from_iter(numbers.clone().map(|at| some(at, u64::MAX - at as u64)))),
        ),
        ("real", Arc::new(Float32Array::from_iter(numbers.clone().map(|at| some(at, at as f32 / 3.0))))),
        (
            "double",
            Arc::new(Float64Array::from_iter(numbers.clone().map(|at| some(at, 1e300 / (at as f64))))),
        ),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from_iter(numbers.clone().map(|at| some(at, 10i128.pow(30) + at as i128)))
                    .with_precision_and_scale(38, 4)
                    .unwrap(),
            ),
        ),
        (
            "decimal256",
            Arc::new(Decimal256Array::from_iter(
                numbers.clone().map(|at| some(at, arrow::datatypes::i256::from_i128(at as i128))),
            )),
        ),
        ("varchar", Arc::new(StringArray::from(strings()))),
        ("large varchar", Arc::new(LargeStringArray::from(strings()))),
        ("varchar view", views.clone()),
        ("varbinary", Arc::new(BinaryArray::from_iter(strings()))),
        ("varbinary view", Arc::new(BinaryViewArray::from_iter(strings()))),
        (
            "uuid",
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    numbers.clone().map(|at| some(at, [at as u8; 16])),
                    16,
                )
                .unwrap(),
            ),
        ),
        ("date", Arc::new(Date32Array::from_iter(numbers.clone().map(|at| some(at, at as i32 * 400))))),
        ("time", Arc::new(Time64NanosecondArray::from_iter(timestamps()))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from_iter(timestamps()))),
        ("timestamp ms", Arc::new(TimestampMillisecondArray::from_iter(timestamps()))),
        (
            "timestamp tz",
            Arc::new(TimestampNanosecondArray::from_iter(timestamps()).with_timezone("Europe/Vienna")),
        ),
        (
            "interval",
            Arc::new(IntervalYearMonthArray::from_iter(numbers.clone().map(|at| some(at, at as i32)))),
        ),
        (
            "interval day",
            Arc::new(IntervalMonthDayNanoArray::from_iter(
                numbers.clone().map(|at| some(at, IntervalMonthDayNanoType::make_value(1, at as i32, 3))),
            )),
        ),
        (
            "array",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
                numbers
                    .clone()
                    .map(|at| some(at, (0..at % 9).map(|n| some(n, n as i64)).collect::<Vec<_>>())),
            )),
        ),
        ("array of dictionary", Arc::new(lists.finish())),
        (
            "fixed array",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
                numbers.map(|at| some(at, vec![Some(at as i32), None])),
                2,
            )),
        ),
        ("row", structs()),
        ("map", maps()),
        ("dictionary", dictionaries(Arc::new(StringArray::from(strings())))),
        ("dictionary of views", dictionaries(views)),
        ("dictionary of numbers", dictionaries(Arc::new(Int64Array::from_iter_values(0..ROWS as i64)))),
    ]
}

/// The columns with dictionaries resolved: a null may stand in their keys or in their values.
fn plain(batch: &RecordBatch) -> Vec<ArrayRef> {
    let resolve = |column: &ArrayRef| match column.data_type() {
        DataType::Dictionary(_, values) => arrow::compute::cast(column, values).unwrap(),
        _ => Arc::clone(column),
    };
    batch.columns().iter().map(resolve).collect()
}

async fn check(exchange: &Exchange, name: &str, batch: &RecordBatch, number: u32) {
    let schema = batch.schema();
    let pushes = [
        (1, batch.clone()),
        (0, batch.slice(13, 50)),
        (2, batch.slice(40, 0)),
        (0, batch.slice(90, 7)),
        (1, batch.slice(96, 1)),
    ];
    let committed = exchange.write(attempt(number, 0), &schema, 3, &pushes).await;
    let record = exchange.manager.committed(attempt(number, 0).output()).await.unwrap().unwrap();
    assert_eq!(record, committed.record);
    for partition in 0..3 {
        let pushed: Vec<_> =
            pushes.iter().filter(|push| push.0 == partition).map(|push| push.1.clone()).collect();
        let expected = arrow::compute::concat_batches(&schema, &pushed).unwrap();
        let back = exchange.read(&record, &schema, partition..partition + 1).await.unwrap();
        assert_eq!(back.schema(), expected.schema(), "{name}");
        assert_eq!(plain(&back), plain(&expected), "{name}");
        assert_eq!(record.index()[partition as usize].rows, expected.num_rows() as u64, "{name}");
    }
}

#[tokio::test]
async fn all_types_round_trip() {
    for compression in [ExchangeCompression::None, ExchangeCompression::Lz4, ExchangeCompression::Zstd] {
        for inline_bytes_max in [0, 1 << 20] {
            let exchange = Exchange::with(|options| {
                options.compression = compression;
                options.inline_bytes_max = inline_bytes_max;
            });
            for (number, (name, column)) in columns().into_iter().enumerate() {
                let batch = RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap();
                check(&exchange, name, &batch, number as u32).await;
            }
            let all = columns().into_iter().map(|(name, column)| (name, column, true));
            check(&exchange, "all", &RecordBatch::try_from_iter_with_nullable(all).unwrap(), 1000).await;
            exchange.manager.remove_query(crate::support::query()).await.unwrap();
            exchange.assert_empty();
        }
    }
}

#[tokio::test]
async fn rows_without_columns_are_counted() {
    let exchange = Exchange::new();
    let options = RecordBatchOptions::new().with_row_count(Some(100_000));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    let pushes = [(0, batch.clone()), (1, batch.slice(0, 5)), (0, batch)];
    let committed = exchange.write(attempt(0, 0), &pushes[0].1.schema(), 2, &pushes).await;
    let rows = |range| {
        let (exchange, record, schema) = (&exchange, &committed.record, pushes[0].1.schema());
        async move { exchange.read(record, &schema, range).await.unwrap().num_rows() }
    };
    assert_eq!(rows(0..1).await, 200_000);
    assert_eq!(rows(1..2).await, 5);
}

#[tokio::test]
async fn an_output_without_rows_is_one_small_record_and_no_handles() {
    let exchange = Exchange::new();
    let schema = crate::support::words(0..1).schema();
    let committed = exchange.write(attempt(0, 0), &schema, 4, &[]).await;
    assert_eq!(committed.winner, attempt(0, 0));
    assert_eq!(committed.record.rows(), 0);
    assert_eq!(exchange::SourceHandle::of(&committed.record, 0..4), None);
    assert_eq!(exchange.manager.objects(crate::support::query()).await.unwrap().len(), 1);
    let record = exchange.manager.committed(attempt(0, 0).output()).await.unwrap().unwrap();
    assert_eq!(exchange.read(&record, &schema, 0..4).await.unwrap().num_rows(), 0);
}

#[tokio::test]
async fn row_checksums_do_not_depend_on_cuts_or_encodings() {
    let exchange = Exchange::new();
    let plain: ArrayRef = Arc::new(StringArray::from(strings()));
    let kinds = [
        DataType::Utf8,
        DataType::Utf8View,
        DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into()),
    ];
    let mut sums = Vec::new();
    for (number, kind) in kinds.iter().enumerate() {
        let column = arrow::compute::cast(&plain, kind).unwrap();
        let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
        for cut in [0, 11, 60] {
            let pushes = [(0, batch.slice(cut, ROWS - cut)), (0, batch.slice(0, cut))];
            let number = number as u32 * 100 + cut as u32;
            let committed = exchange.write(attempt(number, 0), &batch.schema(), 1, &pushes).await;
            sums.push(committed.record.index()[0].checksum);
        }
    }
    assert!(sums.iter().all(|sum| *sum == sums[0] && *sum != 0), "{sums:?}");
}
