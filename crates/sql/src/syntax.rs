//! Walking over tokens, and the syntax errors that come of it.

use std::collections::BTreeSet;

use base::{Error, ErrorCode, ErrorLocation, Result};

use crate::QualifiedName;
use crate::lexer::{Token, TokenKind};
use crate::reserved::is_reserved;

/// The error for a token that cannot stand where it stands.
pub(crate) fn mismatched<I, S>(found: &Token, expected: I) -> Error
where
    I: IntoIterator<Item = S>,
    S: Into<String>,
{
    let expected: BTreeSet<String> = expected.into_iter().map(Into::into).collect();
    let expected: Vec<String> = expected.into_iter().collect();
    let text = format!("mismatched input '{}'. Expecting: {}", found.text, expected.join(", "));
    Error::new(ErrorCode::SYNTAX_ERROR, text).at(found.location)
}

/// A place among tokens, with what could have stood there.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    tokens: &'a [Token],
    position: usize,
    /// What was looked for at the current position and not found.
    expected: Vec<String>,
}

impl<'a> Cursor<'a> {
    /// `tokens` end with [`TokenKind::End`].
    pub(crate) fn new(tokens: &'a [Token]) -> Self {
        Cursor { tokens, position: 0, expected: Vec::new() }
    }

    pub(crate) fn token(&self) -> &'a Token {
        &self.tokens[self.position]
    }

    pub(crate) fn ahead(&self, count: usize) -> &'a Token {
        &self.tokens[(self.position + count).min(self.tokens.len() - 1)]
    }

    pub(crate) fn location(&self) -> ErrorLocation {
        self.token().location
    }

    pub(crate) fn is_end(&self) -> bool {
        self.token().kind == TokenKind::End
    }

    /// What is left, with the end.
    pub(crate) fn rest(&self) -> &'a [Token] {
        &self.tokens[self.position..]
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.position = (self.position + count).min(self.tokens.len() - 1);
        self.expected.clear();
    }

    /// Takes a keyword if it stands here.
    pub(crate) fn accept(&mut self, keyword: &str) -> bool {
        if self.token().is_word(keyword) {
            self.skip(1);
            return true;
        }
        self.expected.push(format!("'{keyword}'"));
        false
    }

    /// Takes the first of some keywords that stands here.
    pub(crate) fn accept_any(&mut self, keywords: &[&'static str]) -> Option<&'static str> {
        keywords.iter().copied().find(|keyword| self.accept(keyword))
    }

    pub(crate) fn accept_symbol(&mut self, symbol: &str) -> bool {
        if self.token().is_symbol(symbol) {
            self.skip(1);
            return true;
        }
        self.expected.push(format!("'{symbol}'"));
        false
    }

    pub(crate) fn expect(&mut self, keyword: &str) -> Result<()> {
        if self.accept(keyword) { Ok(()) } else { Err(self.mismatch()) }
    }

    pub(crate) fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.mismatch()) }
    }

    pub(crate) fn expect_end(&mut self) -> Result<()> {
        if self.is_end() {
            return Ok(());
        }
        self.expected.push(String::from("<EOF>"));
        Err(self.mismatch())
    }

    /// An identifier in lower case.
    pub(crate) fn identifier(&mut self) -> Result<String> {
        let name = match &self.token().kind {
            TokenKind::Word if !is_reserved(&self.token().text) => self.token().text.to_ascii_lowercase(),
            TokenKind::QuotedIdentifier(text) => text.to_lowercase(),
            _ => return Err(self.mismatch_with("<identifier>")),
        };
        self.skip(1);
        Ok(name)
    }

    pub(crate) fn qualified_name(&mut self) -> Result<QualifiedName> {
        let location = self.location();
        let mut parts = vec![self.identifier()?];
        while self.accept_symbol(".") {
            parts.push(self.identifier()?);
        }
        Ok(QualifiedName { parts, location })
    }

    pub(crate) fn string(&mut self) -> Result<String> {
        let TokenKind::String(text) = &self.token().kind else {
            return Err(self.mismatch_with("<string>"));
        };
        self.skip(1);
        Ok(text.clone())
    }

    /// The error for the token here, with all that was looked for.
    pub(crate) fn mismatch(&self) -> Error {
        mismatched(self.token(), self.expected.iter().cloned())
    }

    pub(crate) fn mismatch_with(&self, expected: &str) -> Error {
        mismatched(self.token(), self.expected.iter().cloned().chain([expected.to_owned()]))
    }

    /// The tokens up to a comma or a closing bracket that is not theirs. At least one.
    pub(crate) fn expression_tokens(&mut self) -> Result<&'a [Token]> {
        let start = self.position;
        let mut depth = 0_usize;
        loop {
            let token = self.token();
            match &token.kind {
                TokenKind::End => break,
                TokenKind::Symbol("(" | "[") => depth += 1,
                TokenKind::Symbol(")" | "]") if depth == 0 => break,
                TokenKind::Symbol(")" | "]") => depth -= 1,
                TokenKind::Symbol(",") if depth == 0 => break,
                _ => {}
            }
            self.skip(1);
        }
        if self.position == start {
            return Err(self.mismatch_with("<expression>"));
        }
        Ok(&self.tokens[start..self.position])
    }
}
