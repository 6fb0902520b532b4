//! `information_schema` of every catalog: what its connector tells, as tables.

use arrow::array::RecordBatch;
use base::{Error, Result};
use connector::{Catalogs, TableHandle, TableMetadata};

use super::rows::{Cell, Column, ColumnKind, record_batch, table_metadata};

/// The name of the schema.
pub const INFORMATION_SCHEMA: &str = "information_schema";

/// How handles of its tables begin; the catalog and the table follow, each after a `NUL`.
const HANDLE_PREFIX: &str = "information_schema\0";

const TABLES: &[(&str, &[Column])] = &[
    (
        "applicable_roles",
        &[
            ("grantee", ColumnKind::Text),
            ("grantee_type", ColumnKind::Text),
            ("role_name", ColumnKind::Text),
            ("is_grantable", ColumnKind::Text),
        ],
    ),
    (
        "columns",
        &[
            ("table_catalog", ColumnKind::Text),
            ("table_schema", ColumnKind::Text),
            ("table_name", ColumnKind::Text),
            ("column_name", ColumnKind::Text),
            ("ordinal_position", ColumnKind::Bigint),
            ("column_default", ColumnKind::Text),
            ("is_nullable", ColumnKind::Text),
            ("data_type", ColumnKind::Text),
            // Trino hides it from `*`; columns cannot be hidden here yet, and clients select it.
            ("comment", ColumnKind::Text),
        ],
    ),
    ("enabled_roles", &[("role_name", ColumnKind::Text)]),
    ("roles", &[("role_name", ColumnKind::Text)]),
    ("schemata", &[("catalog_name", ColumnKind::Text), ("schema_name", ColumnKind::Text)]),
    (
        "table_privileges",
        &[
            ("grantor", ColumnKind::Text),
            ("grantor_type", ColumnKind::Text),
            ("grantee", ColumnKind::Text),
            ("grantee_type", ColumnKind::Text),
            ("table_catalog", ColumnKind::Text),
            ("table_schema", ColumnKind::Text),
            ("table_name", ColumnKind::Text),
            ("privilege_type", ColumnKind::Text),
            ("is_grantable", ColumnKind::Text),
            ("with_hierarchy", ColumnKind::Text),
        ],
    ),
    (
        "tables",
        &[
            ("table_catalog", ColumnKind::Text),
            ("table_schema", ColumnKind::Text),
            ("table_name", ColumnKind::Text),
            ("table_type", ColumnKind::Text),
        ],
    ),
    (
        "views",
        &[
            ("table_catalog", ColumnKind::Text),
            ("table_schema", ColumnKind::Text),
            ("table_name", ColumnKind::Text),
            ("view_definition", ColumnKind::Text),
        ],
    ),
];

/// The names of the tables.
pub fn tables() -> Vec<String> {
    TABLES.iter().map(|(name, _)| (*name).to_string()).collect()
}

/// A table of the schema in a catalog.
pub fn table(catalog: &str, name: &str) -> Option<TableMetadata> {
    let (_, columns) = TABLES.iter().find(|(known, _)| *known == name)?;
    Some(table_metadata(format!("{HANDLE_PREFIX}{catalog}\0{name}"), columns))
}

/// The rows of a table, if the handle is of this schema.
pub async fn rows(catalogs: &Catalogs, handle: &TableHandle) -> Option<Result<RecordBatch>> {
    let handle = std::str::from_utf8(&handle.0).ok()?.strip_prefix(HANDLE_PREFIX)?;
    let (catalog, name) = handle.split_once('\0')?;
    let (_, columns) = TABLES.iter().find(|(known, _)| *known == name)?;
    Some(match rows_of(catalogs, catalog, name).await {
        Ok(rows) => record_batch(columns, rows),
        Err(error) => Err(error),
    })
}

async fn rows_of(catalogs: &Catalogs, catalog: &str, name: &str) -> Result<Vec<Vec<Cell>>> {
    match name {
        "schemata" => {
            let schemas = schemas(catalogs, catalog).await?;
            Ok(schemas.into_iter().map(|schema| vec![catalog.into(), schema.into()]).collect())
        }
        "tables" => table_rows(catalogs, catalog).await,
        "columns" => column_rows(catalogs, catalog).await,
        _ => Ok(Vec::new()),
    }
}

/// The schemas of a catalog with `information_schema`, in order.
pub async fn schemas(catalogs: &Catalogs, catalog: &str) -> Result<Vec<String>> {
    let connector = catalogs.require(catalog)?;
    let mut schemas = connector.schemas().await?;
    schemas.push(INFORMATION_SCHEMA.to_string());
    schemas.sort();
    schemas.dedup();
    Ok(schemas)
}

/// The tables of a schema, in order.
pub async fn schema_tables(catalogs: &Catalogs, catalog: &str, schema: &str) -> Result<Vec<String>> {
    let connector = catalogs.require(catalog)?;
    let mut names = match schema {
        INFORMATION_SCHEMA => tables(),
        _ => connector.tables(schema).await?,
    };
    names.sort();
    Ok(names)
}

async fn table_rows(catalogs: &Catalogs, catalog: &str) -> Result<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    for schema in schemas(catalogs, catalog).await? {
        for name in schema_tables(catalogs, catalog, &schema).await? {
            rows.push(vec![catalog.into(), schema.clone().into(), name.into(), "BASE TABLE".into()]);
        }
    }
    Ok(rows)
}

async fn column_rows(catalogs: &Catalogs, catalog: &str) -> Result<Vec<Vec<Cell>>> {
    let connector = catalogs.require(catalog)?;
    let mut rows = Vec::new();
    for schema in schemas(catalogs, catalog).await? {
        for name in schema_tables(catalogs, catalog, &schema).await? {
            let metadata = match schema.as_str() {
                INFORMATION_SCHEMA => table(catalog, &name),
                _ => connector.table(&schema, &name).await?,
            };
            // A table may be dropped between listing and looking.
            let Some(metadata) = metadata else { continue };
            for (at, column) in metadata.columns.iter().enumerate() {
                let position = i64::try_from(at + 1)
                    .map_err(|_| Error::internal("a table has more columns than a bigint can count"))?;
                rows.push(vec![
                    catalog.into(),
                    schema.clone().into(),
                    name.clone().into(),
                    column.name.clone().into(),
                    Cell::Bigint(position),
                    Cell::Null,
                    if column.nullable { "YES" } else { "NO" }.into(),
                    column.column_type.to_string().into(),
                    column.comment.clone().into(),
                ]);
            }
        }
    }
    Ok(rows)
}
