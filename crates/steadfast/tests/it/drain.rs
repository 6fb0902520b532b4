//! Workers that come and go in an orderly way while queries run.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::Value;
use steadfast::client::Client;

use super::policies::{client_under, retries};
use super::support::{Attempt, PATIENCE, RunningQuery, TestCluster, attempts, failure, sorted};

const QUERY: &str = "SELECT l_shipmode, o_orderpriority, count(*), sum(l_quantity) \
    FROM lineitem JOIN orders ON l_orderkey = o_orderkey GROUP BY 1, 2";

/// Every attempt waits before it commits, so that queries last and workers are busy although little is computed.
const SLOW_COMMITS: &str = "class=EXTERNAL,delay=1s";

/// Makes a query last: so many tasks of each stage for each slot.
const MANY_TASKS: &str =
    "SET SESSION fault_tolerant_execution_hash_distribution_compute_task_to_node_min_ratio = 6";

/// How many queries are disturbed at most until every worker was restarted under one.
const ROUNDS_MAX: usize = 5;

/// How often a look is taken at what is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

async fn slow_cluster(workers: usize, grace: &str) -> TestCluster {
    TestCluster::start_with(|options| {
        let mut options = options
            .with("failure-injection.tasks", SLOW_COMMITS)
            .with("shutdown.grace-period", grace)
            // What is slow here is slow on purpose.
            .with("fault-tolerant-execution-speculative-execution-enabled", "false");
        options.workers = workers;
        options
    })
    .await
}

/// The state that a worker tells of itself.
async fn node_state(test: &TestCluster, worker: usize) -> String {
    let url = format!("{}/v1/info/state", test.cluster.worker(worker).address());
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

/// Asks a worker to be in another state.
async fn request_state(test: &TestCluster, worker: usize, state: &str) -> (StatusCode, String) {
    let url = format!("{}/v1/info/state", test.cluster.worker(worker).address());
    let request = reqwest::Client::new().put(url).header("content-type", "application/json");
    let response = request.body(format!("\"{state}\"")).send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

async fn wait_for_state(test: &TestCluster, worker: usize, wanted: &str) {
    let reached = async {
        while node_state(test, worker).await != wanted {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the worker must reach the state");
}

/// The answer to [`QUERY`], and a client for whom it takes its time.
async fn expected(test: &TestCluster) -> (Vec<String>, Client) {
    let mut client = test.client("tpch", "tiny");
    let expected = sorted(&client.query(QUERY).await.unwrap());
    client.query(MANY_TASKS).await.unwrap();
    (expected, client)
}

fn unix_millis() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn states(attempts: &[Attempt]) -> BTreeSet<&str> {
    attempts.iter().map(|attempt| attempt.state.as_str()).collect()
}

/// Restarts each worker once by SIGTERM, one after the other, beginning with that one. Those that were restarted while
/// the query ran.
async fn roll(test: &mut TestCluster, running: &RunningQuery, first: usize) -> BTreeSet<usize> {
    let workers = test.cluster.options().workers;
    let mut restarted = BTreeSet::new();
    for worker in (0..workers).cycle().skip(first).take(workers) {
        if running.is_finished() {
            break;
        }
        test.cluster.worker(worker).signal(Signal::SIGTERM).unwrap();
        let ended = tokio::time::timeout(PATIENCE, test.cluster.wait_for_end(worker)).await;
        let status = ended.expect("a worker that drains must end").unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
        if !running.is_finished() {
            restarted.insert(worker);
        }
        test.cluster.restart_worker(worker).await.unwrap();
        test.cluster.wait_for_workers(workers).await.unwrap();
    }
    restarted
}

/// Restarts all workers in turn under running queries. The attempts of these.
async fn rolling_restart(grace: &str) -> Vec<Attempt> {
    let mut test = slow_cluster(3, grace).await;
    let (expected, client) = expected(&test).await;
    let mut restarted = BTreeSet::new();
    let mut listed = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let running = RunningQuery::start(&client, QUERY).await;
        test.busy_worker(&running).await.expect("the query must be disturbed");
        let first = (0..3).find(|worker| !restarted.contains(worker)).unwrap_or_default();
        restarted.extend(roll(&mut test, &running, first).await);
        let id = running.id.clone();
        assert_eq!(sorted(&running.result().await.unwrap()), expected);
        listed.extend(attempts(&test.describe(&id).await));
        if restarted.len() == 3 {
            break;
        }
    }
    assert_eq!(restarted.len(), 3, "not every restart landed");
    test.is_clean().await;
    listed
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_are_restarted_and_every_attempt_finishes() {
    let listed = rolling_restart("2m").await;
    assert!(states(&listed).is_subset(&BTreeSet::from(["FINISHED", "ABORTED"])), "{listed:?}");
    // What runs may go on; what only waits on a worker that goes runs elsewhere.
    let finished = listed.iter().filter(|attempt| attempt.state == "FINISHED").count();
    assert!(finished > listed.len() / 2, "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_are_restarted_and_what_has_not_ended_is_handed_back() {
    let listed = rolling_restart("100ms").await;
    assert_eq!(states(&listed), BTreeSet::from(["ABORTED", "FINISHED"]), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_holds_nothing_until_it_is_active_again() {
    let test = slow_cluster(2, "2m").await;
    let (expected, client) = expected(&test).await;
    let running = RunningQuery::start(&client, QUERY).await;
    let worker = test.busy_worker(&running).await.expect("the query must be disturbed");
    let node = test.cluster.worker_node_id(worker);

    assert_eq!(request_state(&test, worker, "DRAINING").await.0, StatusCode::OK);
    assert_eq!(request_state(&test, worker, "DRAINING").await.0, StatusCode::OK);
    let refused = |state: &str| (StatusCode::BAD_REQUEST, format!("Invalid state transition to {state}"));
    assert_eq!(request_state(&test, worker, "DRAINED").await.0, StatusCode::BAD_REQUEST);
    wait_for_state(&test, worker, "DRAINED").await;
    let drained_at = unix_millis();
    assert!(!running.is_finished(), "the query must go on without the worker");
    assert_eq!(request_state(&test, worker, "DRAINING").await, refused("DRAINING"));
    assert_eq!(request_state(&test, worker, "INACTIVE").await, refused("INACTIVE"));
    let id = running.id.clone();
    assert_eq!(sorted(&running.result().await.unwrap()), expected);
    let listed = attempts(&test.describe(&id).await);
    assert!(states(&listed).is_subset(&BTreeSet::from(["FINISHED", "ABORTED"])), "{listed:?}");
    let late = listed.iter().find(|attempt| attempt.node == node && attempt.started_unix_millis > drained_at);
    assert!(late.is_none(), "{late:?}");

    // Without another worker a query waits for it.
    let other = 1 - worker;
    assert_eq!(request_state(&test, other, "DRAINING").await.0, StatusCode::OK);
    wait_for_state(&test, other, "DRAINED").await;
    let waiting = RunningQuery::start(&client, QUERY).await;
    assert_eq!(request_state(&test, worker, "ACTIVE").await.0, StatusCode::OK);
    assert_eq!(node_state(&test, worker).await, "ACTIVE");
    let id = waiting.id.clone();
    assert_eq!(sorted(&waiting.result().await.unwrap()), expected);
    let listed = attempts(&test.describe(&id).await);
    assert!(!listed.is_empty() && listed.iter().all(|attempt| attempt.node == node), "{listed:?}");

    // A drained worker goes at once when it is told to.
    assert_eq!(request_state(&test, other, "SHUTTING_DOWN").await.0, StatusCode::OK);
    let mut test = test;
    let ended = tokio::time::timeout(PATIENCE, test.cluster.wait_for_end(other)).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
    let log = std::fs::read_to_string(test.cluster.worker(other).log()).unwrap();
    assert!(log.contains("Shutdown requested") && log.contains("the node has stopped"), "{log}");
}

/// Drains a worker under a query of that policy that waits a second before it ends. What became of the query, and its
/// description.
async fn drained_under(policy: &str, grace: &str) -> (Result<Vec<String>, String>, Vec<String>, Value) {
    let test = slow_cluster(2, grace).await;
    let expected = sorted(&client_under(&test, policy, "tpch", "tiny").query(QUERY).await.unwrap());
    let running = RunningQuery::start(&client_under(&test, policy, "tpch", "tiny"), QUERY).await;
    let worker = test.busy_worker(&running).await.expect("the query must be disturbed");
    assert_eq!(request_state(&test, worker, "DRAINING").await.0, StatusCode::OK);
    assert!(!running.is_finished(), "the query must be disturbed");
    let id = running.id.clone();
    let result = running.result().await;
    wait_for_state(&test, worker, "DRAINED").await;
    let described = test.describe(&id).await;
    test.is_clean().await;
    let result = result.map(|result| sorted(&result)).map_err(|error| failure::<()>(Err(error)).0);
    (result, expected, described)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_not_retried_by_task_ends_before_its_workers_drain() {
    for policy in ["NONE", "QUERY"] {
        let (result, expected, described) = drained_under(policy, "2m").await;
        assert_eq!(result, Ok(expected), "under {policy}");
        assert_eq!(retries(&described), 0, "under {policy}");
        let listed = attempts(&described);
        assert!(listed.iter().all(|attempt| attempt.state == "FINISHED"), "under {policy}: {listed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_worker_cannot_wait_for_it_runs_again_or_fails() {
    let (result, expected, described) = drained_under("QUERY", "100ms").await;
    assert_eq!(result, Ok(expected));
    assert_eq!(retries(&described), 1);
    assert_eq!(described["queryStats"]["failedTasks"], serde_json::json!(0));
    let (result, ..) = drained_under("NONE", "100ms").await;
    assert_eq!(result, Err("SERVER_SHUTTING_DOWN".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_joins_gets_work_at_once() {
    let mut test = slow_cluster(1, "2m").await;
    let (expected, client) = expected(&test).await;
    let running = RunningQuery::start(&client, QUERY).await;
    test.busy_worker(&running).await.expect("the query must run");
    let joined = test.cluster.add_worker().await.unwrap();
    let node = test.cluster.worker_node_id(joined);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !attempts(&test.describe(&running.id).await).iter().any(|attempt| attempt.node == node) {
        assert!(!running.is_finished(), "the query ended before the new worker got work");
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert_eq!(sorted(&running.result().await.unwrap()), expected);
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_worker_at_once() {
    for (second, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut landed = false;
        for _ in 0..SIGNAL_COUNT_MAX {
            landed = was_cut_short(second, code).await;
            if landed {
                break;
            }
        }
        assert!(landed, "{second} never cut anything short");
    }
}

/// How often a signal is tried that comes before the worker has begun with anything.
const SIGNAL_COUNT_MAX: usize = 10;

/// Ends a worker under a query by two signals. Whether that cut an attempt short: what had not begun is handed back.
async fn was_cut_short(second: Signal, code: i32) -> bool {
    let mut test = slow_cluster(2, "2m").await;
    let (expected, client) = expected(&test).await;
    let running = RunningQuery::start(&client, QUERY).await;
    let worker = test.busy_worker(&running).await.expect("the query must be disturbed");
    test.cluster.worker(worker).signal(Signal::SIGTERM).unwrap();
    wait_for_state(&test, worker, "SHUTTING_DOWN").await;
    test.cluster.worker(worker).signal(second).unwrap();
    let ended = tokio::time::timeout(PATIENCE, test.cluster.wait_for_end(worker)).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(code));
    let id = running.id.clone();
    assert_eq!(sorted(&running.result().await.unwrap()), expected);
    attempts(&test.describe(&id).await).iter().any(|attempt| attempt.state == "LOST")
}
