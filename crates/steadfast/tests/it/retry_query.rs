//! Trino's tables of failures under `retry-policy=QUERY`, as far as there is something like them here.
//!
//! | Trino's `BaseFailureRecoveryTest` | here |
//! |---|---|
//! | `SELECT` without and with aggregation and join (FR-1, FR-2, FR-3), `EXPLAIN ANALYZE` (FR-14) | [`STATEMENTS`] under each injection |
//! | dynamic filters (FR-4) | there are none at run time; key filters are part of the plan |
//! | writes, `DELETE`, `UPDATE`, `MERGE`, `ANALYZE`, materialised views (FR-5 … FR-13, FR-16, W1 … W9) | there are no such statements yet |
//! | user failure (FR-15) | `what_another_try_would_meet_again_is_not_tried`, `policies::a_users_error_is_told_at_once_under_every_policy` |
//! | a task fails (S3, S4) at the leaf, in the middle, at the root | `a_task_that_fails_once_fails_the_query_only_without_retries` |
//! | a request to a worker fails (S1, S2) | there is one stream to each worker, and it breaks with it: `policies::under_query_a_killed_worker_changes_no_answer`; single fetches are asked again: `direct::faults` of the exchange's tests |
//! | a request to a worker gets no answer (S5, S6, and the extra timeouts) | `a_worker_that_falls_silent_is_done_without` |
//!
//! | Trino's `TestDeduplicatingDirectExchangeBuffer` | here |
//! |---|---|
//! | nothing before the outcome is known (DD-1) | `query_policy_tells_the_result_only_when_it_is_whole` of the scheduler's tests, `result_reader_tests` |
//! | no, small and large pages (DD-2, DD-3, DD-5) | `policies::a_result_larger_than_the_buffer_goes_through_the_exchange` |
//! | what earlier tries wrote is dropped (DD-4, DD-6, DD-7, DD-8) | `a_root_task_that_fails_takes_what_others_wrote_with_it`, and `late_commit_of_an_earlier_try_does_not_count` of the scheduler's tests |
//! | the error of the last try is told (DD-9) | `the_error_of_the_last_try_is_told` |
//! | more than the buffer without an exchange manager (DD-10) | `policies::a_server_without_an_exchange_manager_runs_what_needs_none` |

use nix::sys::signal::Signal;
use serde_json::Value;
use steadfast::client::QueryResult;

use super::policies::{JOIN, client_under, retries};
use super::support::{RunningQuery, TestCluster, attempts, failure, sorted};

/// As many stages as may be, and no more rows than the tests need.
const STATEMENTS: [&str; 5] = [
    "SELECT * FROM nation",
    "SELECT o_orderstatus, count(*) FROM orders GROUP BY o_orderstatus",
    "SELECT l_orderkey, s_name FROM lineitem JOIN supplier ON l_suppkey = s_suppkey \
     AND s_name = 'Supplier#000000001'",
    "SELECT o_orderkey, l_comment FROM orders JOIN lineitem ON o_orderkey = l_orderkey \
     WHERE l_linenumber = 7 ORDER BY 1, 2 LIMIT 10",
    "EXPLAIN ANALYZE SELECT o_orderstatus, count(*) FROM orders GROUP BY o_orderstatus",
];

/// What Trino's tests configure.
async fn cluster(injection: &str) -> TestCluster {
    TestCluster::start_with(|options| {
        options
            .with("failure-injection.tasks", injection)
            .with("query-retry-attempts", 1)
            .with("retry-initial-delay", "0s")
            .with("exchange.deduplication-buffer-size", "1kB")
            .with("query.hash-partition-count", 5)
            .with("optimizer.single-task-max-row-count", 0)
    })
    .await
}

/// What is compared of a result. The text of `EXPLAIN ANALYZE` is never the same.
fn comparable(statement: &str, result: &QueryResult) -> Vec<String> {
    if statement.starts_with("EXPLAIN") { vec![result.rows.len().to_string()] } else { sorted(result) }
}

fn failed_tasks(description: &Value) -> u64 {
    description["queryStats"]["failedTasks"].as_u64().unwrap()
}

/// The answers of all statements without any failure.
async fn answers() -> Vec<Vec<String>> {
    let test = cluster("").await;
    let mut client = client_under(&test, "NONE", "tpch", "tiny");
    let mut answers = Vec::new();
    for statement in STATEMENTS {
        answers.push(comparable(statement, &client.query(statement).await.unwrap()));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_once_fails_the_query_only_without_retries() {
    let answers = answers().await;
    let mut hits = 0;
    for (stage, class, error) in [
        (0, "INTERNAL", "GENERIC_INTERNAL_ERROR"),
        (1, "EXTERNAL", "EXCHANGE_STORE_ERROR"),
        (2, "INTERNAL", "GENERIC_INTERNAL_ERROR"),
    ] {
        let injection = format!("stage={stage},partition=0,attempts=0,class={class}");
        let test = cluster(&injection).await;
        for (statement, answer) in STATEMENTS.iter().zip(&answers) {
            let result = client_under(&test, "QUERY", "tpch", "tiny").query(statement).await.unwrap();
            assert_eq!(comparable(statement, &result), *answer, "{statement} with {injection}");
            let described = test.describe(&result.id).await;
            let is_hit = attempts(&described).iter().any(|attempt| attempt.task.0 == stage);
            let expected = u64::from(is_hit);
            assert_eq!(failed_tasks(&described), expected, "{statement} with {injection}");
            assert_eq!(retries(&described), expected, "{statement} with {injection}");
            hits += expected;

            let result = client_under(&test, "NONE", "tpch", "tiny").query(statement).await;
            match is_hit {
                true => assert_eq!(failure(result).0, error, "{statement} with {injection}"),
                false => assert_eq!(comparable(statement, &result.unwrap()), *answer),
            }
        }
        test.is_clean().await;
    }
    assert!(hits > 8, "only {hits} statements had a stage to fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_task_that_fails_takes_what_others_wrote_with_it() {
    // Both tasks of the root write rows; those of the first are dropped with the failure of the second.
    let test = cluster("stage=0,partition=1,attempts=0,class=INTERNAL").await;
    let statement = "SELECT l_orderkey, l_linenumber FROM lineitem";
    let result = client_under(&test, "QUERY", "tpch", "tiny").query(statement).await.unwrap();
    let described = test.describe(&result.id).await;
    assert_eq!(retries(&described), 1);
    let rows = sorted(&result);
    assert_eq!(rows.len(), 60_175);
    assert!(rows.windows(2).all(|pair| pair[0] != pair[1]), "a row comes twice");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_the_last_try_is_told() {
    let test = cluster("stage=1,partition=0,attempts=0-100,class=EXTERNAL").await;
    let running = RunningQuery::start(&client_under(&test, "QUERY", "tpch", "tiny"), JOIN).await;
    let id = running.id.clone();
    assert_eq!(failure(running.result().await).0, "EXCHANGE_STORE_ERROR");
    let described = test.describe(&id).await;
    assert_eq!((retries(&described), failed_tasks(&described)), (1, 2));
    // As often as the session says.
    let mut client = client_under(&test, "QUERY", "tpch", "tiny");
    client.session.system_properties.insert("query_retry_attempts".into(), "3".into());
    let running = RunningQuery::start(&client, JOIN).await;
    let id = running.id.clone();
    failure(running.result().await);
    assert_eq!(retries(&test.describe(&id).await), 3);
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_try_would_meet_again_is_not_tried() {
    for (class, error) in
        [("USER", "GENERIC_USER_ERROR"), ("INSUFFICIENT_RESOURCES", "EXCEEDED_LOCAL_MEMORY_LIMIT")]
    {
        let test = cluster(&format!("stage=1,partition=0,attempts=0,class={class}")).await;
        for policy in ["NONE", "QUERY"] {
            let running = RunningQuery::start(&client_under(&test, policy, "tpch", "tiny"), JOIN).await;
            let id = running.id.clone();
            assert_eq!(failure(running.result().await).0, error, "under {policy}");
            assert_eq!(retries(&test.describe(&id).await), 0, "under {policy}");
        }
        test.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_falls_silent_is_done_without() {
    let test =
        TestCluster::start_with(|options| options.with("failure-detector.heartbeat-timeout", "2s")).await;
    let expected = sorted(&client_under(&test, "QUERY", "tpch", "sf1").query(JOIN).await.unwrap());
    for policy in ["QUERY", "NONE"] {
        let running = RunningQuery::start(&client_under(&test, policy, "tpch", "sf1"), JOIN).await;
        let worker = test.busy_worker(&running).await.expect("it runs for some seconds");
        test.cluster.worker(worker).signal(Signal::SIGSTOP).unwrap();
        let id = running.id.clone();
        let result = running.result().await;
        match policy {
            "QUERY" => {
                assert_eq!(sorted(&result.unwrap()), expected);
                assert_eq!(retries(&test.describe(&id).await), 1);
            }
            _ => {
                let failure = failure(result);
                assert_eq!(failure.0, "REMOTE_HOST_GONE", "{failure:?}");
            }
        }
        let lost = attempts(&test.describe(&id).await).iter().any(|attempt| attempt.state == "LOST");
        assert!(lost, "the stop came too late under {policy}");
        test.cluster.worker(worker).signal(Signal::SIGCONT).unwrap();
        test.cluster.wait_for_workers(2).await.unwrap();
    }
    test.is_clean().await;
}
