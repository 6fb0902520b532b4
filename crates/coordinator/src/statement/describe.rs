//! `DESCRIBE INPUT`, `DESCRIBE OUTPUT`: what a prepared statement takes and gives.

use std::sync::Arc;

use base::{ErrorLocation, Result};
use sql::{Expression, Statement};

use super::prepared::find;
use super::{StatementContext, StatementResult};
use crate::catalog::rows::{Cell, ColumnKind};
use crate::services::Services;

/// What a prepared statement takes.
pub fn input(context: &StatementContext, name: &str, location: ErrorLocation) -> Result<StatementResult> {
    let count = sql::count_parameters(find(context, name, location)?)?;
    let rows = (0..count).map(|position| vec![Cell::size(position), "unknown".into()]).collect();
    StatementResult::table(&[("Position", ColumnKind::Bigint), ("Type", ColumnKind::Text)], rows)
}

/// What a prepared statement gives.
pub async fn output(
    services: &Arc<Services>,
    context: &StatementContext,
    name: &str,
    location: ErrorLocation,
) -> Result<StatementResult> {
    let text = find(context, name, location)?;
    let nulls = vec![Expression::null(); sql::count_parameters(text)?];
    let columns = match sql::parse_with_parameters(text, &nulls)? {
        Statement::Query(query) => services.analyzer.analyze(&query, &context.session).await?.output,
        _ => Vec::new(),
    };
    let rows = columns
        .into_iter()
        .map(|column| {
            vec![
                column.name.into(),
                "".into(),
                "".into(),
                "".into(),
                column.column_type.to_string().into(),
                Cell::count(0),
                Cell::Boolean(false),
            ]
        })
        .collect();
    StatementResult::table(
        &[
            ("Column Name", ColumnKind::Text),
            ("Catalog", ColumnKind::Text),
            ("Schema", ColumnKind::Text),
            ("Table", ColumnKind::Text),
            ("Type", ColumnKind::Text),
            ("Type Size", ColumnKind::Bigint),
            ("Aliased", ColumnKind::Boolean),
        ],
        rows,
    )
}
