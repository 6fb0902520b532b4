//! TPC-H tables as Parquet files, and as tables of the catalog `hive`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use steadfast::client::Client;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];
const ROW_GROUP_ROWS: usize = 250_000;

/// The directory with the Parquet files at scale factor 1, written once for all tests of a process.
pub fn parquet_sf1() -> &'static Path {
    static WRITTEN: OnceLock<PathBuf> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tpch-sf1");
        for table in TABLES {
            write(table, &directory.join(table));
        }
        directory
    })
}

fn batches(table: &str) -> Box<dyn RecordBatchReader> {
    let (scale, part, parts) = (1.0, 1, 1);
    match table {
        "customer" => Box::new(CustomerArrow::new(CustomerGenerator::new(scale, part, parts))),
        "lineitem" => Box::new(LineItemArrow::new(LineItemGenerator::new(scale, part, parts))),
        "nation" => Box::new(NationArrow::new(NationGenerator::new(scale, part, parts))),
        "orders" => Box::new(OrderArrow::new(OrderGenerator::new(scale, part, parts))),
        "part" => Box::new(PartArrow::new(PartGenerator::new(scale, part, parts))),
        "partsupp" => Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, part, parts))),
        "region" => Box::new(RegionArrow::new(RegionGenerator::new(scale, part, parts))),
        _ => Box::new(SupplierArrow::new(SupplierGenerator::new(scale, part, parts))),
    }
}

/// Writes a table, unless an earlier run has.
fn write(table: &str, directory: &Path) {
    let path = directory.join("data.parquet");
    if path.exists() {
        return;
    }
    std::fs::create_dir_all(directory).unwrap();
    let unfinished = directory.join(".data.parquet.unfinished");
    let batches = batches(table);
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(ROW_GROUP_ROWS)).build();
    let file = File::create(&unfinished).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches.schema(), Some(properties)).unwrap();
    for batch in batches {
        let batch: RecordBatch = batch.unwrap();
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
    std::fs::rename(unfinished, path).unwrap();
}

/// Declares the tables in `hive.tpch`.
pub async fn create_hive_tables(client: &mut Client) {
    let directory = parquet_sf1();
    client.query("CREATE SCHEMA hive.tpch").await.unwrap();
    for table in TABLES {
        let columns = columns(&batches(table).schema());
        let location = directory.join(table).display().to_string();
        client
            .query(&format!(
                "CREATE TABLE hive.tpch.{table} ({columns}) WITH (external_location = '{location}', format = 'PARQUET')"
            ))
            .await
            .unwrap();
    }
}

fn columns(schema: &SchemaRef) -> String {
    let column = |(name, data_type): (&str, &DataType)| {
        let type_name = match data_type {
            DataType::Int64 => "bigint".to_string(),
            DataType::Int32 => "integer".to_string(),
            DataType::Date32 => "date".to_string(),
            DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
            _ => "varchar".to_string(),
        };
        format!("{name} {type_name}")
    };
    let fields = schema.fields().iter().map(|field| (field.name().as_str(), field.data_type()));
    fields.map(column).collect::<Vec<_>>().join(", ")
}
