//! The command line.

use std::path::PathBuf;

use base::DataSize;
use clap::{Args, Parser, Subcommand};

/// How fast queries are, and what they cost, under each retry policy.
#[derive(Parser, Debug)]
#[command(version)]
pub struct Arguments {
    /// What is measured.
    #[command(subcommand)]
    pub command: Command,
}

/// What is measured.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// The queries of TPC-H under each policy: wall and processor time, memory, what goes through the exchange.
    Queries(QueriesArguments),
    /// A thousand short queries, one after the other at each of so many clients.
    Latency(LatencyArguments),
    /// All queries of TPC-H at the same time: how many of them end right.
    AtOnce(AtOnceArguments),
    /// The queries of TPC-H in DataFusion alone: one process, the same Parquet files.
    Datafusion(DatafusionArguments),
}

/// Where queries run.
#[derive(Args, Clone, Debug)]
pub struct TargetArguments {
    /// A server that runs already. By default a cluster of this build is started on this machine.
    #[arg(long)]
    pub server: Option<String>,
    /// How many workers the cluster has.
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
    /// Memory of each worker.
    #[arg(long, default_value = "4GB")]
    pub memory_per_worker: DataSize,
    /// A property of config.properties on every node, as name=value. May be repeated.
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = property)]
    pub properties: Vec<(String, String)>,
    /// The `steadfast` program. By default the one beside this program.
    #[arg(long)]
    pub program: Option<PathBuf>,
    /// The policies to compare, in this order.
    #[arg(long, value_delimiter = ',', default_value = "TASK")]
    pub policies: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Which data, and where they are.
#[derive(Args, Clone, Debug)]
pub struct DataArguments {
    /// The scale factor.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Where the Parquet files are, or are to be written once.
    #[arg(long, default_value = "target/tpch")]
    pub data: PathBuf,
    /// The queries by number. All by default.
    #[arg(long, value_delimiter = ',')]
    pub queries: Vec<usize>,
    /// How often the queries are run. Of the times of each the median counts.
    #[arg(long, default_value_t = 1)]
    pub runs: usize,
}

/// Arguments of `bench queries`.
#[derive(Args, Clone, Debug)]
pub struct QueriesArguments {
    #[command(flatten)]
    pub target: TargetArguments,
    #[command(flatten)]
    pub data: DataArguments,
    /// Whether DataFusion alone runs the same queries on the same files, for comparison.
    #[arg(long)]
    pub datafusion: bool,
}

/// Arguments of `bench at-once`.
#[derive(Args, Clone, Debug)]
pub struct AtOnceArguments {
    #[command(flatten)]
    pub target: TargetArguments,
    #[command(flatten)]
    pub data: DataArguments,
}

/// Arguments of `bench latency`.
#[derive(Args, Clone, Debug)]
pub struct LatencyArguments {
    #[command(flatten)]
    pub target: TargetArguments,
    /// How many clients ask at once.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32")]
    pub clients: Vec<usize>,
    /// How many queries of each kind all clients run together.
    #[arg(long, default_value_t = 1000)]
    pub count: usize,
}

/// Arguments of `bench datafusion`.
#[derive(Args, Clone, Debug)]
pub struct DatafusionArguments {
    #[command(flatten)]
    pub data: DataArguments,
    /// How many threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is not name=value")?;
    Ok((name.trim().to_string(), value.trim().to_string()))
}
