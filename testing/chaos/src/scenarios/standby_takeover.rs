//! The coordinator is killed and not started again; the one that stands by takes over. Ten times, under the Python
//! client, which knows one address only.
//!
//! After each round the dead one is started again, and stands by for the one that took over from it.

use steadfast::Failure;

use super::Scenario;
use super::coordinators::{self, Moment, start_until, struck, wait_for_recovery};
use crate::scene::{Scene, TRY_COUNT_MAX};

/// Takeovers.
pub const SCENARIO: Scenario = Scenario {
    name: "standby-takeover",
    summary: "10 times SIGKILL for the coordinator that serves; the one that stands by takes over",
    play: |context| {
        Box::pin(coordinators::play(context, true, ROUNDS, |scene, moment, round| {
            Box::pin(take_over(scene, moment, round))
        }))
    },
};

const ROUNDS: usize = 10;

async fn take_over(scene: &mut Scene, moment: Moment, round: usize) -> Result<(), Failure> {
    for misses in 0..TRY_COUNT_MAX {
        let (query, running, look) = start_until(scene, moment, round, misses).await?;
        let Some(look) = look else {
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        };
        let first = scene.cluster.serving_coordinator();
        scene.cluster.kill(first).await?;
        let has_landed = !running.is_finished();
        let struck = struck(scene, &running, &look);
        wait_for_recovery(scene, &running, &struck).await;
        coordinators::judge(scene, query, running, &struck).await?;
        scene.cluster.wait_for_workers(scene.cluster.options().workers).await?;
        scene.cluster.restart(first).await?;
        if has_landed {
            if scene.cluster.serving_coordinator() == first {
                scene.report.problem(format!("{first} serves, although it is dead"));
            }
            scene.report.landed(&format!("takeover while {}", moment.name()));
            return Ok(());
        }
        scene.report.missed += 1;
    }
    scene.report.problem(format!("no kill landed while {}", moment.name()));
    Ok(())
}
