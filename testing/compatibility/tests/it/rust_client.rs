//! The Rust client `trino-rust-client`: the suite in `rust-client/`, a workspace of its own so that what the client
//! depends on does not change how the server is built.

use super::cluster::Cluster;
use super::program::{cargo, target_directory};

#[test]
fn the_rust_client_is_served() {
    let cluster = Cluster::start(&[]);
    let (host, port) = cluster.authority().split_once(':').expect("an address has a port");
    let status = cargo()
        .args(["test", "--quiet", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/rust-client/Cargo.toml"))
        .arg("--target-dir")
        .arg(target_directory().join("compatibility-rust-client"))
        .env("STEADFAST_HOST", host)
        .env("STEADFAST_PORT", port)
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "the suite of the Rust client failed");
}
