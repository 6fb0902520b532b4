//! Constant expressions: parameters, and the values of properties.

use std::ops::ControlFlow;

use base::{Error, ErrorCode, ErrorLocation, Result};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use sqlparser::ast::{self, Visit, Visitor};

use crate::context::{PlanningContext, parser_options};
use crate::lexer::{START, Token, TokenKind};
use crate::query::parse_expression;
use crate::{Functions, SessionContext, on_large_stack, rewrite};

/// A constant expression as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    tokens: Vec<Token>,
    text: String,
}

impl Expression {
    /// An expression of these tokens of a statement's text.
    ///
    /// # Errors
    /// `SYNTAX_ERROR`; `EXPRESSION_NOT_CONSTANT` if it refers to columns or holds a query.
    pub(crate) fn new(tokens: &[Token]) -> Result<Self> {
        let ast = parse_expression(tokens)?;
        if let ControlFlow::Break(location) = ast.visit(&mut ColumnFinder) {
            let text = "Constant expression cannot contain column references";
            let location = location.unwrap_or_else(|| tokens.first().map_or(START, |token| token.location));
            return Err(Error::new(ErrorCode::EXPRESSION_NOT_CONSTANT, text).at(location));
        }
        Ok(Expression { tokens: tokens.to_vec(), text: text_of(tokens) })
    }

    /// `NULL`: what stands for a parameter whose value is not known.
    pub fn null() -> Self {
        let text = String::from("NULL");
        let token =
            Token { kind: TokenKind::Word, text: text.clone(), location: START, start: 0, end: text.len() };
        Expression { tokens: vec![token], text }
    }

    /// The expression as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it starts.
    pub fn location(&self) -> ErrorLocation {
        self.tokens.first().map_or(START, |token| token.location)
    }

    /// The value as text: the characters of a string, else the literal as Trino would print it. None for NULL.
    ///
    /// # Errors
    /// Those of analysis, and of evaluation: `DIVISION_BY_ZERO` and the like.
    pub fn evaluate(&self, functions: &Functions, session: &SessionContext) -> Result<Option<String>> {
        if let [Token { kind: TokenKind::String(text), .. }] = self.tokens.as_slice() {
            return Ok(Some(text.clone()));
        }
        let value =
            on_large_stack(|| self.scalar(functions, session)).map_err(|error| match error.location() {
                Some(_) => error,
                None => error.at(self.location()),
            })?;
        if value.is_null() {
            return Ok(None);
        }
        Ok(Some(match value {
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)) => text,
            other => other.to_string(),
        }))
    }

    fn scalar(&self, functions: &Functions, session: &SessionContext) -> Result<ScalarValue> {
        let ast = rewrite::session_functions(parse_expression(&self.tokens)?, session)?;
        functions.check_expression(&ast)?;
        let context = PlanningContext::without_tables(functions, session);
        let planner = SqlToRel::new_with_options(&context, parser_options());
        let schema = DFSchema::empty();
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().build());
        let value = planner
            .sql_to_expr(ast, &schema, &mut PlannerContext::new())
            .and_then(|expression| simplifier.coerce(expression, &schema))
            .and_then(|expression| simplifier.simplify(expression))
            .map_err(|error| connector::error::from_datafusion(&error))?;
        match value {
            datafusion::logical_expr::Expr::Literal(value, _) => Ok(value),
            // The simplifier leaves what fails for the time of execution.
            other => evaluate_now(&other),
        }
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }
}

/// Tokens as they were written, with one blank where there was space.
fn text_of(tokens: &[Token]) -> String {
    let is_wordy = |token: &Token| !matches!(token.kind, TokenKind::Symbol(_));
    let mut text = String::new();
    let mut before: Option<&Token> = None;
    for token in tokens {
        if before.is_some_and(|before| before.end < token.start || (is_wordy(before) && is_wordy(token))) {
            text.push(' ');
        }
        text.push_str(&token.text);
        before = Some(token);
    }
    text
}

fn evaluate_now(expression: &datafusion::logical_expr::Expr) -> Result<ScalarValue> {
    use arrow::array::{RecordBatch, RecordBatchOptions};
    use arrow::datatypes::Schema;

    let evaluate = || {
        let schema = DFSchema::empty();
        let physical = datafusion::physical_expr::create_physical_expr(
            expression,
            &schema,
            &datafusion::logical_expr::execution_props::ExecutionProps::new(),
            &datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext::default(),
        )?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(Schema::empty().into(), vec![], &options)?;
        ScalarValue::try_from_array(&physical.evaluate(&batch)?.into_array(1)?, 0)
    };
    evaluate().map_err(|error| connector::error::from_datafusion(&error))
}

/// Finds what is not constant.
struct ColumnFinder;

impl Visitor for ColumnFinder {
    type Break = Option<ErrorLocation>;

    fn pre_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<Self::Break> {
        let name = match expression {
            ast::Expr::Identifier(name) if rewrite::is_session_value(name) => {
                return ControlFlow::Continue(());
            }
            ast::Expr::Identifier(name) => name,
            ast::Expr::CompoundIdentifier(names) if !names.is_empty() => &names[0],
            _ => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(crate::query::location(name.span))
    }

    fn pre_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<Self::Break> {
        ControlFlow::Break(None)
    }
}
