//! What happens to queries when the coordinator dies, is started again, stands still, and has its place taken.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use steadfast::client::{Client, QueryResult, session};
use steadfast::cluster::{ClusterOptions, NodeProcess};

use super::proxy::Proxy;
use super::support::{Attempt, PATIENCE, RunningQuery, TestCluster, attempts, sorted, until, until_async};

/// Long enough to be disturbed, short enough to wait for. Several stages, of each kind.
const QUERY: &str = "SELECT l_shipmode, o_orderpriority, count(*), sum(l_quantity) \
    FROM lineitem JOIN orders ON l_orderkey = o_orderkey GROUP BY 1, 2";

/// Many pages.
const MANY_ROWS: &str = "SELECT l_orderkey, l_linenumber, l_comment, l_shipinstruct FROM lineitem";

/// How long the coordinator that leads may give no sign of itself.
const LEASE: &str = "3s";

/// Every query is recorded, however short it is.
fn recording(options: ClusterOptions) -> ClusterOptions {
    options.with("query.first-answer-wait", "0s")
}

/// Waits until some task of a query has committed and some task has not, and tells the attempts.
async fn half_done(test: &TestCluster, running: &RunningQuery) -> Vec<Attempt> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(!running.is_finished(), "the query ended before it could be disturbed");
        assert!(Instant::now() < deadline, "no task has committed");
        let listed = attempts(&test.describe(&running.id).await);
        let any = |state: &str| listed.iter().any(|attempt| attempt.state == state);
        if any("FINISHED") && any("RUNNING") {
            return listed;
        }
    }
}

fn finished_tasks(attempts: &[Attempt]) -> BTreeSet<(u64, u64)> {
    attempts.iter().filter(|attempt| attempt.state == "FINISHED").map(|attempt| attempt.task).collect()
}

/// No task whose output was committed before the coordinator died has an attempt of a later life.
fn assert_nothing_again(before: &[Attempt], after: &[Attempt]) {
    let committed = finished_tasks(before);
    assert!(!committed.is_empty());
    let last_epoch = before.iter().map(|attempt| attempt.epoch).max().unwrap();
    let again: Vec<_> = after
        .iter()
        .filter(|attempt| attempt.epoch > last_epoch && committed.contains(&attempt.task))
        .collect();
    assert!(again.is_empty(), "committed, and run again: {again:?}");
    assert!(after.iter().all(|attempt| attempt.generation == 0), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_outlives_the_coordinator_that_runs_it() {
    let mut test = TestCluster::start().await;
    let client = test.client("tpch", "sf1");
    let expected = client.clone().query(QUERY).await.unwrap();
    let running = RunningQuery::start(&client, QUERY).await;
    let before = half_done(&test, &running).await;
    test.cluster.kill_coordinator().await.unwrap();
    assert!(!running.is_finished());
    test.cluster.restart_coordinator().await.unwrap();
    let id = running.id.clone();
    let result = running.result().await.unwrap();
    assert_eq!(sorted(&result), sorted(&expected));
    assert_eq!(result.columns.len(), 4);
    assert_nothing_again(&before, &attempts(&test.describe(&id).await));
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_outlives_one_coordinator_after_the_other() {
    let mut test = TestCluster::start_with(|options| {
        let elsewhere = options.directory.join("state");
        options.with("coordinator.state-directory", elsewhere.display())
    })
    .await;
    let client = test.client("tpch", "sf1");
    let expected = client.clone().query(QUERY).await.unwrap();
    let mut kills = 0;
    let running = RunningQuery::start(&client, QUERY).await;
    let started = Instant::now();
    for delay in [0, 20, 100, 300, 1000, 2000, 3000].map(Duration::from_millis) {
        // Whatever the query does now, it is disturbed in that.
        tokio::time::sleep(delay.saturating_sub(started.elapsed())).await;
        if running.is_finished() {
            break;
        }
        test.cluster.kill_coordinator().await.unwrap();
        kills += u32::from(!running.is_finished());
        test.cluster.restart_coordinator().await.unwrap();
    }
    assert!(kills >= 2, "the query ended before it could be disturbed");
    assert_eq!(sorted(&running.result().await.unwrap()), sorted(&expected));
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_was_only_accepted_is_run_by_the_next_coordinator() {
    let mut test = TestCluster::start().await;
    let mut client = test.client("tpch", "tiny");
    client.session.time_zone = Some("Asia/Tokyo".into());
    client
        .session
        .prepared_statements
        .insert("mine".into(), "SELECT ?, current_timezone(), count(*) FROM nation".into());
    let accepted = Instant::now();
    let mut statement = client.start("EXECUTE mine USING 7").await.unwrap();
    test.cluster.kill_coordinator().await.unwrap();
    test.cluster.restart_coordinator().await.unwrap();
    let down = accepted.elapsed();
    let mut rows = Vec::new();
    let mut id = String::new();
    while let Some(page) = statement.next().await.unwrap() {
        id = page.id;
        rows.extend(page.rows);
    }
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0][0].as_i64(), rows[0][2].as_i64()), (Some(7), Some(25)));
    assert_eq!(rows[0][1], "Asia/Tokyo");
    // It is as old as it was when it was accepted.
    let described = test.describe(&id).await;
    let elapsed = described["queryStats"]["elapsedTime"].as_str().unwrap().to_string();
    let elapsed: base::Duration = elapsed.parse().unwrap();
    assert!(elapsed.as_std() >= down, "{elapsed} since it was accepted, {down:?} without a coordinator");
    test.is_clean().await;
}

/// Reads all rows of a statement, and does something before some pages.
async fn read_disturbed(
    client: &mut Client,
    text: &str,
    mut disturb: impl AsyncFnMut(usize),
) -> (QueryResult, usize) {
    let mut statement = client.start(text).await.unwrap();
    let (mut result, mut pages) = (QueryResult::default(), 0);
    while let Some(page) = statement.next().await.unwrap() {
        result.id = page.id;
        if !page.rows.is_empty() {
            pages += 1;
            disturb(pages).await;
        }
        result.rows.extend(page.rows);
    }
    (result, pages)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_on_where_it_was_although_the_coordinator_dies() {
    let mut test = TestCluster::start().await;
    let client = test.client("tpch", "sf0.1");
    let (expected, pages) = read_disturbed(&mut client.clone(), MANY_ROWS, async |_| {}).await;
    assert!(pages > 12, "the result has {pages} pages");
    let mut kills = 0;
    let mut reading = client.clone();
    let (result, _) = read_disturbed(&mut reading, MANY_ROWS, async |page| {
        if page % 5 == 1 && kills < 3 {
            test.cluster.kill_coordinator().await.unwrap();
            test.cluster.restart_coordinator().await.unwrap();
            kills += 1;
        }
    })
    .await;
    assert_eq!(kills, 3);
    assert_eq!(result.rows.len(), expected.rows.len());
    assert!(sorted(&result) == sorted(&expected), "rows are missing or there twice");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_the_coordinator_answers_by_itself_outlive_it() {
    let mut test = TestCluster::start().await;
    let mut client = test.client("tpch", "tiny");
    let expected = client.query("SHOW FUNCTIONS").await.unwrap();
    for kill_at in [0, 1] {
        let mut statement = client.start("SHOW FUNCTIONS").await.unwrap();
        let (mut rows, mut pages) = (Vec::new(), 0);
        loop {
            if pages == kill_at {
                test.cluster.kill_coordinator().await.unwrap();
                test.cluster.restart_coordinator().await.unwrap();
            }
            let Some(page) = statement.next().await.unwrap() else { break };
            rows.extend(page.rows);
            pages += 1;
        }
        assert!(pages > kill_at);
        assert_eq!(rows, expected.rows);
    }
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_was_decided_is_the_outcome() {
    let mut test = TestCluster::start().await;
    let mut client = test.client("tpch", "sf1");
    let mut statement = client.start(QUERY).await.unwrap();
    let id = statement.next().await.unwrap().unwrap().id;
    statement.cancel().await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while test.describe(&id).await["state"] != "FAILED" {
        assert!(Instant::now() < deadline, "it is not cancelled");
    }
    test.cluster.kill_coordinator().await.unwrap();
    test.cluster.restart_coordinator().await.unwrap();
    let described = test.describe(&id).await;
    assert_eq!(described["errorCode"]["name"], "USER_CANCELED");
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_not_done_again() {
    let mut test = TestCluster::start().await;
    let mut client = test.client("hive", "default");
    let mut creating = client.clone();
    let mut statement = creating.start("CREATE SCHEMA made_once").await.unwrap();
    let id = statement.next().await.unwrap().unwrap().id;
    let asked = statement.next().await.unwrap();
    assert!(asked.is_some());
    let deadline = Instant::now() + PATIENCE;
    while test.describe(&id).await["state"] == "PLANNING" {
        assert!(Instant::now() < deadline, "it is not carried out");
    }
    test.cluster.kill_coordinator().await.unwrap();
    test.cluster.restart_coordinator().await.unwrap();
    while statement.next().await.unwrap().is_some() {}
    let schemas = client.query("SHOW SCHEMAS LIKE 'made%'").await.unwrap();
    assert_eq!(schemas.rows, [["made_once"]]);
    test.is_clean().await;
}

/// The bytes and the objects that a query has written to the exchange.
fn exchange_written(description: &Value) -> (u64, u64) {
    let stats = &description["queryStats"];
    let size = stats["exchangeWrittenDataSize"].as_str().unwrap().strip_suffix('B').unwrap();
    (size.parse().unwrap(), stats["exchangeWrittenObjects"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_goes_on_under_the_next_coordinator() {
    let mut test = TestCluster::start().await;
    let client = test.client("tpch", "sf1");
    let running = RunningQuery::start(&client, &format!("EXPLAIN ANALYZE {QUERY}")).await;
    let before = half_done(&test, &running).await;
    let written_before = exchange_written(&test.describe(&running.id).await);
    test.cluster.kill_coordinator().await.unwrap();
    test.cluster.restart_coordinator().await.unwrap();
    let id = running.id.clone();
    let result = running.result().await.unwrap();
    assert_eq!((result.rows.len(), result.columns.len()), (1, 1));
    let written_after = exchange_written(&test.describe(&id).await);
    assert!(
        written_before.0 > 0 && written_after.0 >= written_before.0,
        "{written_before:?} {written_after:?}"
    );
    assert!(written_after.1 >= written_before.1, "{written_before:?} {written_after:?}");
    let text = result.rows[0][0].as_str().unwrap();
    // Workers may have told the next life of tasks that ended under the former one.
    for expected in ["Fragment 0 [", "Fragment 1 [", "Output: 35 rows"] {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
    assert_nothing_again(&before, &attempts(&test.describe(&id).await));
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_that_nobody_has_read_is_told_by_the_next_coordinator() {
    let mut test = TestCluster::start_with(recording).await;
    for pages_read in [0, 1] {
        let mut client = test.client("tpch", "tiny");
        let text = "EXPLAIN ANALYZE SELECT n_name, count(*) FROM nation GROUP BY 1";
        let mut statement = client.start(text).await.unwrap();
        let id = statement.next().await.unwrap().unwrap().id;
        let mut rows = Vec::new();
        until_async(PATIENCE, async || match test.describe(&id).await["state"].as_str() {
            Some("FINISHING") => Ok(()),
            other => Err(format!("it is {other:?}")),
        })
        .await;
        while pages_read > rows.len() {
            rows.extend(statement.next().await.unwrap().unwrap().rows);
        }
        test.cluster.kill_coordinator().await.unwrap();
        test.cluster.restart_coordinator().await.unwrap();
        while let Some(page) = statement.next().await.unwrap() {
            rows.extend(page.rows);
        }
        assert_eq!(rows.len(), 1, "{pages_read} pages read");
        assert!(rows[0][0].as_str().unwrap().contains("Fragment 0 ["), "{rows:?}");
        let queued = test.describe(&id).await["queryStats"]["queuedTime"].as_str().unwrap().to_owned();
        let queued: base::Duration = queued.parse().unwrap();
        assert!(queued.as_std() < Duration::from_millis(100), "{queued} in the queue");
    }
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_without_tables_and_of_system_tables_outlive_the_coordinator() {
    // One that is killed when it has given the last answer may leave the query to the next one, which waits for a client.
    let mut test =
        TestCluster::start_with(|options| recording(options).with("query.client.timeout", "30s")).await;
    for (text, count) in [
        ("VALUES 1, 2, 3", 3),
        ("SELECT catalog_name FROM system.metadata.catalogs", 3),
        ("SELECT node_id, state FROM system.runtime.nodes WHERE coordinator", 1),
        ("EXPLAIN SELECT count(*) FROM nation", 1),
    ] {
        let mut client = test.client("tpch", "tiny");
        let mut kill_at = 0;
        loop {
            kill_at += 1;
            let mut statement = client.start(text).await.unwrap();
            let (mut rows, mut pages, mut was_killed) = (Vec::new(), 0, false);
            while let Some(page) = statement.next().await.unwrap() {
                rows.extend(page.rows);
                pages += 1;
                // Whoever has got everything does not ask again.
                if pages == kill_at && statement.has_next() {
                    test.cluster.kill_coordinator().await.unwrap();
                    test.cluster.restart_coordinator().await.unwrap();
                    was_killed = true;
                }
            }
            assert_eq!(rows.len(), count, "{text}, killed after page {kill_at}");
            if !was_killed {
                assert!(kill_at >= 2, "{text} has {pages} pages");
                break;
            }
        }
    }
    test.is_clean().await;
}

/// Two coordinators behind a proxy, one of which stands by.
struct Pair {
    test: TestCluster,
    standby: NodeProcess,
    proxy: Proxy,
}

impl Pair {
    async fn start() -> Self {
        // A port that is free now.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let proxy = Proxy::start(&format!("127.0.0.1:{port}")).await;
        let test = TestCluster::start_with(|mut options| {
            options.port = port;
            options.coordinator_address = Some(proxy.address().to_string());
            options.with("coordinator.lease-duration", LEASE)
        })
        .await;
        let standby = test.cluster.start_standby().await.unwrap();
        Pair { test, standby, proxy }
    }

    fn client(&self) -> Client {
        let mut client = Client::new(self.proxy.address(), session("steadfast", "test"));
        client.session.catalog = Some("tpch".into());
        client.session.schema = Some("sf1".into());
        client
    }

    async fn describe(&self, id: &str) -> Vec<Attempt> {
        attempts(&self.client().document(&format!("/v1/query/{id}")).await.unwrap())
    }

    /// The proxy leads to the one that stood by.
    fn switch(&self) {
        self.switch_to(self.standby.address());
    }

    fn switch_to(&self, address: &str) {
        self.proxy.switch(address.trim_start_matches("http://"));
    }

    /// Waits until the one that was started to stand by does, or leads.
    async fn standby_leads(&self, leads: bool) {
        let standby = Client::new(self.standby.address(), session("steadfast", "test"));
        let deadline = Instant::now() + PATIENCE;
        while standby.document("/v1/info").await.unwrap()["starting"] == leads {
            assert!(Instant::now() < deadline, "it does not come to lead: {leads}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stands_by_takes_the_place_of_one_that_died() {
    let mut pair = Pair::start().await;
    let client = pair.client();
    let expected = client.clone().query(QUERY).await.unwrap();
    pair.standby_leads(false).await;
    let running = RunningQuery::start(&client, QUERY).await;
    let before = half_done(&pair.test, &running).await;
    pair.test.cluster.kill_coordinator().await.unwrap();
    pair.switch();
    let id = running.id.clone();
    assert_eq!(sorted(&running.result().await.unwrap()), sorted(&expected));
    assert_nothing_again(&before, &pair.describe(&id).await);
    pair.standby_leads(true).await;
    pair.test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_goes_with_the_lead_back_and_forth() {
    let mut pair = Pair::start().await;
    let client = pair.client();
    let expected = client.clone().query(QUERY).await.unwrap();
    let running = RunningQuery::start(&client, QUERY).await;
    half_done(&pair.test, &running).await;
    pair.test.cluster.kill_coordinator().await.unwrap();
    pair.standby_leads(true).await;
    pair.switch();
    // The first one does not ask: it takes the lead back, and the other one stands by again.
    pair.test.cluster.restart_coordinator().await.unwrap();
    pair.standby_leads(false).await;
    pair.switch_to(pair.test.cluster.address());
    pair.test.cluster.kill_coordinator().await.unwrap();
    pair.standby_leads(true).await;
    pair.switch();
    assert_eq!(sorted(&running.result().await.unwrap()), sorted(&expected));
    pair.test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stood_still_and_wakes_does_no_harm() {
    let pair = Pair::start().await;
    let client = pair.client();
    let expected = client.clone().query(QUERY).await.unwrap();
    let running = RunningQuery::start(&client, QUERY).await;
    let before = half_done(&pair.test, &running).await;
    pair.test.cluster.coordinator().signal(Signal::SIGSTOP).unwrap();
    pair.switch();
    // The other one leads when it answers.
    let deadline = Instant::now() + PATIENCE;
    while pair.client().document("/v1/node").await.is_err() {
        assert!(Instant::now() < deadline, "nobody took its place");
    }
    pair.test.cluster.coordinator().signal(Signal::SIGCONT).unwrap();
    let log = pair.test.cluster.coordinator().log().to_path_buf();
    until(PATIENCE, || {
        let text = std::fs::read_to_string(&log).unwrap();
        match text.contains("another coordinator has taken the place of this one") {
            true => Ok(()),
            false => Err("the first one has not noticed".into()),
        }
    })
    .await;
    let id = running.id.clone();
    assert_eq!(sorted(&running.result().await.unwrap()), sorted(&expected));
    assert_nothing_again(&before, &pair.describe(&id).await);
    assert_eq!(sorted(&client.clone().query(QUERY).await.unwrap()), sorted(&expected));
    pair.test.is_clean().await;
}
