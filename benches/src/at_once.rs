//! `bench at-once`: all queries of TPC-H at the same time, on workers that are too small for them.

use std::time::{Duration, Instant};

use serde::Serialize;
use testing::{Answer, TpchQuery};

use crate::Failure;
use crate::arguments::AtOnceArguments;
use crate::cluster::Target;
use crate::queries::{SCHEMA, chosen_queries, start_with_tables};
use crate::statistics::millis;

/// How a query ended.
#[derive(Debug, Serialize)]
struct Ended {
    query: usize,
    policy: String,
    /// From the moment when all were started.
    wall_ms: f64,
    /// What was wrong with it: an error, or an answer other than that of the query alone.
    wrong: Option<String>,
}

/// How many queries ended right under a policy.
#[derive(Debug, Serialize)]
struct Together {
    policy: String,
    queries: Vec<Ended>,
    right: usize,
    wall_ms: f64,
    /// The most memory of any node, in bytes.
    peak_resident_bytes: u64,
}

/// Runs `bench at-once`.
pub async fn run(arguments: AtOnceArguments) -> Result<(), Failure> {
    let queries = chosen_queries(&arguments.data.queries)?;
    let scale = arguments.data.scale;
    let target = start_with_tables(&arguments.target, &arguments.data).await?;
    let mut client = target.client("hive", SCHEMA, "TASK");
    let mut answers = Vec::new();
    for query in &queries {
        let answer = match scale == 1.0 {
            true => query.answer.clone(),
            false => Answer::given(&client.query(&query.text).await?.rows),
        };
        answers.push(answer);
    }
    eprintln!("{} queries have an answer", answers.len());
    let mut all = Vec::new();
    for policy in &arguments.target.policies {
        let together = run_together(&target, &queries, &answers, policy).await?;
        for ended in &together.queries {
            let wrong = ended.wrong.as_deref().unwrap_or("right");
            eprintln!("q{:02} {policy:>5} {:>10.1} ms {wrong}", ended.query, ended.wall_ms);
        }
        eprintln!(
            "{policy:>5}: {} of {} right in {:.1} s",
            together.right,
            queries.len(),
            together.wall_ms / 1e3
        );
        all.push(together);
    }
    target.stop().await?;
    if arguments.target.json {
        println!("{}", serde_json::to_string(&all)?);
    }
    Ok(())
}

async fn run_together(
    target: &Target,
    queries: &[TpchQuery],
    answers: &[Answer],
    policy: &str,
) -> Result<Together, Failure> {
    let processes = target.processes();
    processes.reset_peaks();
    let started = Instant::now();
    let running: Vec<_> = queries
        .iter()
        .map(|query| {
            let (mut client, text) = (target.client("hive", SCHEMA, policy), query.text.clone());
            tokio::spawn(async move { (client.query(&text).await, started.elapsed()) })
        })
        .collect();
    let mut ended = Vec::new();
    let mut wall = Duration::ZERO;
    for ((query, answer), running) in queries.iter().zip(answers).zip(running) {
        let (outcome, took) = running.await?;
        wall = wall.max(took);
        let wrong = match outcome {
            Ok(result) => answer.differs_from(&result.rows),
            Err(error) => Some(error.to_string()),
        };
        ended.push(Ended { query: query.number, policy: policy.into(), wall_ms: millis(took), wrong });
    }
    Ok(Together {
        policy: policy.into(),
        right: ended.iter().filter(|one| one.wrong.is_none()).count(),
        queries: ended,
        wall_ms: millis(wall),
        peak_resident_bytes: processes.usage().peak_resident_bytes,
    })
}
