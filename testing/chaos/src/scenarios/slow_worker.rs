//! One of four workers gets a tenth of a processor.
//!
//! What it runs is overtaken by rivals on other workers, and soon it is given little: each query takes at most half as
//! long again as undisturbed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use steadfast::Failure;

use super::Scenario;
use crate::attempts::Look;
use crate::cluster::NodeName;
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
/// How often each query runs undisturbed, and how often on the slowed cluster.
const ROUNDS: usize = 5;
/// The slow worker is avoided if it gets at most this part of what would be its share.
const AVOIDED_SHARE_MAX: f64 = 0.5;

/// How long each query took in each round.
type Walls = BTreeMap<String, Vec<Duration>>;

async fn play(context: Context) -> Result<Report, Failure> {
    let mut options = context.options();
    options.workers = WORKERS;
    let rounds = context.rounds.unwrap_or(ROUNDS);
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene, rounds).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene, rounds: usize) -> Result<(), Failure> {
    // The first run has warmed the processes; these count.
    let mut undisturbed = Walls::new();
    for _ in 0..rounds {
        scene.measure().await?;
        for (name, wall) in &scene.baseline.walls {
            undisturbed.entry(name.clone()).or_default().push(*wall);
        }
    }
    scene.baseline.walls = undisturbed.iter().map(|(name, walls)| (name.clone(), median(walls))).collect();
    let slowdown = Slowdown::of(scene.cluster.process_id(NodeName::Worker(VICTIM))?)?;
    scene.report.figures.insert("slowed_by".into(), json!(slowdown.means()));
    let mut slowed = Walls::new();
    let mut attempts = Attempts::default();
    for round in 0..rounds {
        for query in 0..scene.queries.len() {
            let (running, _) = scene.start_known(query).await?;
            let (look, wall) = scene.judge_timed(query, running).await?;
            attempts.count(&look, round);
            slowed.entry(scene.queries[query].name.clone()).or_default().push(wall);
        }
    }
    drop(slowdown);
    attempts.report(scene);
    compare(scene, &undisturbed, &slowed);
    Ok(())
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
fn compare(scene: &mut Scene, undisturbed: &Walls, slowed: &Walls) {
    let mut figures = BTreeMap::<String, Value>::new();
    let mut sums = [0.0; 2];
    for (name, walls) in slowed {
        let Some(before) = undisturbed.get(name).map(|walls| median(walls).as_secs_f64()) else {
            continue;
        };
        let after = median(walls).as_secs_f64();
        let first = walls.first().copied().unwrap_or_default().as_secs_f64();
        let ratio = after / before;
        figures.insert(
            name.clone(),
            json!({
                "undisturbed_s": rounded(before),
                "slowed_s": rounded(after),
                "ratio": rounded(ratio),
                "ratio_when_first_met": rounded(first / before),
            }),
        );
        if ratio > WALL_RATIO_MAX {
            scene.report.problem(format!("{name} takes {ratio:.2} times as long as undisturbed"));
        }
        sums[0] += before;
        sums[1] += after;
    }
    scene.report.figures.insert("medians".into(), json!(figures));
    scene.report.figures.insert("wall_ratio_together".into(), json!(rounded(sums[1] / sums[0])));
}

fn median(walls: &[Duration]) -> Duration {
    let mut walls = walls.to_vec();
    walls.sort_unstable();
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
        let walls = [1, 9, 2].map(Duration::from_secs);
        assert_eq!(median(&walls), Duration::from_secs(2));
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
