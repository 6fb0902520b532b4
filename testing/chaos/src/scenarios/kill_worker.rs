//! A worker is killed by SIGKILL: while it scans, while it writes its output, and while its output is read.
//!
//! What it ran is run elsewhere; what it had committed is read on, and never made again.

use steadfast::Failure;

use super::Scenario;
use super::victims::{
    Frozen, any_of, check_not_rerun, committed, freeze, never_landed, note_landing, strike_after,
};
use crate::attempts::{Attempt, Look, unix_millis};
use crate::cluster::{NodeName, files_under};
use crate::report::Report;
use crate::scene::{Context, Scene, TRY_COUNT_MAX};

/// Kills of one worker.
pub const SCENARIO: Scenario = Scenario {
    name: "kill-worker",
    summary: "SIGKILL for a worker that scans, that writes, whose output is being read",
    play: |context| Box::pin(play(context)),
};

/// What the victim does when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Scanning,
    Writing,
    BeingRead,
}

impl Moment {
    const ALL: [Moment; 3] = [Moment::Scanning, Moment::Writing, Moment::BeingRead];

    fn name(self) -> &'static str {
        match self {
            Moment::Scanning => "kill while scanning",
            Moment::Writing => "kill while writing",
            Moment::BeingRead => "kill while being read",
        }
    }

    /// Whether this applies to a worker now.
    fn applies(self, scene: &Scene, id: &str, look: &Look, worker: usize) -> bool {
        let node = NodeName::Worker(worker).to_string();
        let mut running = look.in_state("RUNNING").filter(|attempt| attempt.node == node);
        let is_leaf = |attempt: &Attempt| look.leaf_stages.contains(&attempt.task.0);
        match self {
            Moment::Scanning => running.any(is_leaf),
            Moment::Writing => {
                let unfinished = unfinished_files(scene, id);
                running.any(|attempt| {
                    let (stage, partition) = attempt.task;
                    let name = format!("{stage}/{partition}.{}.{}.", attempt.generation, attempt.epoch);
                    unfinished.iter().any(|file| file.starts_with(&name))
                })
            }
            Moment::BeingRead => {
                look.in_state("FINISHED").any(|attempt| attempt.node == node)
                    && look.in_state("RUNNING").any(|attempt| !is_leaf(attempt))
            }
        }
    }
}

/// Files of a query that somebody is writing.
fn unfinished_files(scene: &Scene, id: &str) -> Vec<String> {
    let prefix = scene.cluster.options().exchange_directory().join(id);
    let files = files_under(&prefix);
    let names = files.iter().filter_map(|file| Some(file.strip_prefix(&prefix).ok()?.to_str()?.to_string()));
    names.filter(|name| name.contains(".data.") && name.ends_with(".tmp")).collect()
}

async fn play(context: Context) -> Result<Report, Failure> {
    // Only what is not small is written to an object of its own.
    let options =
        context.options().answering_at_once().with_exchange("exchange.inline-output-max-size", "1kB");
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene) -> Result<(), Failure> {
    for moment in Moment::ALL {
        for query in 0..scene.queries.len() {
            kill(scene, moment, query).await?;
        }
    }
    Ok(())
}

async fn kill(scene: &mut Scene, moment: Moment, query: usize) -> Result<(), Failure> {
    for misses in 0..TRY_COUNT_MAX {
        let tasks = strike_after(scene, query, misses);
        let (running, id) = scene.start_known(query).await?;
        let one = |scene: &mut Scene, look: &Look| {
            let workers = 0..scene.cluster.options().workers;
            let victims: Vec<_> =
                workers.filter(|worker| moment.applies(scene, &id, look, *worker)).collect();
            if victims.is_empty() { victims } else { vec![any_of(scene, &victims)] }
        };
        let is_still = |scene: &Scene, look: &Look, worker| moment.applies(scene, &id, look, worker);
        let frozen = freeze(scene, (&running, &id), tasks, one, is_still).await?;
        let Some(Frozen { workers, look: before }) = frozen else {
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        };
        let victim = NodeName::Worker(workers[0]);
        let killed_at = unix_millis();
        scene.cluster.kill(victim).await?;
        scene.cluster.restart(victim).await?;
        let look = scene.judge(query, running).await?;
        scene.cluster.wait_for_workers(scene.cluster.options().workers).await?;
        check_not_rerun(scene, &committed(&before), &look, killed_at);
        let node = victim.to_string();
        if let Some(stray) = look.in_state("LOST").find(|attempt| attempt.node != node) {
            scene.report.problem(format!("an attempt was lost on a worker that lives: {stray:?}"));
        }
        let has_landed = match moment {
            Moment::BeingRead => true,
            Moment::Scanning | Moment::Writing => look.in_state("LOST").count() > 0,
        };
        if has_landed {
            note_landing(scene, moment.name(), &look, killed_at);
            return Ok(());
        }
        scene.report.missed += 1;
    }
    never_landed(scene, moment.name(), query)
}
