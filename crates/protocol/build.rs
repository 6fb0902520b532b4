//! Generates the messages of nodes and of records, with a compiler in Rust: no `protoc` is needed.

use std::error::Error;

const PROTOS: [&str; 3] = ["proto/node.proto", "proto/state.proto", "proto/direct.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={proto}");
    }
    let files = protox::compile(PROTOS, ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
