//! Generates the protocol between nodes, with a compiler in Rust: no `protoc` is needed.

use std::error::Error;

const PROTO: &str = "proto/node.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let files = protox::compile([PROTO], ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
