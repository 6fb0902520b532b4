//! The `steadfast` program: a server, a cluster on this machine, a command line, a fire drill.

use std::process::ExitCode;

use clap::Parser;
use steadfast::cli::Arguments;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match steadfast::run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("steadfast: {error}");
            ExitCode::FAILURE
        }
    }
}
