//! The hive catalog: Parquet tables under a file metastore.
//!
//! The metastore is a directory of small files. Tables are directories of Parquet files that others write; a split
//! is a range of a file that holds whole row groups.

#![forbid(unsafe_code)]

mod adapter;
mod config;
mod ddl;
mod error;
mod footer;
mod footer_statistics;
mod format;
mod listing;
mod location;
mod metastore;
mod prune;
mod reader;
mod scan;
mod split;
mod statistics;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use base::{Error, ErrorCode, Result};
use bytes::Bytes;
use connector::{
    ColumnMetadata, Connector, Identity, NewSchema, NewTable, Scan, Split, SplitOptions, TableHandle,
    TableMetadata, TableStatistics,
};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::{ObjectMeta, ObjectStore};
use serde::{Deserialize, Serialize};
use types::Type;

use config::HiveConfig;
pub use config::PROPERTIES;
use footer::{FOOTER_CONCURRENCY, Footers};
use footer_statistics::FooterStatistics;
use location::Location;
use metastore::{ColumnRecord, DroppedSchema, FileMetastore, TableRecord};
use prune::Pruner;
use split::FileSplit;

/// Makes the connector of a catalog from its properties.
pub fn create(catalog: &str, properties: &BTreeMap<String, String>) -> Result<Arc<dyn Connector>> {
    let config = HiveConfig::read(catalog, properties)?;
    let metastore = Arc::new(FileMetastore::new(config.catalog_dir.clone()));
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
    let footers = Arc::new(Footers::new(store));
    Ok(Arc::new(HiveConnector { catalog: catalog.to_string(), config, metastore, footers }))
}

#[derive(Debug)]
struct HiveConnector {
    catalog: String,
    config: HiveConfig,
    metastore: Arc<FileMetastore>,
    footers: Arc<Footers>,
}

/// A table as it was when a query asked for it.
#[derive(Debug, Serialize, Deserialize)]
struct HiveHandle {
    location: String,
    columns: Vec<ColumnRecord>,
}

impl HiveHandle {
    fn encode(&self) -> Result<TableHandle> {
        let bytes = serde_json::to_vec(self)
            .map_err(|cause| Error::internal("a table handle cannot be written").caused_by(cause))?;
        Ok(TableHandle(Bytes::from(bytes)))
    }

    fn decode(handle: &TableHandle) -> Result<Self> {
        serde_json::from_slice(&handle.0)
            .map_err(|cause| Error::internal("not a handle of the hive connector").caused_by(cause))
    }
}

impl HiveConnector {
    /// Asks the metastore, away from the threads that must not wait.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&FileMetastore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let metastore = Arc::clone(&self.metastore);
        let answer = tokio::task::spawn_blocking(move || question(&metastore)).await;
        answer.unwrap_or_else(|cause| Err(Error::internal("a metastore call was abandoned").caused_by(cause)))
    }

    async fn require_schema(&self, schema: &str) -> Result<()> {
        if self.schema_exists(schema).await? {
            return Ok(());
        }
        Err(self.schema_not_found(schema))
    }

    fn schema_not_found(&self, schema: &str) -> Error {
        let text = format!("Schema '{}.{schema}' does not exist", self.catalog);
        Error::new(ErrorCode::SCHEMA_NOT_FOUND, text)
    }

    async fn files(&self, handle: &HiveHandle) -> Result<Vec<ObjectMeta>> {
        let location = Location::parse(&handle.location)?;
        listing::files(self.footers.store(), &location, self.config.recursive_directories).await
    }

    fn metadata(&self, record: TableRecord) -> Result<TableMetadata> {
        let handle = HiveHandle { location: record.external_location, columns: record.columns };
        Ok(TableMetadata {
            handle: handle.encode()?,
            columns: columns(&handle.columns)?,
            comment: record.comment,
            properties: vec![
                (ddl::EXTERNAL_LOCATION.to_string(), literal(&handle.location)),
                (ddl::FORMAT.to_string(), literal(&record.format)),
            ],
        })
    }
}

/// A text as a SQL literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn columns(records: &[ColumnRecord]) -> Result<Vec<ColumnMetadata>> {
    let column = |record: &ColumnRecord| {
        let column_type: Type = record.column_type.parse().map_err(|cause| {
            let text = format!("Column '{}' has an unknown type: {}", record.name, record.column_type);
            Error::new(ErrorCode::HIVE_METASTORE_ERROR, text).caused_by(cause)
        })?;
        Ok(ColumnMetadata {
            name: record.name.clone(),
            column_type,
            nullable: true,
            comment: record.comment.clone(),
        })
    };
    records.iter().map(column).collect()
}

/// The splits of one file. Its footer is read only if it may matter.
async fn file_splits(
    footers: Arc<Footers>,
    pruner: Option<Pruner>,
    target_bytes: u64,
    file: ObjectMeta,
) -> Result<Vec<Split>> {
    if pruner.is_none() && file.size <= target_bytes {
        return Ok(vec![FileSplit::whole(&file).encode(file.size)?]);
    }
    let footer = footers.of(&file).await?;
    let wanted = match pruner {
        Some(pruner) => {
            pruner.keep(&FooterStatistics::new(&format!("/{}", file.location), Arc::clone(&footer))?)
        }
        None => vec![true; footer.num_row_groups()],
    };
    split::of_row_groups(&file, footer.row_groups(), &wanted, target_bytes)
}

#[async_trait]
impl Connector for HiveConnector {
    async fn schemas(&self) -> Result<Vec<String>> {
        self.ask(FileMetastore::schemas).await
    }

    async fn schema_exists(&self, schema: &str) -> Result<bool> {
        let schema = schema.to_string();
        self.ask(move |metastore| Ok(metastore.schema(&schema)?.is_some())).await
    }

    async fn tables(&self, schema: &str) -> Result<Vec<String>> {
        let schema = schema.to_string();
        self.ask(move |metastore| Ok(metastore.tables(&schema)?.unwrap_or_default())).await
    }

    async fn table(&self, schema: &str, table: &str) -> Result<Option<TableMetadata>> {
        let (schema, table) = (schema.to_string(), table.to_string());
        let record = self.ask(move |metastore| metastore.table(&schema, &table)).await?;
        record.map(|record| self.metadata(record)).transpose()
    }

    async fn statistics(&self, table: &TableHandle) -> Result<TableStatistics> {
        if !self.config.table_statistics {
            return Ok(TableStatistics::default());
        }
        let handle = HiveHandle::decode(table)?;
        let files = self.files(&handle).await?;
        let table = TableMetadata {
            handle: table.clone(),
            columns: columns(&handle.columns)?,
            comment: None,
            properties: Vec::new(),
        };
        statistics::of_files(&self.footers, &files, &table.arrow_schema()).await
    }

    async fn splits(
        &self,
        scan: &Scan,
        options: &SplitOptions,
    ) -> Result<BoxStream<'static, Result<Vec<Split>>>> {
        let files = self.files(&HiveHandle::decode(&scan.table)?).await?;
        let pruner = Pruner::of(scan);
        let footers = Arc::clone(&self.footers);
        let target_bytes = options.target_size_bytes.max(1);
        let splits = stream::iter(files)
            .map(move |file| file_splits(Arc::clone(&footers), pruner.clone(), target_bytes, file))
            .buffered(FOOTER_CONCURRENCY)
            .try_filter(|splits| std::future::ready(!splits.is_empty()));
        Ok(splits.boxed())
    }

    fn open(
        &self,
        scan: &Scan,
        split: &Split,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        scan::open(&self.footers, scan, split, context)
    }

    async fn create_schema(&self, schema: NewSchema) -> Result<()> {
        let record = ddl::schema_record(&self.catalog, &schema)?;
        let name = schema.name.clone();
        if self.ask(move |metastore| metastore.create_schema(&name, &record)).await? {
            return Ok(());
        }
        let text = format!("Schema '{}.{}' already exists", self.catalog, schema.name);
        Err(Error::new(ErrorCode::SCHEMA_ALREADY_EXISTS, text))
    }

    async fn drop_schema(&self, schema: &str, identity: Option<&Identity>) -> Result<()> {
        let (name, creator) = (schema.to_string(), identity.map(|identity| identity.0.clone()));
        match self.ask(move |metastore| metastore.drop_schema(&name, creator.as_deref())).await? {
            DroppedSchema::Dropped => Ok(()),
            DroppedSchema::NotThere => Err(self.schema_not_found(schema)),
            DroppedSchema::NotEmpty => {
                let text = format!("Cannot drop non-empty schema '{schema}'");
                Err(Error::new(ErrorCode::SCHEMA_NOT_EMPTY, text))
            }
        }
    }

    async fn create_table(&self, table: NewTable) -> Result<()> {
        self.require_schema(&table.schema).await?;
        let (record, location) = ddl::table_record(&self.catalog, &self.config, &table)?;
        let (schema, name) = (table.schema.clone(), table.name.clone());
        let exists = self.ask(move |metastore| Ok(metastore.table(&schema, &name)?.is_some())).await?;
        if !exists && self.config.location_checks {
            let metadata = tokio::fs::metadata(location.as_path()).await;
            if !metadata.is_ok_and(|metadata| metadata.is_dir()) {
                let text = format!("External location must be a directory: {location}");
                return Err(Error::new(ErrorCode::INVALID_TABLE_PROPERTY, text));
            }
        }
        let (schema, name) = (table.schema.clone(), table.name.clone());
        if self.ask(move |metastore| metastore.create_table(&schema, &name, &record)).await?
            || table.if_not_exists
        {
            return Ok(());
        }
        let text = format!("Table '{}.{}.{}' already exists", self.catalog, table.schema, table.name);
        Err(Error::new(ErrorCode::TABLE_ALREADY_EXISTS, text))
    }

    async fn drop_table(&self, schema: &str, table: &str, identity: Option<&Identity>) -> Result<()> {
        let (schema_name, name) = (schema.to_string(), table.to_string());
        let creator = identity.map(|identity| identity.0.clone());
        if self.ask(move |metastore| metastore.drop_table(&schema_name, &name, creator.as_deref())).await? {
            return Ok(());
        }
        let text = format!("Table '{}.{schema}.{table}' does not exist", self.catalog);
        Err(Error::new(ErrorCode::TABLE_NOT_FOUND, text))
    }

    async fn identity(&self, schema: &str, table: Option<&str>) -> Result<Option<Identity>> {
        let (schema, table) = (schema.to_string(), table.map(str::to_string));
        let creator = self.ask(move |metastore| {
            Ok(match table {
                Some(table) => metastore.table(&schema, &table)?.and_then(|record| record.creator),
                None => metastore.schema(&schema)?.and_then(|record| record.creator),
            })
        });
        Ok(creator.await?.map(Identity))
    }
}
