//! What an expression takes from the session: `current_user`, `now()` and the like, as constants.

use super::*;
use super::literal::cast;

/// Puts the session's values in the place of the functions that give them.
pub(crate) fn session_functions<T: VisitMut>(mut tree: T, session: &SessionContext) -> Result<T> {
    finish(tree.visit(&mut SessionRewriter { session }))?;
    Ok(tree)
}

struct SessionRewriter<'a> {
    session: &'a SessionContext,
}

impl SessionRewriter<'_> {
    fn value(&self, function: &Function) -> Option<Expr> {
        let is_empty = match &function.args {
            FunctionArguments::None => true,
            FunctionArguments::List(list) => list.args.is_empty(),
            FunctionArguments::Subquery(_) => false,
        };
        if !is_empty {
            return None;
        }
        match function_name(function)? {
            "current_user" => Some(text(&self.session.user)),
            "current_catalog" => Some(optional_text(self.session.catalog.as_deref())),
            "current_schema" => Some(optional_text(self.session.schema.as_deref())),
            "current_timezone" => Some(text(&self.session.time_zone)),
            "version" => Some(text(&self.session.version)),
            _ => None,
        }
    }
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

impl VisitorMut for SessionRewriter<'_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        if let Expr::Function(function) = expression
            && let Some(value) = self.value(function)
        {
            *expression = value;
        }
        ControlFlow::Continue(())
    }
}
