//! Names of schemas and tables, as written and resolved.

use std::fmt;

use base::{Error, ErrorCode, ErrorLocation, Result};

use crate::SessionContext;

/// A name of one or more parts, in lower case, as a statement has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualifiedName {
    /// The parts, in lower case. At least one.
    pub parts: Vec<String>,
    /// Where the name starts.
    pub location: ErrorLocation,
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.join("."))
    }
}

/// A schema with its catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaName {
    /// The catalog.
    pub catalog: String,
    /// The schema.
    pub schema: String,
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.catalog, self.schema)
    }
}

/// A table with its catalog and schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The catalog.
    pub catalog: String,
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl TableName {
    /// The schema of the table.
    pub fn schema_name(&self) -> SchemaName {
        SchemaName { catalog: self.catalog.clone(), schema: self.schema.clone() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.schema, self.table)
    }
}

impl SchemaName {
    /// The schema that a name means in a session; without a name, the session's own. Errors point to `location`.
    ///
    /// # Errors
    /// `MISSING_CATALOG_NAME`, `MISSING_SCHEMA_NAME`; `SYNTAX_ERROR` for more than two parts.
    pub fn resolve(
        name: Option<&QualifiedName>,
        session: &SessionContext,
        location: ErrorLocation,
    ) -> Result<SchemaName> {
        let parts: &[String] = name.map_or(&[], |name| &name.parts);
        let (catalog, schema) = match parts {
            [] => (session.catalog.as_ref(), session.schema.as_ref()),
            [schema] => (session.catalog.as_ref(), Some(schema)),
            [catalog, schema] => (Some(catalog), Some(schema)),
            _ => {
                let text = format!("Too many parts in schema name: {}", parts.join("."));
                return Err(Error::new(ErrorCode::SYNTAX_ERROR, text).at(location));
            }
        };
        let catalog = catalog.ok_or_else(|| missing_catalog(location))?.clone();
        let schema = schema.ok_or_else(|| missing_schema(location))?.clone();
        Ok(SchemaName { catalog, schema })
    }
}

impl TableName {
    /// The table that a name means in a session. Errors point to `location`.
    ///
    /// # Errors
    /// `MISSING_SCHEMA_NAME`, `MISSING_CATALOG_NAME`; `SYNTAX_ERROR` for more than three parts.
    pub fn resolve(
        name: &QualifiedName,
        session: &SessionContext,
        location: ErrorLocation,
    ) -> Result<TableName> {
        let (catalog, schema, table) = match name.parts.as_slice() {
            [table] => (session.catalog.as_ref(), session.schema.as_ref(), table),
            [schema, table] => (session.catalog.as_ref(), Some(schema), table),
            [catalog, schema, table] => (Some(catalog), Some(schema), table),
            _ => {
                let text = format!("Too many dots in table name: {name}");
                return Err(Error::new(ErrorCode::SYNTAX_ERROR, text).at(location));
            }
        };
        let schema = schema.ok_or_else(|| missing_schema(location))?.clone();
        let catalog = catalog.ok_or_else(|| missing_catalog(location))?.clone();
        Ok(TableName { catalog, schema, table: table.clone() })
    }
}

fn missing_catalog(location: ErrorLocation) -> Error {
    let text = "Catalog must be specified when session catalog is not set";
    Error::new(ErrorCode::MISSING_CATALOG_NAME, text).at(location)
}

fn missing_schema(location: ErrorLocation) -> Error {
    let text = "Schema must be specified when session schema is not set";
    Error::new(ErrorCode::MISSING_SCHEMA_NAME, text).at(location)
}
