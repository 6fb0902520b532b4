//! `bench`: how fast queries are, and what they cost, under each retry policy.
//!
//! ```text
//! cargo run --release -p bench -- queries --scale 10 --policies NONE,QUERY,TASK --json
//! cargo run --release -p bench -- latency --clients 1,8,32 --json
//! cargo run --release -p bench -- at-once --scale 10 --memory-per-worker 1500MB --json
//! cargo run --release -p bench -- datafusion --scale 10 --json
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod at_once;
mod cluster;
mod datafusion_alone;
mod latency;
mod processes;
mod queries;
mod statistics;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

/// Whatever ends a bench before its time.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Queries(arguments) => run(queries::run(arguments)),
        Command::Latency(arguments) => run(latency::run(arguments)),
        Command::AtOnce(arguments) => run(at_once::run(arguments)),
        Command::Datafusion(arguments) => datafusion_alone::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(bench: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(bench)
}
