//! `EXPLAIN` without `ANALYZE`: the plan, without running it.

use std::sync::Arc;

use base::{Error, Result};
use sql::{Explain, ExplainFormat, ExplainType, Statement};

use super::{StatementContext, StatementResult};
use crate::catalog::rows::{Cell, ColumnKind};
use crate::plan;
use crate::services::Services;

/// The name of the only column.
pub const QUERY_PLAN: &str = "Query Plan";

/// Shows what a statement would do.
pub async fn explain(
    services: &Arc<Services>,
    context: &StatementContext,
    explain: &Explain,
) -> Result<StatementResult> {
    if explain.explain_type == ExplainType::Validate {
        if let Statement::Query(query) = explain.statement.as_ref() {
            services.analyzer.analyze(query, &context.session).await?;
        }
        return StatementResult::table(&[("Valid", ColumnKind::Boolean)], vec![vec![Cell::Boolean(true)]]);
    }
    if explain.format != ExplainFormat::Text {
        return Err(Error::not_supported(
            "EXPLAIN gives text only: FORMAT JSON and GRAPHVIZ are not supported",
        ));
    }
    let text = match explain.statement.as_ref() {
        Statement::Query(query) => {
            let analyzed = services.analyzer.analyze(query, &context.session).await?;
            match explain.explain_type {
                ExplainType::Logical => plan::explain_logical(services, context, analyzed).await?,
                ExplainType::Distributed => plan::plan(services, context, analyzed).await?.explain(),
                ExplainType::Io | ExplainType::Validate => {
                    return Err(Error::not_supported("EXPLAIN (TYPE IO) is not supported"));
                }
            }
        }
        other => other.update_type().unwrap_or("SHOW").to_string(),
    };
    StatementResult::text(QUERY_PLAN, text)
}
