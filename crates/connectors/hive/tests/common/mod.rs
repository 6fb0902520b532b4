//! What the tests share: a catalog in a temporary directory, and Parquet files to read with it.

#![allow(dead_code, reason = "not every test file uses everything")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use base::Result;
use connector::error::from_datafusion;
use connector::{ColumnMetadata, Connector, NewSchema, NewTable, Scan, Split, SplitOptions, TableMetadata};
use datafusion::execution::TaskContext;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

/// A hive catalog with one schema, `s`, in a directory that goes with it.
pub struct Fixture {
    directory: TempDir,
    pub catalog: Arc<dyn Connector>,
}

pub fn new_schema(name: &str, properties: &[(&str, &str)]) -> NewSchema {
    let property = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    NewSchema { name: name.to_string(), properties: properties.iter().map(property).collect(), creator: None }
}

impl Fixture {
    pub async fn new() -> Self {
        Fixture::with(&[]).await
    }

    pub async fn with(properties: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let metastore = directory.path().join("metastore").to_str().unwrap().to_string();
        let mut all: BTreeMap<String, String> =
            properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        all.insert("hive.metastore".to_string(), "file".to_string());
        all.insert("hive.metastore.catalog.dir".to_string(), format!("file://{metastore}"));
        let catalog = connector_hive::create("hive", &all).unwrap();
        catalog.create_schema(new_schema("s", &[])).await.unwrap();
        Fixture { directory, catalog }
    }

    /// The directory of a table's files, made if it is not there.
    pub fn data(&self, table: &str) -> PathBuf {
        let path = self.directory.path().join("data").join(table);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Creates a table over its directory.
    pub async fn table(&self, name: &str, columns: &[(&str, &str)]) -> TableMetadata {
        self.catalog.create_table(self.new_table(name, columns)).await.unwrap();
        self.catalog.table("s", name).await.unwrap().unwrap()
    }

    pub fn new_table(&self, name: &str, columns: &[(&str, &str)]) -> NewTable {
        let column = |(name, column_type): &(&str, &str)| ColumnMetadata {
            name: name.to_string(),
            column_type: column_type.parse().unwrap(),
            nullable: true,
            comment: None,
        };
        let location = self.data(name).to_str().unwrap().to_string();
        NewTable {
            schema: "s".to_string(),
            name: name.to_string(),
            columns: columns.iter().map(column).collect(),
            comment: None,
            properties: vec![
                ("external_location".to_string(), location),
                ("format".to_string(), "PARQUET".to_string()),
            ],
            if_not_exists: false,
            creator: None,
        }
    }

    pub async fn splits(&self, scan: &Scan, target_size_bytes: u64) -> Vec<Split> {
        let options = SplitOptions { target_size_bytes, node_count: 2, slot_count: 4 };
        let splits = self.catalog.splits(scan, &options).await.unwrap();
        splits.try_collect::<Vec<_>>().await.unwrap().concat()
    }

    pub async fn read(&self, scan: &Scan, split: &Split) -> Result<Vec<RecordBatch>> {
        let stream = self.catalog.open(scan, split, Arc::new(TaskContext::default()))?;
        assert_eq!(stream.schema(), scan.schema);
        let batches = stream.try_collect::<Vec<RecordBatch>>().await;
        let batches = batches.map_err(|error| from_datafusion(&error))?;
        for batch in &batches {
            assert_eq!(batch.schema(), scan.schema);
        }
        Ok(batches)
    }

    /// All rows of a scan, split by split.
    pub async fn read_all(&self, scan: &Scan, target_size_bytes: u64) -> Result<RecordBatch> {
        let mut batches = Vec::new();
        for split in self.splits(scan, target_size_bytes).await {
            batches.extend(self.read(scan, &split).await?);
        }
        Ok(concat_batches(&scan.schema, &batches).unwrap())
    }
}

/// A scan of all columns.
pub fn scan(table: &TableMetadata) -> Scan {
    Scan { table: table.handle.clone(), schema: table.arrow_schema(), predicate: None, limit: None }
}

/// A batch of named columns.
pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, values)| (name, values, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Writes a Parquet file with row groups of so many rows.
pub fn write(path: &Path, batches: &[RecordBatch], row_group_rows: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(row_group_rows)).build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
}
