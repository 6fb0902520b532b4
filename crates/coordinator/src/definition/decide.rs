//! What a `CREATE` or `DROP` is to change, seen from what there is.

use std::sync::Arc;

use base::{Error, ErrorCode, ErrorLocation, QueryId, Result};
use connector::{ColumnMetadata, Connector, NewSchema, NewTable};
use sql::{ColumnDefinition, Metadata, Property, SchemaName, Statement, TableName};

use super::Change;
use crate::catalog::catalog_not_found;
use crate::services::Services;
use crate::statement::StatementContext;

/// Whether a statement changes what there is, so that running it again would not do the same.
pub fn is_definition(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreateSchema { .. }
            | Statement::DropSchema { .. }
            | Statement::CreateTable { .. }
            | Statement::DropTable { .. }
    )
}

/// What a statement changes. None: nothing, it is as the statement wants it.
///
/// # Errors
/// If what there is forbids it.
pub async fn decide(
    services: &Services,
    context: &StatementContext,
    creator: QueryId,
    statement: &Statement,
) -> Result<Option<Change>> {
    match statement {
        Statement::CreateSchema { schema, if_not_exists, properties, location } => {
            let name = SchemaName::resolve(Some(schema), &context.session, *location)?;
            require(services, &name.catalog, *location)?;
            if services.metadata.schema_exists(&name).await? {
                if *if_not_exists {
                    return Ok(None);
                }
                let text = format!("Schema '{name}' already exists");
                return Err(Error::new(ErrorCode::SCHEMA_ALREADY_EXISTS, text).at(*location));
            }
            let properties = evaluate(services, context, properties)?;
            let schema = NewSchema { name: name.schema, properties, creator: Some(creator) };
            let if_not_exists = *if_not_exists;
            Ok(Some(Change::CreateSchema { catalog: name.catalog, schema, if_not_exists }))
        }
        Statement::DropSchema { schema, if_exists, cascade, location } => {
            let name = SchemaName::resolve(Some(schema), &context.session, *location)?;
            let connector = services.catalogs.get(&name.catalog);
            let exists = connector.is_some() && services.metadata.schema_exists(&name).await?;
            let Some(connector) = connector.filter(|_| exists) else {
                if *if_exists {
                    return Ok(None);
                }
                let text = format!("Schema '{name}' does not exist");
                return Err(Error::new(ErrorCode::SCHEMA_NOT_FOUND, text).at(*location));
            };
            let identity = connector.identity(&name.schema, None).await?;
            let mut tables = Vec::new();
            if *cascade {
                for table in connector.tables(&name.schema).await? {
                    let identity = connector.identity(&name.schema, Some(&table)).await?;
                    tables.push((table, identity));
                }
            }
            let SchemaName { catalog, schema } = name;
            Ok(Some(Change::DropSchema { catalog, schema, identity, tables, if_exists: *if_exists }))
        }
        Statement::CreateTable { table, if_not_exists, columns, comment, properties, location } => {
            let name = TableName::resolve(table, &context.session, *location)?;
            let connector = require(services, &name.catalog, *location)?;
            if connector.table(&name.schema, &name.table).await?.is_some() {
                if *if_not_exists {
                    return Ok(None);
                }
                let text = format!("Table '{name}' already exists");
                return Err(Error::new(ErrorCode::TABLE_ALREADY_EXISTS, text).at(*location));
            }
            let schema = SchemaName { catalog: name.catalog.clone(), schema: name.schema.clone() };
            if !services.metadata.schema_exists(&schema).await? {
                let text = format!("Schema '{}' does not exist", schema.schema);
                return Err(Error::new(ErrorCode::SCHEMA_NOT_FOUND, text).at(*location));
            }
            let table = NewTable {
                schema: name.schema,
                name: name.table,
                columns: distinct(columns)?,
                comment: comment.clone(),
                properties: evaluate(services, context, properties)?,
                if_not_exists: *if_not_exists,
                creator: Some(creator),
            };
            Ok(Some(Change::CreateTable { catalog: name.catalog, table }))
        }
        Statement::DropTable { table, if_exists, location } => {
            let TableName { catalog, schema, table } =
                TableName::resolve(table, &context.session, *location)?;
            let connector = services.catalogs.get(&catalog);
            if let Some(connector) = connector
                && connector.table(&schema, &table).await?.is_some()
            {
                let identity = connector.identity(&schema, Some(&table)).await?;
                let if_exists = *if_exists;
                return Ok(Some(Change::DropTable { catalog, schema, table, identity, if_exists }));
            }
            if *if_exists {
                return Ok(None);
            }
            let text = format!("Table '{catalog}.{schema}.{table}' does not exist");
            Err(Error::new(ErrorCode::TABLE_NOT_FOUND, text).at(*location))
        }
        _ => Err(Error::internal("the statement defines nothing")),
    }
}

fn require<'a>(
    services: &'a Services,
    catalog: &str,
    location: ErrorLocation,
) -> Result<&'a Arc<dyn Connector>> {
    services.catalogs.get(catalog).ok_or_else(|| catalog_not_found(catalog).at(location))
}

/// The columns of a table. Fails if two have the same name.
fn distinct(columns: &[ColumnDefinition]) -> Result<Vec<ColumnMetadata>> {
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].iter().any(|earlier| earlier.name == column.name) {
            let text = format!("Column name '{}' specified more than once", column.name);
            return Err(Error::new(ErrorCode::DUPLICATE_COLUMN_NAME, text).at(column.location));
        }
    }
    let column = |column: &ColumnDefinition| ColumnMetadata {
        name: column.name.clone(),
        column_type: column.column_type.clone(),
        nullable: column.nullable,
        comment: column.comment.clone(),
    };
    Ok(columns.iter().map(column).collect())
}

/// The properties of `WITH (…)` as texts; those that are `DEFAULT` or NULL are left out.
fn evaluate(
    services: &Services,
    context: &StatementContext,
    properties: &[Property],
) -> Result<Vec<(String, String)>> {
    let mut evaluated: Vec<(String, String)> = Vec::new();
    for property in properties {
        if evaluated.iter().any(|(name, _)| *name == property.name) {
            let text = format!("Duplicate property: {}", property.name);
            return Err(Error::new(ErrorCode::DUPLICATE_PROPERTY, text).at(property.location));
        }
        let Some(value) = &property.value else { continue };
        if let Some(value) = value.evaluate(services.analyzer.functions(), &context.session)? {
            evaluated.push((property.name.clone(), value));
        }
    }
    Ok(evaluated)
}
