//! `bench queries`: TPC-H under each policy.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use steadfast::client::Client;
use testing::{TpchQuery, hive_statements, shared, tpch_query, write_tpch_files};

use crate::Failure;
use crate::arguments::{DataArguments, QueriesArguments, TargetArguments};
use crate::cluster::Target;
use crate::datafusion_alone::{Alone, run_in_child};
use crate::processes::Processes;
use crate::statistics::{median, millis};

/// How many queries TPC-H has.
const QUERY_COUNT: usize = 22;
/// Rows of a row group: what a scan reads at once at least.
pub const ROW_GROUP_ROWS: usize = 1_000_000;
/// The schema of `hive` that the tables are in.
pub const SCHEMA: &str = "tpch";

/// What a query took under a policy.
#[derive(Clone, Debug, Default, Serialize)]
struct Taken {
    query: usize,
    policy: String,
    /// Median of the runs, in milliseconds.
    wall_ms: f64,
    /// Time on processors of all nodes: the median of the runs, in seconds.
    cpu_seconds: f64,
    /// The most memory of any node, in bytes.
    peak_resident_bytes: u64,
    /// Bytes that were written to the spooling exchange, compressed.
    exchange_bytes: u64,
    /// Objects that were written to it.
    exchange_objects: u64,
    spilled_bytes: u64,
    attempts: u64,
    /// What was wrong with an answer. Only known at scale factor 1.
    wrong: Option<String>,
}

/// All that was measured.
#[derive(Debug, Serialize)]
struct Report {
    scale: f64,
    workers: usize,
    runs: usize,
    queries: Vec<Taken>,
    datafusion: Vec<Alone>,
    /// The sum of the walls under each policy, in milliseconds.
    totals: Vec<Total>,
}

#[derive(Debug, Serialize)]
struct Total {
    of: String,
    wall_ms: f64,
    /// Against the first policy.
    ratio: f64,
    /// Of any single query, against the first policy.
    ratio_max: f64,
}

/// The queries of these numbers, or all.
pub fn chosen_queries(numbers: &[usize]) -> Result<Vec<TpchQuery>, Failure> {
    let directory = shared("tpch").ok_or("the queries of TPC-H are not there")?;
    let all: Vec<usize> = (1..=QUERY_COUNT).collect();
    let numbers = if numbers.is_empty() { &all[..] } else { numbers };
    Ok(numbers.iter().map(|number| tpch_query(&directory, *number)).collect::<Result<_, _>>()?)
}

/// Where queries run, with the tables of TPC-H in [`SCHEMA`] of `hive`. Their files are written unless they are there.
pub async fn start_with_tables(target: &TargetArguments, data: &DataArguments) -> Result<Target, Failure> {
    let directory = write_tpch_files(&data.data, data.scale, ROW_GROUP_ROWS)?;
    let target = Target::start(target).await?;
    let mut client = target.client("hive", SCHEMA, "TASK");
    for statement in hive_statements(SCHEMA, &directory) {
        client.query(&statement).await?;
    }
    Ok(target)
}

/// Runs `bench queries`.
pub async fn run(arguments: QueriesArguments) -> Result<(), Failure> {
    let queries = chosen_queries(&arguments.data.queries)?;
    let (scale, runs) = (arguments.data.scale, arguments.data.runs.max(1));
    let target = start_with_tables(&arguments.target, &arguments.data).await?;
    let processes = target.processes();
    let mut taken = Vec::new();
    for query in &queries {
        let policies = &arguments.target.policies;
        let mut measured: Vec<Vec<Run>> = vec![Vec::new(); policies.len()];
        // The policies take turns, so that what else the machine does falls on all of them.
        for _ in 0..runs {
            for (policy, of_policy) in policies.iter().zip(&mut measured) {
                let client = target.client("hive", SCHEMA, policy);
                of_policy.push(run_once(&client, &processes, query, scale == 1.0).await?);
            }
        }
        for (policy, of_policy) in policies.iter().zip(&measured) {
            let one = Taken::of(query.number, policy, of_policy);
            eprintln!(
                "q{:02} {policy:>5} {:>10.1} ms {}",
                one.query,
                one.wall_ms,
                one.wrong.as_deref().unwrap_or("")
            );
            taken.push(one);
        }
    }
    target.stop().await?;
    let datafusion = if arguments.datafusion {
        let numbers: Vec<usize> = queries.iter().map(|query| query.number).collect();
        run_in_child(&arguments.data.data, scale, &numbers, runs)?
    } else {
        Vec::new()
    };
    let totals = totals(&arguments.target.policies, &taken, &datafusion);
    let workers = arguments.target.workers;
    let report = Report { scale, workers, runs, queries: taken, datafusion, totals };
    if arguments.target.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    for total in &report.totals {
        println!(
            "{:>10} {:>10.1} ms, {:.2} of the first, a single query at most {:.2}",
            total.of, total.wall_ms, total.ratio, total.ratio_max
        );
    }
    Ok(())
}

/// One run of a query.
#[derive(Clone, Debug, Default)]
struct Run {
    wall: Duration,
    cpu: Duration,
    /// What else is told of it.
    told: Taken,
}

impl Taken {
    /// The medians of the runs; of what does not vary, the last.
    fn of(query: usize, policy: &str, runs: &[Run]) -> Taken {
        let walls: Vec<Duration> = runs.iter().map(|run| run.wall).collect();
        let cpus: Vec<Duration> = runs.iter().map(|run| run.cpu).collect();
        let peaks = runs.iter().map(|run| run.told.peak_resident_bytes);
        Taken {
            query,
            policy: policy.to_string(),
            wall_ms: millis(median(&walls)),
            cpu_seconds: median(&cpus).as_secs_f64(),
            peak_resident_bytes: peaks.max().unwrap_or_default(),
            wrong: runs.iter().find_map(|run| run.told.wrong.clone()),
            ..runs.last().map(|run| run.told.clone()).unwrap_or_default()
        }
    }
}

async fn run_once(
    client: &Client,
    processes: &Processes,
    query: &TpchQuery,
    check: bool,
) -> Result<Run, Failure> {
    processes.reset_peaks();
    let before = processes.usage();
    let started = Instant::now();
    let result = client.clone().query(&query.text).await?;
    let wall = started.elapsed();
    let after = processes.usage();
    let document = client.document(&format!("/v1/query/{}", result.id)).await?;
    let stats = &document["queryStats"];
    let told = Taken {
        peak_resident_bytes: after.peak_resident_bytes,
        exchange_bytes: bytes(&stats["exchangeWrittenDataSize"]),
        exchange_objects: stats["exchangeWrittenObjects"].as_u64().unwrap_or_default(),
        spilled_bytes: bytes(&stats["spilledDataSize"]),
        attempts: document["attempts"].as_array().map_or(0, |attempts| attempts.len() as u64),
        wrong: check.then(|| query.answer.differs_from(&result.rows)).flatten(),
        ..Taken::default()
    };
    Ok(Run { wall, cpu: after.cpu - before.cpu, told })
}

/// A size as the server tells it: `123B`.
fn bytes(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.strip_suffix('B')?.parse().ok()).unwrap_or_default()
}

/// Sums, and ratios against the first policy.
fn totals(policies: &[String], taken: &[Taken], datafusion: &[Alone]) -> Vec<Total> {
    let of = |policy: &str| -> Vec<f64> {
        taken.iter().filter(|one| one.policy == policy).map(|one| one.wall_ms).collect()
    };
    let first = policies.first().map(|policy| of(policy)).unwrap_or_default();
    let total = |name: &str, walls: Vec<f64>| {
        let ratios = walls.iter().zip(&first).map(|(wall, first)| wall / first);
        Total {
            of: name.to_string(),
            wall_ms: walls.iter().sum(),
            ratio: walls.iter().sum::<f64>() / first.iter().sum::<f64>(),
            ratio_max: ratios.fold(0.0, f64::max),
        }
    };
    let mut totals: Vec<Total> = policies.iter().map(|policy| total(policy, of(policy))).collect();
    if !datafusion.is_empty() {
        totals.push(total("DataFusion", datafusion.iter().map(|alone| alone.wall_ms).collect()));
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_against_the_first_policy() {
        let taken = |query, policy: &str, wall_ms| Taken {
            query,
            policy: policy.into(),
            wall_ms,
            ..Taken::default()
        };
        let all =
            [taken(1, "NONE", 10.0), taken(1, "TASK", 12.0), taken(2, "NONE", 30.0), taken(2, "TASK", 32.0)];
        let totals = totals(&["NONE".into(), "TASK".into()], &all, &[]);
        assert_eq!((totals[0].ratio, totals[0].ratio_max), (1.0, 1.0));
        assert_eq!((totals[1].wall_ms, totals[1].ratio, totals[1].ratio_max), (44.0, 1.1, 1.2));
        assert_eq!(bytes(&Value::from("120B")), 120);
    }
}
