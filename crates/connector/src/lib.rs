//! What a catalog must offer: metadata, statistics, splits and scans.
//!
//! The coordinator asks a [`Connector`] for metadata and splits; a worker asks it to read one split. The handles
//! that travel between the two are bytes that only the connector understands.

#![forbid(unsafe_code)]

mod catalogs;
pub mod error;
mod metadata;
mod property;
mod scan;
pub mod snapshot;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use base::{Error, ErrorCode, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::stream::BoxStream;

pub use catalogs::Catalogs;
pub use metadata::{
    ColumnMetadata, ColumnStatistics, Identity, NewSchema, NewTable, TableHandle, TableMetadata,
    TableStatistics,
};
pub use property::{CONNECTOR_NAME, Properties, PropertyDefinition, nearest_name};
pub use scan::{Scan, Split, SplitOptions};

/// A catalog's data source. One instance per catalog and process; coordinator and workers each have one.
#[async_trait]
pub trait Connector: Debug + Send + Sync {
    /// The schemas, in any order, without `information_schema`.
    async fn schemas(&self) -> Result<Vec<String>>;

    /// Whether a schema exists. Schemas that are not listed may exist.
    async fn schema_exists(&self, schema: &str) -> Result<bool> {
        Ok(self.schemas().await?.iter().any(|name| name == schema))
    }

    /// The tables of a schema, in any order. Empty if there is no such schema.
    async fn tables(&self, schema: &str) -> Result<Vec<String>>;

    /// A table, if it exists.
    async fn table(&self, schema: &str, table: &str) -> Result<Option<TableMetadata>>;

    /// What is known of the size and values of a table.
    async fn statistics(&self, _table: &TableHandle) -> Result<TableStatistics> {
        Ok(TableStatistics::default())
    }

    /// Whether the splits of a table can be read by tasks in parallel. If not, one task reads all.
    fn is_parallel(&self, _table: &TableHandle) -> bool {
        true
    }

    /// The splits of a scan, in batches. Called once per scan and query; a retry reads the same splits again.
    async fn splits(
        &self,
        scan: &Scan,
        options: &SplitOptions,
    ) -> Result<BoxStream<'static, Result<Vec<Split>>>>;

    /// Reads a split: the columns of the scan, in its order, every batch with exactly the scan's schema. May leave
    /// out rows that the scan's predicate rejects, and rows beyond its limit; need not. Errors inside the stream
    /// keep their code: see [`error::into_datafusion`].
    fn open(
        &self,
        scan: &Scan,
        split: &Split,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;

    /// Creates a schema. If there is one that the same statement created, a coordinator died before it could tell:
    /// that is no error. Fails with `SCHEMA_ALREADY_EXISTS` if there is another.
    async fn create_schema(&self, _schema: NewSchema) -> Result<()> {
        Err(not_supported("creating schemas"))
    }

    /// Drops an empty schema, if it is that one. None: whichever there is. Fails with `SCHEMA_NOT_FOUND` if it is not
    /// there.
    async fn drop_schema(&self, _schema: &str, _identity: Option<&Identity>) -> Result<()> {
        Err(not_supported("dropping schemas"))
    }

    /// Creates a table. If there is one that the same statement created, a coordinator died before it could tell:
    /// that is no error. Fails with `TABLE_ALREADY_EXISTS` if there is another, unless it is to be kept.
    async fn create_table(&self, _table: NewTable) -> Result<()> {
        Err(not_supported("creating tables"))
    }

    /// Drops a table, if it is that one. None: whichever there is. Fails with `TABLE_NOT_FOUND` if it is not there.
    async fn drop_table(&self, _schema: &str, _table: &str, _identity: Option<&Identity>) -> Result<()> {
        Err(not_supported("dropping tables"))
    }

    /// What tells a schema, or one of its tables, from all others that had or will have its name. None if it does not
    /// exist, or if nothing does.
    async fn identity(&self, _schema: &str, _table: Option<&str>) -> Result<Option<Identity>> {
        Ok(None)
    }
}

fn not_supported(what: &str) -> Error {
    Error::new(ErrorCode::NOT_SUPPORTED, format!("This connector does not support {what}"))
}
