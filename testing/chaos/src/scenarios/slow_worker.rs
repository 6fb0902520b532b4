//! One of four workers gets a tenth of a processor. A second cluster, which works in turns with the first, has none.
//!
//! What it runs is overtaken by rivals on other workers, and soon it is given little: each query takes at most half as
//! long again as undisturbed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use steadfast::Failure;

use super::Scenario;
use crate::attempts::Look;
use crate::client::start_rust;
use crate::cluster::{Cluster, ClusterOptions, NodeName};
use crate::machine::Slowdown;
use crate::report::Report;
use crate::scene::{Context, Scene};

/// A slow worker.
pub const SCENARIO: Scenario = Scenario {
    name: "slow-worker",
    summary: "one of four workers gets a tenth of a processor; each query takes at most 1.5 times as long",
    play: |context| Box::pin(play(context)),
};

const WORKERS: usize = 4;
const VICTIM: usize = 0;
/// How many times as long as undisturbed each query may take, by the medians of its rounds.
const WALL_RATIO_MAX: f64 = 1.5;
/// How often each query runs on the cluster with the slow worker, and how often on another one without.
const ROUNDS: usize = 5;
/// The slow worker is avoided if it gets at most this part of what would be its share.
const AVOIDED_SHARE_MAX: f64 = 0.5;

/// How long a query took in each round, in seconds.
#[derive(Default)]
struct Walls {
    undisturbed: Vec<f64>,
    slowed: Vec<f64>,
}

async fn play(context: Context) -> Result<Report, Failure> {
    let mut options = context.options();
    options.workers = WORKERS;
    let rounds = context.rounds.unwrap_or(ROUNDS);
    let mut healthy = ClusterOptions::new(context.program.clone(), context.directory.join("healthy"));
    healthy.workers = WORKERS;
    let healthy = Cluster::start(healthy, context.seed).await?;
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene, &healthy, rounds).await;
    healthy.stop().await?;
    scene.finish(played).await
}

async fn run(scene: &mut Scene, healthy: &Cluster, rounds: usize) -> Result<(), Failure> {
    // The first runs warm the processes.
    for query in 0..scene.queries.len() {
        undisturbed(scene, healthy, query).await?;
    }
    let slowdown = Slowdown::of(scene.cluster.process_id(NodeName::Worker(VICTIM))?)?;
    scene.report.figures.insert("slowed_by".into(), json!(slowdown.means()));
    let mut walls = BTreeMap::<String, Walls>::new();
    let mut attempts = Attempts::default();
    for round in 0..rounds {
        for query in 0..scene.queries.len() {
            // In turns, because the machine may have more or less to do besides.
            let healthy = undisturbed(scene, healthy, query).await?;
            let name = scene.queries[query].name.clone();
            scene.baseline.walls.insert(name.clone(), healthy);
            let (running, _) = scene.start_known(query).await?;
            let (look, slowed) = scene.judge_timed(query, running).await?;
            attempts.count(&look, round);
            let walls = walls.entry(name).or_default();
            walls.undisturbed.push(healthy.as_secs_f64());
            walls.slowed.push(slowed.as_secs_f64());
        }
    }
    drop(slowdown);
    attempts.report(scene);
    compare(scene, &walls);
    Ok(())
}

/// How long a query takes on the cluster without a slow worker.
async fn undisturbed(scene: &Scene, healthy: &Cluster, query: usize) -> Result<Duration, Failure> {
    let query = &scene.queries[query];
    let outcome = start_rust(healthy.client(), &query.text).outcome().await?;
    let rows = outcome.rows.map_err(|error| format!("undisturbed, {} fails: {error}", query.name))?;
    match query.differs_from(&rows) {
        Some(problem) => Err(format!("undisturbed, {} is wrong: {problem}", query.name).into()),
        None => Ok(outcome.wall),
    }
}

/// What became of attempts.
#[derive(Default)]
struct Attempts {
    all: usize,
    on_victim: usize,
    on_victim_first: usize,
    overtaken: usize,
}

impl Attempts {
    fn count(&mut self, look: &Look, round: usize) {
        let victim = NodeName::Worker(VICTIM).to_string();
        let on_victim = look.attempts.iter().filter(|attempt| attempt.node == victim).count();
        self.all += look.attempts.len();
        self.on_victim += on_victim;
        self.on_victim_first += if round == 0 { on_victim } else { 0 };
        self.overtaken += look.in_state("ABORTED").filter(|attempt| attempt.node == victim).count();
    }

    fn report(&self, scene: &mut Scene) {
        // Nothing was slow if nothing ran there before it was known to be slow.
        if self.on_victim_first > 0 {
            scene.report.landed("a tenth of a processor");
        }
        let share = self.on_victim as f64 * WORKERS as f64 / self.all.max(1) as f64;
        let figures = &mut scene.report.figures;
        figures.insert("attempts".into(), json!(self.all));
        figures.insert("attempts_on_slow_worker".into(), json!(self.on_victim));
        figures.insert("of_these_overtaken".into(), json!(self.overtaken));
        figures.insert("part_of_its_share".into(), json!(rounded(share)));
        if self.overtaken == 0 && share > AVOIDED_SHARE_MAX {
            scene.report.problem("the slow worker was neither overtaken nor avoided");
        }
    }
}

/// Compares the medians of each query.
fn compare(scene: &mut Scene, walls: &BTreeMap<String, Walls>) {
    let mut figures = BTreeMap::<String, Value>::new();
    let mut sums = [0.0; 2];
    for (name, Walls { undisturbed, slowed }) in walls {
        let (before, after) = (median(undisturbed), median(slowed));
        let first = slowed.first().zip(undisturbed.first());
        let first = first.map_or(0.0, |(slowed, undisturbed)| slowed / undisturbed);
        figures.insert(
            name.clone(),
            json!({
                "undisturbed_s": rounded(before),
                "slowed_s": rounded(after),
                "ratio": rounded(after / before),
                "ratio_when_first_met": rounded(first),
            }),
        );
        if after / before > WALL_RATIO_MAX {
            let ratio = rounded(after / before);
            scene.report.problem(format!("{name} takes {ratio} times as long as undisturbed"));
        }
        sums[0] += before;
        sums[1] += after;
    }
    scene.report.figures.insert("medians".into(), json!(figures));
    scene.report.figures.insert("wall_ratio_together".into(), json!(rounded(sums[1] / sums[0])));
}

fn median(walls: &[f64]) -> f64 {
    let mut walls = walls.to_vec();
    walls.sort_by(f64::total_cmp);
    walls.get(walls.len() / 2).copied().unwrap_or_default()
}

fn rounded(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_that_was_slow_by_chance_does_not_count() {
        assert_eq!(median(&[1.0, 9.0, 2.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }
}
