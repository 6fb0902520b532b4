//! DataFusion alone, in one process: what the same queries on the same files cost without a cluster.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use datafusion::execution::context::SessionContext;
use datafusion::prelude::{ParquetReadOptions, SessionConfig};
use serde::{Deserialize, Serialize};
use testing::{TPCH_TABLES, TpchQuery, write_tpch_files};

use crate::Failure;
use crate::arguments::DatafusionArguments;
use crate::processes::Processes;
use crate::queries::{ROW_GROUP_ROWS, chosen_queries};
use crate::statistics::{median, millis};

/// What a query took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Alone {
    /// The query.
    pub query: usize,
    /// Median of the runs, in milliseconds.
    pub wall_ms: f64,
    /// Time on processors of all runs divided by their number, in seconds.
    pub cpu_seconds: f64,
    /// The most memory of the process, in bytes.
    pub peak_resident_bytes: u64,
}

/// Runs `bench datafusion`.
pub fn run(arguments: &DatafusionArguments) -> Result<(), Failure> {
    let queries = chosen_queries(&arguments.data.queries)?;
    let directory = write_tpch_files(&arguments.data.data, arguments.data.scale, ROW_GROUP_ROWS)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(arguments.threads).enable_all().build()?;
    let taken = runtime.block_on(measure(&directory, &queries, arguments.data.runs, arguments.threads))?;
    if arguments.json {
        println!("{}", serde_json::to_string(&taken)?);
        return Ok(());
    }
    for alone in &taken {
        println!("q{:02} {:>10.1} ms {:>8.2} s on processors", alone.query, alone.wall_ms, alone.cpu_seconds);
    }
    println!("sum {:>10.1} ms", taken.iter().map(|alone| alone.wall_ms).sum::<f64>());
    Ok(())
}

/// Runs the queries in a process of their own.
pub fn run_in_child(
    directory: &Path,
    scale: f64,
    queries: &[usize],
    runs: usize,
) -> Result<Vec<Alone>, Failure> {
    let numbers: Vec<String> = queries.iter().map(ToString::to_string).collect();
    let output = Command::new(std::env::current_exe()?)
        .args(["datafusion", "--json", "--data"])
        .arg(directory)
        .args(["--scale", &scale.to_string(), "--runs", &runs.to_string(), "--queries", &numbers.join(",")])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn measure(
    directory: &Path,
    queries: &[TpchQuery],
    runs: usize,
    threads: usize,
) -> Result<Vec<Alone>, Failure> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads));
    for table in TPCH_TABLES {
        let path = directory.join(table).display().to_string();
        context.register_parquet(table, path, ParquetReadOptions::default()).await?;
    }
    let own = Processes::new([std::process::id()]);
    let mut taken = Vec::new();
    for query in queries {
        own.reset_peaks();
        let before = own.usage();
        let mut walls: Vec<Duration> = Vec::new();
        for _ in 0..runs.max(1) {
            let started = Instant::now();
            context.sql(&query.text).await?.collect().await?;
            walls.push(started.elapsed());
        }
        let after = own.usage();
        taken.push(Alone {
            query: query.number,
            wall_ms: millis(median(&walls)),
            cpu_seconds: (after.cpu - before.cpu).as_secs_f64() / walls.len() as f64,
            peak_resident_bytes: after.peak_resident_bytes,
        });
    }
    Ok(taken)
}
