//! What the parser would take but Trino does not.

use base::Result;

use crate::lexer::{Token, TokenKind};
use crate::syntax::mismatched;

/// Refuses tokens that are no part of Trino's SQL, and orders of clauses that are not Trino's.
///
/// # Errors
/// `SYNTAX_ERROR`.
pub(super) fn reject_foreign_tokens(tokens: &[Token]) -> Result<()> {
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1);
        match &token.kind {
            TokenKind::Unrecognized | TokenKind::Symbol("::" | "==" | "{" | "}" | "|" | "^" | ":") => {
                return Err(mismatched(token, ["<expression>"]));
            }
            TokenKind::Symbol(";") => return Err(mismatched(token, ["<EOF>"])),
            TokenKind::Word if is_any(token, &NO_OPERAND) && wants_operand(tokens, index) => {
                return Err(mismatched(token, ["<expression>"]));
            }
            TokenKind::Word if token.is_word("ILIKE") && ends_operand(tokens, index) => {
                return Err(mismatched(token, ["<EOF>"]));
            }
            TokenKind::Word if token.is_word("INTERVAL") => {
                if let Some(found @ Token { kind: TokenKind::Integer(_), .. }) = next {
                    return Err(mismatched(found, ["'+'", "'-'", "<string>"]));
                }
            }
            TokenKind::Word if token.is_word("LIMIT") => {
                let after = tokens.get(index + 2);
                if let Some(found) = after
                    && (found.is_word("OFFSET") || (found.is_symbol(",") && is_count(next)))
                {
                    return Err(mismatched(found, ["<EOF>"]));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Words that the parser takes for columns where an operand must stand, but that are none.
const NO_OPERAND: [&str; 24] = [
    "AND",
    "AS",
    "BETWEEN",
    "CROSS",
    "ELSE",
    "END",
    "EXCEPT",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERSECT",
    "INTO",
    "IS",
    "JOIN",
    "LIKE",
    "ON",
    "OR",
    "ORDER",
    "THEN",
    "UNION",
    "USING",
    "WHERE",
];

/// Words behind which an operand or a table must stand.
const BEFORE_OPERAND: [&str; 14] = [
    "AND", "BETWEEN", "BY", "DISTINCT", "ELSE", "FROM", "HAVING", "JOIN", "LIKE", "OR", "SELECT", "THEN",
    "WHEN", "WHERE",
];

fn is_any(token: &Token, words: &[&str]) -> bool {
    words.iter().any(|word| token.is_word(word))
}

fn wants_operand(tokens: &[Token], index: usize) -> bool {
    let Some(before) = index.checked_sub(1).and_then(|index| tokens.get(index)) else {
        return false;
    };
    match &before.kind {
        TokenKind::Symbol(symbol) => {
            [",", "+", "-", "/", "%", "||", "=", "<>", "!=", "<", ">", "<=", ">="].contains(symbol)
        }
        // `IS DISTINCT FROM` is one operator.
        TokenKind::Word if before.is_word("DISTINCT") => !tokens[index].is_word("FROM"),
        TokenKind::Word => is_any(before, &BEFORE_OPERAND),
        _ => false,
    }
}

fn is_count(token: Option<&Token>) -> bool {
    token.is_some_and(|token| matches!(token.kind, TokenKind::Integer(_) | TokenKind::Parameter))
}

/// Whether an operand ends before the token, so that the token is an operator.
fn ends_operand(tokens: &[Token], index: usize) -> bool {
    let Some(before) = index.checked_sub(1).and_then(|index| tokens.get(index)) else {
        return false;
    };
    match &before.kind {
        TokenKind::Word => !crate::reserved::is_reserved(&before.text) || before.is_word("NOT"),
        TokenKind::Symbol(symbol) => [")", "]"].contains(symbol),
        TokenKind::End => false,
        _ => true,
    }
}
