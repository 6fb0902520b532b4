//! Processes may open few files, and clients that say nothing open one connection after the other to all of them.
//!
//! Queries that run meanwhile do not notice, nor do their clients; nobody spins; no process runs out of descriptors.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use steadfast::Failure;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Scenario;
use crate::cluster::{Footprint, NodeName};
use crate::machine::cpu_time;
use crate::report::Report;
use crate::scene::{Context, Scene};

/// Processes short of file descriptors.
pub const SCENARIO: Scenario = Scenario {
    name: "fd-exhaustion",
    summary: "every process may open 160 files, and idle connections want all of them, again and again",
    play: |context| Box::pin(play(context)),
};

const DESCRIPTOR_COUNT_MAX: u32 = 160;
/// How many connections to each process are open at our end, and how many of them are new each time.
const HELD_COUNT_MAX: usize = 240;
const WAVE_COUNT: usize = 40;
const WAVE_INTERVAL: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the flood lasts while nothing runs, and how much a process may compute then.
const IDLE: Duration = Duration::from_secs(5);
const IDLE_CPU_MAX: Duration = Duration::from_secs(2);

async fn play(context: Context) -> Result<Report, Failure> {
    let mut options = context.options();
    options.descriptor_count_max = Some(DESCRIPTOR_COUNT_MAX);
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene) -> Result<(), Failure> {
    let mut most_open = BTreeMap::<String, usize>::new();
    let flood = Flood::start(scene).await?;
    for query in 0..scene.queries.len() {
        let before = flood.opened();
        let (running, _) = scene.start_known(query).await?;
        while !running.is_finished() {
            for (node, open) in descriptors(scene) {
                let most = most_open.entry(node.to_string()).or_default();
                *most = open.max(*most);
            }
            tokio::time::sleep(WAVE_INTERVAL).await;
        }
        scene.judge(query, running).await?;
        for (node, before) in before {
            if flood.opened().get(&node).is_some_and(|opened| *opened > before) {
                scene.report.landed(match node {
                    NodeName::Coordinator(_) => "flooded coordinator under a query",
                    NodeName::Worker(_) => "flooded worker under a query",
                });
            }
        }
    }
    stay_calm(scene).await?;
    let opened: BTreeMap<String, usize> =
        flood.opened().into_iter().map(|(node, opened)| (node.to_string(), opened)).collect();
    scene.report.figures.insert("connections_opened".into(), json!(opened));
    scene.report.figures.insert("descriptors_most".into(), json!(most_open));
    if let Some((node, most)) = most_open.iter().find(|(_, most)| **most >= DESCRIPTOR_COUNT_MAX as usize) {
        scene.report.problem(format!("{node} had {most} descriptors open, which are all it may have"));
    }
    Ok(())
}

/// Connections that say nothing, to every process: as soon as they are there, more of them.
struct Flood {
    opened: BTreeMap<NodeName, Arc<AtomicUsize>>,
    // Aborted with it.
    tasks: JoinSet<()>,
}

impl Flood {
    /// Starts a flood, and waits until each process has been offered more connections than it may open files.
    async fn start(scene: &Scene) -> Result<Self, Failure> {
        let mut flood = Flood { opened: BTreeMap::new(), tasks: JoinSet::new() };
        for node in scene.cluster.names() {
            let opened = Arc::new(AtomicUsize::new(0));
            flood.tasks.spawn(pour(scene.cluster.node_address(node)?, Arc::clone(&opened)));
            flood.opened.insert(node, opened);
        }
        while flood.opened().values().any(|opened| *opened <= DESCRIPTOR_COUNT_MAX as usize) {
            tokio::time::sleep(WAVE_INTERVAL).await;
        }
        Ok(flood)
    }

    /// How many connections were opened to each process.
    fn opened(&self) -> BTreeMap<NodeName, usize> {
        self.opened.iter().map(|(node, opened)| (*node, opened.load(Ordering::Relaxed))).collect()
    }
}

async fn pour(address: SocketAddr, opened: Arc<AtomicUsize>) {
    let mut held = VecDeque::new();
    loop {
        for _ in 0..WAVE_COUNT {
            // Who takes no more now may take some later.
            if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                held.push_back(stream);
                opened.fetch_add(1, Ordering::Relaxed);
            }
        }
        held.drain(..held.len().saturating_sub(HELD_COUNT_MAX));
        tokio::time::sleep(WAVE_INTERVAL).await;
    }
}

/// How many descriptors each process has open.
fn descriptors(scene: &Scene) -> Vec<(NodeName, usize)> {
    let open = |node: NodeName| Footprint::of(scene.cluster.process_id(node).ok()?);
    let names = scene.cluster.names().into_iter();
    names.filter_map(|node| Some((node, open(node)?.descriptors))).collect()
}

/// With nothing to do but to close connections, processes wait.
async fn stay_calm(scene: &mut Scene) -> Result<(), Failure> {
    let times = |scene: &Scene| -> Result<Vec<(NodeName, Duration)>, Failure> {
        let time = |node: NodeName| Ok((node, cpu_time(scene.cluster.process_id(node)?).unwrap_or_default()));
        scene.cluster.names().into_iter().map(time).collect()
    };
    let before = times(scene)?;
    tokio::time::sleep(IDLE).await;
    let after = times(scene)?;
    for ((node, before), (_, after)) in before.into_iter().zip(after) {
        let used = after.saturating_sub(before);
        if used > IDLE_CPU_MAX {
            scene.report.problem(format!("{node} computes {used:?} in {IDLE:?} without anything to do"));
        }
    }
    Ok(())
}
