//! Headers that do not say what they should.

use super::{ANY_USER_ERROR, Case, Expected};
use crate::http::{PREFIX, Request};

/// Headers that are refused at once: a name without the prefix, and a value.
const REFUSED: &[(&str, &[u8])] = &[
    ("Session", b"a"),
    ("Session", b"a=b=c"),
    ("Session", b"=x"),
    ("Session", b"a=%zz"),
    ("Session", b"a=%2"),
    ("Session", b"a=1,b"),
    ("Session", b"tpch.=1"),
    ("Session", b".a=1"),
    ("Role", b"system"),
    ("Role", b"system=admin"),
    ("Role", b"system=ROLE{"),
    ("Role", b"system=ROLE%7B%7D"),
    ("Role", b"system=%zz"),
    ("Role", b"=ALL"),
    ("Original-Roles", b"system"),
    ("Original-Roles", b"system=all"),
    ("Prepared-Statement", b"p"),
    ("Prepared-Statement", b"=SELECT+1"),
    ("Prepared-Statement", b"p=SELECT=1"),
    ("Prepared-Statement", b"p=%zz"),
    ("Prepared-Statement", b"%zz=SELECT+1"),
    ("Prepared-Statement", b"p=SELEC+1"),
    ("Prepared-Statement", b"p="),
    ("Prepared-Statement", b"p=SELECT+1,q=SELECT+%27"),
    ("Prepared-Statement", b"p=$zstd:"),
    ("Prepared-Statement", b"p=$zstd:AAAA"),
    ("Prepared-Statement", b"p=%24zstd%3A%21%21"),
    ("Extra-Credential", b"secret"),
    ("Extra-Credential", b"=secret"),
    ("Extra-Credential", b"internal$secret=x"),
    ("Resource-Estimate", b"CPU_TIME"),
    ("Resource-Estimate", b"CPU_TIME=soon"),
    ("Resource-Estimate", b"EXECUTION_TIME=-1s"),
    ("Resource-Estimate", b"PEAK_MEMORY=1"),
    ("Resource-Estimate", b"PATIENCE=1s"),
    ("Source", b"\xff\xfe"),
    ("Session", b"a=\xc0\xaf"),
    ("Client-Tags", b"\x80"),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = REFUSED
        .iter()
        .map(|(name, value)| {
            let title = format!("header: {name}: {}", String::from_utf8_lossy(value));
            let request = Request::statement("SELECT 1").protocol(name, value);
            // The text says which header is meant.
            let text = match *name {
                "Extra-Credential" if value.contains(&b'=') => "extra credential",
                "Resource-Estimate" if value.starts_with(b"PATIENCE") => "PATIENCE",
                _ if std::str::from_utf8(value).is_err() => "UTF-8",
                _ => name,
            };
            Case::new(title, request, Expected::Refused(&[400], text))
        })
        .collect();
    cases.extend(users());
    cases.extend(names());
    cases.extend(judged_later());
    cases.extend(framing());
    cases
}

fn users() -> Vec<Case> {
    let nobody = || Request::statement("SELECT 1").without("User");
    let unauthenticated = Expected::Refused(&[400, 401], "ser must be set");
    vec![
        Case::new("user: none", nobody(), unauthenticated.clone()),
        Case::new("user: empty", nobody().protocol("User", ""), unauthenticated.clone()),
        Case::new("user: blank", nobody().protocol("User", "  "), unauthenticated.clone()),
        Case::new(
            "user: of another protocol",
            nobody().header("X-Presto-User", "a"),
            unauthenticated.clone(),
        ),
        Case::new("user: in a header without the prefix", nobody().header("User", "a"), unauthenticated),
        Case::new(
            "user: by Basic authentication",
            nobody().header("Authorization", "Basic YWxpY2U6"),
            Expected::Served,
        ),
        Case::new(
            "user: with a password that nobody checks",
            nobody().header("Authorization", "Basic YWxpY2U6c2VjcmV0"),
            Expected::Refused(&[401], "Password not allowed"),
        ),
        Case::new(
            "user: in credentials that are none",
            nobody().header("Authorization", "Basic %%%"),
            Expected::Refused(&[401], "Malformed credentials"),
        ),
        Case::new(
            "user: in credentials of nobody",
            nobody().header("Authorization", "Basic Og=="),
            Expected::Refused(&[401], "Malformed credentials"),
        ),
        Case::new("user: not UTF-8", nobody().protocol("User", b"\xe9"), Expected::Refused(&[400], "UTF-8")),
    ]
}

fn names() -> Vec<Case> {
    let alone = Expected::Refused(&[400], "Schema is set but catalog is not");
    let statement = || Request::statement("SELECT count(*) FROM nation");
    vec![
        Case::new("schema: without a catalog", statement().protocol("Schema", "tiny"), alone.clone()),
        Case::new(
            "schema: with an empty catalog",
            statement().protocol("Schema", "tiny").protocol("Catalog", " "),
            alone,
        ),
        Case::new(
            "catalog: none such",
            statement().protocol("Catalog", "nope").protocol("Schema", "tiny"),
            Expected::Failed("CATALOG_NOT_FOUND", "nope"),
        ),
        Case::new(
            "schema: none such",
            statement().protocol("Catalog", "tpch").protocol("Schema", "nope"),
            Expected::Failed("SCHEMA_NOT_FOUND", "Schema 'nope' does not exist"),
        ),
        Case::new(
            "catalog: none",
            statement(),
            Expected::Failed("MISSING_SCHEMA_NAME", "Schema must be specified"),
        ),
        Case::new(
            "header names: in any case",
            statement().header("x-trino-CATALOG", "TPCH").header("X-TRINO-SCHEMA", "Tiny"),
            Expected::Served,
        ),
    ]
}

/// What is judged only when the query begins.
fn judged_later() -> Vec<Case> {
    let statement = || Request::statement("SELECT 1");
    let invalid = "INVALID_SESSION_PROPERTY";
    vec![
        Case::new(
            "session: no such property",
            statement().protocol("Session", "no_such=1"),
            Expected::Failed(invalid, "Session property 'no_such' does not exist"),
        ),
        Case::new(
            "session: a value that is none",
            statement().protocol("Session", "query_max_run_time=soon"),
            Expected::Failed(invalid, "query_max_run_time"),
        ),
        Case::new(
            "session: an empty value",
            statement().protocol("Session", "query_max_run_time="),
            Expected::Failed(invalid, "query_max_run_time"),
        ),
        Case::new(
            "session: a property of a catalog that is none",
            statement().protocol("Session", "nope.colour=red"),
            Expected::Failed(invalid, "nope"),
        ),
        Case::new(
            "session: no such property of a catalog",
            statement().protocol("Session", "tpch.colour=red"),
            Expected::Failed(invalid, "tpch.colour"),
        ),
        Case::new(
            "time zone: none such",
            statement().protocol("Time-Zone", "Mars/Phobos"),
            Expected::Failed(ANY_USER_ERROR, "Mars/Phobos"),
        ),
        Case::new(
            "capabilities: unknown ones",
            statement().protocol("Client-Capabilities", "TELEPATHY,PARAMETRIC_DATETIME"),
            Expected::Served,
        ),
        Case::new(
            "encoding of results: none that is known",
            statement().protocol("Query-Data-Encoding", "morse"),
            Expected::Served,
        ),
        Case::new(
            "a header of the protocol that is none",
            statement().protocol("Colour", "red"),
            Expected::Served,
        ),
    ]
}

/// What is wrong with the headers as HTTP.
fn framing() -> Vec<Case> {
    let statement = || Request::statement("SELECT 1");
    let mut many = statement();
    for number in 0..2000 {
        many = many.protocol("Session", format!("p{number}=1"));
    }
    let mut prepared = statement();
    for number in 0..900 {
        prepared = prepared.protocol("Prepared-Statement", format!("p{number}=SELECT+{number}"));
    }
    let bad = Expected::Refused(&[400], "");
    vec![
        Case::new(
            "headers: 64 kB of prepared statements",
            statement().protocol("Prepared-Statement", format!("p=SELECT+%27{}%27", "a".repeat(64 << 10))),
            Expected::Served,
        ),
        Case::new("headers: 900 prepared statements", prepared, Expected::Served),
        Case::new(
            "headers: one of 4 MB",
            statement().protocol("Client-Info", vec![b'a'; 4 << 20]),
            Expected::Refused(&[431], ""),
        ),
        Case::new("headers: 2000 of them", many, Expected::Refused(&[431], "")),
        Case::new(
            "headers: a name with a blank",
            statement().header(&format!("{PREFIX}A b"), "c"),
            bad.clone(),
        ),
        Case::new("headers: an empty name", statement().header("", "c"), bad.clone()),
        Case::new("headers: a control character", statement().protocol("Source", b"a\x01b"), bad.clone()),
        Case::new("headers: no Host", statement().without("Host"), Expected::Refused(&[400], "Host")),
        Case::new(
            "length: not a number",
            statement().without("Content-Length").header("Content-Length", "eight"),
            bad.clone(),
        ),
        Case::new(
            "length: negative",
            statement().without("Content-Length").header("Content-Length", "-1"),
            bad.clone(),
        ),
        Case::new("length: two of them", statement().header("Content-Length", "3"), bad.clone()),
        Case::new(
            "transfer encoding: none that is known",
            statement().without("Content-Length").header("Transfer-Encoding", "morse"),
            bad,
        ),
    ]
}
