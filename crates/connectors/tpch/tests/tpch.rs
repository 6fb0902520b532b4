//! The tpch catalog through its public door: metadata, splits, rows, statistics.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use connector::{Connector, NewSchema, Scan, Split, SplitOptions, TableMetadata};
use datafusion::execution::TaskContext;
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;
use tpchgen_arrow::arrow::record_batch::RecordBatchReader;

/// Every table, with its rows at scale factor 0.01 and its first row as text.
const TINY: [(&str, usize, &str); 8] = [
    (
        "customer",
        1_500,
        "1|Customer#000000001|IVhzIApeRb ot,c,E|15|25-989-741-2988|711.56|BUILDING|to the even, regular platelets. regular, ironic epitaphs nag e",
    ),
    (
        "lineitem",
        60_175,
        "1|1552|93|1|17.0|24710.35|0.04|0.02|N|O|1996-03-13|1996-02-12|1996-03-22|DELIVER IN PERSON|TRUCK|egular courts above the",
    ),
    ("nation", 25, "0|ALGERIA|0| haggle. carefully final deposits detect slyly agai"),
    (
        "orders",
        15_000,
        "1|370|O|172799.49|1996-01-02|5-LOW|Clerk#000000951|0|nstructions sleep furiously among ",
    ),
    (
        "part",
        2_000,
        "1|goldenrod lavender spring chocolate lace|Manufacturer#1|Brand#13|PROMO BURNISHED COPPER|7|JUMBO PKG|901.0|ly. slyly ironi",
    ),
    (
        "partsupp",
        8_000,
        "1|2|3325|771.64|, even theodolites. regular, final theodolites eat after the carefully pending foxes. furiously regular deposits sleep slyly. carefully bold realms above the ironic dependencies haggle careful",
    ),
    (
        "region",
        5,
        "0|AFRICA|lar deposits. blithely final packages cajole. regular waters are final requests. regular accounts are according to ",
    ),
    (
        "supplier",
        100,
        "1|Supplier#000000001| N kD4on9OM Ipw3,gf0JBoQDd7tgrzrddZ|17|27-918-335-1736|5755.94|each slyly above the careful",
    ),
];

fn catalog(properties: &[(&str, &str)]) -> Arc<dyn Connector> {
    let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    connector_tpch::create("tpch", &properties.collect::<BTreeMap<_, _>>()).unwrap()
}

async fn table(catalog: &dyn Connector, schema: &str, table: &str) -> TableMetadata {
    catalog.table(schema, table).await.unwrap().unwrap()
}

fn scan(table: &TableMetadata, schema: SchemaRef) -> Scan {
    Scan { table: table.handle.clone(), schema, predicate: None, limit: None }
}

fn options(node_count: usize, target_size_bytes: u64) -> SplitOptions {
    SplitOptions { target_size_bytes, node_count, slot_count: node_count }
}

async fn splits(catalog: &dyn Connector, scan: &Scan, options: &SplitOptions) -> Vec<Split> {
    let batches: Vec<Vec<Split>> = catalog.splits(scan, options).await.unwrap().try_collect().await.unwrap();
    batches.concat()
}

async fn read(catalog: &dyn Connector, scan: &Scan, split: &Split) -> Vec<RecordBatch> {
    let stream = catalog.open(scan, split, Arc::new(TaskContext::default())).unwrap();
    assert_eq!(stream.schema(), scan.schema);
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    for batch in &batches {
        assert_eq!(batch.schema(), scan.schema);
    }
    batches
}

/// All rows of a table, split by split, as one batch.
async fn read_all(catalog: &dyn Connector, scan: &Scan, options: &SplitOptions) -> RecordBatch {
    let mut batches = Vec::new();
    for split in splits(catalog, scan, options).await {
        batches.extend(read(catalog, scan, &split).await);
    }
    concat_batches(&scan.schema, &batches).unwrap()
}

fn row_text(batch: &RecordBatch, row: usize) -> String {
    let cells = batch.columns().iter().map(|column| {
        let text = cast(&column.slice(row, 1), &DataType::Utf8).unwrap();
        text.as_string::<i32>().value(0).to_string()
    });
    cells.collect::<Vec<_>>().join("|")
}

#[tokio::test]
async fn tiny_tables_have_the_known_rows() {
    let catalog = catalog(&[]);
    let names: Vec<&str> = TINY.iter().map(|(name, ..)| *name).collect();
    assert_eq!(catalog.tables("tiny").await.unwrap(), names);
    for (name, rows, first) in TINY {
        let table = table(&*catalog, "tiny", name).await;
        let scan = scan(&table, table.arrow_schema());
        let all = read_all(&*catalog, &scan, &options(1, 1 << 30)).await;
        assert_eq!(all.num_rows(), rows, "{name}");
        assert_eq!(row_text(&all, 0), first, "{name}");
        assert_eq!(catalog.statistics(&table.handle).await.unwrap().row_count, Some(rows as u64), "{name}");
    }
}

/// The other way to the same data: every value of every table must agree with it.
#[tokio::test]
async fn every_value_agrees_with_the_reference_generator() {
    use tpchgen::generators::*;
    use tpchgen_arrow::*;
    let scale = 0.01;
    let reference: [Box<dyn RecordBatchReader>; 8] = [
        Box::new(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1))),
        Box::new(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1))),
        Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1))),
        Box::new(OrderArrow::new(OrderGenerator::new(scale, 1, 1))),
        Box::new(PartArrow::new(PartGenerator::new(scale, 1, 1))),
        Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1))),
        Box::new(RegionArrow::new(RegionGenerator::new(scale, 1, 1))),
        Box::new(SupplierArrow::new(SupplierGenerator::new(scale, 1, 1))),
    ];
    let catalog = catalog(&[("tpch.column-naming", "STANDARD"), ("tpch.double-type-mapping", "DECIMAL")]);
    for (reference, (name, ..)) in reference.into_iter().zip(TINY) {
        let table = table(&*catalog, "tiny", name).await;
        let scan = scan(&table, table.arrow_schema());
        let ours = read_all(&*catalog, &scan, &options(3, 1 << 30)).await;
        let schema = reference.schema();
        let batches: Vec<RecordBatch> = reference.map(|batch| batch.unwrap()).collect();
        let theirs = concat_batches(&schema, &batches).unwrap();
        assert_eq!(theirs.num_columns(), ours.num_columns(), "{name}");
        for (index, field) in theirs.schema().fields().iter().enumerate() {
            assert_eq!(ours.schema().field(index).name(), field.name(), "{name}");
            let theirs = cast(theirs.column(index), ours.column(index).data_type()).unwrap();
            assert!(theirs.to_data() == ours.column(index).to_data(), "{name}.{}", field.name());
        }
    }
}

#[tokio::test]
async fn splits_make_up_the_whole_whatever_their_number() {
    for (name, rows, _) in TINY {
        let one = catalog(&[("tpch.splits-per-node", "1")]);
        let table = table(&*one, "tiny", name).await;
        let scan = scan(&table, table.arrow_schema());
        let whole = read_all(&*one, &scan, &options(1, 1 << 30)).await;
        for (per_node, nodes) in [("1", 2), ("4", 2), ("7", 3)] {
            let many = catalog(&[("tpch.splits-per-node", per_node)]);
            let options = options(nodes, 1);
            let count = splits(&*many, &scan, &options).await.len();
            let small = matches!(name, "nation" | "region");
            let expected = if small { 1 } else { per_node.parse::<usize>().unwrap() * nodes };
            assert_eq!(count, expected, "{name}");
            assert_eq!(many.is_parallel(&table.handle), !small);
            let parts = read_all(&*many, &scan, &options).await;
            assert_eq!(parts.num_rows(), rows);
            assert!(parts == whole, "{name} in {count} splits");
        }
    }
}

#[tokio::test]
async fn splits_follow_the_size_aimed_at_unless_configured() {
    let catalog = catalog(&[]);
    let table = table(&*catalog, "sf100", "lineitem").await;
    let scan = scan(&table, table.arrow_schema());
    let splits = splits(&*catalog, &scan, &options(1, 64 << 20)).await;
    assert!((1_000..3_000).contains(&splits.len()), "{}", splits.len());
    assert!(splits.iter().all(|split| (60 << 20..=64 << 20).contains(&split.size_bytes)));
}

#[tokio::test]
async fn only_wanted_columns_are_made_in_the_wanted_order() {
    let catalog = catalog(&[]);
    let table = table(&*catalog, "tiny", "lineitem").await;
    let wanted = Arc::new(table.arrow_schema().project(&[8, 0, 4]).unwrap());
    let scan = scan(&table, wanted);
    let batch = read_all(&*catalog, &scan, &options(1, 1 << 30)).await;
    assert_eq!(row_text(&batch, 0), "N|1|17.0");
    assert_eq!(batch.num_rows(), 60_175);
}

#[tokio::test]
async fn a_scan_of_no_columns_counts_rows() {
    let catalog = catalog(&[]);
    let table = table(&*catalog, "tiny", "orders").await;
    let scan = scan(&table, Arc::new(arrow::datatypes::Schema::empty()));
    let batch = read_all(&*catalog, &scan, &options(2, 1 << 30)).await;
    assert_eq!((batch.num_rows(), batch.num_columns()), (15_000, 0));
}

#[tokio::test]
async fn a_column_that_is_not_there_is_refused() {
    let standard = catalog(&[("tpch.column-naming", "STANDARD")]);
    let simplified = catalog(&[]);
    let table = table(&*simplified, "tiny", "region").await;
    let scan = scan(&table, table.arrow_schema());
    let split = splits(&*standard, &scan, &options(1, 1)).await.remove(0);
    let error = standard.open(&scan, &split, Arc::new(TaskContext::default())).err().unwrap();
    assert_eq!(error.message(), "Table 'region' has no column 'regionkey'");
}

#[tokio::test]
async fn limits_end_a_split_early_and_batches_have_the_sessions_size() {
    let catalog = catalog(&[("tpch.splits-per-node", "2")]);
    let table = table(&*catalog, "tiny", "orders").await;
    let scan = Scan { limit: Some(1_000), ..scan(&table, table.arrow_schema()) };
    let splits = splits(&*catalog, &scan, &options(1, 1)).await;
    let context = TaskContext::default().with_session_config(SessionConfig::new().with_batch_size(300));
    let stream = catalog.open(&scan, &splits[1], Arc::new(context)).unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    let sizes: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes, [300, 300, 300, 100]);
}

#[tokio::test]
async fn both_mappings_of_amounts_have_the_same_values() {
    let double = catalog(&[]);
    let decimal = catalog(&[("tpch.double-type-mapping", "DECIMAL")]);
    let of = async |catalog: &dyn Connector| {
        let table = table(catalog, "tiny", "part").await;
        let column = table.columns[7].clone();
        let scan = scan(&table, Arc::new(table.arrow_schema().project(&[7]).unwrap()));
        (column.column_type, read_all(catalog, &scan, &options(1, 1 << 30)).await)
    };
    let (double_type, doubles) = of(&*double).await;
    let (decimal_type, decimals) = of(&*decimal).await;
    assert_eq!(double_type, types::Type::Double);
    assert_eq!(decimal_type, types::Type::Decimal { precision: 12, scale: 2 });
    let doubles =
        doubles.column(0).as_primitive::<Float64Type>().values().iter().map(|v| (v * 100.0).round() as i128);
    let decimals = decimals.column(0).as_primitive::<Decimal128Type>().values().to_vec();
    assert_eq!(doubles.collect::<Vec<_>>(), decimals);
    assert_eq!(decimals[0], 90_100);
}

#[tokio::test]
async fn metadata_is_trinos() {
    let catalog = catalog(&[]);
    let orders = table(&*catalog, "sf1", "orders").await;
    let columns: Vec<String> =
        orders.columns.iter().map(|column| format!("{} {}", column.name, column.column_type)).collect();
    assert_eq!(
        columns,
        [
            "orderkey bigint",
            "custkey bigint",
            "orderstatus varchar(1)",
            "totalprice double",
            "orderdate date",
            "orderpriority varchar(15)",
            "clerk varchar(15)",
            "shippriority integer",
            "comment varchar(79)",
        ]
    );
    assert!(orders.columns.iter().all(|column| !column.nullable));
    assert_eq!(catalog.schemas().await.unwrap()[..3], ["tiny", "sf1", "sf100"]);
    assert!(catalog.schema_exists("sf0.5").await.unwrap());
    assert!(!catalog.schema_exists("default").await.unwrap());
    assert!(catalog.tables("default").await.unwrap().is_empty());
    assert!(catalog.table("default", "orders").await.unwrap().is_none());
    assert!(catalog.table("tiny", "order").await.unwrap().is_none());
    let schema = NewSchema { name: "mine".into(), properties: Vec::new(), creator: None };
    let error = catalog.create_schema(schema).await.unwrap_err();
    assert_eq!(error.message(), "This connector does not support creating schemas");
}

/// Statistics must hold of the data: ranges enclose it, and counts of different values are near.
#[tokio::test]
async fn statistics_hold_of_the_data() {
    use datafusion::common::ScalarValue;
    let catalog = catalog(&[("tpch.double-type-mapping", "DECIMAL")]);
    for (name, rows, _) in TINY {
        let table = table(&*catalog, "tiny", name).await;
        let scan = scan(&table, table.arrow_schema());
        let all = read_all(&*catalog, &scan, &options(1, 1 << 30)).await;
        let statistics = catalog.statistics(&table.handle).await.unwrap();
        let actual_bytes: usize =
            all.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap()).sum();
        let ratio = statistics.total_bytes.unwrap() as f64 / actual_bytes as f64;
        // Decimals take 16 bytes here, doubles 8.
        assert!((0.6..1.2).contains(&ratio), "{name}: {ratio}");
        for (column, known) in all.columns().iter().zip(&statistics.columns) {
            assert_eq!(known.null_count, Some(0));
            assert!(known.distinct_count.unwrap() <= rows as u64);
            let (Some(min), Some(max)) = (&known.min, &known.max) else {
                continue;
            };
            for row in 0..column.len() {
                let value = ScalarValue::try_from_array(column, row).unwrap();
                assert!(*min <= value && value <= *max, "{name}: {min} {value} {max}");
            }
        }
        let keys = all.column(0).as_primitive::<Int64Type>().values();
        let distinct = keys.iter().collect::<std::collections::BTreeSet<_>>().len() as u64;
        assert_eq!(statistics.columns[0].distinct_count, Some(distinct), "{name}");
    }
}

#[tokio::test]
async fn a_retry_reads_the_same_rows() {
    let catalog = catalog(&[("tpch.splits-per-node", "5")]);
    let table = table(&*catalog, "tiny", "lineitem").await;
    let scan = scan(&table, table.arrow_schema());
    let splits = splits(&*catalog, &scan, &options(1, 1)).await;
    let first = read(&*catalog, &scan, &splits[3]).await;
    let again = read(&*catalog, &scan, &splits[3]).await;
    assert_eq!(
        pretty_format_batches(&first).unwrap().to_string(),
        pretty_format_batches(&again).unwrap().to_string()
    );
}
