//! `SHOW …` and `DESCRIBE`.

use std::sync::Arc;

use base::{Error, ErrorCode, ErrorLocation, Result};
use config::SessionPropertyTable;
use connector::TableMetadata;
use sql::{Like, LikePattern, Metadata, QualifiedName, SchemaName, TableName};

use super::{StatementContext, StatementResult};
use crate::catalog::catalog_not_found;
use crate::catalog::rows::{Cell, ColumnKind};
use crate::services::Services;

/// The names that a `LIKE` wants; all if there is none.
struct Filter(Option<LikePattern>);

impl Filter {
    fn new(like: Option<&Like>) -> Result<Self> {
        like.map(Like::matcher).transpose().map(Filter)
    }

    fn wants(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|pattern| pattern.matches(name))
    }
}

fn names(column: &'static str, names: Vec<String>, filter: &Filter) -> Result<StatementResult> {
    let rows = names.into_iter().filter(|name| filter.wants(name)).map(|name| vec![name.into()]).collect();
    StatementResult::table(&[(column, ColumnKind::Text)], rows)
}

/// `SHOW CATALOGS`
pub fn catalogs(services: &Services, like: Option<&Like>) -> Result<StatementResult> {
    names("Catalog", services.catalogs.names().map(str::to_string).collect(), &Filter::new(like)?)
}

/// `SHOW SCHEMAS`
pub async fn schemas(
    services: &Arc<Services>,
    context: &StatementContext,
    catalog: Option<&str>,
    like: Option<&Like>,
    location: ErrorLocation,
) -> Result<StatementResult> {
    let catalog = catalog.or(context.session.catalog.as_deref()).ok_or_else(|| {
        let text = "Catalog must be specified when session catalog is not set";
        Error::new(ErrorCode::MISSING_CATALOG_NAME, text).at(location)
    })?;
    if !services.metadata.catalog_exists(catalog) {
        return Err(catalog_not_found(catalog).at(location));
    }
    names("Schema", services.metadata.schemas(catalog).await?, &Filter::new(like)?)
}

/// `SHOW TABLES`
pub async fn tables(
    services: &Arc<Services>,
    context: &StatementContext,
    schema: Option<&QualifiedName>,
    like: Option<&Like>,
    location: ErrorLocation,
) -> Result<StatementResult> {
    let schema = SchemaName::resolve(schema, &context.session, location)?;
    if !services.metadata.catalog_exists(&schema.catalog) {
        return Err(catalog_not_found(&schema.catalog).at(location));
    }
    if !services.metadata.schema_exists(&schema).await? {
        let text = format!("Schema '{}' does not exist", schema.schema);
        return Err(Error::new(ErrorCode::SCHEMA_NOT_FOUND, text).at(location));
    }
    names("Table", services.metadata.tables(&schema).await?, &Filter::new(like)?)
}

/// The table of a statement that starts there.
async fn find_table(
    services: &Services,
    context: &StatementContext,
    name: &QualifiedName,
    location: ErrorLocation,
) -> Result<(TableName, TableMetadata)> {
    let full = TableName::resolve(name, &context.session, location)?;
    if !services.metadata.catalog_exists(&full.catalog) {
        return Err(catalog_not_found(&full.catalog).at(location));
    }
    let schema = SchemaName { catalog: full.catalog.clone(), schema: full.schema.clone() };
    if !services.metadata.schema_exists(&schema).await? {
        let text = format!("Schema '{}' does not exist", full.schema);
        return Err(Error::new(ErrorCode::SCHEMA_NOT_FOUND, text).at(location));
    }
    match services.metadata.table(&full).await? {
        Some(table) => Ok((full, table.metadata)),
        None => {
            let text = format!("Table '{full}' does not exist");
            Err(Error::new(ErrorCode::TABLE_NOT_FOUND, text).at(location))
        }
    }
}

/// `SHOW COLUMNS`, `DESCRIBE`
pub async fn columns(
    services: &Arc<Services>,
    context: &StatementContext,
    table: &QualifiedName,
    like: Option<&Like>,
    location: ErrorLocation,
) -> Result<StatementResult> {
    let (_, metadata) = find_table(services, context, table, location).await?;
    let filter = Filter::new(like)?;
    let rows = metadata
        .columns
        .into_iter()
        .filter(|column| filter.wants(&column.name))
        .map(|column| {
            let comment = column.comment.unwrap_or_default();
            vec![column.name.into(), column.column_type.to_string().into(), "".into(), comment.into()]
        })
        .collect();
    StatementResult::table(
        &[
            ("Column", ColumnKind::Text),
            ("Type", ColumnKind::Text),
            ("Extra", ColumnKind::Text),
            ("Comment", ColumnKind::Text),
        ],
        rows,
    )
}

/// `SHOW SESSION`
pub fn session(
    services: &Services,
    context: &StatementContext,
    like: Option<&Like>,
) -> Result<StatementResult> {
    let filter = Filter::new(like)?;
    let rows = SessionPropertyTable::new(&services.config)
        .rows(&context.client.system_properties)
        .into_iter()
        .filter(|property| filter.wants(&property.name))
        .map(|property| {
            vec![
                property.name.into(),
                property.value.into(),
                property.default.into(),
                property.type_name.into(),
                property.description.into(),
            ]
        })
        .collect();
    StatementResult::table(
        &[
            ("Name", ColumnKind::Text),
            ("Value", ColumnKind::Text),
            ("Default", ColumnKind::Text),
            ("Type", ColumnKind::Text),
            ("Description", ColumnKind::Text),
        ],
        rows,
    )
}

/// `SHOW FUNCTIONS`
pub fn functions(services: &Services, like: Option<&Like>) -> Result<StatementResult> {
    let filter = Filter::new(like)?;
    let rows = services
        .analyzer
        .functions()
        .list()
        .into_iter()
        .filter(|function| filter.wants(&function.name))
        .map(|function| {
            vec![
                function.name.into(),
                function.return_type.into(),
                function.argument_types.into(),
                function.kind.as_str().into(),
                Cell::Boolean(function.deterministic),
                function.description.into(),
            ]
        })
        .collect();
    StatementResult::table(
        &[
            ("Function", ColumnKind::Text),
            ("Return Type", ColumnKind::Text),
            ("Argument Types", ColumnKind::Text),
            ("Function Type", ColumnKind::Text),
            ("Deterministic", ColumnKind::Boolean),
            ("Description", ColumnKind::Text),
        ],
        rows,
    )
}

/// `SHOW CREATE TABLE`
pub async fn create_table(
    services: &Arc<Services>,
    context: &StatementContext,
    table: &QualifiedName,
    location: ErrorLocation,
) -> Result<StatementResult> {
    let (name, metadata) = find_table(services, context, table, location).await?;
    StatementResult::text("Create Table", sql::format_create_table(&name, &metadata))
}

/// `SHOW CREATE SCHEMA`
pub async fn create_schema(
    services: &Arc<Services>,
    context: &StatementContext,
    schema: &QualifiedName,
) -> Result<StatementResult> {
    let name = SchemaName::resolve(Some(schema), &context.session, schema.location)?;
    if !services.metadata.schema_exists(&name).await? {
        let text = format!("Schema '{name}' does not exist");
        return Err(Error::new(ErrorCode::SCHEMA_NOT_FOUND, text).at(schema.location));
    }
    StatementResult::text("Create Schema", sql::format_create_schema(&name, &[]))
}
