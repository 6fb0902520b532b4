//! What a query used: every place that tells it tells the same.

use serde_json::{Value, json};

use super::support::{PATIENCE, TestCluster, until_async};

/// A figure of `queryStats`: a count, or a size in bytes.
fn figure(description: &Value, name: &str) -> u64 {
    let value = &description["queryStats"][name];
    let size = || value.as_str()?.strip_suffix('B')?.parse().ok();
    value.as_u64().or_else(size).unwrap_or_else(|| panic!("{name} is {value}"))
}

fn millis(description: &Value, name: &str) -> u128 {
    let text = description["queryStats"][name].as_str().unwrap();
    text.parse::<base::Duration>().unwrap().as_std().as_millis()
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_a_query_agree_wherever_they_are_told() {
    // The first attempt of a task of each of the first two stages fails.
    let failures =
        "stage=0,partition=0,attempts=0-0,class=INTERNAL;stage=1,partition=0,attempts=0-0,class=INTERNAL";
    let test = TestCluster::start_with(|options| options.with("failure-injection.tasks", failures)).await;
    let mut reading = test.client("tpch", "sf0.1");
    let text = "SELECT o_orderkey, max(o_comment) FROM orders GROUP BY 1";
    let mut statement = reading.start(text).await.unwrap();
    let (id, mut first) = loop {
        let page = statement.next().await.unwrap().unwrap();
        if !page.rows.is_empty() {
            break (page.id, page.rows.len());
        }
    };
    // Everything is computed, and the client has not read it.
    let described = until_async(PATIENCE, async || {
        let described = test.describe(&id).await;
        let is_over = described["state"] == "FINISHING";
        if is_over { Ok(described) } else { Err(format!("{described} is not computed")) }
    })
    .await;
    let attempts = described["attempts"].as_array().unwrap();
    let in_state = |state: &str| attempts.iter().filter(|attempt| attempt["state"] == state).count() as u64;
    assert_eq!(figure(&described, "totalTasks"), attempts.len() as u64);
    assert_eq!(figure(&described, "completedTasks"), in_state("FINISHED"));
    assert_eq!(figure(&described, "abortedTasks"), in_state("ABORTED"));
    assert_eq!(figure(&described, "failedTasks"), 2);
    assert_eq!(figure(&described, "lostTasks"), 0);
    assert!(figure(&described, "exchangeWrittenDataSize") > 100_000);
    let objects = figure(&described, "exchangeWrittenObjects");
    assert!(objects > 0 && objects <= figure(&described, "completedTasks"), "{objects} objects");

    let mut client = test.client("system", "runtime");
    let sums = client
        .query(&format!(
            "SELECT count(*), count(*) FILTER (WHERE state = 'FINISHED'), count(*) FILTER (WHERE state = 'FAILED'), \
             sum(exchange_written_bytes), sum(exchange_written_objects), sum(spilled_bytes), \
             sum(physical_input_bytes), sum(internal_network_input_bytes), sum(split_cpu_time_ms) \
             FROM tasks WHERE query_id = '{id}'"
        ))
        .await
        .unwrap();
    let expected = [
        "totalTasks",
        "completedTasks",
        "failedTasks",
        "exchangeWrittenDataSize",
        "exchangeWrittenObjects",
        "spilledDataSize",
        "physicalInputDataSize",
        "internalNetworkInputDataSize",
    ]
    .map(|name| json!(figure(&described, name)));
    let sums = &sums.rows[0];
    assert_eq!(sums[..8], expected, "the table of tasks tells something else than {described}");
    // Each row is rounded down.
    let cpu = u128::from(sums[8].as_u64().unwrap());
    let told = millis(&described, "totalCpuTime");
    // Attempts that are not needed any more may tell their last figures meanwhile.
    let told_after = millis(&test.describe(&id).await, "totalCpuTime");
    assert!(
        told > 0 && cpu <= told_after + 1 && told <= cpu + attempts.len() as u128 + 10,
        "{told} ms, {cpu} ms, {told_after} ms"
    );
    assert!(millis(&described, "failedCpuTime") <= told);

    while let Some(page) = statement.next().await.unwrap() {
        first += page.rows.len();
    }
    assert_eq!(first, 150_000);
    let after = test.describe(&id).await;
    for name in ["totalTasks", "failedTasks", "exchangeWrittenDataSize", "exchangeWrittenObjects"] {
        assert_eq!(figure(&after, name), figure(&described, name), "{name} after the end");
    }

    let analysis = test.client("tpch", "sf0.1").query(&format!("EXPLAIN ANALYZE {text}")).await.unwrap();
    let described = test.describe(&analysis.id).await;
    let analysis = analysis.rows[0][0].as_str().unwrap();
    let numbers_after = |word: &str| -> u64 {
        let found = analysis.match_indices(word).map(|(at, _)| &analysis[at + word.len()..]);
        let number = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
        found.map(|rest| number(rest).parse::<u64>().unwrap()).sum()
    };
    let objects: u64 = analysis
        .split(" objects)")
        .filter_map(|before| before.rsplit_once(" in ")?.1.parse::<u64>().ok())
        .sum();
    assert_eq!(objects, figure(&described, "exchangeWrittenObjects"), "{analysis}");
    assert_eq!(numbers_after("attempts: "), figure(&described, "totalTasks"), "{analysis}");
    assert_eq!(numbers_after("(failed: "), figure(&described, "failedTasks"), "{analysis}");
    assert_eq!(numbers_after("aborted: "), figure(&described, "abortedTasks"), "{analysis}");
    test.is_clean().await;
}
