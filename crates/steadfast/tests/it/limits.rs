//! Retries and memory: what is tried again, how often, and with how much.

use base::DataSize;

use super::support::{RunningQuery, TestCluster, attempts, failure};

const QUERY: &str = "SELECT l_shipmode, count(*) FROM lineitem GROUP BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn user_errors_fail_at_once() {
    let test = TestCluster::start_with(|options| {
        options.with("failure-injection.tasks", "stage=1,partition=0,attempts=0-100,class=USER_ERROR")
    })
    .await;
    let running = RunningQuery::start(&test.client("tpch", "tiny"), QUERY).await;
    let id = running.id.clone();
    assert_eq!(failure(running.result().await).0, "GENERIC_USER_ERROR");
    let listed = attempts(&test.describe(&id).await);
    assert!(listed.iter().all(|attempt| attempt.number == 0), "something was tried again: {listed:?}");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_a_few_times_is_tried_again() {
    let test = TestCluster::start_with(|options| {
        options
            .with("failure-injection.tasks", "stage=1,partition=0,attempts=0-1,class=INTERNAL_ERROR")
            .with("retry-initial-delay", "10ms")
    })
    .await;
    let running = RunningQuery::start(&test.client("tpch", "tiny"), QUERY).await;
    let id = running.id.clone();
    assert_eq!(running.result().await.unwrap().rows.len(), 7);
    let listed = attempts(&test.describe(&id).await);
    let failed = listed.iter().filter(|attempt| attempt.state == "FAILED").count();
    assert_eq!(failed, 2, "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_every_time_ends_the_query_with_its_last_cause() {
    let test = TestCluster::start_with(|options| {
        options
            .with("failure-injection.tasks", "stage=1,partition=0,attempts=0-100,class=EXTERNAL")
            .with("task-retry-attempts-per-task", 2)
            .with("retry-initial-delay", "10ms")
    })
    .await;
    let running = RunningQuery::start(&test.client("tpch", "tiny"), QUERY).await;
    let id = running.id.clone();
    assert_eq!(failure(running.result().await).0, "EXCHANGE_STORE_ERROR");
    let listed = attempts(&test.describe(&id).await);
    let failed = listed.iter().filter(|attempt| attempt.state == "FAILED").count();
    assert_eq!(failed, 3, "{listed:?}");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_has_a_budget_of_failed_tasks() {
    let test = TestCluster::start_with(|options| {
        options
            .with("failure-injection.tasks", "stage=1,attempts=0-100,class=INTERNAL_ERROR")
            .with("task-retry-attempts-per-task", 100)
            .with("retry-initial-delay", "10ms")
            .with("max-failed-tasks", 3)
    })
    .await;
    let running = RunningQuery::start(&test.client("tpch", "tiny"), QUERY).await;
    let id = running.id.clone();
    let (name, text) = failure(running.result().await);
    assert_eq!(name, "GENERIC_INTERNAL_ERROR", "{text}");
    assert!(text.contains("max-failed-tasks"), "{text}");
    let listed = attempts(&test.describe(&id).await);
    let failed = listed.iter().filter(|attempt| attempt.state == "FAILED").count();
    assert!((4..=6).contains(&failed), "{listed:?}");
}

/// Holds all rows of a table in a hash join that cannot spill.
const HUNGRY_QUERY: &str = "SELECT count(*) FROM orders a JOIN orders b ON a.o_orderkey = b.o_orderkey";

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_needs_more_memory_gets_it() {
    let test = TestCluster::start_with(|options| {
        options
            .with("fault-tolerant-execution-task-memory", "1MB")
            .with("fault-tolerant-execution-max-partition-count", 4)
    })
    .await;
    let running = RunningQuery::start(&test.client("tpch", "sf1"), HUNGRY_QUERY).await;
    let id = running.id.clone();
    let result = running.result().await.unwrap();
    assert_eq!(result.rows[0][0], serde_json::json!(1_500_000));
    let listed = attempts(&test.describe(&id).await);
    assert!(listed.iter().any(|attempt| attempt.state == "FAILED"), "no lease was too small: {listed:?}");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_can_never_fit_says_so() {
    let test = TestCluster::start_with(|mut options| {
        options.memory_per_worker = DataSize::megabytes(64);
        options
            .with("fault-tolerant-execution-min-partition-count", 1)
            .with("fault-tolerant-execution-max-partition-count", 1)
    })
    .await;
    let query =
        "SELECT max(a.o_comment || b.o_comment) FROM orders a JOIN orders b ON a.o_orderkey = b.o_orderkey";
    let (name, text) = failure(test.client("tpch", "sf1").query(query).await);
    assert_eq!(name, "EXCEEDED_LOCAL_MEMORY_LIMIT", "{text}");
    assert!(text.starts_with("Cannot allocate enough memory for task "), "{text}");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_may_not_run_longer_than_its_session_allows() {
    let test = TestCluster::start().await;
    let mut client = test.client("tpch", "sf1");
    client.query("SET SESSION query_max_execution_time = '100ms'").await.unwrap();
    let (name, text) = failure(client.query(HUNGRY_QUERY).await);
    assert_eq!(name, "EXCEEDED_TIME_LIMIT", "{text}");
    assert_eq!(text, "Query exceeded the maximum execution time limit of 100.00ms");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_may_not_hold_more_memory_on_all_nodes_than_its_session_allows() {
    let test = TestCluster::start().await;
    for policy in ["NONE", "QUERY", "TASK"] {
        let mut client = test.client("tpch", "sf1");
        client.query(&format!("SET SESSION retry_policy = '{policy}'")).await.unwrap();
        client.query("SET SESSION query_max_memory = '8MB'").await.unwrap();
        let outcome = client.query(HUNGRY_QUERY).await;
        if policy == "TASK" {
            assert_eq!(outcome.unwrap().rows[0][0], serde_json::json!(1_500_000), "leases bound it");
            continue;
        }
        let (name, text) = failure(outcome);
        assert_eq!(name, "EXCEEDED_GLOBAL_MEMORY_LIMIT", "{policy}: {text}");
        assert_eq!(text, "Query exceeded distributed user memory limit of 8MB");
    }
    test.is_clean().await;
}
