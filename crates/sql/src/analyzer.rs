//! From a query to a logical plan.

use std::collections::HashMap;
use std::sync::Arc;

use base::{Error, ErrorCode, Result};
use connector::error::from_datafusion;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::optimizer::Analyzer as PlanAnalyzer;
use datafusion::sql::planner::SqlToRel;
use sqlparser::ast::Statement as ParserStatement;
use types::Type;

use crate::context::{PlanningContext, config_options, parser_options};
use crate::lexer::{Token, TokenKind};
use crate::reserved::is_reserved;
use crate::{
    Functions, Metadata, Query, SessionContext, TableName, TableSources, on_large_stack, output_names,
    rewrite, tables, type_check,
};

/// A column of a query's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// The name the user sees. Not unique.
    pub name: String,
    /// The type.
    pub column_type: Type,
}

/// A query that is valid.
#[derive(Clone, Debug)]
pub struct AnalyzedQuery {
    /// The plan, its types coerced, not optimized. The names of its columns are internal.
    pub plan: LogicalPlan,
    /// The columns of the plan, in its order.
    pub output: Vec<OutputColumn>,
}

/// Turns queries into logical plans.
pub struct Analyzer {
    metadata: Arc<dyn Metadata>,
    sources: Arc<dyn TableSources>,
    functions: Arc<Functions>,
}

impl Analyzer {
    /// An analyzer that finds tables in `metadata`, and puts into plans what `sources` makes of them.
    pub fn new(
        metadata: Arc<dyn Metadata>,
        sources: Arc<dyn TableSources>,
        functions: Arc<Functions>,
    ) -> Self {
        Analyzer { metadata, sources, functions }
    }

    /// The functions that queries may call.
    pub fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    /// Resolves the names of a query, checks it, and plans it.
    ///
    /// # Errors
    /// Trino's, with the place in the statement where it is known.
    pub async fn analyze(&self, query: &Query, session: &SessionContext) -> Result<AnalyzedQuery> {
        let references = on_large_stack(|| tables::references(&query.ast))?;
        on_large_stack(|| self.check_functions(query, session))?;
        let tables =
            tables::resolve(references, session, self.metadata.as_ref(), self.sources.as_ref()).await?;
        on_large_stack(|| self.plan(query, session, tables))
    }

    fn check_functions(&self, query: &Query, session: &SessionContext) -> Result<()> {
        self.functions.check_query(&*rewrite::session_functions(query.ast.clone(), session)?)
    }

    fn plan(
        &self,
        query: &Query,
        session: &SessionContext,
        tables: HashMap<TableName, Arc<dyn TableSource>>,
    ) -> Result<AnalyzedQuery> {
        let ast = rewrite::session_functions(query.ast.clone(), session)?;
        let ast = output_names::assign(ast, query, &self.functions)?;
        let context = PlanningContext::new(&self.functions, session, tables);
        let plan = SqlToRel::new_with_options(&context, parser_options())
            .sql_statement_to_plan(ParserStatement::Query(ast))
            .map_err(|error| planning_error(&error, query))?;
        type_check::check(&plan)?;
        let plan = PlanAnalyzer::new()
            .execute_and_check(plan, &config_options(), |_, _| {})
            .map_err(|error| planning_error(&error, query))?;
        let has_colons = query.tokens.iter().any(|token| match &token.kind {
            TokenKind::QuotedIdentifier(name) => name.contains(':'),
            _ => false,
        });
        let label = |name: &str, index| match has_colons {
            true => output_names::label(name, index),
            false => output_names::label(output_names::without_counter(name), index),
        };
        let output = plan
            .schema()
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| OutputColumn {
                name: label(field.name(), index),
                column_type: Type::from_field(field),
            })
            .collect();
        Ok(AnalyzedQuery { plan, output })
    }
}

impl std::fmt::Debug for Analyzer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Analyzer").finish_non_exhaustive()
    }
}

/// Trino's error for what the planner refused.
///
/// Names and functions are checked by now. What is left as a plain planning error is a matter of types, except for a
/// column that is not grouped: there the planner points to the column.
fn planning_error(error: &DataFusionError, query: &Query) -> Error {
    let found = from_datafusion(error);
    if let (None, DataFusionError::SchemaError(below, _)) = (found.location(), innermost(error))
        && let Some(place) = column_place(below)
    {
        return found.at(place);
    }
    if !matches!(innermost(error), DataFusionError::Plan(_)) {
        return found;
    }
    let column = found
        .location()
        .and_then(|place| query.tokens.iter().find(|token| token.location == place))
        .filter(|token| token.kind != TokenKind::Word || !is_reserved(&token.text));
    match column {
        Some(Token { kind: TokenKind::Word | TokenKind::QuotedIdentifier(_), .. }) => {
            let place = column.map_or(crate::lexer::START, |token| token.location);
            let text = format!(
                "'{}' must be an aggregate expression or appear in GROUP BY clause",
                written_name(query, place)
            );
            Error::new(ErrorCode::EXPRESSION_NOT_AGGREGATE, text).at(place)
        }
        _ => {
            let mismatch = Error::new(ErrorCode::TYPE_MISMATCH, found.message());
            match found.location() {
                Some(place) => mismatch.at(place),
                None => mismatch,
            }
        }
    }
}

/// The name that starts at a place, with its dots.
fn written_name(query: &Query, place: base::ErrorLocation) -> String {
    let start = query.tokens.iter().position(|token| token.location == place).unwrap_or_default();
    let mut name = String::new();
    for pair in query.tokens[start..].chunks(2) {
        let [part, dot] = pair else { break };
        name.push_str(&part.text);
        if !dot.is_symbol(".") {
            break;
        }
        name.push('.');
    }
    name
}

/// Where the column stands that was not found.
fn column_place(error: &SchemaError) -> Option<base::ErrorLocation> {
    let (SchemaError::FieldNotFound { field, .. } | SchemaError::AmbiguousReference { field }) = error else {
        return None;
    };
    let start = field.spans.first()?.start;
    let line = u32::try_from(start.line).ok()?;
    let column = u32::try_from(start.column).ok()?;
    (line > 0).then_some(base::ErrorLocation { line, column })
}

fn innermost(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Diagnostic(_, below) | DataFusionError::Context(_, below) => innermost(below),
        DataFusionError::Shared(below) => innermost(below),
        DataFusionError::Collection(errors) => errors.first().map_or(error, innermost),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
