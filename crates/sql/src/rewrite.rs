//! Rewriting Trino's forms into those that the planner behind this crate knows.

use std::ops::ControlFlow;

use base::{Error, ErrorCode, Result};
use sqlparser::ast::{
    self, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    LimitClause, ObjectName, SelectItem, SetExpr, TableFactor, TimezoneInfo, TypedString, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;

use crate::SessionContext;
use crate::query::location;
use crate::stack::{MAX_EXPRESSION_DEPTH, MAX_SET_OPERATIONS};

mod forbidden;
mod literal;
mod session_function;

pub(crate) use session_function::{is_session_value, session_functions};

/// Rewrites what does not depend on the session, and refuses what Trino's grammar does not have.
pub(crate) fn syntax(mut query: Box<ast::Query>) -> Result<Box<ast::Query>> {
    finish(query.visit(&mut SyntaxRewriter::default()))?;
    Ok(query)
}

/// As [`syntax`], for an expression that stands alone.
pub(crate) fn syntax_of_expression(mut expression: Expr) -> Result<Expr> {
    finish(expression.visit(&mut SyntaxRewriter::default()))?;
    Ok(expression)
}

fn finish(flow: ControlFlow<Error>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

#[derive(Default)]
struct SyntaxRewriter {
    /// How many expressions are around the one that is visited.
    depth: usize,
}

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

    /// Chains of set operations may be long: they are not recursed into.
    fn set_expression(body: &mut SetExpr) -> Result<()> {
        let mut current = body;
        let mut count = 0;
        loop {
            match current {
                SetExpr::SetOperation { left, right, .. } => {
                    count += 1;
                    if count > MAX_SET_OPERATIONS {
                        return Err(too_large());
                    }
                    Self::set_expression(right)?;
                    current = left;
                }
                SetExpr::Select(select) => {
                    forbidden::check_select(select)?;
                    for item in &mut select.projection {
                        if let SelectItem::UnnamedExpr(expression)
                        | SelectItem::ExprWithAlias { expr: expression, .. } = item
                        {
                            literal::type_literal(expression);
                        }
                    }
                    return Ok(());
                }
                SetExpr::Values(values) => {
                    for expression in values.rows.iter_mut().flat_map(|row| row.content.iter_mut()) {
                        literal::type_literal(expression);
                    }
                    return Ok(());
                }
                SetExpr::Query(_) => return Ok(()),
                SetExpr::Insert(_)
                | SetExpr::Update(_)
                | SetExpr::Delete(_)
                | SetExpr::Merge(_)
                | SetExpr::Table(_) => {
                    return Err(Error::not_supported("This form of query is not supported"));
                }
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
            Expr::Cast { expr, data_type, .. } => {
                literal::cast_type(data_type);
                if let Some(shortened) = literal::shortened(expr, data_type) {
                    *expression = shortened;
                }
            }
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

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let Err(error) = forbidden::check_table_factor(factor) {
            return ControlFlow::Break(error);
        }
        if let Some(unnest) = unnest(factor) {
            *factor = unnest;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _expression: &mut Expr) -> ControlFlow<Error> {
        self.depth += 1;
        if self.depth > MAX_EXPRESSION_DEPTH {
            return ControlFlow::Break(too_large());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        self.depth -= 1;
        into_flow(Self::expression(expression))
    }
}

/// `UNNEST(…)` after `FROM`, which the parser takes for the call of a table function.
fn unnest(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Table { name, args: Some(arguments), alias, with_ordinality, .. } = factor else {
        return None;
    };
    let is_unnest = matches!(
        name.0.as_slice(),
        [part] if part.as_ident().is_some_and(|name| name.value == "unnest")
    );
    let array_exprs = arguments
        .args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
            _ => None,
        })
        .collect::<Option<Vec<Expr>>>()?;
    is_unnest.then(|| TableFactor::UNNEST {
        alias: alias.clone(),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: *with_ordinality,
    })
}

fn too_large() -> Error {
    Error::new(ErrorCode::STACK_OVERFLOW, "statement is too large (stack overflow during analysis)")
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
        // The function of that name leaves out what is NULL.
        ("concat", [first, second, rest @ ..]) => {
            let both = literal::concatenation((*first).clone(), (*second).clone());
            let all = rest.iter().fold(both, |left, right| literal::concatenation(left, (*right).clone()));
            return Ok(Some(Expr::Nested(Box::new(all))));
        }
        ("if", _) => {
            let error = Error::new(ErrorCode::SYNTAX_ERROR, "Invalid number of arguments for 'if' function");
            return Err(match place.and_then(location) {
                Some(place) => error.at(place),
                None => error,
            });
        }
        ("nan", []) => return Ok(Some(literal::double("NaN"))),
        ("infinity", []) => return Ok(Some(literal::double("Infinity"))),
        ("row", fields) => {
            let named = literal::anonymous_fields(fields);
            if let FunctionArguments::List(list) = &mut function.args {
                list.args = named;
            }
            "named_struct"
        }
        ("sequence", _) => "generate_series",
        _ => return Ok(None),
    };
    let mut identifier = Ident::new(renamed);
    identifier.span = place.unwrap_or_else(Span::empty);
    function.name = ObjectName::from(vec![identifier]);
    Ok(None)
}
