//! All workers are restarted, one after the other, by SIGTERM, under running queries.
//!
//! Answers are right, and nothing counts as failed or lost: attempts end, or are handed back and run elsewhere.

use nix::sys::signal::Signal;
use steadfast::Failure;

use super::Scenario;
use super::victims::{is_after, is_busy, strike_after};
use crate::cluster::NodeName;
use crate::report::Report;
use crate::scene::{Context, Scene, TRY_COUNT_MAX};

/// A rolling restart.
pub const SCENARIO: Scenario = Scenario {
    name: "rolling-restart",
    summary: "each worker in turn ends by SIGTERM and is started again, under running queries",
    play: |context| Box::pin(play(context)),
};

/// Attempts that end within it may; the others have to be handed back.
const GRACE: &str = "1s";

async fn play(context: Context) -> Result<Report, Failure> {
    let options = context.options().with("shutdown.grace-period", GRACE);
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene) -> Result<(), Failure> {
    let workers = scene.cluster.options().workers;
    for query in 0..scene.queries.len() {
        for worker in 0..workers {
            restart(scene, query, worker).await?;
        }
        restart_all(scene, query).await?;
    }
    Ok(())
}

/// Restarts a worker while it runs tasks of a query.
async fn restart(scene: &mut Scene, query: usize, worker: usize) -> Result<(), Failure> {
    for misses in 0..TRY_COUNT_MAX {
        let tasks = strike_after(scene, query, misses);
        let (running, id) = scene.start_known(query).await?;
        let found = scene
            .watch(&running, &id, |look| (is_after(look, tasks) && is_busy(look, worker)).then_some(()))
            .await;
        if found.is_some() {
            cycle(scene, worker).await?;
        }
        judge(scene, query, running).await?;
        if found.is_some() {
            scene.report.landed("restart of a busy worker");
            return Ok(());
        }
        scene.report.missed += 1;
    }
    scene.report.problem(format!("worker {worker} was never busy"));
    Ok(())
}

/// Restarts all workers, one after the other, while a query runs as long as it will.
async fn restart_all(scene: &mut Scene, query: usize) -> Result<(), Failure> {
    let (running, _) = scene.start_known(query).await?;
    for worker in 0..scene.cluster.options().workers {
        cycle(scene, worker).await?;
        if !running.is_finished() {
            scene.report.landed("restart in a row under one query");
        }
    }
    judge(scene, query, running).await
}

async fn cycle(scene: &mut Scene, worker: usize) -> Result<(), Failure> {
    let node = NodeName::Worker(worker);
    scene.cluster.signal(node, Signal::SIGTERM)?;
    scene.cluster.wait_for_end(node).await?;
    scene.cluster.restart(node).await?;
    scene.cluster.wait_for_workers(scene.cluster.options().workers).await
}

async fn judge(scene: &mut Scene, query: usize, running: crate::client::Running) -> Result<(), Failure> {
    let look = scene.judge(query, running).await?;
    let spoiled: Vec<_> =
        look.attempts.iter().filter(|attempt| ["FAILED", "LOST"].contains(&attempt.state.as_str())).collect();
    if !spoiled.is_empty() {
        scene.report.problem(format!("an orderly restart cost attempts: {spoiled:?}"));
    }
    Ok(())
}
