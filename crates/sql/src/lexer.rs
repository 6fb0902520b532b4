//! From text to tokens, by the lexical rules of Trino's grammar.

use base::{Error, ErrorCode, ErrorLocation, Result};

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A keyword or an identifier without quotes.
    Word,
    /// `"…"`, with its text.
    QuotedIdentifier(String),
    /// `'…'` or `U&'…'`, with its text.
    String(String),
    /// `X'…'`, with its digits.
    Binary(String),
    /// A whole number, with its value in decimal digits.
    Integer(String),
    /// A number with a point, without underscores.
    Decimal(String),
    /// A number with an exponent.
    Double(String),
    /// `?`
    Parameter,
    /// An operator or punctuation.
    Symbol(&'static str),
    /// Something that can be no part of a statement.
    Unrecognized,
    /// The end.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// The token as written.
    pub(crate) text: String,
    pub(crate) location: ErrorLocation,
    /// Its first byte in the text of the statement.
    pub(crate) start: usize,
    /// The byte behind it.
    pub(crate) end: usize,
}

impl Token {
    pub(crate) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.kind, TokenKind::Symbol(found) if found == symbol)
    }

    pub(crate) fn is_word(&self, keyword: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(keyword)
    }
}

/// The start of a text that stands alone.
pub(crate) const START: ErrorLocation = ErrorLocation { line: 1, column: 1 };

/// Symbols, the longer ones first.
const SYMBOLS: [&str; 29] = [
    "->", "=>", "<>", "!=", "<=", ">=", "||", "::", "==", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")",
    "[", "]", ",", ".", ":", ";", "{", "}", "|", "^",
];

/// The tokens of a text that starts at `origin`, with [`TokenKind::End`] last.
///
/// # Errors
/// `SYNTAX_ERROR` for a comment, string or quoted identifier without an end, and for malformed literals.
pub(crate) fn tokenize(text: &str, origin: ErrorLocation) -> Result<Vec<Token>> {
    let mut lexer = Lexer { text, position: 0, location: origin };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let token = lexer.next()?;
        let done = token.kind == TokenKind::End;
        tokens.push(token);
        if done {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    position: usize,
    location: ErrorLocation,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn advance(&mut self, bytes: usize) {
        let (passed, _) = self.rest().split_at(bytes);
        for character in passed.chars() {
            if character == '\n' {
                self.location.line += 1;
                self.location.column = 1;
            } else {
                self.location.column += 1;
            }
        }
        self.position += bytes;
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            let length = if blanks > 0 {
                blanks
            } else if rest.starts_with("--") {
                rest.find('\n').unwrap_or(rest.len())
            } else if let Some(comment) = rest.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => end + 4,
                    None => return,
                }
            } else {
                return;
            };
            self.advance(length);
        }
    }

    fn next(&mut self) -> Result<Token> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token {
                kind: TokenKind::End,
                text: String::from("<EOF>"),
                location: self.location,
                start: self.position,
                end: self.position,
            });
        };
        let (kind, length) = self.scan(rest, first)?;
        let token = Token {
            kind,
            text: rest[..length].to_owned(),
            location: self.location,
            start: self.position,
            end: self.position + length,
        };
        self.advance(length);
        Ok(token)
    }

    fn scan(&self, rest: &str, first: char) -> Result<(TokenKind, usize)> {
        let bytes = rest.as_bytes();
        let second = bytes.get(1).copied().unwrap_or(0);
        match first {
            '\'' => Ok(match quoted(rest, '\'') {
                Some((text, length)) => (TokenKind::String(text), length),
                None => (TokenKind::Unrecognized, 1),
            }),
            '"' => match quoted(rest, '"') {
                Some((text, _)) if text.is_empty() => {
                    Err(self.error("Zero-length delimited identifier not allowed"))
                }
                Some((text, length)) => Ok((TokenKind::QuotedIdentifier(text), length)),
                None => Ok((TokenKind::Unrecognized, 1)),
            },
            '`' => match quoted(rest, '`') {
                Some(_) => Err(self.error(
                    "backquoted identifiers are not supported; use double quotes to quote identifiers",
                )),
                None => Ok((TokenKind::Unrecognized, 1)),
            },
            'x' | 'X' if second == b'\'' => match quoted(&rest[1..], '\'') {
                Some((digits, length)) => Ok((TokenKind::Binary(self.hex_digits(&digits)?), length + 1)),
                None => Ok((TokenKind::Word, 1)),
            },
            'u' | 'U' if rest[1..].starts_with("&'") => match quoted(&rest[2..], '\'') {
                Some((text, length)) => Ok((TokenKind::String(self.unicode(&text)?), length + 2)),
                None => Ok((TokenKind::Word, 1)),
            },
            '?' => Ok((TokenKind::Parameter, 1)),
            '0'..='9' => self.number(rest),
            '.' if second.is_ascii_digit() => self.number(rest),
            'a'..='z' | 'A'..='Z' | '_' => Ok((TokenKind::Word, word_length(rest))),
            _ => Ok(match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                Some(symbol) => (TokenKind::Symbol(symbol), symbol.len()),
                None => (TokenKind::Unrecognized, first.len_utf8()),
            }),
        }
    }

    fn number(&self, rest: &str) -> Result<(TokenKind, usize)> {
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            let has_prefix = rest.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
            if has_prefix && let length @ 1.. = digits_length(&rest[2..], radix) {
                let digits = rest[2..2 + length].replace('_', "");
                let value = u128::from_str_radix(&digits, radix)
                    .map_err(|_| self.literal_error(&rest[..2 + length]))?;
                return self.numeric(TokenKind::Integer(value.to_string()), rest, 2 + length);
            }
        }
        let mut length = digits_length(rest, 10);
        let mut has_point = false;
        if rest[length..].starts_with('.') {
            has_point = true;
            length += 1;
            length += digits_length(&rest[length..], 10);
        }
        let exponent = exponent_length(&rest[length..]);
        length += exponent;
        let digits = rest[..length].replace('_', "");
        let kind = match (exponent > 0, has_point) {
            (true, _) => TokenKind::Double(digits),
            (false, true) => TokenKind::Decimal(digits),
            (false, false) => TokenKind::Integer(digits),
        };
        self.numeric(kind, rest, length)
    }

    /// A number must not run into a word: `1_` and `2x` are identifiers that start with a digit.
    fn numeric(&self, kind: TokenKind, rest: &str, length: usize) -> Result<(TokenKind, usize)> {
        if word_length(&rest[length..]) == 0 || rest[..length].contains('.') {
            return Ok((kind, length));
        }
        Err(self.error("identifiers must not start with a digit; surround the identifier with double quotes"))
    }

    fn hex_digits(&self, text: &str) -> Result<String> {
        let digits: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        if !digits.len().is_multiple_of(2) {
            return Err(self.error("Binary literal must contain an even number of digits"));
        }
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(self.error("Binary literal can only contain hexadecimal digits"));
        }
        Ok(digits)
    }

    /// Decodes `\xxxx` and `\+xxxxxx`.
    fn unicode(&self, text: &str) -> Result<String> {
        let mut decoded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            decoded.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('\\') {
                decoded.push('\\');
                rest = after;
                continue;
            }
            let (digits, after) = match rest.strip_prefix('+') {
                Some(long) => (long.get(..6), long.get(6..)),
                None => (rest.get(..4), rest.get(4..)),
            };
            let (Some(digits), Some(after)) = (digits, after) else {
                return Err(self.error("Incomplete escape sequence: "));
            };
            let character = u32::from_str_radix(digits, 16)
                .map_err(|_| self.error("Invalid hexadecimal digit"))
                .and_then(|code| {
                    char::from_u32(code)
                        .ok_or_else(|| self.error(&format!("Invalid escaped character: {digits}")))
                })?;
            decoded.push(character);
            rest = after;
        }
        decoded.push_str(rest);
        Ok(decoded)
    }

    fn literal_error(&self, text: &str) -> Error {
        Error::new(ErrorCode::INVALID_LITERAL, format!("Invalid numeric literal: {text}")).at(self.location)
    }

    fn error(&self, message: &str) -> Error {
        Error::new(ErrorCode::SYNTAX_ERROR, message).at(self.location)
    }
}

/// The text between quotes, and the length with them. A doubled quote stands for itself.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            text.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            text.push(quote);
        } else {
            return Some((text, at + quote.len_utf8()));
        }
    }
    None
}

fn word_length(rest: &str) -> usize {
    rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

/// The length of digits with single underscores between them.
fn digits_length(rest: &str, radix: u32) -> usize {
    let bytes = rest.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(|byte| char::from(*byte).is_digit(radix));
    let mut length = 0;
    while is_digit(length) || (bytes.get(length) == Some(&b'_') && length > 0 && is_digit(length + 1)) {
        length += 1;
    }
    length
}

fn exponent_length(rest: &str) -> usize {
    if !rest.starts_with(['e', 'E']) {
        return 0;
    }
    let sign = usize::from(rest[1..].starts_with(['+', '-']));
    match digits_length(&rest[1 + sign..], 10) {
        0 => 0,
        digits => 1 + sign + digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        let mut tokens = tokenize(text, START).unwrap();
        tokens.pop();
        tokens.into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn literals() {
        use TokenKind::*;
        for (text, kind) in [
            ("1_000", Integer("1000".into())),
            ("0x1F", Integer("31".into())),
            ("0b101", Integer("5".into())),
            ("0o17", Integer("15".into())),
            ("1.5", Decimal("1.5".into())),
            (".5", Decimal(".5".into())),
            ("1.", Decimal("1.".into())),
            ("1e0", Double("1e0".into())),
            ("1.5E-3", Double("1.5E-3".into())),
            ("'it''s'", String("it's".into())),
            (r"'a\n'", String(r"a\n".into())),
            (r"U&'\0041\+000042'", String("AB".into())),
            ("X'61 62'", Binary("6162".into())),
            (r#""a""B""#, QuotedIdentifier("a\"B".into())),
            ("?", Parameter),
            ("$", Unrecognized),
            ("'open", Unrecognized),
        ] {
            assert_eq!(kinds(text).first(), Some(&kind), "{text}");
        }
    }

    #[test]
    fn locations_count_lines_and_characters() {
        let tokens =
            tokenize("select -- é\n  'ü', /* \n */ x", ErrorLocation { line: 3, column: 5 }).unwrap();
        let places: Vec<_> =
            tokens.iter().map(|token| (token.location.line, token.location.column)).collect();
        assert_eq!(places, [(3, 5), (4, 3), (4, 6), (5, 5), (5, 6)]);
    }

    #[test]
    fn malformed_tokens_are_syntax_errors() {
        for (text, message) in [
            (
                "select `a`",
                "line 1:8: backquoted identifiers are not supported; use double quotes to quote identifiers",
            ),
            ("select \"\"", "line 1:8: Zero-length delimited identifier not allowed"),
            ("select X'1'", "line 1:8: Binary literal must contain an even number of digits"),
            (
                "select 1x",
                "line 1:8: identifiers must not start with a digit; surround the identifier with double quotes",
            ),
        ] {
            assert_eq!(tokenize(text, START).unwrap_err().to_string(), message);
        }
    }
}
