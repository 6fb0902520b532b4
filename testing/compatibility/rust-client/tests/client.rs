//! The Rust client of Trino against the Steadfast cluster at `STEADFAST_HOST`, `STEADFAST_PORT`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use trino_rust_client::error::Error;
use trino_rust_client::models::{QueryError, TrinoErrorKind};
use trino_rust_client::{Client, ClientBuilder, Row, Trino, VarBinary};

fn builder() -> ClientBuilder {
    let of = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    ClientBuilder::new("rust", of("STEADFAST_HOST"))
        .port(of("STEADFAST_PORT").parse().unwrap())
        .source("compatibility")
        .catalog("tpch")
        .schema("tiny")
}

fn client() -> Client {
    builder().build().unwrap()
}

async fn rows(client: &Client, sql: &str) -> Vec<Vec<serde_json::Value>> {
    let all = client.get_all::<Row>(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    all.into_vec().into_iter().map(Row::into_json).collect()
}

async fn text(client: &Client, sql: &str) -> String {
    serde_json::to_string(&rows(client, sql).await).unwrap()
}

async fn failure(client: &Client, sql: &str) -> Box<QueryError> {
    match client.get_all::<Row>(sql).await {
        Err(Error::Query(error)) => error,
        other => panic!("{sql} should have failed: {:?}", other.map(|all| all.len())),
    }
}

#[derive(Trino, Debug, Deserialize, Serialize)]
struct Typed {
    yes: bool,
    small: i32,
    large: i64,
    float: f64,
    text: String,
    bytes: VarBinary,
    nothing: Option<i64>,
    list: Vec<Option<i32>>,
}

#[tokio::test]
async fn values_have_their_types() {
    let sql = "SELECT true yes, 1 small, BIGINT '9223372036854775807' large, 1e10 float, 'ünïcode 🦀' text, X'00ff' bytes, CAST(NULL AS bigint) nothing, ARRAY[1, NULL, 3] list";
    let typed = client().get_all::<Typed>(sql).await.unwrap().into_vec().remove(0);
    assert!(typed.yes);
    assert_eq!((typed.small, typed.large, typed.nothing), (1, i64::MAX, None));
    assert_eq!(typed.float, 1e10);
    assert_eq!(typed.text, "ünïcode 🦀");
    assert_eq!(typed.bytes.0, [0, 255]);
    assert_eq!(typed.list, [Some(1), None, Some(3)]);
}

#[tokio::test]
async fn values_without_a_type_are_json() {
    let client = client();
    for (sql, expected) in [
        ("SELECT DECIMAL '123.40'", r#"[["123.40"]]"#),
        ("SELECT DATE '2020-01-31'", r#"[["2020-01-31"]]"#),
        ("SELECT TIMESTAMP '2020-01-31 01:02:03.123'", r#"[["2020-01-31 01:02:03.123"]]"#),
        ("SELECT 1e0 / 0e0, -1e0 / 0e0", r#"[["Infinity","-Infinity"]]"#),
        ("SELECT INTERVAL '2' DAY", r#"[["2 00:00:00.000"]]"#),
        ("SELECT ROW(1, 'a')", r#"[[[1,"a"]]]"#),
        ("SELECT NULL", "[[null]]"),
        ("SELECT 1 WHERE false", "[]"),
    ] {
        assert_eq!(text(&client, sql).await, expected, "{sql}");
    }
}

#[derive(Trino, Debug, Deserialize, Serialize)]
struct Nation {
    nationkey: i64,
    name: String,
}

#[tokio::test]
async fn tables_are_read_as_structs() {
    let sql = "SELECT nationkey, name FROM nation ORDER BY nationkey LIMIT 3";
    let nations = client().get_all::<Nation>(sql).await.unwrap().into_vec();
    let found: Vec<_> = nations.iter().map(|nation| (nation.nationkey, nation.name.as_str())).collect();
    assert_eq!(found, [(0, "ALGERIA"), (1, "ARGENTINA"), (2, "BRAZIL")]);
}

#[tokio::test]
async fn errors_have_name_code_type_and_place() {
    let client = client();
    for (sql, name, kind, place, message) in [
        (
            "SELECT 1 +",
            "SYNTAX_ERROR",
            TrinoErrorKind::SyntaxError,
            Some((1, 11)),
            "line 1:11: mismatched input",
        ),
        (
            "SELECT nothing FROM nation",
            "COLUMN_NOT_FOUND",
            TrinoErrorKind::ColumnNotFound,
            Some((1, 8)),
            "line 1:8: Column 'nothing' cannot be resolved",
        ),
        (
            "SELECT *\nFROM nowhere",
            "TABLE_NOT_FOUND",
            TrinoErrorKind::TableNotFound,
            Some((2, 6)),
            "line 2:6: Table 'tpch.tiny.nowhere' does not exist",
        ),
        (
            "SELECT * FROM nope.nation",
            "SCHEMA_NOT_FOUND",
            TrinoErrorKind::SchemaNotFound,
            Some((1, 15)),
            "line 1:15: Schema 'nope' does not exist",
        ),
        ("SELECT 1 / 0", "DIVISION_BY_ZERO", TrinoErrorKind::Other, None, "Division by zero"),
    ] {
        let error = failure(&client, sql).await;
        assert_eq!((error.error_name.as_str(), error.kind()), (name, kind), "{sql}: {error}");
        assert_eq!(error.error_type, "USER_ERROR", "{sql}");
        assert!(error.message.starts_with(message), "{sql}: {}", error.message);
        if place.is_some() {
            let found = error.error_location.map(|place| (place.line_number, place.column_number));
            assert_eq!(found, place, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_large_result_comes_as_a_stream() {
    let client = client();
    let mut stream = client.stream::<Row>("SELECT orderkey, comment FROM lineitem").await.unwrap();
    assert_eq!(stream.columns().len(), 2);
    let mut count = 0;
    while let Some(row) = stream.next().await {
        row.unwrap();
        count += 1;
    }
    assert_eq!(count, 60_175);
}

#[tokio::test]
async fn a_cancelled_query_fails_with_user_canceled() {
    let client = client();
    let first = client.get::<Row>("SELECT count(*) FROM tpch.sf100.lineitem").await.unwrap();
    let running = client.get_next::<Row>(&first.next_uri.unwrap()).await.unwrap();
    client.cancel(&running.id).await.unwrap();
    let mut next = running.next_uri;
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = loop {
        let page = client.get_next::<Row>(&next.expect("a cancelled query tells its error")).await.unwrap();
        if let Some(error) = page.error {
            break error;
        }
        assert!(Instant::now() < deadline, "the query goes on");
        next = page.next_uri;
    };
    assert_eq!((error.error_name.as_str(), error.error_code), ("USER_CANCELED", 3));
}

#[tokio::test]
async fn prepared_statements_travel_in_headers() {
    let long = format!("SELECT length('{}') + ?", "abcd".repeat(1000));
    let client = builder()
        .prepared_statement("nations", "SELECT name FROM nation WHERE nationkey = ? OR name = ? ORDER BY 1")
        .prepared_statement("long", &long)
        .build()
        .unwrap();
    assert_eq!(text(&client, "EXECUTE nations USING 0, 'BRAZIL'").await, r#"[["ALGERIA"],["BRAZIL"]]"#);
    assert_eq!(text(&client, "EXECUTE long USING 5").await, "[[4005]]");
    assert_eq!(text(&client, "EXECUTE IMMEDIATE 'SELECT ? + 1' USING 41").await, "[[42]]");
    assert_eq!(failure(&client, "EXECUTE nobody").await.error_name, "NOT_FOUND");
}

#[tokio::test]
async fn session_properties_travel_in_headers() {
    let shown = "SHOW SESSION LIKE 'query\\_max\\_run\\_time' ESCAPE '\\'";
    let client = builder().property("query_max_run_time", "17m").build().unwrap();
    assert_eq!(rows(&client, shown).await[0][1], "17m");
    let mistaken = builder().properties(HashMap::from([("no_such".into(), "1".into())])).build().unwrap();
    let error = failure(&mistaken, "SELECT 1").await;
    assert_eq!(error.error_name, "INVALID_SESSION_PROPERTY");
    assert_eq!(error.message, "Session property 'no_such' does not exist");
}

#[tokio::test]
async fn transactions_begin_and_end() {
    let client = client();
    client.begin_transaction().await.unwrap();
    assert!(client.transaction_id().await.is_active());
    assert_eq!(text(&client, "SELECT count(*) FROM nation").await, "[[25]]");
    client.commit().await.unwrap();
    assert!(!client.transaction_id().await.is_active());
    client.begin_transaction().await.unwrap();
    client.rollback().await.unwrap();
    assert!(!client.transaction_id().await.is_active());
}

#[tokio::test]
async fn statements_without_rows_tell_their_kind() {
    let client = client();
    let created = client.execute("CREATE SCHEMA IF NOT EXISTS hive.from_rust").await.unwrap();
    assert_eq!(created.update_type.as_deref(), Some("CREATE SCHEMA"));
    let dropped = client.execute("DROP SCHEMA hive.from_rust").await.unwrap();
    assert_eq!(dropped.update_type.as_deref(), Some("DROP SCHEMA"));
    let error = client.execute("DROP SCHEMA hive.from_rust").await.unwrap_err();
    assert!(
        matches!(&error, Error::Query(error) if error.kind() == TrinoErrorKind::SchemaNotFound),
        "{error}"
    );
}
