//! What is known of tables.

use arrow::datatypes::{Field, Schema, SchemaRef};
use base::QueryId;
use bytes::Bytes;
use std::sync::Arc;
use types::Type;

/// A table as its connector names it, in bytes that only the connector understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableHandle(pub Bytes);

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMetadata {
    /// The name, in lower case.
    pub name: String,
    /// The type.
    pub column_type: Type,
    /// Whether values may be NULL.
    pub nullable: bool,
    /// A comment for people.
    pub comment: Option<String>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMetadata {
    /// The connector's name for it.
    pub handle: TableHandle,
    /// The columns in order.
    pub columns: Vec<ColumnMetadata>,
    /// A comment for people.
    pub comment: Option<String>,
    /// The table's properties as `CREATE TABLE … WITH (…)` would state them: names and SQL literals.
    pub properties: Vec<(String, String)>,
}

impl TableMetadata {
    /// The Arrow schema of the whole table. Fields carry their Trino type as metadata.
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|column| types::arrow_field(&column.name, &column.column_type, column.nullable))
            .collect();
        Arc::new(Schema::new(fields))
    }
}

/// What is known of the size and values of a table. Estimates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableStatistics {
    /// The number of rows.
    pub row_count: Option<u64>,
    /// The size in bytes, uncompressed, of all columns.
    pub total_bytes: Option<u64>,
    /// Per column of the table, in its order; may be shorter.
    pub columns: Vec<ColumnStatistics>,
}

/// What is known of a column. Estimates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnStatistics {
    /// Different values, without NULL.
    pub distinct_count: Option<u64>,
    /// NULL values.
    pub null_count: Option<u64>,
    /// The least value, in the column's Arrow type.
    pub min: Option<datafusion::common::ScalarValue>,
    /// The greatest value, in the column's Arrow type.
    pub max: Option<datafusion::common::ScalarValue>,
}

/// What tells a schema or table from all others that had or will have its name. Only its connector understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(pub String);

/// A schema to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSchema {
    /// Its name.
    pub name: String,
    /// `WITH (…)`: names in lower case and values as text (string literals without their quotes).
    pub properties: Vec<(String, String)>,
    /// The statement that creates it.
    pub creator: Option<QueryId>,
}

/// A table to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<ColumnMetadata>,
    /// `CREATE TABLE … COMMENT '…'`
    pub comment: Option<String>,
    /// `WITH (…)`: names in lower case and values as text (string literals without their quotes).
    pub properties: Vec<(String, String)>,
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// The statement that creates it.
    pub creator: Option<QueryId>,
}
