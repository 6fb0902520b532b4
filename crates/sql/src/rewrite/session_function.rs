//! What an expression takes from the session: `current_user`, `now()` and the like, as constants.

use super::literal::cast;
use super::*;
use crate::lexer::{START, tokenize};
use crate::query::parse_expression;
use chrono::Utc;

/// Puts the session's values in the place of the functions that give them.
///
/// # Errors
/// None of its own.
pub(crate) fn session_functions<T: VisitMut>(mut tree: T, session: &SessionContext) -> Result<T> {
    finish(tree.visit(&mut SessionRewriter { session }))?;
    Ok(tree)
}

/// Whether an identifier is a word for a value of the session.
pub(crate) fn is_session_value(name: &Ident) -> bool {
    name.quote_style.is_none()
        && ["current_user", "current_catalog", "current_schema"].contains(&name.value.as_str())
}

struct SessionRewriter<'a> {
    session: &'a SessionContext,
}

impl SessionRewriter<'_> {
    fn value(&self, name: &str) -> Result<Option<Expr>> {
        let session = self.session;
        Ok(Some(match name {
            "current_user" => text(&session.user),
            "current_catalog" => optional_text(session.catalog.as_deref()),
            "current_schema" => optional_text(session.schema.as_deref()),
            "current_timezone" => text(&session.time_zone),
            "version" => text(&session.version),
            "current_date" => parsed(&format!("DATE '{}'", session.start_time().format("%Y-%m-%d")))?,
            "localtimestamp" => {
                parsed(&format!("TIMESTAMP '{}'", session.start_time().format("%Y-%m-%d %H:%M:%S%.3f")))?
            }
            "now" | "current_timestamp" => {
                let instant = session.start_time().with_timezone(&Utc).format("%Y-%m-%dT%H:%M:%S%.3fZ");
                parsed(&format!("arrow_cast('{instant}', 'Timestamp(Millisecond, Some(\"UTC\"))')"))?
            }
            _ => return Ok(None),
        }))
    }
}

fn parsed(text: &str) -> Result<Expr> {
    parse_expression(&tokenize(text, START)?)
}

fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).with_empty_span())
}

fn optional_text(value: Option<&str>) -> Expr {
    match value {
        Some(value) => text(value),
        None => cast(Expr::Value(Value::Null.with_empty_span()), DataType::Varchar(None)),
    }
}

/// The name of a function that is called without arguments.
fn bare_call(function: &Function) -> Option<&str> {
    let is_empty = match &function.args {
        FunctionArguments::None => true,
        FunctionArguments::List(list) => list.args.is_empty(),
        FunctionArguments::Subquery(_) => false,
    };
    if is_empty { function_name(function) } else { None }
}

impl VisitorMut for SessionRewriter<'_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        let name = match &*expression {
            Expr::Function(function) => bare_call(function),
            Expr::Identifier(name) if is_session_value(name) => Some(name.value.as_str()),
            _ => None,
        };
        match name.map(|name| self.value(name)) {
            Some(Ok(Some(value))) => *expression = value,
            Some(Err(error)) => return ControlFlow::Break(error),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
