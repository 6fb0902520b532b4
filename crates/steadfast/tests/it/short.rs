//! Queries that have ended before their client is answered: nothing of them is recorded, and nothing of them gets lost.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use steadfast::client::session;

use super::support::{PATIENCE, TestCluster, until};

/// A few rows by way of several stages.
const STAGES: &str = "SELECT l_shipmode, count(*) FROM tpch.\"sf0.1\".lineitem GROUP BY 1 ORDER BY 1";
/// Long enough to be disturbed.
const LONG: &str = "SELECT l_orderkey, count(*), sum(l_quantity) FROM tpch.sf1.lineitem GROUP BY 1";

/// How long short queries are waited for in tests that are about them. Test builds are slow.
const WAIT: (&str, &str) = ("query.first-answer-wait", "10s");

/// Requests as they are, without a client that tries again.
struct Raw {
    http: reqwest::Client,
    server: String,
}

impl Raw {
    fn new(test: &TestCluster) -> Self {
        Raw { http: reqwest::Client::new(), server: test.cluster.address().trim_end_matches('/').to_owned() }
    }

    async fn post(&self, text: &str) -> reqwest::Result<Value> {
        let request = self.http.post(format!("{}/v1/statement", self.server)).body(text.to_owned());
        let headers = session("steadfast", "test").to_headers().into_iter();
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        request.send().await?.error_for_status()?.json().await
    }

    async fn get(&self, uri: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.http.get(uri).send().await {
                Ok(answer) if answer.status().is_success() => return answer.json().await.unwrap(),
                other => assert!(Instant::now() < deadline, "{uri}: {other:?}"),
            }
        }
    }

    /// The only query there is.
    async fn only_query(&self) -> Value {
        let listed = self.get(&format!("{}/v1/query", self.server)).await;
        let listed = listed.as_array().unwrap();
        assert!(listed.len() <= 1, "{listed:?}");
        listed.first().cloned().unwrap_or_default()
    }

    /// Waits until the only query is in a state.
    async fn is(&self, state: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let query = self.only_query().await;
            if query["state"] == state {
                return query["queryId"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "it does not come to be {state}: {query}");
        }
    }
}

/// Where what is recorded of a query would be.
fn directory(test: &TestCluster, id: &str) -> PathBuf {
    test.cluster.options().exchange_directory().join(id)
}

fn next(answer: &Value) -> &str {
    answer["nextUri"].as_str().unwrap_or_else(|| panic!("nothing follows: {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_query_takes_two_requests_and_touches_no_store() {
    let test = TestCluster::start_with(|options| options.with(WAIT.0, WAIT.1)).await;
    let raw = Raw::new(&test);
    let mut ids = Vec::new();
    for (text, rows) in [
        ("SELECT 1", json!([[1]])),
        (STAGES, Value::Null),
        ("SHOW CATALOGS", json!([["hive"], ["system"], ["tpch"]])),
        ("SELECT 1 WHERE rand() < 0", Value::Null),
        ("SET SESSION retry_policy = 'TASK'", Value::Null),
    ] {
        let posted = raw.post(text).await.unwrap();
        let id = posted["id"].as_str().unwrap().to_owned();
        assert_eq!((&posted["data"], &posted["error"]), (&Value::Null, &Value::Null));
        assert!(next(&posted).contains("?capsule="), "{posted}");
        let answer = raw.get(next(&posted)).await;
        assert_eq!((&answer["nextUri"], &answer["id"]), (&Value::Null, &posted["id"]));
        assert_eq!(answer["stats"]["state"], "FINISHED");
        assert!(rows.is_null() || answer["data"] == rows, "{answer}");
        assert_eq!(test.describe(&id).await["state"], "FINISHED");
        // A client that lost the answer asks again.
        assert_eq!(raw.get(next(&posted)).await["data"], answer["data"]);
        ids.push(id);
    }
    for id in &ids {
        assert!(!directory(&test, id).exists(), "something of {id} is in the store");
    }
    // What was computed is told although the scheduler has forgotten it.
    let described = test.describe(&ids[1]).await;
    assert!(described["attempts"].as_array().is_some_and(|all| all.len() >= 3), "{described}");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_short_query_come_from_the_next_coordinator() {
    let mut test = TestCluster::start_with(|options| options.with(WAIT.0, WAIT.1)).await;
    let expected = {
        let raw = Raw::new(&test);
        raw.get(next(&raw.post(STAGES).await.unwrap())).await
    };
    let raw = Raw::new(&test);
    let posted = raw.post(STAGES).await.unwrap();
    test.cluster.kill_coordinator().await.unwrap();
    test.cluster.restart_coordinator().await.unwrap();
    let answer = raw.get(next(&posted)).await;
    assert_eq!((&answer["data"], &answer["nextUri"]), (&expected["data"], &Value::Null));
    assert_eq!((&answer["id"], &answer["columns"]), (&posted["id"], &expected["columns"]));
    // The answer got lost, and the coordinator with it.
    test.cluster.kill_coordinator().await.unwrap();
    test.cluster.restart_coordinator().await.unwrap();
    assert_eq!(raw.get(next(&posted)).await["data"], expected["data"]);
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_dies_before_it_has_answered_leaves_no_orphan() {
    let mut test = TestCluster::start_with(|options| options.with(WAIT.0, WAIT.1)).await;
    let raw = Raw::new(&test);
    let posting = tokio::spawn({
        let raw = Raw::new(&test);
        async move { raw.post(LONG).await }
    });
    let id = raw.is("RUNNING").await;
    // Its output is too large to be in the memory of the coordinator.
    until(
        PATIENCE,
        || if directory(&test, &id).exists() { Ok(()) } else { Err("nothing is written".into()) },
    )
    .await;
    assert!(!posting.is_finished(), "it was answered before it could be disturbed");
    test.cluster.kill_coordinator().await.unwrap();
    assert!(posting.await.unwrap().is_err(), "the client was answered");
    test.cluster.restart_coordinator().await.unwrap();
    assert_eq!(raw.only_query().await, Value::Null);
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_before_it_is_answered_cancels() {
    let test = TestCluster::start_with(|options| options.with(WAIT.0, WAIT.1)).await;
    let raw = Raw::new(&test);
    let posting = tokio::spawn({
        let raw = Raw::new(&test);
        async move { raw.post(LONG).await }
    });
    let id = raw.is("RUNNING").await;
    assert!(!posting.is_finished(), "it was answered before it could go away");
    posting.abort();
    assert_eq!(raw.is("FAILED").await, id);
    assert_eq!(test.describe(&id).await["errorCode"]["name"], "ABANDONED_QUERY");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_longer_is_recorded_before_its_client_is_answered() {
    let mut test = TestCluster::start_with(|options| options.with("query.first-answer-wait", "300ms")).await;
    let raw = Raw::new(&test);
    let begun = Instant::now();
    let posted = raw.post(LONG).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(!next(&posted).contains("capsule"), "{posted}");
    let directory = directory(&test, posted["id"].as_str().unwrap());
    assert!(directory.join("query").exists());
    test.cluster.kill_coordinator().await.unwrap();
    test.cluster.restart_coordinator().await.unwrap();
    let (mut rows, mut at) = (0, next(&posted).to_owned());
    loop {
        let page = raw.get(&at).await;
        assert_eq!(page["error"], Value::Null);
        rows += page["data"].as_array().map_or(0, Vec::len);
        let Some(next) = page["nextUri"].as_str() else { break };
        at = next.to_owned();
    }
    assert_eq!(rows, 1_500_000);
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_several_pages_is_recorded_although_it_is_there_at_once() {
    let mut test = TestCluster::start_with(|options| options.with(WAIT.0, WAIT.1)).await;
    let mut client = test.client("tpch", "tiny");
    let text = "SELECT l_orderkey, l_linenumber, l_comment FROM lineitem";
    let mut statement = client.start(text).await.unwrap();
    let id = statement.next().await.unwrap().unwrap().id;
    for record in ["query", "plan"] {
        assert!(directory(&test, &id).join(record).exists(), "{record} is not there");
    }
    // On a busy machine the client may be answered before the last task has ended.
    until(PATIENCE, || match directory(&test, &id).join("done").exists() {
        true => Ok(()),
        false => Err("its end is not on record".to_owned()),
    })
    .await;
    test.cluster.kill_coordinator().await.unwrap();
    test.cluster.restart_coordinator().await.unwrap();
    let (mut rows, mut pages) = (0, 0);
    while let Some(page) = statement.next().await.unwrap() {
        rows += page.rows.len();
        pages += usize::from(!page.rows.is_empty());
    }
    assert!(pages > 1, "it is one page");
    assert_eq!(rows, 60_175);
    test.is_clean().await;
}
