//! Splitting a text into statements at its semicolons.

/// The statements of a text, and what follows the last semicolon.
#[derive(Debug, PartialEq, Eq)]
pub struct Statements {
    /// Those that end with a semicolon, without it.
    pub complete: Vec<String>,
    /// What follows, without blanks around it.
    pub rest: String,
}

/// Splits a text at the semicolons that stand outside of quotes and comments.
pub fn split(text: &str) -> Statements {
    let mut complete = Vec::new();
    let mut current = String::new();
    let mut state = State::Code;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied();
        if state == State::Code && character == ';' {
            push(&mut complete, &mut current);
            continue;
        }
        current.push(character);
        state = match (state, character, next) {
            (State::Code, '\'', _) => State::Quoted('\''),
            (State::Code, '"', _) => State::Quoted('"'),
            (State::Code, '-', Some('-')) => State::LineComment,
            (State::Code, '/', Some('*')) => {
                current.extend(characters.next());
                State::BlockComment
            }
            (State::Quoted(quote), end, _) if end == quote => State::Code,
            (State::LineComment, '\n', _) => State::Code,
            (State::BlockComment, '*', Some('/')) => {
                current.extend(characters.next());
                State::Code
            }
            (state, ..) => state,
        };
    }
    Statements { complete, rest: current.trim().to_string() }
}

fn push(complete: &mut Vec<String>, current: &mut String) {
    let statement = std::mem::take(current).trim().to_string();
    if !statement.is_empty() {
        complete.push(statement);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    Quoted(char),
    LineComment,
    BlockComment,
}

/// All statements of a text; the last one needs no semicolon.
pub fn statements(text: &str) -> Vec<String> {
    let Statements { mut complete, rest } = split(text);
    if !rest.is_empty() {
        complete.push(rest);
    }
    complete
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_quotes_and_comments_end_nothing() {
        let text = "select ';' ; select \"a;b\" -- no; end\n; /* ; */ select 'it''s;'; ; select 4";
        assert_eq!(
            split(text),
            Statements {
                complete: vec![
                    "select ';'".into(),
                    "select \"a;b\" -- no; end".into(),
                    "/* ; */ select 'it''s;'".into(),
                ],
                rest: "select 4".into(),
            }
        );
        assert_eq!(statements("select 1;select 2").len(), 2);
        assert_eq!(statements(" ; ").len(), 0);
    }
}
