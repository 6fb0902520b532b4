//! TPC-H tables as Parquet files, and as tables of the catalog `hive`.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatchReader;
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
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

use crate::Failure;

/// The tables.
pub const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

/// Rows of a row group: what a scan reads at once at least.
const ROW_GROUP_ROWS: usize = 1_000_000;

/// The directory with a file for each table in a directory of its own, written unless an earlier run has.
pub fn write_tables(directory: &Path, scale: f64) -> Result<PathBuf, Failure> {
    let directory = directory.join(format!("sf{scale}"));
    for table in TABLES {
        write(table, &directory.join(table), scale)?;
    }
    Ok(std::fs::canonicalize(directory)?)
}

fn batches(table: &str, scale: f64) -> Box<dyn RecordBatchReader> {
    let (part, parts) = (1, 1);
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

fn write(table: &str, directory: &Path, scale: f64) -> Result<(), Failure> {
    let path = directory.join("data.parquet");
    if path.exists() {
        return Ok(());
    }
    eprintln!("writing {}", path.display());
    std::fs::create_dir_all(directory)?;
    let unfinished = directory.join(".data.parquet.unfinished");
    let batches = batches(table, scale);
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(File::create(&unfinished)?, batches.schema(), Some(properties))?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.close()?;
    std::fs::rename(unfinished, path)?;
    Ok(())
}

/// Declares the tables in a schema of `hive`, unless it is there.
pub async fn create_hive_tables(client: &mut Client, schema: &str, directory: &Path) -> Result<(), Failure> {
    client.query(&format!("CREATE SCHEMA IF NOT EXISTS hive.{schema}")).await?;
    for table in TABLES {
        let columns = columns(&batches(table, 0.001).schema());
        let location = directory.join(table).display().to_string();
        let text = format!(
            "CREATE TABLE IF NOT EXISTS hive.{schema}.{table} ({columns}) \
             WITH (external_location = '{location}', format = 'PARQUET')"
        );
        client.query(&text).await?;
    }
    Ok(())
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
