//! The parts of the `steadfast` program, as a library so that tests can use them.

#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod cluster;
mod commands;
mod server;

use std::process::ExitCode;

use cli::{Arguments, Command};

/// Stack of a thread, in bytes: enough for the deepest statement, so that planning needs no other one. It is address
/// space only, until it is used.
const THREAD_STACK_BYTES: usize = 256 << 20;

/// What ended the program: a sentence for its user.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Does what the command line says.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("io")
        .thread_stack_size(THREAD_STACK_BYTES)
        .build()?;
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Server(options) => commands::server(options).await,
            Command::Local(options) => commands::local(options).await,
            Command::Sql(options) => commands::sql(options).await,
            Command::Drill(options) => commands::drill(options).await,
            Command::Replay(options) => commands::replay(&options),
        }
    });
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    outcome
}
