//! The syntax of Java's properties files.

use std::sync::Arc;

use crate::problem::{Position, Problem, ProblemKind};

/// A property as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its value, without spaces around it.
    pub value: String,
    /// Where it begins.
    pub position: Position,
}

/// Reads a file: the properties it has, and the lines that are none.
///
/// Comments begin with `#` or `!`; a name ends at `=`, `:` or a space; a `\` at the end continues a line; `\t`, `\n`,
/// `\r`, `\f` and `\uXXXX` are escapes; before any other letter, `\` is dropped.
pub fn parse(file: &str, text: &str) -> (Vec<Entry>, Vec<Problem>) {
    let file: Arc<str> = file.into();
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    for (line, text) in logical_lines(text) {
        let position = Position { file: Arc::clone(&file), line: Some(line) };
        let syntax = |reason: &str| Problem {
            position: Some(position.clone()),
            kind: ProblemKind::Syntax { reason: reason.to_owned() },
        };
        let (name, value) = split(&text);
        match (unescape(name), unescape(value)) {
            (Some(name), Some(_)) if name.is_empty() => {
                problems.push(syntax("A property needs a name before its value"));
            }
            (Some(name), Some(value)) => {
                entries.push(Entry { name, value: value.trim().to_owned(), position });
            }
            _ => problems.push(syntax("Malformed \\uxxxx encoding")),
        }
    }
    (entries, problems)
}

/// Writes a value so that [`parse`] reads it back.
pub fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{c}' => escaped.push_str("\\f"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Joins continued lines; leaves out blank lines and comments. Each comes with the number of its first line.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = Vec::new();
    let mut open: Option<(u32, String)> = None;
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.trim_start_matches(is_blank);
        if open.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let (start, mut joined) = open.take().unwrap_or((number, String::new()));
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            joined.push_str(&line[..line.len() - 1]);
            open = Some((start, joined));
        } else {
            joined.push_str(line);
            lines.push((start, joined));
        }
    }
    lines.extend(open);
    lines
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\u{c}')
}

/// Splits a line into name and value, both still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|letter: char| {
        let ends = !escaped && (matches!(letter, '=' | ':') || is_blank(letter));
        escaped = !escaped && letter == '\\';
        ends
    });
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    (name, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank))
}

/// Resolves escapes. None: a malformed `\uXXXX`.
fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let letter = if letter == '\\' {
            letters.next().unwrap_or('\\')
        } else {
            units.extend(letter.encode_utf16(&mut [0; 2]).iter());
            continue;
        };
        let plain = match letter {
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\u{c}',
            'u' => {
                let digits: String = letters.by_ref().take(4).collect();
                let is_number = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                units.push(u16::from_str_radix(&digits, 16).ok().filter(|_| is_number)?);
                continue;
            }
            other => other,
        };
        units.extend(plain.encode_utf16(&mut [0; 2]).iter());
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String, u32)> {
        let (entries, problems) = parse("f", text);
        assert_eq!(problems, []);
        let line = |entry: &Entry| entry.position.line.unwrap();
        entries.iter().map(|entry| (entry.name.clone(), entry.value.clone(), line(entry))).collect()
    }

    #[test]
    fn all_of_the_syntax_is_read() {
        for (text, name, value, line) in [
            ("a=b", "a", "b", 1),
            ("  a  =  b  ", "a", "b", 1),
            ("a:b", "a", "b", 1),
            ("a b", "a", "b", 1),
            ("a", "a", "", 1),
            ("a=", "a", "", 1),
            ("# c\n! d\n\n\t\na=b # c", "a", "b # c", 5),
            ("a=b\\\n   c", "a", "bc", 1),
            ("a=b\\\r\n   c\\\r d", "a", "bcd", 1),
            ("a=b\\\\", "a", "b\\", 1),
            ("a=b\\", "a", "b", 1),
            ("a=b\\\n#c", "a", "b#c", 1),
            ("a\\=b\\:c\\ d=e", "a=b:c d", "e", 1),
            ("a=\\t\\u0041\\uD83D\\uDE00\\q", "a", "A\u{1F600}q", 1),
            ("a==b", "a", "=b", 1),
            ("a=x:y=z", "a", "x:y=z", 1),
            ("a = : b", "a", ": b", 1),
            ("grün=ß", "grün", "ß", 1),
        ] {
            assert_eq!(read(text), [(name.to_owned(), value.to_owned(), line)], "{text:?}");
        }
    }

    #[test]
    fn lines_that_are_no_properties_are_reported() {
        let (entries, problems) = parse("etc/x", "ok=1\n=v\na=\\u12\nb=\\u+123\nc=\\uD83D");
        assert_eq!(entries.len(), 1);
        let texts: Vec<_> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(
            texts,
            [
                "etc/x:2: A property needs a name before its value",
                "etc/x:3: Malformed \\uxxxx encoding",
                "etc/x:4: Malformed \\uxxxx encoding",
                "etc/x:5: Malformed \\uxxxx encoding",
            ]
        );
    }

    #[test]
    fn what_is_escaped_reads_back() {
        let value = "C:\\dir\\n x\ny\t=:#!";
        assert_eq!(read(&format!("k={}", escape(value))), [("k".to_owned(), value.to_owned(), 1)]);
    }
}
