//! The tables of TPC-H as Parquet files, and as external tables.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatchReader;
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

/// The tables of TPC-H.
pub const TPCH_TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

/// Columns do not depend on the scale factor.
const SCALE_OF_COLUMNS: f64 = 0.001;

/// Writes each table, unless it is there, to a file in a directory of its own below a directory for the scale factor,
/// and says which that is. A row group, what a scan reads at once at least, has so many rows.
///
/// # Errors
/// Whatever keeps a file from being written.
pub fn write_tpch_files(
    directory: &Path,
    scale: f64,
    row_group_rows: usize,
) -> Result<PathBuf, Box<dyn Error + Send + Sync>> {
    let directory = directory.join(format!("sf{scale}"));
    for table in TPCH_TABLES {
        write(table, &directory.join(table), scale, row_group_rows)?;
    }
    Ok(std::fs::canonicalize(directory)?)
}

/// The statements that declare the files as tables of a schema of the catalog `hive`.
pub fn hive_statements(schema: &str, directory: &Path) -> Vec<String> {
    let create_schema = format!("CREATE SCHEMA IF NOT EXISTS hive.{schema}");
    let create_table = |table: &str| {
        let columns = columns(&batches(table, SCALE_OF_COLUMNS).schema());
        let location = directory.join(table).display().to_string();
        format!(
            "CREATE TABLE IF NOT EXISTS hive.{schema}.{table} ({columns}) \
             WITH (external_location = '{location}', format = 'PARQUET')"
        )
    };
    std::iter::once(create_schema).chain(TPCH_TABLES.map(create_table)).collect()
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

fn write(
    table: &str,
    directory: &Path,
    scale: f64,
    row_group_rows: usize,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let path = directory.join("data.parquet");
    if path.exists() {
        return Ok(());
    }
    eprintln!("writing {}", path.display());
    std::fs::create_dir_all(directory)?;
    let unfinished = directory.join(".data.parquet.unfinished");
    let batches = batches(table, scale);
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(row_group_rows))
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
