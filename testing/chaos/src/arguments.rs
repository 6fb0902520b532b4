//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Real Steadfast processes under faults.
///
/// Each scenario starts a cluster of its own, runs queries undisturbed and then under faults, and checks that the rows
/// are right, that a trivial query works afterwards, that nothing is left in the exchange and on spill disks, that no
/// log speaks of a panic or of a broken invariant, and that processes have given back what they took.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
pub struct Arguments {
    /// The scenarios to play, separated by commas, or `all`.
    #[arg(long, value_delimiter = ',', default_value = "all")]
    pub scenario: Vec<String>,
    /// Print a line of JSON for each scenario, and one for all of them at the end.
    #[arg(long)]
    pub json: bool,
    /// List the scenarios, and play none.
    #[arg(long)]
    pub list: bool,
    /// From which all chances follow. Repetitions have seeds of their own.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How often each scenario is played.
    #[arg(long, default_value_t = 1)]
    pub repeat: u64,
    /// How many rounds scenarios have that repeat one fault, instead of the number that they name.
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Keep the logs of all nodes under this directory. Without it, only those of scenarios that fail are kept, under
    /// the directory for temporary files.
    #[arg(long)]
    pub keep_logs: Option<PathBuf>,
    /// The program of the nodes. Without it, this one, which is also a `steadfast` server.
    #[arg(long)]
    pub program: Option<PathBuf>,
}
