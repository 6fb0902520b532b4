//! What happens to queries when workers stop, die and fail.

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::{Attempt, PATIENCE, RunningQuery, TestCluster, attempts, failure, sorted, until};

/// Long enough to be disturbed, short enough to wait for.
const QUERY: &str = "SELECT l_shipmode, o_orderpriority, count(*), sum(l_quantity) \
    FROM lineitem JOIN orders ON l_orderkey = o_orderkey GROUP BY 1, 2";

/// How often a stop is tried that comes too late to cost anything.
const STOP_COUNT_MAX: usize = 10;

/// Waits until a worker runs an attempt of a query, and says which.
async fn busy_worker(test: &TestCluster, running: &RunningQuery) -> usize {
    test.busy_worker(running).await.expect("the query ended before it could be disturbed")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_that_goes_on_changes_no_result() {
    let test =
        TestCluster::start_with(|options| options.with("failure-detector.heartbeat-timeout", "2s")).await;
    let client = test.client("tpch", "sf1");
    let expected = client.clone().query(QUERY).await.unwrap();
    let mut landed = None;
    for _ in 0..STOP_COUNT_MAX {
        let running = RunningQuery::start(&client, QUERY).await;
        let worker = busy_worker(&test, &running).await;
        test.cluster.worker(worker).signal(Signal::SIGSTOP).unwrap();
        let id = running.id.clone();
        // The silent worker is taken for lost, and the rest of the cluster ends the query without it.
        let result = running.result().await.unwrap();
        assert_eq!(sorted(&result), sorted(&expected));
        if attempts(&test.describe(&id).await).iter().any(|attempt| attempt.state == "LOST") {
            landed = Some(worker);
            break;
        }
        // What it ran had just ended.
        test.cluster.worker(worker).signal(Signal::SIGCONT).unwrap();
        test.cluster.wait_for_workers(2).await.unwrap();
    }
    let worker = landed.expect("nothing was lost: no stop landed");
    test.cluster.worker(worker).signal(Signal::SIGCONT).unwrap();
    // What the worker still holds of the query is let go, and nothing of it stays behind.
    test.cluster.wait_for_workers(2).await.unwrap();
    assert_eq!(sorted(&client.clone().query(QUERY).await.unwrap()), sorted(&expected));
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_outlives_the_death_of_all_workers() {
    let mut test = TestCluster::start().await;
    let client = test.client("tpch", "sf1");
    let expected = client.clone().query(QUERY).await.unwrap();
    let running = RunningQuery::start(&client, QUERY).await;
    busy_worker(&test, &running).await;
    for worker in 0..2 {
        test.cluster.kill_worker(worker).await.unwrap();
    }
    let id = running.id.clone();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while attempts(&test.describe(&id).await).iter().any(|attempt| attempt.state == "RUNNING") {
        assert!(tokio::time::Instant::now() < deadline, "the deaths were not noticed");
    }
    assert!(!running.is_finished());
    for worker in 0..2 {
        test.cluster.restart_worker(worker).await.unwrap();
    }
    assert_eq!(sorted(&running.result().await.unwrap()), sorted(&expected));
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_workers_fails_within_its_grace() {
    let mut test = TestCluster::start_with(|options| {
        options.with("node-scheduler.allowed-no-matching-node-period", "2s")
    })
    .await;
    let client = test.client("tpch", "sf1");
    let running = RunningQuery::start(&client, QUERY).await;
    busy_worker(&test, &running).await;
    for worker in 0..2 {
        test.cluster.kill_worker(worker).await.unwrap();
    }
    let (name, text) = failure(running.result().await);
    assert_eq!((name.as_str(), text.as_str()), ("NO_NODES_AVAILABLE", "No nodes available to run query"));
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_query_leaves_nothing_behind() {
    let test = TestCluster::start().await;
    let client = test.client("tpch", "sf1");
    let mut canceling = client.clone();
    let mut statement = canceling.start(QUERY).await.unwrap();
    let id = statement.next().await.unwrap().unwrap().id;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !attempts(&test.describe(&id).await).iter().any(|attempt| attempt.state == "RUNNING") {
        assert!(tokio::time::Instant::now() < deadline, "no worker took the query up");
        statement.next().await.unwrap();
    }
    statement.cancel().await.unwrap();
    test.is_clean().await;
    let described = test.describe(&id).await;
    assert_eq!(described["errorCode"]["name"], json!("USER_CANCELED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let test = TestCluster::start_with(|options| options.with("query.client.timeout", "1s")).await;
    let client = test.client("tpch", "sf1");
    let id = {
        let mut leaving = client.clone();
        let mut statement = leaving.start("SELECT * FROM lineitem").await.unwrap();
        let mut id = String::new();
        // The first rows are there; then the client is never heard of again.
        while let Some(page) = statement.next().await.unwrap() {
            id = page.id;
            if !page.rows.is_empty() {
                break;
            }
        }
        id
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while test.describe(&id).await["errorCode"]["name"] != json!("ABANDONED_QUERY") {
        assert!(tokio::time::Instant::now() < deadline, "the client's absence was not noticed");
    }
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_shuts_down_ends_its_tasks_first() {
    let test = TestCluster::start().await;
    let client = test.client("tpch", "sf1");
    let running = RunningQuery::start(&client, QUERY).await;
    let worker = busy_worker(&test, &running).await;
    test.cluster.worker(worker).signal(Signal::SIGTERM).unwrap();
    let id = running.id.clone();
    running.result().await.unwrap();
    let listed = attempts(&test.describe(&id).await);
    // An attempt that was on its way to the worker when that was told to go is handed back.
    let is_fine = |attempt: &Attempt| ["FINISHED", "ABORTED"].contains(&attempt.state.as_str());
    assert!(listed.iter().all(is_fine), "{listed:?}");
    let log = test.cluster.worker(worker).log().to_path_buf();
    until(PATIENCE, || match std::fs::read_to_string(&log).unwrap().contains("the node has stopped") {
        true => Ok(()),
        false => Err("the worker did not stop".into()),
    })
    .await;
}
