//! `steadfast local` as a program.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use steadfast::client::{Client, session};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::support::PATIENCE;

#[tokio::test]
async fn a_local_cluster_without_a_terminal_serves_until_it_is_told_to_stop() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(["local", "--port", "0", "--workers", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let address = ready.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let mut client = Client::new(address, session("test", "test"));
    let result = client.query("SELECT count(*) FROM tpch.tiny.region").await.unwrap();
    assert_eq!(result.rows, [[5]]);
    let id = i32::try_from(child.id().expect("it has not ended by itself")).unwrap();
    kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}
