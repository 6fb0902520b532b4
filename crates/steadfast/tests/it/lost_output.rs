//! Committed output that is lost between stages: what wrote it runs again, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::{RunningQuery, TestCluster, attempts, sorted};

/// The orders are aggregated by other columns than they are joined by, so that what is aggregated goes through the
/// exchange. That is done long before the line items are, and the join reads it only then.
const QUERY: &str = "SELECT o.n, count(*), sum(l.q) FROM \
    (SELECT o_custkey, o_orderpriority, count(*) AS n FROM orders GROUP BY o_custkey, o_orderpriority) o \
    JOIN (SELECT l_suppkey, l_partkey, sum(l_quantity) AS q FROM lineitem GROUP BY l_suppkey, l_partkey) l \
    ON o.o_custkey = l.l_suppkey GROUP BY o.n";

/// How often a fault is tried that comes too late to be noticed.
const FAULT_COUNT_MAX: usize = 10;

type Harm = fn(&Path);

fn delete(object: &Path) {
    std::fs::remove_file(object).unwrap();
}

fn truncate(object: &Path) {
    let length = std::fs::metadata(object).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(object).unwrap().set_len(length / 2).unwrap();
}

/// Flips a bit of the frames, which are in the middle of a data object and at the end of a commit record.
fn flip(object: &Path) {
    let mut content = std::fs::read(object).unwrap();
    let is_record = object.extension().is_some_and(|extension| extension == "commit");
    let at = if is_record { content.len() - 1 } else { content.len() / 2 };
    content[at] ^= 0x10;
    std::fs::write(object, content).unwrap();
}

/// A stage in the middle of the plan all output of which is there while nobody that reads it has started.
fn finished_middle_stage(description: &Value) -> Option<u64> {
    fn find(stage: &Value, reader_has_started: bool) -> Option<u64> {
        let below = stage["subStages"].as_array().map_or(&[][..], Vec::as_slice);
        let id = stage["stageId"].as_str().and_then(|id| id.parse().ok());
        if stage["state"] == "FINISHED" && !reader_has_started && !below.is_empty() {
            return id;
        }
        let has_started = stage["state"] != "PLANNED";
        below.iter().find_map(|stage| find(stage, has_started))
    }
    // The root's output goes to the client.
    find(&description["stages"], true)
}

/// Where the output of a task of a stage is: in a data object, or in its commit record if it is small.
fn output_of(exchange: &Path, query: &str, stage: u64) -> Option<PathBuf> {
    let directory = exchange.join(query).join(stage.to_string());
    let files = std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files.collect();
    // Data objects come after commit records.
    files.sort_by_key(|file| {
        (file.extension().map(|it| it.to_owned()), std::fs::metadata(file).map(|it| it.len()).ok())
    });
    files.pop()
}

/// The partition of the task that a file belongs to: its name begins with it.
fn partition_of(object: &Path) -> u64 {
    let name = object.file_name().unwrap().to_str().unwrap();
    name.split('.').next().unwrap().parse().unwrap()
}

/// Runs the query, harms one output of a stage in its middle before it is read, and checks that exactly the task that
/// wrote it ran again.
async fn lose_one_output(test: &TestCluster, expected: &[String], harm: Harm) {
    let client = test.client("tpch", "sf1");
    let exchange = test.cluster.options().exchange_directory();
    for _ in 0..FAULT_COUNT_MAX {
        let running = RunningQuery::start(&client, QUERY).await;
        let id = running.id.clone();
        let mut harmed = None;
        while harmed.is_none() && !running.is_finished() {
            let stage = finished_middle_stage(&test.describe(&id).await);
            let object = stage.and_then(|stage| Some((stage, output_of(&exchange, &id, stage)?)));
            harmed = object.inspect(|(_, object)| harm(object));
        }
        let result = running.result().await.unwrap();
        assert_eq!(sorted(&result), expected);
        let Some((stage, object)) = harmed else { continue };
        let description = test.describe(&id).await;
        let again: BTreeSet<(u64, u64)> =
            attempts(&description).iter().filter(|it| it.generation > 0).map(|it| it.task).collect();
        if again.is_empty() {
            // It had been read just before.
            continue;
        }
        assert_eq!(again, BTreeSet::from([(stage, partition_of(&object))]));
        let failed = attempts(&description).into_iter().find(|it| it.state == "FAILED" || it.state == "LOST");
        assert!(failed.is_none(), "a lost input is no failure of its reader: {failed:?}");
        return;
    }
    panic!("no fault landed");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_wrote_a_lost_output_runs_again() {
    // Few tasks and many slots: no task waits for one of another stage.
    let ratio = "fault-tolerant-execution-hash-distribution-compute-task-to-node-min-ratio";
    let test =
        TestCluster::start_with(|options| options.with("task.max-worker-threads", 8).with(ratio, "0.1"))
            .await;
    let expected = sorted(&test.client("tpch", "sf1").query(QUERY).await.unwrap());
    for harm in [delete, truncate, flip] {
        lose_one_output(&test, &expected, harm).await;
    }
    test.is_clean().await;
}
