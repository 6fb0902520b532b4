//! From `CREATE TABLE` and `CREATE SCHEMA` to records of the metastore.

use std::collections::BTreeSet;

use base::{Error, ErrorCode, Result};
use connector::{ColumnMetadata, NewSchema, NewTable};
use types::Type;

use crate::config::HiveConfig;
use crate::format::StorageFormat;
use crate::location::Location;
use crate::metastore::{ColumnRecord, SchemaRecord, TableRecord};

pub(crate) const EXTERNAL_LOCATION: &str = "external_location";
pub(crate) const FORMAT: &str = "format";
const LOCATION: &str = "location";

/// Table properties that Trino's Hive connector has and this one cannot do yet.
const UNSUPPORTED_TABLE_PROPERTIES: &[&str] = &[
    "auto_purge",
    "avro_schema_literal",
    "avro_schema_url",
    "bucket_count",
    "bucketed_by",
    "bucketing_version",
    "csv_escape",
    "csv_quote",
    "csv_separator",
    "extra_properties",
    "null_format",
    "orc_bloom_filter_columns",
    "orc_bloom_filter_fpp",
    "parquet_bloom_filter_columns",
    "partition_projection_enabled",
    "partition_projection_ignore",
    "partition_projection_location_template",
    "partitioned_by",
    "regex",
    "regex_case_insensitive",
    "skip_footer_line_count",
    "skip_header_line_count",
    "sorted_by",
    "textfile_field_separator",
    "textfile_field_separator_escape",
    "transactional",
];

/// The record of a schema to be created.
pub(crate) fn schema_record(catalog: &str, schema: &NewSchema) -> Result<SchemaRecord> {
    let creator = schema.creator.map(|query| query.to_string());
    let mut record = SchemaRecord { location: None, creator };
    for (name, value) in &schema.properties {
        if name != LOCATION {
            let text = format!("Catalog '{catalog}' schema property '{name}' does not exist");
            return Err(Error::new(ErrorCode::INVALID_SCHEMA_PROPERTY, text));
        }
        Location::parse(value).map_err(|_| {
            let text = format!("Invalid location URI: {value}");
            Error::new(ErrorCode::INVALID_SCHEMA_PROPERTY, text)
        })?;
        record.location = Some(value.clone());
    }
    Ok(record)
}

/// The record of a table to be created, and where its data lies.
pub(crate) fn table_record(
    catalog: &str,
    config: &HiveConfig,
    table: &NewTable,
) -> Result<(TableRecord, Location)> {
    let mut external_location = None;
    let mut format = config.storage_format;
    for (name, value) in &table.properties {
        match name.as_str() {
            EXTERNAL_LOCATION => external_location = Some(value.as_str()),
            FORMAT => format = storage_format(catalog, value)?,
            unsupported if UNSUPPORTED_TABLE_PROPERTIES.contains(&unsupported) => {
                return Err(Error::not_supported(format!("Table property '{name}' is not supported")));
            }
            _ => {
                let text = format!("Catalog '{catalog}' table property '{name}' does not exist");
                return Err(Error::new(ErrorCode::INVALID_TABLE_PROPERTY, text));
            }
        }
    }
    if format != StorageFormat::Parquet {
        let text = format!("Table format {} is not supported: use format = 'PARQUET'", format.name());
        return Err(Error::not_supported(text));
    }
    let Some(external_location) = external_location else {
        let text = "Only tables over data that exists are supported: external_location must be given";
        return Err(Error::not_supported(text));
    };
    if !config.external_tables {
        return Err(Error::not_supported("Cannot create non-managed Hive table"));
    }
    let location = Location::parse(external_location)?;
    let record = TableRecord {
        columns: column_records(catalog, &table.columns)?,
        format: format.name().to_string(),
        external_location: external_location.to_string(),
        comment: table.comment.clone(),
        creator: table.creator.map(|query| query.to_string()),
    };
    Ok((record, location))
}

fn storage_format(catalog: &str, value: &str) -> Result<StorageFormat> {
    StorageFormat::from_name(value).ok_or_else(|| {
        let text = format!("Unable to set catalog '{catalog}' table property 'format' to ['{value}']");
        Error::new(ErrorCode::INVALID_TABLE_PROPERTY, text)
    })
}

fn column_records(catalog: &str, columns: &[ColumnMetadata]) -> Result<Vec<ColumnRecord>> {
    if columns.is_empty() {
        return Err(Error::new(ErrorCode::TABLE_HAS_NO_COLUMNS, "Table must have at least one column"));
    }
    let mut names = BTreeSet::new();
    let record = |column: &ColumnMetadata| {
        let name = column.name.to_lowercase();
        if !names.insert(name.clone()) {
            let text = format!("Column name '{name}' specified more than once");
            return Err(Error::new(ErrorCode::DUPLICATE_COLUMN_NAME, text));
        }
        // Data that others write cannot be relied upon to have no NULL.
        if !column.nullable {
            let text =
                format!("Catalog '{catalog}' does not support non-null column for column name '{name}'");
            return Err(Error::not_supported(text));
        }
        check_type(&column.column_type)?;
        let column_type = column.column_type.to_string();
        Ok(ColumnRecord { name, column_type, comment: column.comment.clone() })
    };
    columns.iter().map(record).collect()
}

/// Refuses types that Hive does not have.
fn check_type(column_type: &Type) -> Result<()> {
    match column_type {
        Type::Boolean
        | Type::Tinyint
        | Type::Smallint
        | Type::Integer
        | Type::Bigint
        | Type::Real
        | Type::Double
        | Type::Decimal { .. }
        | Type::Varchar { .. }
        | Type::Char { .. }
        | Type::Varbinary
        | Type::Date
        | Type::Timestamp { precision: 0..=9 } => Ok(()),
        Type::Array(element) => check_type(element),
        Type::Map(key, value) => check_type(key).and_then(|()| check_type(value)),
        Type::Row(fields) if fields.iter().all(|field| field.name.is_some()) => {
            fields.iter().try_for_each(|field| check_type(&field.field_type))
        }
        Type::Row(_) => Err(Error::not_supported(format!(
            "Anonymous row type is not supported in Hive. Please give each field a name: {column_type}"
        ))),
        _ => Err(Error::not_supported(format!("Unsupported Hive type: {column_type}"))),
    }
}
