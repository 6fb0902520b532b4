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
