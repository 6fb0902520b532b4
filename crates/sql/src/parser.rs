//! From text to [`Statement`].

use base::{Error, ErrorCode, ErrorLocation, Result};

use crate::lexer::{START, Token, TokenKind, tokenize};
use crate::query::starts_query;
use crate::statement::{ExplainFormat, ExplainType};
use crate::syntax::{Cursor, mismatched};
use crate::{Explain, Expression, Like, QualifiedName, Query, Statement, on_large_stack};

mod definition;
mod transaction;

/// The depth to which statements may hold statements (`EXPLAIN`, `PREPARE`, `EXECUTE IMMEDIATE`).
const MAX_STATEMENT_DEPTH: usize = 16;

/// Reads a statement that stands alone.
///
/// # Errors
/// `SYNTAX_ERROR` with a location; `NOT_SUPPORTED` for statements that are Trino's but not ours;
/// `INVALID_PARAMETER_USAGE` for `?` outside `PREPARE`; `EXPRESSION_NOT_CONSTANT`.
pub fn parse(text: &str) -> Result<Statement> {
    parse_embedded(text, START)
}

/// Reads a statement that is a part of a larger text, in which it starts at `origin`. Errors point there.
///
/// # Errors
/// See [`parse`].
pub fn parse_embedded(text: &str, origin: ErrorLocation) -> Result<Statement> {
    on_large_stack(|| parse_open(text, origin))
}

fn parse_open(text: &str, origin: ErrorLocation) -> Result<Statement> {
    let tokens = tokenize(text, origin)?;
    let parser = &mut StatementParser { text, cursor: Cursor::new(&tokens), depth: 0 };
    let statement = parser.whole()?;
    if !matches!(statement, Statement::Prepare { .. }) {
        check_parameters(&tokens, 0)?;
    }
    Ok(statement)
}

/// Reads a prepared statement, with its `?` replaced by the parameters in order.
///
/// # Errors
/// `INVALID_PARAMETER_USAGE` if their number is wrong; see [`parse`].
pub fn parse_with_parameters(text: &str, parameters: &[Expression]) -> Result<Statement> {
    on_large_stack(|| parse_bound(text, START, parameters, 0))
}

fn parse_bound(
    text: &str,
    origin: ErrorLocation,
    parameters: &[Expression],
    depth: usize,
) -> Result<Statement> {
    let tokens = tokenize(text, origin)?;
    // What is wrong with the statement itself is told before what is wrong with its parameters.
    let open = StatementParser { text, cursor: Cursor::new(&tokens), depth }.whole()?;
    if matches!(open, Statement::Prepare { .. }) {
        return Ok(open);
    }
    check_parameters(&tokens, parameters.len())?;
    if parameters.is_empty() {
        return Ok(open);
    }
    let tokens = bind(&tokens, parameters);
    StatementParser { text, cursor: Cursor::new(&tokens), depth }.whole()
}

fn is_parameter(token: &Token) -> bool {
    token.kind == TokenKind::Parameter
}

/// How many parameters a prepared statement takes.
///
/// # Errors
/// `SYNTAX_ERROR` if the text has no tokens at some place.
pub fn count_parameters(text: &str) -> Result<usize> {
    Ok(tokenize(text, START)?.iter().filter(|token| is_parameter(token)).count())
}

fn check_parameters(tokens: &[Token], found: usize) -> Result<()> {
    let expected = tokens.iter().filter(|token| is_parameter(token)).count();
    if expected == found {
        return Ok(());
    }
    let text = format!("Incorrect number of parameters: expected {expected} but found {found}");
    let location = tokens.first().map_or(START, |token| token.location);
    Err(Error::new(ErrorCode::INVALID_PARAMETER_USAGE, text).at(location))
}

/// Puts parameters in the place of `?`. What is longer than a literal gets parentheses.
fn bind(tokens: &[Token], parameters: &[Expression]) -> Vec<Token> {
    let mut parameters = parameters.iter();
    let mut bound = Vec::with_capacity(tokens.len());
    for token in tokens {
        let parameter = if is_parameter(token) { parameters.next() } else { None };
        let Some(parameter) = parameter else {
            bound.push(token.clone());
            continue;
        };
        let here = |other: &Token| Token {
            location: token.location,
            start: token.start,
            end: token.end,
            kind: other.kind.clone(),
            text: other.text.clone(),
        };
        let bracket = |symbol: &'static str| Token {
            kind: TokenKind::Symbol(symbol),
            text: symbol.to_owned(),
            ..token.clone()
        };
        match parameter.tokens() {
            [single] => bound.push(here(single)),
            several => {
                bound.push(bracket("("));
                bound.extend(several.iter().map(here));
                bound.push(bracket(")"));
            }
        }
    }
    bound
}

pub(crate) struct StatementParser<'a> {
    /// The text that the tokens' byte positions refer to.
    text: &'a str,
    cursor: Cursor<'a>,
    depth: usize,
}

impl StatementParser<'_> {
    fn whole(&mut self) -> Result<Statement> {
        let statement = self.statement()?;
        self.cursor.expect_end()?;
        Ok(statement)
    }

    fn statement(&mut self) -> Result<Statement> {
        if self.depth > MAX_STATEMENT_DEPTH {
            let text = "Statement is too large (stack overflow while parsing)";
            return Err(Error::new(ErrorCode::STACK_OVERFLOW, text).at(self.cursor.location()));
        }
        let location = self.cursor.location();
        if starts_query(self.cursor.rest()) {
            return self.query();
        }
        let word = self.cursor.token().text.to_ascii_uppercase();
        if self.cursor.token().kind != TokenKind::Word {
            return Err(self.no_statement());
        }
        match word.as_str() {
            "EXPLAIN" => self.explain(),
            "USE" => self.use_schema(location),
            "SHOW" => self.show(location),
            "DESCRIBE" | "DESC" => self.describe(location),
            "SET" => self.set(),
            "RESET" => self.reset(),
            "PREPARE" => self.prepare(),
            "EXECUTE" => self.execute(location),
            "DEALLOCATE" => {
                self.cursor.skip(1);
                self.cursor.expect("PREPARE")?;
                Ok(Statement::Deallocate { name: self.cursor.identifier()?, location })
            }
            "CREATE" => self.create(location),
            "DROP" => self.drop(location),
            "START" => self.start_transaction(),
            "COMMIT" => self.end_transaction(Statement::Commit),
            "ROLLBACK" => self.end_transaction(Statement::Rollback),
            known if NOT_SUPPORTED.contains(&known) => Err(not_supported(known, location)),
            _ => Err(self.no_statement()),
        }
    }

    fn no_statement(&self) -> Error {
        let expected = NOT_SUPPORTED.iter().chain(&SUPPORTED).map(|word| format!("'{word}'"));
        mismatched(self.cursor.token(), expected.chain([String::from("<query>")]))
    }

    /// A query is what is left of the tokens.
    fn query(&mut self) -> Result<Statement> {
        let query = Query::new(self.cursor.rest())?;
        self.cursor.skip(self.cursor.rest().len());
        Ok(Statement::Query(Box::new(query)))
    }

    fn inner(&mut self) -> Result<Box<Statement>> {
        self.depth += 1;
        let statement = self.statement()?;
        self.depth -= 1;
        Ok(Box::new(statement))
    }

    fn explain(&mut self) -> Result<Statement> {
        self.cursor.skip(1);
        let mut explain_type = ExplainType::default();
        let mut format = ExplainFormat::default();
        let analyze = self.cursor.accept("ANALYZE");
        let verbose = analyze && self.cursor.accept("VERBOSE");
        let has_options = ["TYPE", "FORMAT"].iter().any(|word| self.cursor.ahead(1).is_word(word));
        if !analyze && has_options && self.cursor.accept_symbol("(") {
            loop {
                if self.cursor.accept("TYPE") {
                    explain_type = match self.cursor.accept_any(&["LOGICAL", "DISTRIBUTED", "VALIDATE", "IO"])
                    {
                        Some("LOGICAL") => ExplainType::Logical,
                        Some("DISTRIBUTED") => ExplainType::Distributed,
                        Some("VALIDATE") => ExplainType::Validate,
                        Some(_) => ExplainType::Io,
                        None => return Err(self.cursor.mismatch()),
                    };
                } else if self.cursor.accept("FORMAT") {
                    format = match self.cursor.accept_any(&["TEXT", "GRAPHVIZ", "JSON"]) {
                        Some("TEXT") => ExplainFormat::Text,
                        Some("GRAPHVIZ") => ExplainFormat::Graphviz,
                        Some(_) => ExplainFormat::Json,
                        None => return Err(self.cursor.mismatch()),
                    };
                } else {
                    return Err(self.cursor.mismatch());
                }
                if !self.cursor.accept_symbol(",") {
                    break;
                }
            }
            self.cursor.expect_symbol(")")?;
        }
        let statement = self.inner()?;
        Ok(Statement::Explain(Explain { analyze, verbose, explain_type, format, statement }))
    }

    fn use_schema(&mut self, location: ErrorLocation) -> Result<Statement> {
        self.cursor.skip(1);
        let first = self.cursor.identifier()?;
        if self.cursor.accept_symbol(".") {
            let schema = self.cursor.identifier()?;
            return Ok(Statement::Use { catalog: Some(first), schema, location });
        }
        Ok(Statement::Use { catalog: None, schema: first, location })
    }

    fn like(&mut self) -> Result<Option<Like>> {
        if !self.cursor.accept("LIKE") {
            return Ok(None);
        }
        let pattern = self.cursor.string()?;
        let escape = if self.cursor.accept("ESCAPE") { Some(self.cursor.string()?) } else { None };
        Ok(Some(Like { pattern, escape }))
    }

    fn schema_or_table(&mut self) -> Result<Option<QualifiedName>> {
        match self.cursor.accept_any(&["FROM", "IN"]) {
            Some(_) => Ok(Some(self.cursor.qualified_name()?)),
            None => Ok(None),
        }
    }

    fn show(&mut self, location: ErrorLocation) -> Result<Statement> {
        self.cursor.skip(1);
        let subjects = ["CATALOGS", "SCHEMAS", "TABLES", "COLUMNS", "SESSION", "FUNCTIONS", "CREATE"];
        match self.cursor.accept_any(&subjects) {
            Some("CATALOGS") => Ok(Statement::ShowCatalogs { like: self.like()? }),
            Some("SCHEMAS") => {
                let catalog = match self.cursor.accept_any(&["FROM", "IN"]) {
                    Some(_) => Some(self.cursor.identifier()?),
                    None => None,
                };
                Ok(Statement::ShowSchemas { catalog, like: self.like()?, location })
            }
            Some("TABLES") => {
                Ok(Statement::ShowTables { schema: self.schema_or_table()?, like: self.like()?, location })
            }
            Some("COLUMNS") => match self.schema_or_table()? {
                Some(table) => Ok(Statement::ShowColumns { table, like: self.like()?, location }),
                None => Err(self.cursor.mismatch()),
            },
            Some("SESSION") => Ok(Statement::ShowSession { like: self.like()? }),
            Some("FUNCTIONS") => {
                Ok(Statement::ShowFunctions { schema: self.schema_or_table()?, like: self.like()? })
            }
            Some(_) => match self.cursor.accept_any(&["TABLE", "SCHEMA"]) {
                Some("TABLE") => {
                    Ok(Statement::ShowCreateTable { table: self.cursor.qualified_name()?, location })
                }
                Some(_) => {
                    Ok(Statement::ShowCreateSchema { schema: self.cursor.qualified_name()?, location })
                }
                None => match self.cursor.accept_any(&["VIEW", "MATERIALIZED", "FUNCTION", "BRANCH"]) {
                    Some(what) => Err(not_supported(&format!("SHOW CREATE {what}"), location)),
                    None => Err(self.cursor.mismatch()),
                },
            },
            None => {
                match self.cursor.accept_any(&["STATS", "GRANTS", "ROLES", "ROLE", "CURRENT", "BRANCHES"]) {
                    Some(what) => Err(not_supported(&format!("SHOW {what}"), location)),
                    None => Err(self.cursor.mismatch()),
                }
            }
        }
    }

    fn describe(&mut self, location: ErrorLocation) -> Result<Statement> {
        let long = self.cursor.token().is_word("DESCRIBE");
        self.cursor.skip(1);
        // `input` and `output` may be tables too.
        let named = !matches!(self.cursor.ahead(1).kind, TokenKind::End | TokenKind::Symbol(_));
        if long && named {
            if self.cursor.accept("INPUT") {
                return Ok(Statement::DescribeInput { name: self.cursor.identifier()?, location });
            }
            if self.cursor.accept("OUTPUT") {
                return Ok(Statement::DescribeOutput { name: self.cursor.identifier()?, location });
            }
        }
        Ok(Statement::ShowColumns { table: self.cursor.qualified_name()?, like: None, location })
    }

    fn set(&mut self) -> Result<Statement> {
        let location = self.cursor.location();
        self.cursor.skip(1);
        if self.cursor.accept("SESSION") {
            if self.cursor.accept("AUTHORIZATION") {
                return Err(not_supported("SET SESSION AUTHORIZATION", location));
            }
            let name = self.cursor.qualified_name()?;
            self.cursor.expect_symbol("=")?;
            return Ok(Statement::SetSession { name, value: self.expression()? });
        }
        if self.cursor.accept("TIME") {
            self.cursor.expect("ZONE")?;
            let zone = if self.cursor.accept("LOCAL") { None } else { Some(self.expression()?) };
            return Ok(Statement::SetTimeZone { zone });
        }
        match self.cursor.accept_any(&["ROLE", "PATH"]) {
            Some(what) => Err(not_supported(&format!("SET {what}"), location)),
            None => Err(self.cursor.mismatch()),
        }
    }

    fn reset(&mut self) -> Result<Statement> {
        let location = self.cursor.location();
        self.cursor.skip(1);
        self.cursor.expect("SESSION")?;
        if self.cursor.accept("AUTHORIZATION") {
            return Err(not_supported("RESET SESSION AUTHORIZATION", location));
        }
        Ok(Statement::ResetSession { name: self.cursor.qualified_name()? })
    }

    fn prepare(&mut self) -> Result<Statement> {
        self.cursor.skip(1);
        let name = self.cursor.identifier()?;
        self.cursor.expect("FROM")?;
        let start = self.cursor.token().start;
        let statement = self.inner()?;
        let text = self.text.get(start..self.cursor.token().start).unwrap_or_default().trim_end().to_owned();
        Ok(Statement::Prepare { name, text, statement })
    }

    fn execute(&mut self, location: ErrorLocation) -> Result<Statement> {
        self.cursor.skip(1);
        if self.cursor.token().is_word("IMMEDIATE")
            && matches!(self.cursor.ahead(1).kind, TokenKind::String(_))
        {
            self.cursor.skip(1);
            let ErrorLocation { line, column } = self.cursor.location();
            let text = self.cursor.string()?;
            let parameters = self.using()?;
            self.cursor.expect_end()?;
            let origin = ErrorLocation { line, column: column + 1 };
            let statement = Box::new(parse_bound(&text, origin, &parameters, self.depth + 1)?);
            return Ok(Statement::ExecuteImmediate { statement });
        }
        let name = self.cursor.identifier()?;
        Ok(Statement::Execute { name, parameters: self.using()?, location })
    }

    fn using(&mut self) -> Result<Vec<Expression>> {
        if !self.cursor.accept("USING") {
            return Ok(Vec::new());
        }
        let mut parameters = vec![self.expression()?];
        while self.cursor.accept_symbol(",") {
            parameters.push(self.expression()?);
        }
        Ok(parameters)
    }

    fn expression(&mut self) -> Result<Expression> {
        Expression::new(self.cursor.expression_tokens()?)
    }
}

/// The words that start the statements of ours, beside queries.
const SUPPORTED: [&str; 15] = [
    "COMMIT",
    "CREATE",
    "DEALLOCATE",
    "DESC",
    "DESCRIBE",
    "DROP",
    "EXECUTE",
    "EXPLAIN",
    "PREPARE",
    "RESET",
    "ROLLBACK",
    "SET",
    "SHOW",
    "START",
    "USE",
];

/// The words that start the statements that are Trino's but not ours.
const NOT_SUPPORTED: [&str; 13] = [
    "ALTER", "ANALYZE", "CALL", "COMMENT", "DELETE", "DENY", "GRANT", "INSERT", "MERGE", "REFRESH", "REVOKE",
    "TRUNCATE", "UPDATE",
];

fn not_supported(what: &str, location: ErrorLocation) -> Error {
    Error::not_supported(format!("{what} is not supported")).at(location)
}

#[cfg(test)]
mod tests;
