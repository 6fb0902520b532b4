//! Bodies that are no statement.

use super::{ANY_USER_ERROR, Case, Expected};
use crate::http::Request;

const EMPTY: Expected = Expected::Refused(&[400], "SQL statement is empty");
const NOT_UTF8: Expected = Expected::Refused(&[400], "not UTF-8");

pub fn cases() -> Vec<Case> {
    let syntax_error = Expected::Failed("SYNTAX_ERROR", "line 1:");
    let bodies: Vec<(&str, Vec<u8>, Expected)> = vec![
        ("nothing", b"".to_vec(), EMPTY),
        ("blanks", b"   ".to_vec(), EMPTY),
        ("ends of lines", b"\r\n\t\n".to_vec(), EMPTY),
        ("a byte that is no text", b"SELECT '\xff'".to_vec(), NOT_UTF8),
        ("an overlong encoding", b"SELECT '\xc0\xaf'".to_vec(), NOT_UTF8),
        ("half of a surrogate pair", b"SELECT '\xed\xa0\x80'".to_vec(), NOT_UTF8),
        ("a cut character", b"SELECT '\xf0\x9f\xa6".to_vec(), NOT_UTF8),
        ("UTF-16", b"\xff\xfeS\0E\0L\0".to_vec(), NOT_UTF8),
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), NOT_UTF8),
        ("a NUL", b"SELECT \0 1".to_vec(), syntax_error.clone()),
        ("only a comment", b"-- nothing".to_vec(), syntax_error.clone()),
        ("only a semicolon", b";".to_vec(), syntax_error.clone()),
        ("a text without an end", b"SELECT 'a".to_vec(), syntax_error.clone()),
        ("a name without an end", b"SELECT \"a".to_vec(), syntax_error.clone()),
        ("a comment without an end", b"SELECT /* a".to_vec(), syntax_error.clone()),
        ("a beginning", b"SELECT".to_vec(), syntax_error.clone()),
        ("two statements", b"SELECT 1; SELECT 2".to_vec(), syntax_error.clone()),
        ("JSON", br#"{"query": "SELECT 1"}"#.to_vec(), syntax_error.clone()),
        ("a form", b"query=SELECT+1".to_vec(), syntax_error.clone()),
        ("a picture as a name", "SELECT 🦀".as_bytes().to_vec(), syntax_error.clone()),
        ("a byte order mark", b"\xef\xbb\xbfSELECT 1".to_vec(), syntax_error.clone()),
        ("a lone bracket", b"SELECT )".to_vec(), syntax_error),
        ("many brackets", vec![b'('; 100_000], Expected::Failed(ANY_USER_ERROR, "line 1:")),
        (
            "a deep expression",
            format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000)).into_bytes(),
            Expected::Failed("STACK_OVERFLOW", "too large"),
        ),
        (
            "a deep condition",
            format!("SELECT {}true", "NOT ".repeat(50_000)).into_bytes(),
            Expected::Failed(ANY_USER_ERROR, "line 1:"),
        ),
        (
            "a long expression",
            format!("SELECT 1{}", " + 1".repeat(100_000)).into_bytes(),
            Expected::Failed("STACK_OVERFLOW", "too large"),
        ),
        (
            "a statement longer than query.max-length",
            format!("SELECT '{}'", "a".repeat(1_000_000)).into_bytes(),
            Expected::Failed("QUERY_TEXT_TOO_LARGE", "exceeds the maximum length (1000000)"),
        ),
    ];
    let mut cases: Vec<Case> = bodies
        .into_iter()
        .map(|(name, body, expected)| Case::new(format!("body: {name}"), Request::statement(body), expected))
        .collect();
    cases.push(Case::new(
        "body: longer than any statement may be",
        Request::statement(vec![b' '; (64 << 20) + 1]),
        Expected::Refused(&[413], ""),
    ));
    cases.push(Case::new(
        "body: a statement in chunks",
        Request::new("POST", "/v1/statement")
            .protocol("User", "compatibility")
            .without("Content-Length")
            .header("Transfer-Encoding", "chunked")
            .body("4\r\nSELE\r\n4\r\nCT 1\r\n0\r\n\r\n"),
        Expected::Served,
    ));
    cases.push(Case::new(
        "body: chunks without sizes",
        Request::statement("SELECT 1\r\n").without("Content-Length").header("Transfer-Encoding", "chunked"),
        Expected::Refused(&[400], ""),
    ));
    cases
}
