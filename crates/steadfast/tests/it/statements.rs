//! Statements that the coordinator answers, and what the client's session makes of them.

use super::support::{TestCluster, failure};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_metadata_and_definitions_work() {
    let test = TestCluster::start().await;
    let mut client = test.client("tpch", "tiny");
    let rows = |result: steadfast::client::QueryResult| result.rows;

    assert_eq!(
        rows(client.query("SHOW CATALOGS").await.unwrap()),
        [[json!("hive")], [json!("system")], [json!("tpch")]]
    );
    assert_eq!(rows(client.query("SHOW TABLES LIKE 'nat%'").await.unwrap()), [[json!("nation")]]);
    let described = rows(client.query("DESCRIBE nation").await.unwrap());
    assert_eq!(described[1], [json!("n_name"), json!("varchar(25)"), json!(""), json!("")]);

    client.query("USE tpch.sf1").await.unwrap();
    assert_eq!(client.session.schema.as_deref(), Some("sf1"));
    client.query("SET SESSION task_retry_attempts_per_task = 7").await.unwrap();
    let shown = rows(client.query("SHOW SESSION LIKE 'task_retry_attempts_per_task'").await.unwrap());
    assert_eq!(shown[0][1], json!("7"));
    client.query("RESET SESSION task_retry_attempts_per_task").await.unwrap();
    let (name, text) = failure(client.query("SET SESSION nonsense = 1").await);
    assert_eq!(name, "INVALID_SESSION_PROPERTY", "{text}");

    client.query("PREPARE one FROM SELECT n_name FROM nation WHERE n_nationkey = ?").await.unwrap();
    assert_eq!(rows(client.query("EXECUTE one USING 7").await.unwrap()), [[json!("GERMANY")]]);
    client.query("DEALLOCATE PREPARE one").await.unwrap();
    assert_eq!(failure(client.query("EXECUTE one USING 7").await).0, "NOT_FOUND");
    let immediate = client.query("EXECUTE IMMEDIATE 'SELECT ? + ?' USING 1, 2").await.unwrap();
    assert_eq!(immediate.rows, [[json!(3)]]);

    client.query("CREATE SCHEMA hive.s").await.unwrap();
    assert_eq!(failure(client.query("CREATE SCHEMA hive.s").await).0, "SCHEMA_ALREADY_EXISTS");
    client.query("CREATE SCHEMA IF NOT EXISTS hive.s").await.unwrap();
    client.query("DROP SCHEMA hive.s").await.unwrap();
    assert_eq!(failure(client.query("DROP SCHEMA hive.s").await).0, "SCHEMA_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn system_tables_tell_of_the_cluster() {
    let test = TestCluster::start().await;
    let mut client = test.client("system", "runtime");
    let nodes = client.query("SELECT node_id, coordinator, state FROM nodes ORDER BY node_id").await.unwrap();
    assert_eq!(
        nodes.rows,
        [
            [json!("coordinator"), json!(true), json!("active")],
            [json!("worker-0"), json!(false), json!("active")],
            [json!("worker-1"), json!(false), json!("active")],
        ]
    );
    let own =
        client.query("SELECT query_id, state FROM queries WHERE query LIKE '%themselves%'").await.unwrap();
    assert_eq!(own.rows, [[json!(own.id), json!("RUNNING")]], "queries see themselves");
    let tables = client
        .query("SELECT count(*) FROM tpch.information_schema.tables WHERE table_schema = 'tiny'")
        .await
        .unwrap();
    assert_eq!(tables.rows, [[json!(8)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_fragments_and_what_they_did() {
    let test = TestCluster::start().await;
    let mut client = test.client("tpch", "tiny");
    let query = "SELECT o_orderpriority, count(*) FROM orders GROUP BY 1";
    let plan = client.query(&format!("EXPLAIN (TYPE DISTRIBUTED) {query}")).await.unwrap();
    let text = plan.rows[0][0].as_str().unwrap();
    assert!(
        text.contains("Fragment 0 [SINGLE]") && !text.contains("Fragment 1"),
        "few rows are for one: {text}"
    );
    client.query("SET SESSION single_task_max_row_count = 0").await.unwrap();
    let plan = client.query(&format!("EXPLAIN (TYPE DISTRIBUTED) {query}")).await.unwrap();
    let text = plan.rows[0][0].as_str().unwrap();
    assert!(text.contains("Fragment 0") && text.contains("Fragment 1"), "{text}");
    assert_eq!(plan.columns[0].name, "Query Plan");
    let ran = client.query(&format!("EXPLAIN ANALYZE {query}")).await.unwrap();
    let text = ran.rows[0][0].as_str().unwrap();
    assert!(text.contains("attempts") && text.contains("15000 rows"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_carry_code_and_place() {
    let test = TestCluster::start().await;
    let mut client = test.client("tpch", "tiny");
    for (text, name, message) in [
        ("SELECT 1/0", "DIVISION_BY_ZERO", "Division by zero"),
        (
            "SELECT n_nationkey / (n_nationkey - n_nationkey) FROM nation",
            "DIVISION_BY_ZERO",
            "Division by zero",
        ),
        ("SELECT * FROM nothing", "TABLE_NOT_FOUND", "line 1:15: Table 'tpch.tiny.nothing' does not exist"),
        ("SELECT nothing FROM nation", "COLUMN_NOT_FOUND", "line 1:8: Column 'nothing' cannot be resolved"),
        ("SELEC 1", "SYNTAX_ERROR", "line 1:1: mismatched input 'SELEC'."),
    ] {
        let (found, told) = failure(client.query(text).await);
        assert_eq!(found, name, "{text}: {told}");
        assert!(told.starts_with(message), "{text}: {told}");
    }
    let (name, text) = failure(client.query("SELECT (SELECT n_name FROM nation)").await);
    assert_eq!(name, "SUBQUERY_MULTIPLE_ROWS", "{text}");
}
