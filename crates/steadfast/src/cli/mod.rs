//! The command line.

mod output;
mod progress;
mod prompt;
mod run;
mod split;

use std::path::PathBuf;

use base::DataSize;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use prompt::prompt;
pub use run::{RunError, RunOptions, run};
pub use split::statements;

/// A distributed SQL engine that finishes its queries although machines die under them.
///
/// It speaks Trino's client protocol and SQL, and reads Trino's etc/ files.
#[derive(Debug, Parser)]
#[command(version, about, long_about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node: a coordinator or a worker, as etc/config.properties says.
    Server(ServerArguments),
    /// Run a whole cluster on this machine: a coordinator and workers as processes of their own.
    ///
    /// The catalog `tpch` is built in, and a catalog `hive` keeps its tables in the cluster's directory.
    Local(LocalArguments),
    /// Send SQL to a server, Steadfast or Trino: one statement, a file, or at a prompt.
    Sql(SqlArguments),
    /// Run a fire drill: kill workers in the middle of a query and prove that the answer is right.
    ///
    /// The query runs twice on a cluster of its own: once undisturbed, once with workers killed by SIGKILL while
    /// they run its tasks. Shown are what was lost, what was run again, and how long it took to recover.
    Drill(DrillArguments),
    /// Tell the scheduler once more what it was told before a query failed, and show what it decided.
    ///
    /// A coordinator leaves a recording in coordinator/flight/ of its state directory when a query fails that is not
    /// itself at fault. Every decision is made again by the same code, so that a debugger can stop at any of them.
    Replay(ReplayArguments),
}

/// Arguments of `steadfast server`.
#[derive(Args, Debug)]
pub struct ServerArguments {
    /// The directory with config.properties, node.properties, exchange-manager.properties and catalog/.
    #[arg(long, default_value = "etc", env = "STEADFAST_ETC_DIR")]
    pub etc_dir: PathBuf,
    /// Print the node's address as the only line on standard output when it is ready.
    #[arg(long)]
    pub print_address: bool,
    /// Stop when standard input is closed: a node that must not outlive who started it.
    #[arg(long)]
    pub stop_with_stdin: bool,
}

/// Arguments that describe a cluster on this machine.
#[derive(Args, Clone, Debug)]
pub struct ClusterArguments {
    /// How many workers to start.
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
    /// Memory of each worker.
    #[arg(long, default_value = "2GB")]
    pub memory_per_worker: DataSize,
    /// Where the cluster keeps its files. By default a temporary directory that is removed at the end.
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// A property of config.properties on every node, as name=value. May be repeated.
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub properties: Vec<(String, String)>,
}

/// Arguments of `steadfast local`.
#[derive(Args, Debug)]
pub struct LocalArguments {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArguments,
    /// The port of the coordinator. 0: any free one.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Run these statements, print their results, and stop.
    #[arg(long)]
    pub execute: Option<String>,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = OutputFormat::Aligned, ignore_case = true)]
    pub output_format: OutputFormat,
}

/// Arguments of `steadfast sql`.
#[derive(Args, Debug)]
pub struct SqlArguments {
    /// The server.
    #[arg(long, default_value = "http://localhost:8080")]
    pub server: String,
    /// Run these statements, separated by semicolons, and stop.
    #[arg(long, conflicts_with = "file")]
    pub execute: Option<String>,
    /// Run the statements in this file and stop.
    #[arg(long, short)]
    pub file: Option<PathBuf>,
    /// The catalog of names without one.
    #[arg(long)]
    pub catalog: Option<String>,
    /// The schema of names without one.
    #[arg(long)]
    pub schema: Option<String>,
    /// The user.
    #[arg(long, env = "USER", default_value = "user")]
    pub user: String,
    /// The name of the program that asks, as the server records it.
    #[arg(long, default_value = "steadfast-sql")]
    pub source: String,
    /// A session property, as name=value. May be repeated.
    #[arg(long = "session", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub session: Vec<(String, String)>,
    /// How results are printed: CSV for --execute and --file, ALIGNED at the prompt, if not given.
    #[arg(long, value_enum, ignore_case = true)]
    pub output_format: Option<OutputFormat>,
    /// Show progress although standard error is not a terminal.
    #[arg(long)]
    pub progress: bool,
}

/// Arguments of `steadfast drill`.
#[derive(Args, Debug)]
pub struct DrillArguments {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArguments,
    /// The query, over the tables of the catalog `tpch`. By default a join and an aggregation over all of lineitem.
    #[arg(long)]
    pub query: Option<String>,
    /// The size of the data, in gigabytes.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// How many workers to kill, one after another; each is started again.
    #[arg(long, default_value_t = 1)]
    pub kills: u32,
    /// Print one JSON object instead of a report.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `steadfast replay`.
#[derive(Args, Debug)]
pub struct ReplayArguments {
    /// The recording.
    pub file: PathBuf,
    /// Show only so many of the last steps. All are told to the scheduler.
    #[arg(long)]
    pub last: Option<usize>,
}

/// How results are printed, as in Trino's command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutputFormat {
    /// A table with aligned columns.
    Aligned,
    /// One line for each value.
    Vertical,
    /// A table in Markdown.
    Markdown,
    /// Comma-separated, every value quoted.
    Csv,
    /// The same, with the names of the columns.
    CsvHeader,
    /// Comma-separated without quotes.
    CsvUnquoted,
    /// The same, with the names of the columns.
    CsvHeaderUnquoted,
    /// Tab-separated.
    Tsv,
    /// The same, with the names of the columns.
    TsvHeader,
    /// A JSON object for each row.
    Json,
    /// Nothing.
    Null,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_string(), value.trim().to_string()))
        }
        _ => Err(format!("'{text}' is not of the form name=value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn session_properties_are_names_and_values() {
        assert_eq!(name_and_value("a = b=c"), Ok(("a".into(), "b=c".into())));
        assert!(name_and_value("a").is_err());
        assert!(name_and_value("=a").is_err());
    }
}
