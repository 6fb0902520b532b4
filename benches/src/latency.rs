//! `bench latency`: a thousand short queries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use steadfast::client::Client;

use crate::Failure;
use crate::arguments::LatencyArguments;
use crate::cluster::Target;
use crate::statistics::{millis, quantile};

/// The short queries, over the schema `tiny` of the catalog `tpch`.
const STATEMENTS: [(&str, &str); 4] = [
    ("select 1", "SELECT 1"),
    ("point look-up", "SELECT c_name, c_acctbal FROM customer WHERE c_custkey = 4711 % 1500"),
    (
        "small aggregation",
        "SELECT o_orderstatus, count(*), sum(o_totalprice) FROM orders GROUP BY o_orderstatus",
    ),
    (
        "three-way join",
        "SELECT n_name, count(*) FROM customer JOIN nation ON c_nationkey = n_nationkey \
         JOIN region ON n_regionkey = r_regionkey WHERE r_name = 'ASIA' GROUP BY n_name",
    ),
];
/// How many queries of each kind run before the measured ones of a round, at least.
const WARM_UP_COUNT: usize = 20;

/// How long queries of a kind took.
#[derive(Debug, Serialize)]
struct Taken {
    statement: &'static str,
    policy: String,
    clients: usize,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    queries_per_second: f64,
}

/// How often the policies take turns at a statement: what else the machine does then falls on all of them.
const ROUNDS: usize = 5;

/// Runs `bench latency`.
pub async fn run(arguments: LatencyArguments) -> Result<(), Failure> {
    let target = Target::start(&arguments.target).await?;
    let mut all = Vec::new();
    for (name, text) in STATEMENTS {
        for clients in &arguments.clients {
            let clients = (*clients).max(1);
            let policies = &arguments.target.policies;
            let mut measured: Vec<(Vec<Duration>, Duration)> = vec![Default::default(); policies.len()];
            for round in 0..ROUNDS {
                // Whoever comes first in one round comes last in the next.
                let turns =
                    (0..policies.len()).map(|at| if round % 2 == 0 { at } else { policies.len() - 1 - at });
                for at in turns {
                    let client = target.client("tpch", "tiny", &policies[at]);
                    repeat(&client, text, clients, WARM_UP_COUNT.max(2 * clients)).await?;
                    let started = Instant::now();
                    let walls = repeat(&client, text, clients, arguments.count.div_ceil(ROUNDS)).await?;
                    measured[at].0.extend(walls);
                    measured[at].1 += started.elapsed();
                }
            }
            let of_statement: Vec<Taken> = policies
                .iter()
                .zip(&measured)
                .map(|(policy, (walls, elapsed))| Taken {
                    statement: name,
                    policy: policy.clone(),
                    clients,
                    p50_ms: millis(quantile(walls, 0.50)),
                    p95_ms: millis(quantile(walls, 0.95)),
                    p99_ms: millis(quantile(walls, 0.99)),
                    queries_per_second: walls.len() as f64 / elapsed.as_secs_f64(),
                })
                .collect();
            for taken in &of_statement {
                eprintln!("{}", line(taken, &of_statement[0]));
            }
            all.extend(of_statement);
        }
    }
    target.stop().await?;
    if arguments.target.json {
        println!("{}", serde_json::to_string(&all)?);
    }
    Ok(())
}

/// What is told of a policy, beside the first one.
fn line(taken: &Taken, first: &Taken) -> String {
    format!(
        "{:>18} {:>5} {:>3} clients: p50 {:>8.2} ms {:>5.2}x  p95 {:>8.2} ms  p99 {:>8.2} ms {:>5.2}x",
        taken.statement,
        taken.policy,
        taken.clients,
        taken.p50_ms,
        taken.p50_ms / first.p50_ms,
        taken.p95_ms,
        taken.p99_ms,
        taken.p99_ms / first.p99_ms,
    )
}

/// Runs a statement so many times, by so many clients at once. How long each took.
async fn repeat(
    client: &Client,
    text: &'static str,
    clients: usize,
    count: usize,
) -> Result<Vec<Duration>, Failure> {
    let begun = Arc::new(AtomicUsize::new(0));
    let running: Vec<_> = (0..clients)
        .map(|_| {
            let (mut client, begun) = (client.clone(), Arc::clone(&begun));
            tokio::spawn(async move {
                let mut walls = Vec::new();
                while begun.fetch_add(1, Ordering::Relaxed) < count {
                    let started = Instant::now();
                    client.query(text).await?;
                    walls.push(started.elapsed());
                }
                Ok::<_, steadfast::client::ClientError>(walls)
            })
        })
        .collect();
    let mut walls = Vec::with_capacity(count);
    for client in running {
        walls.extend(client.await??);
    }
    Ok(walls)
}
