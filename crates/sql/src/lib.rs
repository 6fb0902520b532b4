//! SQL statements: parsing, analysis, and the errors they give.
//!
//! [`parse`] turns text into a [`Statement`]; [`Analyzer`] turns a [`Query`] into a logical plan with Trino's output
//! names and types. What is behind these two is DataFusion's SQL planner, with Trino's syntax, names and errors laid
//! around it.

#![forbid(unsafe_code)]

mod analyzer;
mod context;
mod decimal_types;
mod expr_planner;
mod expression;
mod formatter;
mod functions;
mod lexer;
mod like;
mod metadata;
mod name;
mod output_names;
mod parser;
mod query;
mod reserved;
mod rewrite;
mod session;
mod stack;
mod statement;
mod syntax;
mod tables;
mod type_check;

pub use analyzer::{AnalyzedQuery, Analyzer, OutputColumn};
pub use expression::Expression;
pub use formatter::{format_create_schema, format_create_table, format_identifier, format_string};
pub use functions::{FunctionInfo, FunctionKind, Functions};
pub use like::LikePattern;
pub use metadata::{CatalogMetadata, Metadata, ResolvedTable, TableSources};
pub use name::{QualifiedName, SchemaName, TableName};
pub use parser::{count_parameters, parse, parse_embedded, parse_with_parameters};
pub use query::Query;
pub use session::SessionContext;
pub use stack::on_large_stack;
pub use statement::{
    ColumnDefinition, Explain, ExplainFormat, ExplainType, IsolationLevel, Like, Property, Statement,
};
