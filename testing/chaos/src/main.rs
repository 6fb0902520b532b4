//! Real Steadfast processes under faults: `chaos --scenario NAME|all`.
//!
//! `chaos server …` is `steadfast server …`: unless another program is named, nodes are processes of this one, so that
//! what is tested is what was built with it.

#![forbid(unsafe_code)]

mod arguments;
mod attempts;
mod checks;
mod client;
mod cluster;
mod machine;
mod play;
mod proxy;
mod random;
mod report;
mod scenarios;
mod scene;
mod workload;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("server") => steadfast::run(steadfast::cli::Arguments::parse()),
        _ => play::play(arguments::Arguments::parse()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}
