//! One of four workers gets a tenth of a processor.
//!
//! What it runs is overtaken by rivals on other workers: queries take at most half as long again as undisturbed.

use serde_json::json;
use steadfast::Failure;

use super::Scenario;
use crate::cluster::NodeName;
use crate::machine::Slowdown;
use crate::report::Report;
use crate::scene::{Context, Scene};

/// A slow worker.
pub const SCENARIO: Scenario = Scenario {
    name: "slow-worker",
    summary: "one of four workers gets a tenth of a processor; queries take at most 1.5 times as long",
    play: |context| Box::pin(play(context)),
};

const WORKERS: usize = 4;
const VICTIM: usize = 0;
/// How many times as long as undisturbed the queries may take, together.
const WALL_RATIO_MAX: f64 = 1.5;
/// How often each query runs on the slowed cluster.
const ROUNDS: usize = 2;

async fn play(context: Context) -> Result<Report, Failure> {
    let mut options = context.options();
    options.workers = WORKERS;
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene) -> Result<(), Failure> {
    // The first run has warmed the processes; this one counts.
    scene.measure().await?;
    let slowdown = Slowdown::of(scene.cluster.process_id(NodeName::Worker(VICTIM))?)?;
    scene.report.figures.insert("slowed_by".into(), json!(slowdown.means()));
    let node = NodeName::Worker(VICTIM).to_string();
    let (mut by_victim, mut overtaken) = (0, 0);
    for _ in 0..ROUNDS {
        for query in 0..scene.queries.len() {
            let (running, _) = scene.start_known(query).await?;
            let look = scene.judge(query, running).await?;
            by_victim += look.attempts.iter().filter(|attempt| attempt.node == node).count();
            overtaken += look.in_state("ABORTED").filter(|attempt| attempt.node == node).count();
        }
    }
    drop(slowdown);
    if by_victim > 0 {
        scene.report.landed("a tenth of a processor");
    }
    scene.report.figures.insert("attempts_on_slow_worker".into(), json!(by_victim));
    scene.report.figures.insert("of_these_overtaken".into(), json!(overtaken));
    let ratio = together(scene);
    scene.report.figures.insert("wall_ratio_together".into(), json!((ratio * 100.0).round() / 100.0));
    if ratio > WALL_RATIO_MAX {
        scene.report.problem(format!("together, queries take {ratio:.2} times as long as undisturbed"));
    }
    Ok(())
}

/// How many times as long as undisturbed the queries took, long ones counting more.
fn together(scene: &Scene) -> f64 {
    let undisturbed: Vec<f64> = scene
        .queries
        .iter()
        .filter_map(|query| scene.baseline.walls.get(&query.name))
        .map(|wall| wall.as_secs_f64())
        .collect();
    let ratios = scene.report.wall_ratios.iter().zip(undisturbed.iter().cycle());
    let slowed: f64 = ratios.map(|(ratio, wall)| ratio * wall).sum();
    slowed / (undisturbed.iter().sum::<f64>() * ROUNDS as f64)
}
