//! Where the analyzer finds tables.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base::Result;
use connector::{Catalogs, Connector, TableMetadata, TableStatistics};
use datafusion::logical_expr::TableSource;

use crate::{SchemaName, TableName};

/// A table with all that planning needs of it.
#[derive(Clone)]
pub struct ResolvedTable {
    /// Its full name.
    pub name: TableName,
    /// What reads it.
    pub connector: Arc<dyn Connector>,
    /// Its columns and properties.
    pub metadata: TableMetadata,
    /// What is known of its size and values.
    pub statistics: TableStatistics,
}

impl fmt::Debug for ResolvedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedTable").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What exists.
#[async_trait]
pub trait Metadata: Send + Sync {
    /// Whether there is a catalog of that name.
    fn catalog_exists(&self, catalog: &str) -> bool;

    /// Whether there is a schema of that name in a catalog that exists.
    async fn schema_exists(&self, schema: &SchemaName) -> Result<bool>;

    /// The table of that name. None if it, its schema or its catalog does not exist.
    async fn table(&self, name: &TableName) -> Result<Option<ResolvedTable>>;
}

/// Makes what a logical plan holds of a table.
pub trait TableSources: Send + Sync {
    /// The plan's source of a table.
    fn table_source(&self, table: &ResolvedTable) -> Arc<dyn TableSource>;
}

/// The tables of the catalogs, and nothing else: no `information_schema`.
#[derive(Clone, Debug)]
pub struct CatalogMetadata(pub Arc<Catalogs>);

#[async_trait]
impl Metadata for CatalogMetadata {
    fn catalog_exists(&self, catalog: &str) -> bool {
        self.0.get(catalog).is_some()
    }

    async fn schema_exists(&self, schema: &SchemaName) -> Result<bool> {
        match self.0.get(&schema.catalog) {
            Some(connector) => connector.schema_exists(&schema.schema).await,
            None => Ok(false),
        }
    }

    async fn table(&self, name: &TableName) -> Result<Option<ResolvedTable>> {
        let Some(connector) = self.0.get(&name.catalog) else {
            return Ok(None);
        };
        let Some(metadata) = connector.table(&name.schema, &name.table).await? else {
            return Ok(None);
        };
        let statistics = connector.statistics(&metadata.handle).await?;
        Ok(Some(ResolvedTable { name: name.clone(), connector: Arc::clone(connector), metadata, statistics }))
    }
}
