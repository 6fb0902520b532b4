//! `VALUES 1, 2` and `TABLE t`, in the form that the parser knows.

use crate::lexer::{Token, TokenKind};

/// The words after which a query may stand.
const BEFORE_QUERY: [&str; 7] = ["UNION", "INTERSECT", "EXCEPT", "ALL", "DISTINCT", "AS", "CORRESPONDING"];

/// The words that end a list of rows.
const AFTER_ROWS: [&str; 7] = ["ORDER", "OFFSET", "LIMIT", "FETCH", "UNION", "INTERSECT", "EXCEPT"];

/// Gives every row of `VALUES` parentheses, and writes `TABLE t` as `SELECT * FROM t`.
pub(super) fn rewrite(tokens: &[Token]) -> Vec<Token> {
    let mut rewritten: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        if !may_start_query(rewritten.last()) {
            rewritten.push(token.clone());
            index += 1;
            continue;
        }
        if token.is_word("TABLE") && tokens.get(index + 1).is_some_and(is_name) {
            for (kind, text) in
                [(TokenKind::Word, "SELECT"), (TokenKind::Symbol("*"), "*"), (TokenKind::Word, "FROM")]
            {
                rewritten.push(Token { kind, text: text.to_owned(), ..token.clone() });
            }
            index += 1;
        } else if token.is_word("VALUES") {
            rewritten.push(token.clone());
            index = rows(tokens, index + 1, &mut rewritten);
        } else {
            rewritten.push(token.clone());
            index += 1;
        }
    }
    rewritten
}

fn may_start_query(before: Option<&Token>) -> bool {
    before.is_none_or(|token| token.is_symbol("(") || BEFORE_QUERY.iter().any(|word| token.is_word(word)))
}

fn is_name(token: &Token) -> bool {
    matches!(token.kind, TokenKind::Word | TokenKind::QuotedIdentifier(_))
}

/// Rewrites the rows from `index` on, and the queries in them, and gives the index behind them.
fn rows(tokens: &[Token], mut index: usize, rewritten: &mut Vec<Token>) -> usize {
    loop {
        let end = row_end(tokens, index);
        let row = &tokens[index..end];
        match row {
            [] => return end,
            [first, ..] if first.is_symbol("(") && is_row(row) => rewritten.extend(rewrite(row)),
            [first, rest @ ..] if first.is_word("ROW") && is_row(rest) => rewritten.extend(rewrite(rest)),
            [first, ..] => {
                let bracket = |symbol: &'static str| Token {
                    kind: TokenKind::Symbol(symbol),
                    text: symbol.to_owned(),
                    ..first.clone()
                };
                rewritten.push(bracket("("));
                rewritten.extend(rewrite(row));
                rewritten.push(bracket(")"));
            }
        }
        match tokens.get(end) {
            Some(token) if token.is_symbol(",") => rewritten.push(token.clone()),
            _ => return end,
        }
        index = end + 1;
    }
}

fn row_end(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match &token.kind {
            TokenKind::End => return index,
            TokenKind::Symbol("(" | "[") => depth += 1,
            TokenKind::Symbol(")" | "]") if depth == 0 => return index,
            TokenKind::Symbol(")" | "]") => depth -= 1,
            TokenKind::Symbol(",") if depth == 0 => return index,
            TokenKind::Word if depth == 0 && AFTER_ROWS.iter().any(|word| token.is_word(word)) => {
                return index;
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Whether the tokens are one pair of parentheses around expressions.
fn is_row(tokens: &[Token]) -> bool {
    if !tokens.first().is_some_and(|token| token.is_symbol("(")) {
        return false;
    }
    if tokens.get(1).is_some_and(|token| token.is_word("SELECT") || token.is_word("WITH")) {
        return false;
    }
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match &token.kind {
            TokenKind::Symbol("(") => depth += 1,
            TokenKind::Symbol(")") => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index + 1 == tokens.len();
                }
            }
            _ => {}
        }
    }
    false
}
