//! Files that are not quite what their table says: other types, other names, broken, gone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod common;

use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Decimal128Array, DictionaryArray, Float32Array, Int32Array, Int64Array,
    LargeStringArray, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use arrow::util::pretty::pretty_format_batches;
use base::ErrorCode;
use common::{Fixture, batch, scan, write};
use connector::Scan;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{binary, col, lit};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter, encode_arrow_schema};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

/// The rows as text, a line per row.
fn lines(rows: &RecordBatch) -> Vec<String> {
    let table = pretty_format_batches(std::slice::from_ref(rows)).unwrap().to_string();
    let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|");
    let lines: Vec<String> = table.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    lines[1..].to_vec()
}

#[tokio::test]
async fn columns_are_cast_to_the_types_of_the_table() {
    let fixture = Fixture::new().await;
    let columns = [
        ("a", "bigint"),
        ("b", "double"),
        ("c", "decimal(12,2)"),
        ("d", "varchar"),
        ("e", "varchar"),
        ("f", "varchar"),
        ("g", "varchar"),
        ("h", "timestamp(3)"),
        ("i", "decimal(10,0)"),
        ("j", "varbinary"),
    ];
    let table = fixture.table("types", &columns).await;
    let dictionary: DictionaryArray<Int32Type> = vec![Some("red"), None].into_iter().collect();
    let decimals =
        Decimal128Array::from(vec![Some(1_234_500), None]).with_precision_and_scale(18, 4).unwrap();
    let times = TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC");
    let file: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(Int32Array::from(vec![Some(7), None]))),
        ("b", Arc::new(Float32Array::from(vec![Some(0.5), None]))),
        ("c", Arc::new(decimals)),
        ("d", Arc::new(StringViewArray::from(vec![Some("view"), None]))),
        ("e", Arc::new(LargeStringArray::from(vec![Some("large"), None]))),
        ("f", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"bytes"), None]))),
        ("g", Arc::new(dictionary)),
        ("h", Arc::new(times)),
        ("i", Arc::new(Int32Array::from(vec![Some(-3), None]))),
        ("j", Arc::new(StringArray::from(vec![Some("\u{1}"), None]))),
    ];
    write(&fixture.data("types").join("f"), &[batch(file)], 100);
    let rows = fixture.read_all(&scan(&table), 1).await.unwrap();
    assert_eq!(
        lines(&rows),
        ["7|0.5|123.45|view|large|bytes|red|1970-01-01T00:00:01.500|-3|01", "|||||||||"]
    );
}

#[tokio::test]
async fn columns_go_by_name_in_any_case_and_missing_ones_are_null() {
    let fixture = Fixture::new().await;
    let table =
        fixture.table("evolved", &[("id", "bigint"), ("added", "varchar"), ("name", "varchar")]).await;
    let ids = |from| -> ArrayRef { Arc::new(Int64Array::from_iter_values(from..from + 2)) };
    let names: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let directory = fixture.data("evolved");
    let dropped = ("gone", ids(90));
    write(&directory.join("1"), &[batch(vec![dropped, ("Name", Arc::clone(&names)), ("ID", ids(1))])], 100);
    write(&directory.join("2"), &[batch(vec![("id", ids(3)), ("added", names)])], 100);
    let all = scan(&table);
    let rows = fixture.read_all(&all, 1).await.unwrap();
    assert_eq!(lines(&rows), ["1||x", "2||y", "3|x|", "4|y|"]);

    // Predicates find the columns too: the first file has none of these keys, the second no such names.
    let schema = &all.schema;
    let late = binary(col("id", schema).unwrap(), Operator::Gt, lit(2_i64), schema).unwrap();
    let rows = fixture.read_all(&Scan { predicate: Some(late), ..all.clone() }, 1).await.unwrap();
    assert_eq!(lines(&rows), ["3|x|", "4|y|"]);
    let named = binary(col("name", schema).unwrap(), Operator::Eq, lit("x"), schema).unwrap();
    let rows = fixture.read_all(&Scan { predicate: Some(named), ..all.clone() }, 1).await.unwrap();
    assert_eq!(lines(&rows), ["1||x", "2||y"]);

    let statistics = fixture.catalog.statistics(&table.handle).await.unwrap();
    assert_eq!(statistics.row_count, Some(4));
    assert_eq!(statistics.columns[0].max, Some(ScalarValue::Int64(Some(4))));
    assert_eq!(statistics.columns[1].null_count, Some(2));
}

#[tokio::test]
async fn texts_have_the_length_of_their_type() {
    let fixture = Fixture::new().await;
    let table = fixture.table("texts", &[("c", "char(4)"), ("v", "varchar(2)")]).await;
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("ab  "), None, Some("äöüß!")]));
    write(&fixture.data("texts").join("f"), &[batch(vec![("c", Arc::clone(&texts)), ("v", texts)])], 100);
    let all = scan(&table);
    let rows = fixture.read_all(&all, 1).await.unwrap();
    assert_eq!(lines(&rows), ["ab|ab", "|", "äöüß|äö"]);

    // The file's own bounds are of values with blanks; they must not rule out the value without.
    let schema = &all.schema;
    let equal = binary(col("c", schema).unwrap(), Operator::LtEq, lit("ab"), schema).unwrap();
    let rows = fixture.read_all(&Scan { predicate: Some(equal), ..all.clone() }, 1).await.unwrap();
    assert_eq!(rows.num_rows(), 3);
}

#[tokio::test]
async fn nested_values_are_read() {
    let fixture = Fixture::new().await;
    let columns = [("l", "array(bigint)"), ("r", "row(x bigint, y varchar, z double)")];
    let table = fixture.table("nested", &columns).await;
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let fields =
        Fields::from(vec![Field::new("y", DataType::Utf8, true), Field::new("x", DataType::Int32, true)]);
    let values: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec!["p", "q"])), Arc::new(Int32Array::from(vec![5, 6]))];
    let row = StructArray::new(fields, values, None);
    write(
        &fixture.data("nested").join("f"),
        &[batch(vec![("l", Arc::new(list)), ("r", Arc::new(row))])],
        100,
    );
    let rows = fixture.read_all(&scan(&table), 1).await.unwrap();
    assert_eq!(lines(&rows), ["[1, ]|{x: 5, y: p, z: }", "|{x: 6, y: q, z: }"]);
    assert!(fixture.catalog.statistics(&table.handle).await.unwrap().total_bytes.unwrap() > 0);
}

#[tokio::test]
async fn a_type_that_cannot_be_read_is_refused() {
    let fixture = Fixture::new().await;
    let table = fixture.table("wrong", &[("n", "bigint")]).await;
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    write(&fixture.data("wrong").join("f"), &[batch(vec![("n", texts)])], 100);
    let error = fixture.read_all(&scan(&table), 1).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NOT_SUPPORTED, "{error}");
    assert_eq!(error.message(), "Unsupported Trino column type (bigint) for Parquet column (n: Utf8)");
}

#[tokio::test]
async fn values_that_do_not_fit_are_bad_data() {
    let fixture = Fixture::new().await;
    for (name, column_type, values) in [
        ("ints", "integer", Arc::new(Int64Array::from(vec![1 << 40])) as ArrayRef),
        ("bytes", "varchar", Arc::new(BinaryArray::from_vec(vec![b"\xff\xfe"]))),
    ] {
        let table = fixture.table(name, &[("n", column_type)]).await;
        write(&fixture.data(name).join("f"), &[batch(vec![("n", values)])], 100);
        let error = fixture.read_all(&scan(&table), 1).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::HIVE_BAD_DATA, "{error}");
    }
}

/// A file may claim in the schema that Arrow leaves in it that its bytes are text. They are looked at all the same.
#[tokio::test]
async fn bytes_that_claim_to_be_text_are_checked() {
    let fixture = Fixture::new().await;
    let table = fixture.table("liar", &[("n", "varchar")]).await;
    let values: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"\xff\xfe"]));
    let truth = batch(vec![("n", values)]);
    let claim = encode_arrow_schema(&Schema::new(vec![Field::new("n", DataType::Utf8, true)]));
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![KeyValue::new(ARROW_SCHEMA_META_KEY.to_string(), claim)]))
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let file = File::create(fixture.data("liar").join("f")).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, truth.schema(), options).unwrap();
    writer.write(&truth).unwrap();
    writer.close().unwrap();
    let error = fixture.read_all(&scan(&table), 1).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::HIVE_BAD_DATA, "{error}");
}

#[tokio::test]
async fn broken_files_are_bad_data() {
    let fixture = Fixture::new().await;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
    let good = fixture.data("good").join("f");
    write(&good, &[batch(vec![("id", ids)])], 100);
    let bytes = std::fs::read(&good).unwrap();
    let mut scrambled = bytes.clone();
    scrambled[4..bytes.len() / 2].fill(0xa5);
    let mut bad_length = bytes.clone();
    let end = bytes.len();
    bad_length[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    for (name, content) in [
        ("text", b"id\n1\n2\n3\n4\n5\n".to_vec()),
        ("short", b"PAR1".to_vec()),
        ("truncated", bytes[..bytes.len() - 20].to_vec()),
        ("scrambled", scrambled),
        ("length", bad_length),
    ] {
        let table = fixture.table(name, &[("id", "bigint")]).await;
        std::fs::write(fixture.data(name).join("f"), content).unwrap();
        let all = scan(&table);
        let split = fixture.splits(&all, u64::MAX).await.remove(0);
        let error = fixture.read(&all, &split).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::HIVE_BAD_DATA, "{name}: {error}");
        assert!(error.message().contains(&format!("data/{name}/f")), "{error}");
        if name != "scrambled" {
            let error = fixture.catalog.statistics(&table.handle).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::HIVE_BAD_DATA, "{name}: {error}");
        }
    }
}

#[tokio::test]
async fn files_that_vanish_are_reported_as_such() {
    let fixture = Fixture::new().await;
    let table = fixture.table("t", &[("id", "bigint")]).await;
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let file = fixture.data("t").join("f");
    write(&file, &[batch(vec![("id", ids)])], 100);
    let all = scan(&table);
    let split = fixture.splits(&all, 1 << 30).await.remove(0);
    std::fs::remove_file(&file).unwrap();
    let error = fixture.read(&all, &split).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::HIVE_FILE_NOT_FOUND, "{error}");

    std::fs::remove_dir(fixture.data("t")).unwrap();
    let error = fixture.catalog.statistics(&table.handle).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::HIVE_FILE_NOT_FOUND, "{error}");
}

#[tokio::test]
async fn directories_below_are_read_if_configured() {
    for (recursive, count) in [("false", 1), ("true", 2)] {
        let fixture = Fixture::with(&[("hive.recursive-directories", recursive)]).await;
        let table = fixture.table("deep", &[("id", "bigint")]).await;
        let ids = || batch(vec![("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
        let directory = fixture.data("deep");
        std::fs::create_dir(directory.join("below with space")).unwrap();
        write(&directory.join("f%20#?.parquet"), &[ids()], 100);
        write(&directory.join("below with space").join("g"), &[ids()], 100);
        write(&directory.join("_hidden"), &[ids()], 100);
        let rows = fixture.read_all(&scan(&table), 1).await.unwrap();
        assert_eq!(rows.num_rows(), count);
    }
}
