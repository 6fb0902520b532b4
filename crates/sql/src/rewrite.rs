//! Rewriting Trino's forms into those that the planner behind this crate knows.

use std::ops::ControlFlow;

use base::{Error, ErrorCode, Result};
use sqlparser::ast::{
    self, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    LimitClause, ObjectName, SelectItem, SetExpr, TimezoneInfo, TypedString, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};
use sqlparser::tokenizer::Span;

use crate::SessionContext;
use crate::query::location;

mod forbidden;
mod literal;
mod session_function;

pub(crate) use session_function::session_functions;

/// Rewrites what does not depend on the session, and refuses what Trino's grammar does not have.
pub(crate) fn syntax(mut query: Box<ast::Query>) -> Result<Box<ast::Query>> {
    finish(query.visit(&mut SyntaxRewriter))?;
    Ok(query)
}

/// As [`syntax`], for an expression that stands alone.
pub(crate) fn syntax_of_expression(mut expression: Expr) -> Result<Expr> {
    finish(expression.visit(&mut SyntaxRewriter))?;
    Ok(expression)
}

fn finish(flow: ControlFlow<Error>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct SyntaxRewriter;

impl SyntaxRewriter {
    fn query(query: &mut ast::Query) -> Result<()> {
        forbidden::check_query(query)?;
        if let Some(fetch) = query.fetch.take() {
            if fetch.with_ties || fetch.percent {
                return Err(Error::not_supported("FETCH FIRST WITH TIES is not supported"));
            }
            let count = fetch.quantity.unwrap_or_else(|| literal::number("1"));
            query.limit_clause = Some(match query.limit_clause.take() {
                Some(LimitClause::LimitOffset { offset, .. }) => {
                    LimitClause::LimitOffset { limit: Some(count), offset, limit_by: Vec::new() }
                }
                _ => LimitClause::LimitOffset { limit: Some(count), offset: None, limit_by: Vec::new() },
            });
        }
        Self::set_expression(&mut query.body)
    }

    fn set_expression(body: &mut SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(select) => {
                forbidden::check_select(select)?;
                for item in &mut select.projection {
                    if let SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } =
                        item
                    {
                        literal::type_integer(expression);
                    }
                }
                Ok(())
            }
            SetExpr::SetOperation { left, right, .. } => {
                Self::set_expression(left)?;
                Self::set_expression(right)
            }
            SetExpr::Values(values) => {
                for expression in values.rows.iter_mut().flat_map(|row| row.content.iter_mut()) {
                    literal::type_integer(expression);
                }
                Ok(())
            }
            SetExpr::Query(_) => Ok(()),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) | SetExpr::Table(_) => {
                Err(Error::not_supported("This form of query is not supported"))
            }
        }
    }

    fn expression(expression: &mut Expr) -> Result<()> {
        forbidden::check_expression(expression)?;
        match expression {
            Expr::Value(value) => {
                if let Some(replacement) = literal::untyped(value)? {
                    *expression = replacement;
                }
            }
            Expr::TypedString(typed) => {
                if let Some(replacement) = literal::typed(typed)? {
                    *expression = replacement;
                }
            }
            Expr::Cast { data_type, .. } => literal::cast_type(data_type),
            Expr::Function(function) => {
                if let Some(replacement) = rewrite_function(function)? {
                    *expression = replacement;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl VisitorMut for SyntaxRewriter {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        into_flow(Self::query(query))
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        into_flow(Self::expression(expression))
    }
}

fn into_flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

/// The arguments of a call that has nothing but positional ones.
pub(crate) fn plain_arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
            _ => None,
        })
        .collect()
}

/// The name of a function without a schema, in lower case.
pub(crate) fn function_name(function: &Function) -> Option<&str> {
    match function.name.0.as_slice() {
        [part] => part.as_ident().map(|name| name.value.as_str()),
        _ => None,
    }
}

/// Functions that are other forms there, or have other names.
fn rewrite_function(function: &mut Function) -> Result<Option<Expr>> {
    let place = function.name.0.first().and_then(|part| part.as_ident()).map(|name| name.span);
    let (Some(name), Some(arguments)) = (function_name(function), plain_arguments(function)) else {
        return Ok(None);
    };
    let renamed = match (name, arguments.as_slice()) {
        ("if", [condition, then]) => return Ok(Some(literal::case(condition, then, None))),
        ("if", [condition, then, otherwise]) => {
            return Ok(Some(literal::case(condition, then, Some(otherwise))));
        }
        ("if", _) => {
            let error = Error::new(ErrorCode::SYNTAX_ERROR, "Invalid number of arguments for 'if' function");
            return Err(match place.and_then(location) {
                Some(place) => error.at(place),
                None => error,
            });
        }
        ("row", _) => "struct",
        ("sequence", _) => "generate_series",
        _ => return Ok(None),
    };
    let mut identifier = Ident::new(renamed);
    identifier.span = place.unwrap_or_else(Span::empty);
    function.name = ObjectName::from(vec![identifier]);
    Ok(None)
}
