//! Scans of TPC-H tables: splits, columns, predicates, limits, statistics.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod common;

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{Int64Type, Schema};
use common::{Fixture, scan, write};
use connector::{Scan, TableMetadata};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{binary, col, lit};
use datafusion::physical_plan::PhysicalExpr;
use tpchgen::generators::LineItemGenerator;
use tpchgen_arrow::LineItemArrow;

const LINEITEM_ROWS: usize = 60_175;
const ROW_GROUP_ROWS: usize = 5_000;

const LINEITEM: &[(&str, &str)] = &[
    ("l_orderkey", "bigint"),
    ("l_partkey", "bigint"),
    ("l_suppkey", "bigint"),
    ("l_linenumber", "integer"),
    ("l_quantity", "decimal(15,2)"),
    ("l_extendedprice", "decimal(15,2)"),
    ("l_discount", "decimal(15,2)"),
    ("l_tax", "decimal(15,2)"),
    ("l_returnflag", "varchar(1)"),
    ("l_linestatus", "varchar(1)"),
    ("l_shipdate", "date"),
    ("l_commitdate", "date"),
    ("l_receiptdate", "date"),
    ("l_shipinstruct", "varchar(25)"),
    ("l_shipmode", "varchar"),
    ("l_comment", "varchar(44)"),
];

/// The table lineitem at scale factor 0.01 in two files, and its rows.
async fn lineitem(fixture: &Fixture) -> (TableMetadata, RecordBatch) {
    let table = fixture.table("lineitem", LINEITEM).await;
    let mut all = Vec::new();
    for part in 1..=2 {
        let generator = LineItemArrow::new(LineItemGenerator::new(0.01, part, 2));
        let batches: Vec<RecordBatch> = generator.map(Result::unwrap).collect();
        write(&fixture.data("lineitem").join(format!("{part}.parquet")), &batches, ROW_GROUP_ROWS);
        all.extend(batches);
    }
    let all = concat_batches(&LineItemArrow::schema_ref(), &all).unwrap();
    let schema = table.arrow_schema();
    let columns = all.columns().iter().zip(schema.fields()).map(|(c, f)| cast(c, f.data_type()).unwrap());
    let expected = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
    (table, expected)
}

fn expected_row_groups() -> usize {
    let rows = |part| LineItemGenerator::new(0.01, part, 2).iter().count();
    (1..=2).map(|part| rows(part).div_ceil(ROW_GROUP_ROWS)).sum()
}

fn predicate(schema: &Schema, column: &str, op: Operator, value: ScalarValue) -> Arc<dyn PhysicalExpr> {
    binary(col(column, schema).unwrap(), op, lit(value), schema).unwrap()
}

#[tokio::test]
async fn every_row_is_in_exactly_one_split_whatever_the_size() {
    let fixture = Fixture::new().await;
    let (table, expected) = lineitem(&fixture).await;
    let scan = scan(&table);
    assert_eq!(expected.num_rows(), LINEITEM_ROWS);
    let row_groups = expected_row_groups();
    for (target, count) in [(1, row_groups), (u64::MAX, 2)] {
        assert_eq!(fixture.splits(&scan, target).await.len(), count);
        let rows = fixture.read_all(&scan, target).await.unwrap();
        assert!(rows == expected, "target {target}");
    }
    let total: u64 = fixture.splits(&scan, u64::MAX).await.iter().map(|split| split.size_bytes).sum();
    let middle = fixture.splits(&scan, total / 5).await;
    assert!((4..=6).contains(&middle.len()), "{}", middle.len());
    let rows = fixture.read_all(&scan, total / 5).await.unwrap();
    assert!(rows == expected);
}

#[tokio::test]
async fn wanted_columns_come_in_the_wanted_order() {
    let fixture = Fixture::new().await;
    let (table, expected) = lineitem(&fixture).await;
    let wanted = [15, 0, 10];
    let scan = Scan { schema: Arc::new(table.arrow_schema().project(&wanted).unwrap()), ..scan(&table) };
    let rows = fixture.read_all(&scan, 1).await.unwrap();
    assert!(rows == expected.project(&wanted).unwrap());

    let scan = Scan { schema: Arc::new(Schema::empty()), ..scan };
    let rows: usize = fixture.read_all(&scan, 1 << 20).await.unwrap().num_rows();
    assert_eq!(rows, LINEITEM_ROWS);
}

#[tokio::test]
async fn row_groups_that_the_predicate_rules_out_are_not_read() {
    let fixture = Fixture::new().await;
    let (table, expected) = lineitem(&fixture).await;
    let schema = table.arrow_schema();
    let keys = expected.column(0).as_primitive::<Int64Type>().values();
    let wanted = keys.iter().filter(|key| **key > 59_000).count();
    let above = predicate(&schema, "l_orderkey", Operator::Gt, ScalarValue::Int64(Some(59_000)));
    let scan = Scan { predicate: Some(above), ..scan(&table) };

    // Only the last row group has such keys, and only its split is made.
    assert_eq!(fixture.splits(&scan, 1).await.len(), 1);
    let rows = fixture.read_all(&scan, 1).await.unwrap();
    assert!((wanted..=ROW_GROUP_ROWS).contains(&rows.num_rows()), "{wanted} {}", rows.num_rows());

    // A worker prunes too: it is given a split of the whole second file here.
    let unpruned = Scan { predicate: None, ..scan.clone() };
    let whole = fixture.splits(&unpruned, u64::MAX).await.remove(1);
    let rows: usize = fixture.read(&scan, &whole).await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert!((wanted..=ROW_GROUP_ROWS).contains(&rows), "{wanted} {rows}");
}

#[tokio::test]
async fn a_predicate_that_nothing_meets_makes_no_splits() {
    let fixture = Fixture::new().await;
    let (table, _) = lineitem(&fixture).await;
    let schema = table.arrow_schema();
    for (column, value) in [
        ("l_orderkey", ScalarValue::Int64(Some(-1))),
        ("l_shipdate", ScalarValue::Date32(Some(0))),
        ("l_quantity", ScalarValue::Decimal128(Some(-100), 15, 2)),
        ("l_shipmode", ScalarValue::from("AAA")),
        ("l_returnflag", ScalarValue::from("Z")),
    ] {
        let never = predicate(&schema, column, Operator::Eq, value);
        let scan = Scan { predicate: Some(never), ..scan(&table) };
        assert!(fixture.splits(&scan, 1).await.is_empty(), "{column}");
    }
}

#[tokio::test]
async fn limits_count_rows_only_where_nothing_is_filtered() {
    let fixture = Fixture::new().await;
    let (table, _) = lineitem(&fixture).await;
    let limited = Scan { limit: Some(10), ..scan(&table) };
    let split = fixture.splits(&limited, u64::MAX).await.remove(0);
    let rows: usize = fixture.read(&limited, &split).await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 10);

    let schema = table.arrow_schema();
    let late = predicate(&schema, "l_linenumber", Operator::Eq, ScalarValue::Int32(Some(7)));
    let filtered = Scan { predicate: Some(late), ..limited };
    let rows: usize = fixture.read(&filtered, &split).await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert!(rows > 10, "{rows}");
}

#[tokio::test]
async fn statistics_are_those_of_the_footers() {
    let fixture = Fixture::new().await;
    let (table, expected) = lineitem(&fixture).await;
    let statistics = fixture.catalog.statistics(&table.handle).await.unwrap();
    assert_eq!(statistics.row_count, Some(LINEITEM_ROWS as u64));
    let actual: usize = expected.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap()).sum();
    let ratio = statistics.total_bytes.unwrap() as f64 / actual as f64;
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
    assert_eq!(statistics.columns.len(), LINEITEM.len());
    for (known, values) in statistics.columns.iter().zip(expected.columns()) {
        assert_eq!(known.null_count, Some(0));
        let min = known.min.as_ref().unwrap();
        assert_eq!(min.data_type(), *values.data_type());
    }
    let key = &statistics.columns[0];
    let keys = expected.column(0).as_primitive::<Int64Type>().values();
    assert_eq!(key.min, Some(ScalarValue::Int64(keys.iter().min().copied())));
    assert_eq!(key.max, Some(ScalarValue::Int64(keys.iter().max().copied())));
    assert_eq!(statistics.columns[8].min, Some(ScalarValue::from("A")));
    assert_eq!(statistics.columns[4].max, Some(ScalarValue::Decimal128(Some(5_000), 15, 2)));

    let off = Fixture::with(&[("hive.table-statistics-enabled", "false")]).await;
    let (table, _) = lineitem(&off).await;
    assert_eq!(off.catalog.statistics(&table.handle).await.unwrap().row_count, None);
}

#[tokio::test]
async fn statistics_of_many_files_are_sampled() {
    let fixture = Fixture::new().await;
    let table = fixture.table("many", &[("l_orderkey", "bigint")]).await;
    let files = 250;
    let rows =
        LineItemArrow::new(LineItemGenerator::new(0.01, 1, 1)).with_batch_size(100).next().unwrap().unwrap();
    for number in 0..files {
        write(&fixture.data("many").join(format!("{number:03}")), std::slice::from_ref(&rows), 1_000);
    }
    let statistics = fixture.catalog.statistics(&table.handle).await.unwrap();
    assert_eq!(statistics.row_count, Some(files * 100));
    assert_eq!(statistics.columns[0].min, None, "bounds of a sample are not those of the table");
}

#[tokio::test]
async fn an_empty_table_has_no_splits() {
    let fixture = Fixture::new().await;
    let table = fixture.table("empty", LINEITEM).await;
    assert!(fixture.splits(&scan(&table), 1).await.is_empty());
    let statistics = fixture.catalog.statistics(&table.handle).await.unwrap();
    assert_eq!((statistics.row_count, statistics.total_bytes), (Some(0), Some(0)));
}
