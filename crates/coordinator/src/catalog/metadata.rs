//! Where the analyzer finds tables: the catalogs, and `information_schema` in each.

use std::sync::Arc;

use async_trait::async_trait;
use base::{ErrorCode, Result};
use connector::{Catalogs, TableStatistics};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use operators::ConnectorTable;
use sql::{CatalogMetadata, Metadata, ResolvedTable, SchemaName, TableName, TableSources};

use super::SYSTEM_CATALOG;
use super::information_schema::{self, INFORMATION_SCHEMA};

/// Where the analyzer finds tables.
#[derive(Clone, Debug)]
pub struct CoordinatorMetadata {
    catalogs: Arc<Catalogs>,
}

impl CoordinatorMetadata {
    /// The tables of these catalogs; the catalog `system` is one of them.
    pub fn new(catalogs: Arc<Catalogs>) -> Self {
        CoordinatorMetadata { catalogs }
    }

    /// The schemas of a catalog, in order.
    pub async fn schemas(&self, catalog: &str) -> Result<Vec<String>> {
        information_schema::schemas(&self.catalogs, catalog).await
    }

    /// The tables of a schema, in order.
    pub async fn tables(&self, schema: &SchemaName) -> Result<Vec<String>> {
        information_schema::schema_tables(&self.catalogs, &schema.catalog, &schema.schema).await
    }
}

#[async_trait]
impl Metadata for CoordinatorMetadata {
    fn catalog_exists(&self, catalog: &str) -> bool {
        self.catalogs.get(catalog).is_some()
    }

    async fn schema_exists(&self, schema: &SchemaName) -> Result<bool> {
        if schema.schema == INFORMATION_SCHEMA {
            return Ok(self.catalog_exists(&schema.catalog));
        }
        CatalogMetadata(Arc::clone(&self.catalogs)).schema_exists(schema).await
    }

    async fn table(&self, name: &TableName) -> Result<Option<ResolvedTable>> {
        if name.schema != INFORMATION_SCHEMA {
            return CatalogMetadata(Arc::clone(&self.catalogs)).table(name).await;
        }
        if !self.catalog_exists(&name.catalog) {
            return Ok(None);
        }
        let Some(metadata) = information_schema::table(&name.catalog, &name.table) else {
            return Ok(None);
        };
        let connector = Arc::clone(self.catalogs.require(SYSTEM_CATALOG)?);
        let statistics = TableStatistics::default();
        Ok(Some(ResolvedTable { name: name.clone(), connector, metadata, statistics }))
    }
}

impl TableSources for CoordinatorMetadata {
    fn table_source(&self, table: &ResolvedTable) -> Arc<dyn TableSource> {
        // The rows of `information_schema` are read through the catalog `system`, whatever catalog they describe.
        let scan_catalog = match table.name.schema.as_str() {
            INFORMATION_SCHEMA => SYSTEM_CATALOG,
            _ => &table.name.catalog,
        };
        let provider = ConnectorTable::new(
            scan_catalog,
            format!("{}.{}", table.name.schema, table.name.table),
            Arc::clone(&table.connector),
            table.metadata.clone(),
            &table.statistics,
        );
        provider_as_source(Arc::new(provider))
    }
}

/// The error that there is no such catalog.
pub fn catalog_not_found(catalog: &str) -> base::Error {
    base::Error::new(ErrorCode::CATALOG_NOT_FOUND, format!("Catalog '{catalog}' not found"))
}
