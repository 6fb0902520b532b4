//! A worker outlives its coordinator, answers while it is busy, and goes when it is told to.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::time::Duration;

use protocol::node::wire;
use serde_json::Value;
use support::Fixture;
use support::connector::{Behaviour, TestConnector};
use support::coordinator::{FakeCoordinator, PATIENCE, Task, attempt, committed, is_running, of_attempt};
use support::plans::pass_on;
use support::{Directories, options};
use tokio::time::timeout;
use worker::Worker;

#[tokio::test]
async fn attempts_run_on_while_the_coordinator_is_away() {
    let mut fixture = Fixture::start().await;
    let held = attempt(0, 0, 0);
    let task = Task::new(held, &pass_on(), vec![Behaviour::Wait.split()]);
    fixture.attached.desire(&[task]).await;
    fixture.connector.splits_started(1).await;
    let incarnation = fixture.attached.announcement.incarnation;
    let sequence = fixture.attached.sequence();
    drop(fixture.attached);

    let mut attached = fixture.coordinator.attached().await;
    assert_eq!(attached.announcement.incarnation, incarnation);
    let report = attached.report(|_| true).await;
    assert!(is_running(of_attempt(&report, &held).unwrap()));
    assert_eq!((report.has_desired_seen, report.desired_sequence), (true, sequence));
    drop(attached);

    // It ends and commits with nobody there to tell.
    fixture.connector.release();
    fixture.connector.splits_dropped(1).await;
    let mut attached = fixture.coordinator.attached().await;
    assert_eq!(committed(&attached.ends(&[held]).await[0]).rows, 1);
    attached.continues(sequence);
    attached.desire(&[]).await;
    attached.empties().await;
}

#[tokio::test]
async fn a_stale_desire_changes_nothing() {
    let mut fixture = Fixture::start().await;
    let task = Task::new(attempt(0, 0, 0), &pass_on(), vec![Behaviour::Wait.split()]);
    fixture.attached.continues(10);
    fixture.attached.desire(&[task]).await;
    fixture.connector.splits_started(1).await;
    fixture.attached.continues(4);
    fixture.attached.desire(&[]).await;
    fixture.attached.continues(11);
    let other = Task::new(attempt(0, 1, 0), &pass_on(), vec![Behaviour::Wait.split()]);
    let both = [Task::new(attempt(0, 0, 0), &pass_on(), vec![Behaviour::Wait.split()]), other];
    fixture.attached.desire(&both).await;
    let report = fixture.attached.report(|report| report.desired_sequence == 12).await;
    assert!(of_attempt(&report, &attempt(0, 0, 0)).is_some_and(is_running));
    fixture.connector.release();
    fixture.attached.ends(&[attempt(0, 0, 0), attempt(0, 1, 0)]).await;
}

#[tokio::test]
async fn a_busy_worker_answers() {
    let mut fixture = Fixture::start().await;
    let spin = |partition| Task::new(attempt(0, partition, 0), &pass_on(), vec![Behaviour::Spin.split()]);
    fixture.attached.desire(&[spin(0), spin(1)]).await;
    fixture.connector.splits_started(2).await;
    let request =
        async { reqwest::get(fixture.url("/v1/info")).await.unwrap().json::<Value>().await.unwrap() };
    let info = timeout(Duration::from_secs(1), request).await.expect("a busy worker must answer");
    assert_eq!((info["nodeId"].as_str(), info["starting"].as_bool()), (Some("worker-1"), Some(false)));
    fixture.attached.report(|report| report.attempts.len() == 2).await;
    fixture.connector.release();
    fixture.attached.ends(&[attempt(0, 0, 0), attempt(0, 1, 0)]).await;
}

#[tokio::test]
async fn a_worker_that_shuts_down_ends_what_it_runs_first() {
    let mut fixture = Fixture::start().await;
    let held = attempt(0, 0, 0);
    let task = Task::new(held, &pass_on(), vec![Behaviour::Wait.split()]);
    fixture.attached.desire(&[task]).await;
    fixture.connector.splits_started(1).await;
    let client = reqwest::Client::new();
    let url = fixture.url("/v1/info/state");
    let put = async |body: &'static str| client.put(&url).body(body).send().await.unwrap().status().as_u16();
    assert_eq!(reqwest::get(&url).await.unwrap().text().await.unwrap(), "\"ACTIVE\"");
    assert_eq!(put("\"NONSENSE\"").await, 400);
    assert_eq!(put("SHUTTING_DOWN").await, 400);
    assert_eq!(put("\"SHUTTING_DOWN\"").await, 200);
    assert_eq!(put("\"SHUTTING_DOWN\"").await, 200);
    let report = fixture.attached.report(|report| report.state() == wire::NodeState::ShuttingDown).await;
    assert!(is_running(of_attempt(&report, &held).unwrap()));
    assert_eq!(reqwest::get(&url).await.unwrap().text().await.unwrap(), "\"SHUTTING_DOWN\"");
    assert_eq!(put("\"ACTIVE\"").await, 400);
    fixture.connector.release();
    assert_eq!(committed(&fixture.attached.ends(&[held]).await[0]).rows, 1);
    fixture.attached.desire(&[]).await;
    timeout(PATIENCE, fixture.worker.wait()).await.expect("the worker must go").unwrap();
    fixture.worker.wait().await.unwrap();
    assert!(client.get(&url).send().await.is_err(), "nobody answers any more");
    assert!(!fixture.directories.spill().join("node-worker-1").exists());
}

#[tokio::test]
async fn a_worker_without_a_coordinator_answers_and_shuts_down() {
    let (connector, directories) = (TestConnector::new(), Directories::new());
    let leftover = directories.spill().join("node-worker-1/17/attempt");
    std::fs::create_dir_all(&leftover).unwrap();
    // Nobody listens any more at a port that was given back.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = options(format!("http://{nobody}"), &connector, &directories);
    let mut worker = Worker::start(options).await.unwrap();
    assert!(!leftover.exists(), "what an earlier life spilled is removed");
    let base = format!("http://{}", worker.http_address());
    let status: Value = reqwest::get(format!("{base}/v1/status")).await.unwrap().json().await.unwrap();
    assert_eq!(status["memoryInfo"]["pool"]["maxBytes"], 1 << 30);
    let head = reqwest::Client::new().head(format!("{base}/v1/status")).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(reqwest::get(format!("{base}/v1/info/coordinator")).await.unwrap().status(), 404);
    worker.shutdown().await;
    timeout(PATIENCE, worker.wait()).await.expect("the worker must go").unwrap();
}

#[tokio::test]
async fn a_worker_that_is_stopped_goes_at_once_even_if_its_threads_are_stuck() {
    let mut fixture = Fixture::start().await;
    let spin = Task::new(attempt(0, 0, 0), &pass_on(), vec![Behaviour::Spin.split()]);
    fixture.attached.desire(&[spin]).await;
    fixture.connector.splits_started(1).await;
    fixture.worker.stop();
    timeout(PATIENCE, fixture.worker.wait()).await.expect("the worker must go").unwrap();
    fixture.connector.release();
    fixture.coordinator.rejection.send_replace(None);
}

#[tokio::test]
async fn a_worker_that_is_rejected_lives_on() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.rejection.send_replace(Some("another build".to_owned()));
    let (connector, directories) = (TestConnector::new(), Directories::new());
    let options = options(coordinator.uri.clone(), &connector, &directories);
    let mut worker = Worker::start(options).await.unwrap();
    let rejected = coordinator.attached().await;
    assert_eq!(rejected.announcement.build, "build-1");
    let info: Value = reqwest::get(format!("http://{}/v1/info", worker.http_address()))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(info["state"], "ACTIVE");
    worker.shutdown().await;
    timeout(PATIENCE, worker.wait()).await.expect("the worker must go").unwrap();
}

#[tokio::test]
async fn a_worker_that_shuts_down_while_the_coordinator_is_away_commits_first() {
    let mut fixture = Fixture::start().await;
    let held = attempt(0, 0, 0);
    let task = Task::new(held, &pass_on(), vec![Behaviour::Wait.split()]);
    fixture.attached.desire(&[task]).await;
    fixture.connector.splits_started(1).await;
    fixture.coordinator.rejection.send_replace(Some("not now".to_owned()));
    drop(fixture.attached);
    drop(fixture.coordinator.attached().await);

    fixture.worker.shutdown().await;
    let goes = timeout(Duration::from_millis(500), fixture.worker.wait()).await;
    assert!(goes.is_err(), "it must not go while it runs something");
    fixture.connector.release();
    timeout(PATIENCE, fixture.worker.wait()).await.expect("the worker must go").unwrap();
    let record = fixture.exchange.committed(held.output()).await.unwrap().expect("it is committed");
    assert_eq!((record.attempt(), record.rows()), (held, 1));
}

#[tokio::test]
async fn a_worker_whose_node_has_a_newer_life_drops_what_it_runs() {
    let mut fixture = Fixture::start().await;
    let task = Task::new(attempt(0, 0, 0), &pass_on(), vec![Behaviour::Wait.split()]);
    fixture.attached.desire(&[task]).await;
    fixture.connector.splits_started(1).await;
    fixture.attached.supersede().await;
    fixture.connector.splits_dropped(1).await;
    // It does not come back at once, and what it ran is gone although nobody took it back.
    let comes_back = timeout(Duration::from_millis(500), fixture.coordinator.attached.recv()).await;
    assert!(comes_back.is_err(), "two lives of a node must not take turns");
    fixture.worker.shutdown().await;
    timeout(PATIENCE, fixture.worker.wait()).await.expect("the worker must go").unwrap();
    let left = fixture.directories.files();
    assert!(left.is_empty(), "{left:?}");
}
