//! A worker stands still for twenty seconds, and then goes on as if nothing had been.
//!
//! It is overtaken, or taken for lost: the others end the query without it, and what it commits late does no harm.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use steadfast::Failure;

use super::Scenario;
use super::victims::{freeze_busy, never_landed, note_landing, strike_after};
use crate::attempts::unix_millis;
use crate::cluster::NodeName;
use crate::report::Report;
use crate::scene::{Context, Scene, TRY_COUNT_MAX};

/// A worker that stands still.
pub const SCENARIO: Scenario = Scenario {
    name: "stop-worker",
    summary: "SIGSTOP for a worker that runs tasks, SIGCONT after 20 s",
    play: |context| Box::pin(play(context)),
};

/// How long it stands still at least.
const STANDSTILL: Duration = Duration::from_secs(20);

async fn play(context: Context) -> Result<Report, Failure> {
    let options = context.options().answering_at_once();
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene) -> Result<(), Failure> {
    for query in 0..scene.queries.len() {
        stop(scene, query).await?;
    }
    Ok(())
}

async fn stop(scene: &mut Scene, query: usize) -> Result<(), Failure> {
    let workers = scene.cluster.options().workers;
    for misses in 0..TRY_COUNT_MAX {
        let tasks = strike_after(scene, query, misses);
        let (running, id) = scene.start_known(query).await?;
        let Some((victim, _)) = freeze_busy(scene, (&running, &id), tasks).await? else {
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        };
        let victim = NodeName::Worker(victim);
        let (stopped, stopped_at) = (Instant::now(), unix_millis());
        // It ends while the worker stands still.
        let look = scene.judge(query, running).await?;
        tokio::time::sleep(STANDSTILL.saturating_sub(stopped.elapsed())).await;
        scene.cluster.signal(victim, Signal::SIGCONT)?;
        scene.cluster.wait_for_workers(workers).await?;
        if look.replaced(&victim.to_string()).count() == 0 {
            // What it ran had just ended.
            scene.report.missed += 1;
            continue;
        }
        note_landing(scene, "standstill of 20 s", &look, stopped_at);
        // It is a full member again, and what it remembers of the query changes nothing.
        let (running, _) = scene.start_known(query).await?;
        scene.judge(query, running).await?;
        return Ok(());
    }
    never_landed(scene, "standstill", query)
}
