//! The coordinator stands still; the one that stands by takes over; then the first goes on as if nothing had been.
//!
//! It does no harm: it neither serves clients nor commands workers nor deletes anything, and there is one answer.

use std::time::Duration;

use nix::sys::signal::Signal;
use rand::Rng;
use serde_json::{Value, json};
use steadfast::Failure;

use super::Scenario;
use super::coordinators::{self, Moment, start_until, struck, wait_for_recovery};
use crate::cluster::NodeName;
use crate::scene::{LOOK_INTERVAL, Scene, TRY_COUNT_MAX};

/// Two coordinators at once.
pub const SCENARIO: Scenario = Scenario {
    name: "two-coordinators",
    summary: "SIGSTOP for the coordinator that serves, the other one takes over, SIGCONT",
    play: |context| {
        Box::pin(coordinators::play(context, true, ROUNDS, |scene, moment, round| {
            Box::pin(overlap(scene, moment, round))
        }))
    },
};

const ROUNDS: usize = 4;
/// How long after the takeover the first one may go on, by chance: while the query runs, or later.
const OVERLAP_MILLIS_MAX: u64 = 6_000;
/// How long it may take until the other one serves: its lease is five seconds.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(40);
/// How long the first one may take to see that it has been replaced.
const STEP_BACK_TIMEOUT: Duration = Duration::from_secs(20);

async fn overlap(scene: &mut Scene, moment: Moment, round: usize) -> Result<(), Failure> {
    for misses in 0..TRY_COUNT_MAX {
        let (query, running, look) = start_until(scene, moment, round, misses).await?;
        let Some(look) = look else {
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        };
        let first = scene.cluster.serving_coordinator();
        scene.cluster.signal(first, Signal::SIGSTOP)?;
        let has_landed = !running.is_finished();
        let struck = struck(scene, &running, &look);
        wait_for_takeover(scene, first).await?;
        wait_for_recovery(scene, &running, &struck).await;
        let overlap = scene.random.random_range(0..=OVERLAP_MILLIS_MAX);
        tokio::time::sleep(Duration::from_millis(overlap)).await;
        scene.cluster.signal(first, Signal::SIGCONT)?;
        has_stepped_back(scene, first).await?;
        coordinators::judge(scene, query, running, &struck).await?;
        scene.cluster.ensure_running(first).await?;
        scene.cluster.wait_for_workers(scene.cluster.options().workers).await?;
        if has_landed {
            scene.report.landed(&format!("standstill while {}", moment.name()));
            return Ok(());
        }
        scene.report.missed += 1;
    }
    scene.report.problem(format!("no standstill landed while {}", moment.name()));
    Ok(())
}

/// Waits until another coordinator serves.
async fn wait_for_takeover(scene: &Scene, first: NodeName) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + TAKEOVER_TIMEOUT;
    while scene.cluster.serving_coordinator() == first {
        if tokio::time::Instant::now() > deadline {
            return Err(format!("{first} stands still, and nobody takes its place").into());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Waits until a coordinator that was replaced has ended, or stands by and says so.
async fn has_stepped_back(scene: &mut Scene, first: NodeName) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + STEP_BACK_TIMEOUT;
    loop {
        if scene.cluster.has_ended(first)? {
            return Ok(());
        }
        let info = scene.cluster.document_of(first, "/v1/info").await;
        if matches!(&info, Ok(info) if info["starting"] == Value::Bool(true)) {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            scene
                .report
                .problem(format!("{first} has not stepped back: {}", json!(info.unwrap_or_default())));
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
