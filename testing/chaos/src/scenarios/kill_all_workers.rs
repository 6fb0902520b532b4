//! All workers are killed at once. They come back after ten seconds, or never.
//!
//! In the first case queries go on; in the second they fail within their grace, and the error says why.

use std::time::{Duration, Instant};

use serde_json::json;
use steadfast::Failure;

use super::Scenario;
use super::victims::{
    Frozen, busy_workers, check_not_rerun, committed, freeze, never_landed, note_landing, strike_after,
};
use crate::attempts::{Look, unix_millis};
use crate::client::Running;
use crate::cluster::NodeName;
use crate::report::Report;
use crate::scene::{Context, Scene, TRY_COUNT_MAX};

/// Kills of all workers.
pub const SCENARIO: Scenario = Scenario {
    name: "kill-all-workers",
    summary: "SIGKILL for all workers at once; they come back after 10 s, or never",
    play: |context| Box::pin(play(context)),
};

const ABSENCE: Duration = Duration::from_secs(10);
/// How long a query waits for a worker.
const GRACE: Duration = Duration::from_secs(20);
/// How much longer it may take until its client knows.
const GRACE_SLACK: Duration = Duration::from_secs(15);

async fn play(context: Context) -> Result<Report, Failure> {
    let grace = format!("{}s", GRACE.as_secs());
    let options = context.options().with("node-scheduler.allowed-no-matching-node-period", &grace);
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene) -> Result<(), Failure> {
    for query in 0..scene.queries.len() {
        come_back(scene, query).await?;
    }
    never_come_back(scene, 0).await?;
    Ok(())
}

async fn come_back(scene: &mut Scene, query: usize) -> Result<(), Failure> {
    for misses in 0..TRY_COUNT_MAX {
        let tasks = strike_after(scene, query, misses);
        let (running, id) = scene.start_known(query).await?;
        let Some(before) = kill_all(scene, (&running, &id), tasks).await? else {
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        };
        let killed_at = unix_millis();
        tokio::time::sleep(ABSENCE).await;
        restart_all(scene).await?;
        let look = scene.judge(query, running).await?;
        check_not_rerun(scene, &committed(&before), &look, killed_at);
        if look.in_state("LOST").count() > 0 {
            note_landing(scene, "kill of all, back after 10 s", &look, killed_at);
            return Ok(());
        }
        scene.report.missed += 1;
    }
    never_landed(scene, "kill of all", query)
}

async fn never_come_back(scene: &mut Scene, query: usize) -> Result<(), Failure> {
    for _ in 0..TRY_COUNT_MAX {
        let (running, id) = scene.start_known(query).await?;
        if kill_all(scene, (&running, &id), 0).await?.is_none() {
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        }
        let killed_at = Instant::now();
        let outcome = running.outcome().await?;
        let after = killed_at.elapsed();
        match outcome.rows {
            Ok(_) => scene.report.problem("a query ended well without any worker"),
            Err(error) if error.contains("No nodes available") => {
                scene.report.landed("kill of all, for ever");
                let seconds = (after.as_secs_f64() * 10.0).round() / 10.0;
                scene.report.figures.insert("failed_without_workers_after_s".into(), json!(seconds));
            }
            Err(error) => scene.report.problem(format!("the error does not name the cause: {error}")),
        }
        if after > GRACE + GRACE_SLACK {
            scene.report.problem(format!("a query without workers failed only after {after:?}"));
        }
        return restart_all(scene).await;
    }
    never_landed(scene, "kill of all, for ever", query)
}

/// Kills all workers while some of them run tasks of the query, of which so many have ended. What was known then; None
/// if the query ended before.
async fn kill_all(scene: &mut Scene, query: (&Running, &str), tasks: usize) -> Result<Option<Look>, Failure> {
    let all = 0..scene.cluster.options().workers;
    let is_any_busy = |look: &Look| !busy_workers(look, all.len()).is_empty();
    let victims =
        |_: &mut Scene, look: &Look| if is_any_busy(look) { all.clone().collect() } else { Vec::new() };
    let frozen = freeze(scene, query, tasks, victims, |_, look, _| is_any_busy(look)).await?;
    let Some(Frozen { workers, look }) = frozen else {
        return Ok(None);
    };
    for worker in workers {
        scene.cluster.kill(NodeName::Worker(worker)).await?;
    }
    Ok(Some(look))
}

async fn restart_all(scene: &mut Scene) -> Result<(), Failure> {
    let workers = scene.cluster.options().workers;
    for worker in 0..workers {
        scene.cluster.restart(NodeName::Worker(worker)).await?;
    }
    scene.cluster.wait_for_workers(workers).await
}
