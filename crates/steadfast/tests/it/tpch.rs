//! All TPC-H queries at scale factor 1 against the expected answers: undisturbed, and with a worker killed in the
//! middle of each.

use std::time::{Duration, SystemTime};

use super::policies::client_under;
use super::support::{Attempt, RunningQuery, TestCluster, attempts};
use super::tpch_data::create_hive_tables;
use steadfast::client::Client;
use testing::{TpchQuery, shared, tpch_query};

const QUERY_COUNT: usize = 22;
/// How often a kill is tried that comes too late to cost anything.
const KILL_ATTEMPT_COUNT_MAX: usize = 10;

/// Whether a kill cost the query anything.
#[derive(Debug)]
enum Landing {
    /// It did, and so long after it the first lost attempt was replaced.
    Hit(Duration),
    /// What the worker ran had just ended.
    Missed,
}

fn queries() -> Option<Vec<TpchQuery>> {
    let directory = shared("tpch")?;
    Some((1..=QUERY_COUNT).map(|number| tpch_query(&directory, number).unwrap()).collect())
}

async fn check_undisturbed(client: &Client, queries: &[TpchQuery]) {
    let mut wrong = Vec::new();
    for query in queries {
        let outcome = client.clone().query(&query.text).await;
        let problem = match &outcome {
            Ok(result) => query.answer.differs_from(&result.rows),
            Err(error) => Some(error.to_string()),
        };
        wrong.extend(problem.map(|problem| format!("q{:02}: {problem}", query.number)));
    }
    assert!(wrong.is_empty(), "{} of {QUERY_COUNT} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_over_hive_are_right() {
    let Some(queries) = queries() else { return };
    let test = TestCluster::start().await;
    let mut client = test.client("hive", "tpch");
    create_hive_tables(&mut client).await;
    check_undisturbed(&client, &queries).await;
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_over_tpch_are_right() {
    let Some(queries) = queries() else { return };
    let test = TestCluster::start().await;
    check_undisturbed(&test.client("tpch", "sf1"), &queries).await;
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_pipelined_queries_are_right() {
    let Some(queries) = queries() else { return };
    let test = TestCluster::start().await;
    let mut client = test.client("hive", "tpch");
    create_hive_tables(&mut client).await;
    for policy in ["NONE", "QUERY"] {
        check_undisturbed(&client_under(&test, policy, "hive", "tpch"), &queries).await;
    }
    test.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_of_each_query_that_is_retried_as_a_whole_changes_no_answer() {
    let Some(queries) = queries() else { return };
    let mut test = TestCluster::start().await;
    create_hive_tables(&mut test.client("hive", "tpch")).await;
    let client = client_under(&test, "QUERY", "hive", "tpch");
    check_with_kills(&mut test, &client, &queries).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_of_each_query_over_hive_changes_no_answer() {
    let Some(queries) = queries() else { return };
    let mut test = TestCluster::start().await;
    let mut client = test.client("hive", "tpch");
    create_hive_tables(&mut client).await;
    check_with_kills(&mut test, &client, &queries).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_of_each_query_over_tpch_changes_no_answer() {
    let Some(queries) = queries() else { return };
    let mut test = TestCluster::start().await;
    let client = test.client("tpch", "sf1");
    check_with_kills(&mut test, &client, &queries).await;
}

/// Runs each query until a kill has landed in the middle of it, and prints how soon lost attempts were replaced.
async fn check_with_kills(test: &mut TestCluster, client: &Client, queries: &[TpchQuery]) {
    let (mut wrong, mut recoveries) = (Vec::new(), Vec::new());
    for query in queries {
        let mut outcome = Ok(Landing::Missed);
        for _ in 0..KILL_ATTEMPT_COUNT_MAX {
            outcome = kill_in_the_middle(test, client, query).await;
            if !matches!(outcome, Ok(Landing::Missed)) {
                break;
            }
        }
        match outcome {
            Ok(Landing::Hit(recovery)) => recoveries.push(recovery),
            Ok(Landing::Missed) => wrong.push(format!("q{:02}: no kill landed", query.number)),
            Err(problem) => wrong.push(format!("q{:02}: {problem}", query.number)),
        }
    }
    assert!(wrong.is_empty(), "{} of {QUERY_COUNT} wrong:\n{}", wrong.len(), wrong.join("\n"));
    recoveries.sort();
    let median = recoveries[recoveries.len() / 2];
    eprintln!(
        "{} kills landed; first replacement: median {median:?}, at most {:?}",
        recoveries.len(),
        recoveries.last()
    );
    test.is_clean().await;
}

/// Runs a query, kills a worker while it runs tasks of it, and judges what becomes of it.
async fn kill_in_the_middle(
    test: &mut TestCluster,
    client: &Client,
    query: &TpchQuery,
) -> Result<Landing, String> {
    let running = RunningQuery::start(client, &query.text).await;
    let Some(victim) = test.busy_worker(&running).await else {
        return Ok(Landing::Missed);
    };
    let killed_at = SystemTime::now();
    test.cluster.kill_worker(victim).await.unwrap();
    test.cluster.restart_worker(victim).await.unwrap();
    let id = running.id.clone();
    let result = running.result().await.map_err(|error| error.to_string())?;
    if let Some(problem) = query.answer.differs_from(&result.rows) {
        return Err(problem);
    }
    judge_attempts(test, &id, victim, killed_at).await
}

async fn judge_attempts(
    test: &TestCluster,
    id: &str,
    victim: usize,
    killed_at: SystemTime,
) -> Result<Landing, String> {
    let listed = attempts(&test.describe(id).await);
    let node = test.cluster.worker_node_id(victim);
    let lost: Vec<_> = listed.iter().filter(|attempt| attempt.state == "LOST").collect();
    if lost.is_empty() {
        return Ok(Landing::Missed);
    }
    if let Some(stray) = lost.iter().find(|attempt| attempt.node != node) {
        return Err(format!("an attempt was lost on a worker that lives: {stray:?}"));
    }
    let mut first_replacement = None;
    let is_rival = |attempt: &Attempt| {
        let earlier = |other: &&Attempt| other.task == attempt.task && other.number < attempt.number;
        let ended = listed.iter().filter(earlier).map(|other| other.ended_unix_millis.unwrap_or(u64::MAX));
        ended.max().is_some_and(|ended| ended > attempt.started_unix_millis)
    };
    // A query that is retried as a whole runs everything again.
    let is_replacement =
        |attempt: &&Attempt| attempt.generation > 0 || attempt.number > 0 && !is_rival(attempt);
    for attempt in listed.iter().filter(is_replacement) {
        if attempt.generation == 0 && !lost.iter().any(|lost| lost.task == attempt.task) {
            return Err(format!("an attempt was run again in vain: {attempt:?}"));
        }
        let started = attempt.started_unix_millis;
        first_replacement = Some(first_replacement.map_or(started, |first: u64| first.min(started)));
    }
    let killed_at = killed_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let has_rival = |lost: &&Attempt| {
        listed.iter().any(|other| other.task == lost.task && other.state == "FINISHED" && is_rival(other))
    };
    let Some(first) = first_replacement else {
        // Whoever was overtaken before it was lost needs no replacement.
        let all_overtaken = lost.iter().all(|lost| has_rival(lost) || lost.number > 0);
        return if all_overtaken {
            Ok(Landing::Missed)
        } else {
            Err("nothing replaced the lost attempts".into())
        };
    };
    Ok(Landing::Hit(Duration::from_millis(first.saturating_sub(killed_at))))
}
