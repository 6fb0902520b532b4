//! What nodes tell monitoring.

use std::collections::BTreeMap;

use metrics::{METRICS, Metric};

use super::support::TestCluster;

/// The samples of a node, by name and labels.
async fn samples(address: &str) -> BTreeMap<String, f64> {
    let response = reqwest::get(format!("{address}/metrics")).await.unwrap();
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(content_type, metrics::CONTENT_TYPE);
    let text = response.text().await.unwrap();
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn has(samples: &BTreeMap<String, f64>, metric: &Metric) -> bool {
    samples.keys().any(|name| {
        let name = name.split('{').next().unwrap_or_default();
        name.strip_suffix("_total").unwrap_or(name) == metric.name
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_tells_its_numbers() {
    // A rival would be an attempt that is started and not committed.
    let test = TestCluster::start_with(|options| {
        options.with("fault-tolerant-execution-speculative-execution-enabled", "false")
    })
    .await;
    let mut client = test.client("tpch", "tiny");
    client.query("SELECT l_orderkey, count(*) FROM lineitem GROUP BY 1").await.unwrap();
    client.query("SELECT nothing FROM nation").await.unwrap_err();
    let coordinator = samples(test.cluster.address()).await;
    let workers =
        [samples(test.cluster.worker(0).address()).await, samples(test.cluster.worker(1).address()).await];
    for metric in METRICS {
        assert_eq!(has(&coordinator, metric), metric.coordinator, "{}", metric.name);
        assert_eq!(has(&workers[0], metric), metric.worker, "{}", metric.name);
    }
    assert_eq!(coordinator["steadfast_queries_ended_total{state=\"failed\"}"], 1.0);
    assert_eq!(coordinator["steadfast_queries_ended_total{state=\"finished\"}"], 1.0);
    assert_eq!(coordinator["steadfast_queries{state=\"running\"}"], 0.0);
    assert_eq!(coordinator["steadfast_active_workers"], 2.0);
    assert_eq!(coordinator["steadfast_wanted_workers"], 0.0);
    let started = coordinator["steadfast_attempts_started_total"];
    assert!(started > 0.0);
    let sum = |name: &str| workers.iter().map(|worker| worker[name]).sum::<f64>();
    assert_eq!(sum("steadfast_worker_attempts_started_total"), started);
    assert_eq!(sum("steadfast_worker_attempts_ended_total{state=\"committed\"}"), started);
    assert!(sum("steadfast_exchange_written_bytes_total") > 0.0);
    assert!(sum("steadfast_exchange_read_bytes_total") > 0.0);
    assert_eq!(sum("steadfast_node_state{state=\"active\"}"), 2.0);
    assert!(coordinator["steadfast_uptime_seconds"] > 0.0);
}
