//! Queries: Trino's syntax through a parser that knows most of it.

use base::{Error, ErrorCode, ErrorLocation, Result};
use sqlparser::ast;
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token as ParserToken, TokenWithSpan};

use crate::lexer::{Token, TokenKind};
use crate::rewrite;
use crate::syntax::mismatched;

mod check;
mod values;

/// How deep expressions and queries may be nested.
const MAX_NESTING_DEPTH: usize = 200;

/// A query: `SELECT`, `WITH`, `VALUES` or `TABLE`.
#[derive(Clone, Debug)]
pub struct Query {
    pub(crate) ast: Box<ast::Query>,
    pub(crate) tokens: Vec<Token>,
}

impl Query {
    /// Reads a query that takes all the tokens.
    pub(crate) fn new(tokens: &[Token]) -> Result<Self> {
        check::reject_foreign_tokens(tokens)?;
        let rewritten = values::rewrite(tokens);
        let ast = run(&rewritten, |parser| parser.parse_query())?;
        let ast = rewrite::syntax(ast)?;
        Ok(Query { ast, tokens: tokens.to_vec() })
    }

    /// Where the query starts.
    pub fn location(&self) -> ErrorLocation {
        self.tokens.first().map_or(crate::lexer::START, |token| token.location)
    }

    /// An identifier as it was written, without its quotes.
    pub(crate) fn written(&self, identifier: &ast::Ident) -> String {
        let token = location(identifier.span).and_then(|place| {
            self.tokens
                .binary_search_by_key(&(place.line, place.column), |token| {
                    (token.location.line, token.location.column)
                })
                .ok()
        });
        match token.map(|index| &self.tokens[index]) {
            Some(Token { kind: TokenKind::QuotedIdentifier(text), .. }) => text.clone(),
            Some(Token { kind: TokenKind::Word, text, .. }) => text.clone(),
            _ => identifier.value.clone(),
        }
    }
}

/// Whether a query starts here.
pub(crate) fn starts_query(tokens: &[Token]) -> bool {
    let first = tokens.iter().find(|token| !token.is_symbol("("));
    first.is_some_and(|token| ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| token.is_word(word)))
}

/// Reads an expression that takes all the tokens.
pub(crate) fn parse_expression(tokens: &[Token]) -> Result<ast::Expr> {
    check::reject_foreign_tokens(tokens)?;
    let expression = run(tokens, |parser| {
        let expression = parser.parse_expr()?;
        Ok(Box::new(expression))
    })?;
    rewrite::syntax_of_expression(*expression)
}

fn run<T>(tokens: &[Token], parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>) -> Result<T> {
    let mut parser_tokens: Vec<TokenWithSpan> = tokens.iter().filter_map(to_parser_token).collect();
    let end = tokens.last().map_or(Location { line: 1, column: 1 }, |token| match token.kind {
        TokenKind::End => span(token).start,
        _ => span(token).end,
    });
    parser_tokens.push(TokenWithSpan { token: ParserToken::EOF, span: Span::new(end, end) });
    let dialect = TrinoDialect;
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(MAX_NESTING_DEPTH)
        .with_tokens_with_locations(parser_tokens);
    let parsed = parse(&mut parser).map_err(|error| syntax_error(&error, tokens, &parser))?;
    match parser.peek_token() {
        TokenWithSpan { token: ParserToken::EOF, .. } => Ok(parsed),
        found => Err(match token_at(tokens, location(found.span)) {
            Some(token) => mismatched(token, ["<EOF>"]),
            None => mismatched(&end_token(tokens), ["<EOF>"]),
        }),
    }
}

fn span(token: &Token) -> Span {
    let line = u64::from(token.location.line);
    let column = u64::from(token.location.column);
    let length = token.text.chars().count() as u64;
    Span::new(Location { line, column }, Location { line, column: column + length })
}

/// The start of a span. None for the spans of what was not in the text.
pub(crate) fn location(span: Span) -> Option<ErrorLocation> {
    let line = u32::try_from(span.start.line).ok()?;
    let column = u32::try_from(span.start.column).ok()?;
    (line > 0).then_some(ErrorLocation { line, column })
}

fn token_at(tokens: &[Token], place: Option<ErrorLocation>) -> Option<&Token> {
    let place = place?;
    tokens.iter().find(|token| token.location == place)
}

fn end_token(tokens: &[Token]) -> Token {
    let last = tokens.last();
    let (line, column) = last.map_or((1, 1), |token| {
        let length = if token.kind == TokenKind::End { 0 } else { token.text.chars().count() };
        (token.location.line, token.location.column + u32::try_from(length).unwrap_or(0))
    });
    let end = last.map_or(0, |token| token.end);
    Token {
        kind: TokenKind::End,
        text: String::from("<EOF>"),
        location: ErrorLocation { line, column },
        start: end,
        end,
    }
}

fn to_parser_token(token: &Token) -> Option<TokenWithSpan> {
    let parser_token = match &token.kind {
        // Names mean the same in any case, with quotes and without; labels are taken from the text.
        TokenKind::Word => ParserToken::make_word(&token.text.to_ascii_lowercase(), None),
        TokenKind::QuotedIdentifier(text) => ParserToken::make_word(&text.to_lowercase(), Some('"')),
        TokenKind::String(text) => ParserToken::SingleQuotedString(text.clone()),
        TokenKind::Binary(digits) => ParserToken::HexStringLiteral(digits.clone()),
        TokenKind::Integer(digits) | TokenKind::Decimal(digits) | TokenKind::Double(digits) => {
            ParserToken::Number(digits.clone(), false)
        }
        TokenKind::Parameter => ParserToken::Placeholder(String::from("?")),
        TokenKind::Symbol(symbol) => symbol_token(symbol)?,
        TokenKind::Unrecognized => ParserToken::Char(token.text.chars().next()?),
        TokenKind::End => return None,
    };
    Some(TokenWithSpan { token: parser_token, span: span(token) })
}

fn symbol_token(symbol: &str) -> Option<ParserToken> {
    Some(match symbol {
        "->" => ParserToken::Arrow,
        "=>" => ParserToken::RArrow,
        "<>" | "!=" => ParserToken::Neq,
        "<=" => ParserToken::LtEq,
        ">=" => ParserToken::GtEq,
        "||" => ParserToken::StringConcat,
        "=" => ParserToken::Eq,
        "<" => ParserToken::Lt,
        ">" => ParserToken::Gt,
        "+" => ParserToken::Plus,
        "-" => ParserToken::Minus,
        "*" => ParserToken::Mul,
        "/" => ParserToken::Div,
        "%" => ParserToken::Mod,
        "(" => ParserToken::LParen,
        ")" => ParserToken::RParen,
        "[" => ParserToken::LBracket,
        "]" => ParserToken::RBracket,
        "," => ParserToken::Comma,
        "." => ParserToken::Period,
        ":" => ParserToken::Colon,
        ";" => ParserToken::SemiColon,
        other => ParserToken::Char(other.chars().next()?),
    })
}

/// Trino's error for what the parser refused.
///
/// The parser's error has its place and what was expected only as text: `Expected: …, found: … at Line: 1, Column: 8`.
/// Nothing but the wording and the place of our error depends on it.
fn syntax_error(error: &ParserError, tokens: &[Token], parser: &Parser<'_>) -> Error {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            let start = tokens.first().map_or(crate::lexer::START, |token| token.location);
            let text = "statement is too large (stack overflow while parsing)";
            return Error::new(ErrorCode::STACK_OVERFLOW, text).at(start);
        }
    };
    let place = place_in(text).or_else(|| location(parser.peek_token().span));
    let end = end_token(tokens);
    let found = token_at(tokens, place).unwrap_or(&end);
    let expected = text
        .strip_prefix("Expected: ")
        .and_then(|rest| rest.split_once(", found: "))
        .map_or_else(|| vec![String::from("<expression>")], |(expected, _)| expectations(expected));
    mismatched(found, expected)
}

fn place_in(text: &str) -> Option<ErrorLocation> {
    let (_, place) = text.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some(ErrorLocation { line: line.parse().ok()?, column: column.parse().ok()? })
}

/// What was expected, in Trino's words.
fn expectations(expected: &str) -> Vec<String> {
    let expected = expected.strip_prefix("one of ").unwrap_or(expected);
    expected
        .split(" or ")
        .flat_map(|part| part.split(", "))
        .map(|part| part.trim().trim_end_matches(" after table name").trim_end_matches(" after"))
        .map(|part| match part {
            "an expression" | "an expression:" => String::from("<expression>"),
            "identifier" | "an identifier" => String::from("<identifier>"),
            "end of statement" => String::from("<EOF>"),
            "literal string" | "string literal" | "a value" => String::from("<string>"),
            "a data type name" => String::from("<type>"),
            "SELECT" | "VALUES" | "a query" | "subquery" | "query" => String::from("<query>"),
            other => format!("'{other}'"),
        })
        .collect()
}

/// What the parser takes as Trino's SQL.
#[derive(Debug)]
struct TrinoDialect;

impl Dialect for TrinoDialect {
    fn is_identifier_start(&self, character: char) -> bool {
        character.is_ascii_alphabetic() || character == '_'
    }

    fn is_identifier_part(&self, character: char) -> bool {
        character.is_ascii_alphanumeric() || character == '_'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn require_interval_qualifier(&self) -> bool {
        true
    }
}
