//! `retry-policy` as a user chooses it: what each policy answers, survives and leaves behind.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use steadfast::client::Client;
use testing::{shared, tpch_query};

use super::support::{PATIENCE, RunningQuery, TestCluster, attempts, failure, sorted};

pub const POLICIES: [&str; 3] = ["NONE", "QUERY", "TASK"];

/// Two stages of tasks that exchange by hash, and one that gathers; it takes some seconds.
pub const JOIN: &str = "SELECT l_shipmode, o_orderpriority, count(*), sum(l_quantity) \
    FROM lineitem JOIN orders ON l_orderkey = o_orderkey GROUP BY 1, 2";

/// How often a fault is tried that comes too late to cost anything.
const FAULT_COUNT_MAX: usize = 10;

const NOT_CONFIGURED: (&str, &str) = (
    "EXCHANGE_MANAGER_NOT_CONFIGURED",
    "Exchange manager must be configured for the failure recovery capabilities to be fully functional",
);

/// A client whose queries run under that policy.
pub fn client_under(test: &TestCluster, policy: &str, catalog: &str, schema: &str) -> Client {
    let mut client = test.client(catalog, schema);
    client.session.system_properties.insert("retry_policy".into(), policy.into());
    client
}

fn set(client: &mut Client, name: &str, value: &str) {
    client.session.system_properties.insert(name.into(), value.into());
}

/// How often a query was tried again as a whole.
pub fn retries(description: &Value) -> u64 {
    description["queryStats"]["retries"].as_u64().unwrap()
}

/// Waits until a query has failed so.
async fn fails_with(test: &TestCluster, id: &str, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    while test.describe(id).await["errorCode"]["name"] != json!(name) {
        assert!(Instant::now() < deadline, "{id} did not fail with {name}");
    }
}

/// The same failure told as a pair of texts.
fn told(failure: &(String, String)) -> (&str, &str) {
    (failure.0.as_str(), failure.1.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queries_of_tpch_have_one_answer_under_every_policy() {
    let Some(directory) = shared("tpch") else { return };
    let test = TestCluster::start().await;
    let mut wrong = Vec::new();
    for number in 1..=22 {
        let query = tpch_query(&directory, number).unwrap();
        let mut expected: Option<Vec<String>> = None;
        // One task, or as many as there are.
        for rows in ["0", "1000000"] {
            for policy in ["TASK", "NONE", "QUERY"] {
                let mut client = client_under(&test, policy, "tpch", "tiny");
                set(&mut client, "single_task_max_row_count", rows);
                match client.query(&query.text).await {
                    Ok(result) => {
                        let rows = sorted(&result);
                        let described = test.describe(&result.id).await;
                        assert_eq!(described["retryPolicy"], json!(policy));
                        if *expected.get_or_insert_with(|| rows.clone()) != rows {
                            wrong.push(format!("q{number:02} under {policy}: other rows"));
                        }
                    }
                    Err(error) => wrong.push(format!("q{number:02} under {policy}: {error}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_none_rows_come_while_the_query_runs_and_a_limit_ends_it() {
    let test = TestCluster::start().await;
    let mut client = client_under(&test, "NONE", "tpch", "sf1");
    let mut statement = client.start("SELECT l_orderkey, l_comment FROM lineitem").await.unwrap();
    let mut id = String::new();
    let mut rows = 0;
    while rows == 0 {
        let page = statement.next().await.unwrap().expect("rows before the end");
        (id, rows) = (page.id, page.rows.len());
    }
    let described = test.describe(&id).await;
    assert_eq!(described["state"], json!("RUNNING"), "{described}");
    assert!(attempts(&described).iter().any(|attempt| attempt.state == "RUNNING"));
    // The tasks wait for a client that reads slowly.
    let scanned = |described: &Value| described["queryStats"]["rawInputPositions"].as_u64().unwrap();
    let mut seen = scanned(&described);
    let deadline = Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = scanned(&test.describe(&id).await);
        if now == seen {
            break;
        }
        assert!(Instant::now() < deadline, "the tasks go on although nobody reads");
        seen = now;
    }
    assert!(seen < 6_000_000, "{seen} rows were read");
    statement.cancel().await.unwrap();
    fails_with(&test, &id, "USER_CANCELED").await;

    // The scan does not know of the limit, because the table does not apply the filter.
    let limited = "SELECT l_orderkey FROM lineitem WHERE l_quantity > 1 LIMIT 5";
    let result = client.query(limited).await.unwrap();
    assert_eq!(result.rows.len(), 5);
    let scanned = scanned(&test.describe(&result.id).await);
    assert!(scanned < 1_000_000, "a limit reads {scanned} rows");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_query_a_killed_worker_changes_no_answer() {
    let mut test = TestCluster::start().await;
    let mut client = client_under(&test, "QUERY", "tpch", "sf1");
    let expected = sorted(&client.query(JOIN).await.unwrap());
    for _ in 0..FAULT_COUNT_MAX {
        let running = RunningQuery::start(&client, JOIN).await;
        let Some(victim) = test.busy_worker(&running).await else { continue };
        test.cluster.kill_worker(victim).await.unwrap();
        let in_time = !running.is_finished();
        test.cluster.restart_worker(victim).await.unwrap();
        let id = running.id.clone();
        assert_eq!(sorted(&running.result().await.unwrap()), expected);
        let described = test.describe(&id).await;
        let lost = attempts(&described).iter().filter(|attempt| attempt.state == "LOST").count();
        if in_time && lost > 0 {
            assert_eq!(retries(&described), 1, "{described}");
            test.is_clean().await;
            return;
        }
    }
    panic!("no kill landed while the query ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_none_a_killed_worker_ends_the_query_at_once() {
    let mut test = TestCluster::start().await;
    let client = client_under(&test, "NONE", "tpch", "sf1");
    for _ in 0..FAULT_COUNT_MAX {
        let running = RunningQuery::start(&client, JOIN).await;
        let Some(victim) = test.busy_worker(&running).await else { continue };
        test.cluster.kill_worker(victim).await.unwrap();
        let killed = Instant::now();
        let in_time = !running.is_finished();
        let result = running.result().await;
        let took = killed.elapsed();
        test.cluster.restart_worker(victim).await.unwrap();
        test.cluster.wait_for_workers(2).await.unwrap();
        if !in_time && result.is_ok() {
            continue;
        }
        let failure = failure(result);
        assert_eq!(failure.0, "REMOTE_HOST_GONE", "{failure:?}");
        assert!(
            failure.1.starts_with("Encountered too many errors talking to a worker node."),
            "{failure:?}"
        );
        assert!(took < Duration::from_secs(10), "the client was told after {took:?}");
        test.is_clean().await;
        return;
    }
    panic!("no kill landed while the query ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_none_a_worker_killed_while_the_client_reads_fails_the_query_honestly() {
    let mut test = TestCluster::start().await;
    let mut client = client_under(&test, "NONE", "tpch", "sf1");
    let mut statement = client.start("SELECT l_orderkey, l_comment FROM lineitem").await.unwrap();
    while statement.next().await.unwrap().expect("rows before the end").rows.is_empty() {}
    test.cluster.kill_worker(0).await.unwrap();
    let error = loop {
        match statement.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("half of a result is told to be all of it"),
            Err(error) => break error,
        }
    };
    assert_eq!(failure::<()>(Err(error)).0, "REMOTE_HOST_GONE");
    test.cluster.restart_worker(0).await.unwrap();
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_error_is_told_at_once_under_every_policy() {
    let test = TestCluster::start().await;
    for policy in POLICIES {
        let mut client = client_under(&test, policy, "tpch", "tiny");
        set(&mut client, "single_task_max_row_count", "0");
        let query = "SELECT sum(l_quantity / (l_linenumber - 1)) FROM lineitem GROUP BY l_orderkey";
        let running = RunningQuery::start(&client, query).await;
        let id = running.id.clone();
        let failure = failure(running.result().await);
        assert_eq!(told(&failure), ("DIVISION_BY_ZERO", "Division by zero"), "under {policy}");
        let described = test.describe(&id).await;
        assert_eq!(retries(&described), 0, "under {policy}");
        let listed = attempts(&described);
        assert!(listed.iter().all(|attempt| (attempt.generation, attempt.number) == (0, 0)), "{listed:?}");
    }
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_exchange_manager_runs_what_needs_none() {
    let test = TestCluster::start_with(|mut options| {
        options.has_exchange_manager = false;
        options.with("retry-policy", "NONE").with("exchange.deduplication-buffer-size", "64kB")
    })
    .await;
    let large = "SELECT l_orderkey, l_comment FROM lineitem";
    let small = "SELECT l_returnflag, count(*) FROM lineitem GROUP BY 1";
    // What the configuration says, and what a session chooses.
    let mut plain = test.client("tpch", "tiny");
    assert_eq!(plain.query(large).await.unwrap().rows.len(), 60_175);
    for (policy, query, expected) in [
        ("NONE", large, Ok(60_175)),
        ("QUERY", small, Ok(3)),
        ("QUERY", large, Err(NOT_CONFIGURED)),
        ("TASK", small, Err(NOT_CONFIGURED)),
    ] {
        let started = Instant::now();
        let result = client_under(&test, policy, "tpch", "tiny").query(query).await;
        match expected {
            Ok(rows) => assert_eq!(result.unwrap().rows.len(), rows, "{query} under {policy}"),
            Err(expected) => assert_eq!(told(&failure(result)), expected, "{query} under {policy}"),
        }
        // It is not tried again: that would take ten seconds each time.
        assert!(started.elapsed() < Duration::from_secs(9), "{query} under {policy}");
    }
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_larger_than_the_buffer_goes_through_the_exchange() {
    for size in ["0B", "1kB", "32MB"] {
        let test = TestCluster::start_with(|options| {
            options.with("retry-policy", "QUERY").with("exchange.deduplication-buffer-size", size)
        })
        .await;
        let mut client = test.client("tpch", "tiny");
        let result = client.query("SELECT l_orderkey, l_linenumber FROM lineitem").await.unwrap();
        assert_eq!(result.rows.len(), 60_175, "{size}");
        let result = client.query("SELECT * FROM nation").await.unwrap();
        assert_eq!(result.rows.len(), 25, "{size}");
        assert!(client.query("SELECT * FROM nation WHERE n_nationkey < 0").await.unwrap().rows.is_empty());
        test.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_are_not_allowed_are_refused() {
    let test = TestCluster::start_with(|options| options.with("retry-policy.allowed", "QUERY,TASK")).await;
    let failure = failure(client_under(&test, "NONE", "tpch", "tiny").query("SELECT 1").await);
    let text = "Retry policy NONE not allowed. Must be one of [QUERY, TASK]";
    assert_eq!(told(&failure), ("INVALID_SESSION_PROPERTY", text));
    for policy in ["QUERY", "TASK"] {
        client_under(&test, policy, "tpch", "tiny").query("SELECT count(*) FROM nation").await.unwrap();
    }
    // As `SET SESSION` chooses it.
    let mut client = test.client("tpch", "tiny");
    client.query("SET SESSION retry_policy = 'QUERY'").await.unwrap();
    let result = client.query("SELECT count(*) FROM nation").await.unwrap();
    assert_eq!(test.describe(&result.id).await["retryPolicy"], json!("QUERY"));
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_all_policies_run_beside_each_other() {
    let test = TestCluster::start().await;
    let expected = sorted(&test.client("tpch", "tiny").query(JOIN).await.unwrap());
    let mut running = Vec::new();
    for _ in 0..4 {
        for policy in POLICIES {
            running.push(RunningQuery::start(&client_under(&test, policy, "tpch", "tiny"), JOIN).await);
        }
    }
    for running in running {
        assert_eq!(sorted(&running.result().await.unwrap()), expected);
    }
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_tells_what_its_attempts_do() {
    let test = TestCluster::start().await;
    for policy in POLICIES {
        let mut client = client_under(&test, policy, "tpch", "tiny");
        set(&mut client, "single_task_max_row_count", "0");
        let result = client.query(&format!("EXPLAIN ANALYZE {JOIN}")).await.unwrap();
        let text = result.rows[0][0].as_str().unwrap();
        assert!(text.contains(&format!("retry policy {policy},")), "{text}");
        // The scans, the join, and the result.
        for rows in [15_000, 60_175, 35] {
            assert!(text.contains(&format!("Output: {rows} rows")), "{rows} under {policy}: {text}");
        }
        let described = test.describe(&result.id).await;
        let listed = attempts(&described);
        assert!(!listed.is_empty() && listed.iter().all(|attempt| attempt.state == "FINISHED"), "{listed:?}");
        let stats = &described["queryStats"];
        assert_eq!(stats["rawInputPositions"], json!(75_175), "under {policy}");
        assert_eq!(stats["progressPercentage"], json!(100.0), "under {policy}");
        // Others see the tasks of a query while they run.
        let running = RunningQuery::start(&client_under(&test, policy, "tpch", "sf1"), JOIN).await;
        test.busy_worker(&running).await.expect("it runs for some seconds");
        let tasks = format!(
            "SELECT count(*), count(DISTINCT task_id), count(DISTINCT node_id) FROM system.runtime.tasks \
             WHERE query_id = '{}' AND state = 'RUNNING'",
            running.id
        );
        let rows = client.query(&tasks).await.unwrap().rows;
        assert!(rows[0][0].as_u64() >= Some(2) && rows[0][0] == rows[0][1], "under {policy}: {rows:?}");
        assert_eq!(rows[0][2], json!(2), "under {policy}");
        running.result().await.unwrap();
    }
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_query_under_every_policy() {
    let test = TestCluster::start_with(|options| options.with("query.client.timeout", "1s")).await;
    for policy in ["NONE", "QUERY"] {
        let id = {
            let mut client = client_under(&test, policy, "tpch", "sf1");
            let mut statement = client.start("SELECT * FROM lineitem").await.unwrap();
            let page = statement.next().await.unwrap().unwrap();
            page.id
        };
        fails_with(&test, &id, "ABANDONED_QUERY").await;
    }
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_not_recorded_ends_with_its_coordinator_and_the_client_is_told() {
    let mut test = TestCluster::start().await;
    for policy in ["NONE", "QUERY"] {
        let client = client_under(&test, policy, "tpch", "sf1");
        let running = RunningQuery::start(&client, JOIN).await;
        test.busy_worker(&running).await.expect("it runs for some seconds");
        test.cluster.kill_coordinator().await.unwrap();
        assert!(!running.is_finished());
        test.cluster.restart_coordinator().await.unwrap();
        let text = running.result().await.unwrap_err().to_string();
        assert!(text.contains("retry-policy NONE or QUERY ends with"), "under {policy}: {text}");
        test.cluster.wait_for_workers(2).await.unwrap();
        // The workers let go of it.
        let result = client_under(&test, policy, "tpch", "tiny").query(JOIN).await.unwrap();
        assert!(!result.rows.is_empty());
    }
    test.is_clean().await;
}
