//! Finding the tables that a query names.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use base::{Error, ErrorCode, ErrorLocation, Result};
use datafusion::logical_expr::TableSource;
use sqlparser::ast::{self, ObjectName, Visit, Visitor};

use crate::query::location;
use crate::{Metadata, QualifiedName, SessionContext, TableName, TableSources};

/// A name after `FROM`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    name: QualifiedName,
    /// Whether the query defines that name by `WITH` somewhere: then there need be no such table.
    may_be_defined: bool,
}

#[derive(Default)]
struct ReferenceFinder {
    defined: BTreeSet<String>,
    found: Vec<QualifiedName>,
    functions: Vec<QualifiedName>,
}

impl Visitor for ReferenceFinder {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        if let Some(with) = &query.with {
            self.defined.extend(with.cte_tables.iter().map(|table| table.alias.name.value.clone()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<()> {
        if let ast::TableFactor::Table { name, args, .. } = factor
            && let Some(qualified) = qualified_name(name)
        {
            match args {
                None => self.found.push(qualified),
                Some(_) => self.functions.push(qualified),
            }
        }
        ControlFlow::Continue(())
    }
}

fn qualified_name(name: &ObjectName) -> Option<QualifiedName> {
    let identifiers: Vec<&ast::Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
    let place = identifiers.first().and_then(|first| location(first.span))?;
    let parts = identifiers.iter().map(|identifier| identifier.value.clone()).collect();
    Some(QualifiedName { parts, location: place })
}

/// The tables that a query names.
///
/// # Errors
/// `FUNCTION_NOT_FOUND` for a table function.
pub(crate) fn references(query: &ast::Query) -> Result<Vec<Reference>> {
    let mut finder = ReferenceFinder::default();
    // The finder never stops early.
    let _ = query.visit(&mut finder);
    if let Some(function) = finder.functions.first() {
        let text = format!("Table function '{function}' not registered");
        return Err(Error::new(ErrorCode::FUNCTION_NOT_FOUND, text).at(function.location));
    }
    let defined = finder.defined;
    let is_defined = |name: &QualifiedName| matches!(name.parts.as_slice(), [part] if defined.contains(part));
    Ok(finder.found.into_iter().map(|name| Reference { may_be_defined: is_defined(&name), name }).collect())
}

/// Finds the tables of a query.
///
/// # Errors
/// `MISSING_SCHEMA_NAME`, `MISSING_CATALOG_NAME`, `CATALOG_NOT_FOUND`, `SCHEMA_NOT_FOUND`, `TABLE_NOT_FOUND`, where
/// the name stands; those of the connector.
pub(crate) async fn resolve(
    references: Vec<Reference>,
    session: &SessionContext,
    metadata: &dyn Metadata,
    sources: &dyn TableSources,
) -> Result<HashMap<TableName, Arc<dyn TableSource>>> {
    let mut tables: HashMap<TableName, Arc<dyn TableSource>> = HashMap::new();
    for Reference { name, may_be_defined } in references {
        let full_name = match TableName::resolve(&name, session, name.location) {
            Ok(full_name) => full_name,
            Err(_) if may_be_defined => continue,
            Err(error) => return Err(error),
        };
        if tables.contains_key(&full_name) {
            continue;
        }
        match metadata.table(&full_name).await? {
            Some(table) => {
                tables.insert(full_name, sources.table_source(&table));
            }
            None if may_be_defined => {}
            None => return Err(not_found(&full_name, metadata, name.location).await?),
        }
    }
    Ok(tables)
}

async fn not_found(name: &TableName, metadata: &dyn Metadata, place: ErrorLocation) -> Result<Error> {
    if !metadata.catalog_exists(&name.catalog) {
        let text = format!("Catalog '{}' not found", name.catalog);
        return Ok(Error::new(ErrorCode::CATALOG_NOT_FOUND, text).at(place));
    }
    if !metadata.schema_exists(&name.schema_name()).await? {
        let text = format!("Schema '{}' does not exist", name.schema);
        return Ok(Error::new(ErrorCode::SCHEMA_NOT_FOUND, text).at(place));
    }
    Ok(Error::new(ErrorCode::TABLE_NOT_FOUND, format!("Table '{name}' does not exist")).at(place))
}
