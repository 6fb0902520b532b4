//! All links are slow and shaky, those of workers and that of clients: latency, jitter, and resets by chance.
//!
//! Answers are right, and no client sees an error.

use std::time::Duration;

use serde_json::json;
use steadfast::Failure;

use super::Scenario;
use super::victims::{is_after, is_busy, never_landed, strike_after};
use crate::attempts::Look;
use crate::proxy::{DirectionFaults, Link, LinkCounts, LinkFaults};
use crate::report::Report;
use crate::scene::{Context, Scene, TRY_COUNT_MAX};

/// Slow and shaky links.
pub const SCENARIO: Scenario = Scenario {
    name: "latency-and-resets",
    summary: "every link has 10 to 40 ms of latency in each direction, and loses its connections every few seconds",
    play: |context| Box::pin(play(context)),
};

const ROUNDS: usize = 2;
const LATENCY: Duration = Duration::from_millis(10);
const JITTER: Duration = Duration::from_millis(30);
/// How long all workers are cut off at once.
const CUT: Duration = Duration::from_secs(2);
/// After which time a connection is reset, on average.
const RESET_INTERVAL_MEAN: Duration = Duration::from_secs(3);

async fn play(context: Context) -> Result<Report, Failure> {
    let options = context.options().answering_at_once();
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene) -> Result<(), Failure> {
    let slow = DirectionFaults { latency: LATENCY, jitter: JITTER, ..Default::default() };
    let shaky = LinkFaults {
        up: slow,
        down: slow,
        reset_interval_mean: Some(RESET_INTERVAL_MEAN),
        ..Default::default()
    };
    scene.cluster.links().for_each(|link| link.set(shaky));
    for _ in 0..ROUNDS {
        for query in 0..scene.queries.len() {
            let (running, _) = scene.start_known(query).await?;
            scene.judge(query, running).await?;
        }
    }
    scene.cluster.links().for_each(Link::heal);
    scene.cluster.wait_for_workers(scene.cluster.options().workers).await?;
    for query in 0..scene.queries.len() {
        break_all(scene, query).await?;
    }
    scene.cluster.wait_for_workers(scene.cluster.options().workers).await?;
    let counts: Vec<LinkCounts> = scene.cluster.links().map(Link::counts).collect();
    let (resets, delayed) =
        (counts.iter().map(|of| of.resets).sum(), counts.iter().map(|of| of.delayed).sum());
    scene.report.faults.insert("resets".into(), resets);
    scene.report.faults.insert("pieces delayed".into(), delayed);
    scene.report.faults.retain(|_, count| *count > 0);
    let client_resets = scene.cluster.client_link().counts().resets;
    scene.report.figures.insert("client_resets".into(), json!(client_resets));
    if resets == 0 || delayed == 0 {
        scene.report.problem(format!("{resets} resets and {delayed} delays landed"));
    }
    Ok(())
}

/// Breaks all connections at once in the middle of a query, and keeps those of workers broken for a while.
async fn break_all(scene: &mut Scene, query: usize) -> Result<(), Failure> {
    let workers = scene.cluster.options().workers;
    for misses in 0..TRY_COUNT_MAX {
        let tasks = strike_after(scene, query, misses);
        let (running, id) = scene.start_known(query).await?;
        let is_ripe = |look: &Look| is_after(look, tasks) && (0..workers).any(|worker| is_busy(look, worker));
        if scene.watch(&running, &id, |look| is_ripe(look).then_some(())).await.is_none() {
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        }
        scene.cluster.client_link().reset();
        (0..workers).for_each(|worker| scene.cluster.worker_link(worker).set(LinkFaults::cut()));
        // Nobody can tell the coordinator of an end now, so that of the query comes after the break.
        let has_landed = !running.is_finished();
        tokio::time::sleep(CUT).await;
        (0..workers).for_each(|worker| scene.cluster.worker_link(worker).heal());
        scene.judge(query, running).await?;
        if has_landed {
            scene.report.landed("all links broken at once");
            return Ok(());
        }
        scene.report.missed += 1;
    }
    never_landed(scene, "break of all links", query)
}
