//! A worker that drains ends what it runs or hands it back, and comes back when it is told to.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::time::Duration;

use protocol::node::wire::{self, attempt_report::Status};
use support::Fixture;
use support::connector::Behaviour;
use support::coordinator::{PATIENCE, Task, attempt, committed, is_running, of_attempt};
use support::plans::pass_on;
use tokio::time::timeout;

impl Fixture {
    async fn state(&self) -> String {
        reqwest::get(self.url("/v1/info/state")).await.unwrap().json().await.unwrap()
    }

    /// Asks for another state. The answer's status and text.
    async fn request_state(&self, state: &str) -> (u16, String) {
        let request = reqwest::Client::new().put(self.url("/v1/info/state")).body(format!("\"{state}\""));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn accepts_state(&self, state: &str) {
        assert_eq!(self.request_state(state).await, (200, String::new()), "{state}");
    }

    async fn refuses_state(&self, state: &str) {
        assert_eq!(self.request_state(state).await, (400, format!("Invalid state transition to {state}")));
    }
}

fn waiting(partition: u32) -> Task {
    Task::new(attempt(0, partition, 0), &pass_on(), vec![Behaviour::Wait.split()])
}

fn is_handed_back(report: &wire::AttemptReport) -> bool {
    matches!(report.status, Some(Status::HandedBack(_)))
}

#[tokio::test]
async fn what_waits_is_handed_back_and_what_runs_ends() {
    let mut fixture = Fixture::start().await;
    fixture.attached.desire(&[waiting(0), waiting(1), waiting(2)]).await;
    fixture.connector.splits_started(2).await;
    fixture.refuses_state("DRAINED").await;
    fixture.refuses_state("INACTIVE").await;
    fixture.accepts_state("DRAINING").await;
    fixture.accepts_state("DRAINING").await;
    assert_eq!(fixture.state().await, "DRAINING");
    let handed_back = |report: &wire::WorkerReport| report.attempts.iter().any(is_handed_back);
    let report = fixture.attached.report(handed_back).await;
    assert_eq!(report.state(), wire::NodeState::Draining);
    let running = [attempt(0, 0, 0), attempt(0, 1, 0)];
    assert!(running.iter().all(|each| is_running(of_attempt(&report, each).unwrap())));
    assert!(is_handed_back(of_attempt(&report, &attempt(0, 2, 0)).unwrap()));

    // What comes now is handed back at once; what was handed back is let go.
    fixture.attached.desire(&[waiting(0), waiting(1), waiting(3)]).await;
    let late =
        |report: &wire::WorkerReport| of_attempt(report, &attempt(0, 3, 0)).is_some_and(is_handed_back);
    let report = fixture.attached.report(late).await;
    assert!(of_attempt(&report, &attempt(0, 2, 0)).is_none());

    fixture.connector.release();
    for report in fixture.attached.ends(&running).await {
        assert_eq!(committed(&report).rows, 1);
    }
    assert_eq!(fixture.state().await, "DRAINING");
    fixture.attached.desire(&[]).await;
    fixture.attached.report(|report| report.state() == wire::NodeState::Drained).await;
    assert_eq!(fixture.state().await, "DRAINED");
    fixture.refuses_state("DRAINING").await;
    fixture.accepts_state("DRAINED").await;

    fixture.accepts_state("ACTIVE").await;
    fixture.attached.report(|report| report.state() == wire::NodeState::Active).await;
    fixture.attached.desire(&[waiting(4)]).await;
    assert_eq!(committed(&fixture.attached.ends(&[attempt(0, 4, 0)]).await[0]).rows, 1);
}

#[tokio::test]
async fn what_runs_too_long_is_ended_and_handed_back() {
    let mut fixture = Fixture::start_with(|options| options.drain_grace = Duration::from_millis(50)).await;
    fixture.attached.desire(&[waiting(0)]).await;
    fixture.connector.splits_started(1).await;
    fixture.accepts_state("SHUTTING_DOWN").await;
    fixture.refuses_state("ACTIVE").await;
    fixture.refuses_state("DRAINING").await;
    fixture.connector.splits_dropped(1).await;
    let handed_back = |report: &wire::WorkerReport| report.attempts.iter().any(is_handed_back);
    let report = fixture.attached.report(handed_back).await;
    assert_eq!(report.state(), wire::NodeState::ShuttingDown);
    let goes = timeout(Duration::from_millis(300), fixture.worker.wait()).await;
    assert!(goes.is_err(), "it must not go before the coordinator took note");
    fixture.attached.desire(&[]).await;
    timeout(PATIENCE, fixture.worker.wait()).await.expect("the worker must go").unwrap();
    let left = fixture.directories.files();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_worker_that_is_active_again_goes_on() {
    let mut fixture = Fixture::start_with(|options| options.drain_grace = Duration::from_millis(300)).await;
    fixture.attached.desire(&[waiting(0)]).await;
    fixture.connector.splits_started(1).await;
    fixture.accepts_state("DRAINING").await;
    fixture.accepts_state("ACTIVE").await;
    // The grace period of the draining that was given up passes.
    let dropped = timeout(Duration::from_millis(800), fixture.connector.splits_dropped(1)).await;
    assert!(dropped.is_err(), "what runs must go on");
    fixture.connector.release();
    assert_eq!(committed(&fixture.attached.ends(&[attempt(0, 0, 0)]).await[0]).rows, 1);
}

#[tokio::test]
async fn what_was_on_its_way_to_an_idle_worker_is_handed_back() {
    let mut fixture = Fixture::start().await;
    fixture.accepts_state("SHUTTING_DOWN").await;
    // The coordinator did not know yet.
    fixture.attached.desire(&[waiting(0)]).await;
    let handed_back = |report: &wire::WorkerReport| report.attempts.iter().any(is_handed_back);
    fixture.attached.report(handed_back).await;
    fixture.attached.desire(&[]).await;
    timeout(PATIENCE, fixture.worker.wait()).await.expect("the worker must go").unwrap();
}
