//! Processes may open few files, and idle connections take them all.
//!
//! A query that runs goes on, nobody spins, and when the connections are gone everything works as before.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use steadfast::Failure;
use tokio::net::TcpStream;

use super::Scenario;
use crate::cluster::{Footprint, NodeName};
use crate::machine::cpu_time;
use crate::report::Report;
use crate::scene::{Context, Scene};

/// Processes without free file descriptors.
pub const SCENARIO: Scenario = Scenario {
    name: "fd-exhaustion",
    summary: "every process may open 160 files, and idle connections take all of them",
    play: |context| Box::pin(play(context)),
};

const DESCRIPTOR_COUNT_MAX: u32 = 160;
/// How many connections are opened to each process.
const CONNECTIONS: usize = 240;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the connections are kept while nothing runs, and how much a process may compute then.
const IDLE: Duration = Duration::from_secs(5);
const IDLE_CPU_MAX: Duration = Duration::from_secs(2);

async fn play(context: Context) -> Result<Report, Failure> {
    // Four retries take half a minute then; by default they take two and a half.
    let mut options = context.options().with("retry-initial-delay", "2s");
    options.descriptor_count_max = Some(DESCRIPTOR_COUNT_MAX);
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene) -> Result<(), Failure> {
    for query in 0..scene.queries.len() {
        let (running, _) = scene.start_known(query).await?;
        let flood = flood(scene).await?;
        // It goes on with what it has; the connections give way before its client's patience ends.
        tokio::time::sleep(IDLE).await;
        drop(flood);
        scene.judge(query, running).await?;
    }
    stay_calm(scene).await?;
    Ok(())
}

/// Opens connections to every process until it takes no more.
async fn flood(scene: &mut Scene) -> Result<Vec<TcpStream>, Failure> {
    let mut held = Vec::new();
    for node in scene.cluster.names() {
        let address: SocketAddr = scene.cluster.node_address(node)?;
        let mut opened = 0;
        while opened < CONNECTIONS {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => held.push(stream),
                Ok(Err(_)) | Err(_) => break,
            }
            opened += 1;
        }
        let footprint = Footprint::of(scene.cluster.process_id(node)?);
        let open = footprint.map_or(0, |footprint| footprint.descriptors);
        let name = format!("descriptors_of_{node}");
        scene.report.figures.insert(name, json!(open));
        if opened >= DESCRIPTOR_COUNT_MAX as usize {
            scene.report.landed(match node {
                NodeName::Coordinator(_) => "flooded coordinator",
                NodeName::Worker(_) => "flooded worker",
            });
        }
    }
    Ok(held)
}

/// With nothing to do and no descriptors, processes wait.
async fn stay_calm(scene: &mut Scene) -> Result<(), Failure> {
    let flood = flood(scene).await?;
    let times = |scene: &Scene| -> Result<Vec<(NodeName, Duration)>, Failure> {
        let time = |node: NodeName| Ok((node, cpu_time(scene.cluster.process_id(node)?).unwrap_or_default()));
        scene.cluster.names().into_iter().map(time).collect()
    };
    let before = times(scene)?;
    tokio::time::sleep(IDLE).await;
    let after = times(scene)?;
    drop(flood);
    for ((node, before), (_, after)) in before.into_iter().zip(after) {
        let used = after.saturating_sub(before);
        if used > IDLE_CPU_MAX {
            scene.report.problem(format!("{node} computes {used:?} in {IDLE:?} without anything to do"));
        }
    }
    Ok(())
}
