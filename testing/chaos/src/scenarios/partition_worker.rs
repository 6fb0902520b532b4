//! A worker is cut off from the coordinator: it is not heard, it does not hear, or both.
//!
//! Connections stay open and say nothing, as when a switch drops packets. Its attempts are run elsewhere, by rivals or
//! because it is taken for lost; when the partition heals it comes back.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use steadfast::Failure;

use super::Scenario;
use super::victims::{freeze_busy, never_landed, note_landing, signal_all, strike_after};
use crate::attempts::unix_millis;
use crate::cluster::NodeName;
use crate::proxy::LinkFaults;
use crate::report::Report;
use crate::scene::{Context, Scene, TRY_COUNT_MAX};

/// A worker that is cut off.
pub const SCENARIO: Scenario = Scenario {
    name: "partition-worker",
    summary: "a worker's link carries nothing up, nothing down, nothing at all, for 12 s",
    play: |context| Box::pin(play(context)),
};

const DURATION: Duration = Duration::from_secs(12);

async fn play(context: Context) -> Result<Report, Failure> {
    let options = context.options().answering_at_once();
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene) -> Result<(), Failure> {
    let partitions = [
        ("partition: worker is not heard", LinkFaults::stalled_up()),
        ("partition: worker does not hear", LinkFaults::stalled_down()),
        ("partition: both ways", LinkFaults::stalled()),
    ];
    for (name, faults) in partitions {
        for query in 0..scene.queries.len() {
            partition(scene, name, faults, query).await?;
        }
    }
    Ok(())
}

async fn partition(scene: &mut Scene, name: &str, faults: LinkFaults, query: usize) -> Result<(), Failure> {
    let workers = scene.cluster.options().workers;
    for misses in 0..TRY_COUNT_MAX {
        let tasks = strike_after(scene, query, misses);
        let (running, id) = scene.start_known(query).await?;
        let Some((victim, _)) = freeze_busy(scene, (&running, &id), tasks).await? else {
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        };
        let stalled_before = scene.cluster.worker_link(victim).counts().stalled;
        let (started, started_at) = (Instant::now(), unix_millis());
        scene.cluster.worker_link(victim).set(faults);
        signal_all(scene, &[victim], Signal::SIGCONT)?;
        let look = scene.judge(query, running).await?;
        tokio::time::sleep(DURATION.saturating_sub(started.elapsed())).await;
        scene.cluster.worker_link(victim).heal();
        scene.cluster.wait_for_workers(workers).await?;
        let has_stalled = scene.cluster.worker_link(victim).counts().stalled > stalled_before;
        let node = NodeName::Worker(victim).to_string();
        if has_stalled && look.started_elsewhere(&node, started_at).count() > 0 {
            note_landing(scene, name, &look, started_at);
            return Ok(());
        }
        scene.report.missed += 1;
    }
    never_landed(scene, name, query)
}
