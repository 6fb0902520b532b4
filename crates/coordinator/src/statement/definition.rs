//! `CREATE` and `DROP` of schemas and tables.

use std::sync::Arc;

use base::{Error, ErrorCode, Result};
use connector::{ColumnMetadata, NewTable};
use protocol::client::SessionUpdate;
use sql::{Metadata, Property, SchemaName, Statement, TableName};

use super::{StatementContext, StatementResult};
use crate::catalog::catalog_not_found;
use crate::services::Services;

/// Creates or drops what the statement says.
pub async fn execute(
    services: &Arc<Services>,
    context: &StatementContext,
    statement: &Statement,
) -> Result<StatementResult> {
    match statement {
        Statement::CreateSchema { schema, if_not_exists, properties, location } => {
            let name = SchemaName::resolve(Some(schema), &context.session, *location)?;
            let connector = services.catalogs.get(&name.catalog);
            let connector = connector.ok_or_else(|| catalog_not_found(&name.catalog).at(*location))?;
            if services.metadata.schema_exists(&name).await? {
                if *if_not_exists {
                    return Ok(StatementResult::update(statement, SessionUpdate::default()));
                }
                let text = format!("Schema '{name}' already exists");
                return Err(Error::new(ErrorCode::SCHEMA_ALREADY_EXISTS, text).at(*location));
            }
            let properties = evaluate(services, context, properties)?;
            connector.create_schema(&name.schema, &properties).await?;
        }
        Statement::DropSchema { schema, if_exists, cascade, location } => {
            let name = SchemaName::resolve(Some(schema), &context.session, *location)?;
            let connector = services.catalogs.get(&name.catalog);
            let exists = connector.is_some() && services.metadata.schema_exists(&name).await?;
            let Some(connector) = connector.filter(|_| exists) else {
                if *if_exists {
                    return Ok(StatementResult::update(statement, SessionUpdate::default()));
                }
                let text = format!("Schema '{name}' does not exist");
                return Err(Error::new(ErrorCode::SCHEMA_NOT_FOUND, text).at(*location));
            };
            if *cascade {
                for table in connector.tables(&name.schema).await? {
                    connector.drop_table(&name.schema, &table).await?;
                }
            }
            connector.drop_schema(&name.schema).await?;
        }
        Statement::CreateTable { table, if_not_exists, columns, comment, properties, location } => {
            let name = TableName::resolve(table, &context.session, *location)?;
            let connector = services.catalogs.get(&name.catalog);
            let connector = connector.ok_or_else(|| catalog_not_found(&name.catalog).at(*location))?;
            if services.metadata.table(&name).await?.is_some() {
                if *if_not_exists {
                    return Ok(StatementResult::update(statement, SessionUpdate::default()));
                }
                let text = format!("Table '{name}' already exists");
                return Err(Error::new(ErrorCode::TABLE_ALREADY_EXISTS, text).at(*location));
            }
            let schema = SchemaName { catalog: name.catalog.clone(), schema: name.schema.clone() };
            if !services.metadata.schema_exists(&schema).await? {
                let text = format!("Schema '{}' does not exist", schema.schema);
                return Err(Error::new(ErrorCode::SCHEMA_NOT_FOUND, text).at(*location));
            }
            for (at, column) in columns.iter().enumerate() {
                if columns[..at].iter().any(|earlier| earlier.name == column.name) {
                    let text = format!("Column name '{}' specified more than once", column.name);
                    return Err(Error::new(ErrorCode::DUPLICATE_COLUMN_NAME, text).at(column.location));
                }
            }
            let columns = columns
                .iter()
                .map(|column| ColumnMetadata {
                    name: column.name.clone(),
                    column_type: column.column_type.clone(),
                    nullable: column.nullable,
                    comment: column.comment.clone(),
                })
                .collect();
            connector
                .create_table(NewTable {
                    schema: name.schema,
                    name: name.table,
                    columns,
                    comment: comment.clone(),
                    properties: evaluate(services, context, properties)?,
                    if_not_exists: *if_not_exists,
                })
                .await?;
        }
        Statement::DropTable { table, if_exists, location } => {
            let name = TableName::resolve(table, &context.session, *location)?;
            let exists = services.metadata.table(&name).await?.is_some();
            let Some(connector) = services.catalogs.get(&name.catalog).filter(|_| exists) else {
                if *if_exists {
                    return Ok(StatementResult::update(statement, SessionUpdate::default()));
                }
                let text = format!("Table '{name}' does not exist");
                return Err(Error::new(ErrorCode::TABLE_NOT_FOUND, text).at(*location));
            };
            connector.drop_table(&name.schema, &name.table).await?;
        }
        _ => return Err(Error::internal("the statement defines nothing")),
    }
    Ok(StatementResult::update(statement, SessionUpdate::default()))
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
