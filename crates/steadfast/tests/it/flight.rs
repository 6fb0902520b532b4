//! What the scheduler was told before a query failed.

use std::process::Command;
use std::time::Duration;

use super::support::{RunningQuery, TestCluster, failure, until};

const QUERY: &str = "SELECT l_shipmode, count(*) FROM lineitem GROUP BY l_shipmode";

#[tokio::test(flavor = "multi_thread")]
async fn the_failure_of_a_query_is_decided_again_from_its_recording() {
    let test = TestCluster::start_with(|options| {
        options
            .with("failure-injection.tasks", "stage=1,partition=0,attempts=0-100,class=EXTERNAL")
            .with("task-retry-attempts-per-task", 1)
            .with("retry-initial-delay", "10ms")
    })
    .await;
    let running = RunningQuery::start(&test.client("tpch", "tiny"), QUERY).await;
    let id = running.id.clone();
    let (name, _) = failure(running.result().await);
    let recording = test.cluster.options().exchange_directory().join("coordinator/flight").join(&id);
    until(Duration::from_secs(30), || {
        recording.exists().then_some(()).ok_or_else(|| format!("{} is not there", recording.display()))
    })
    .await;
    let replay =
        || Command::new(env!("CARGO_BIN_EXE_steadfast")).arg("replay").arg(&recording).output().unwrap();
    let output = replay();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("{id} is submitted")), "{text}");
    assert!(text.contains(&format!("{id} failed as recorded: {name}")), "{text}");

    std::fs::write(&recording, "something else").unwrap();
    let output = replay();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is not a flight recording"));
}
