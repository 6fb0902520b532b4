//! The coordinator is killed by SIGKILL at random moments of a query, and started again after a second on the same
//! port, twenty times, under the Python client.
//!
//! The client sees retried connections at most. Nothing whose output is in the store is run again.

use std::time::Duration;

use steadfast::Failure;

use super::Scenario;
use super::coordinators::{self, Moment, start_until, struck, wait_for_recovery};
use crate::cluster::NodeName;
use crate::scene::{Scene, TRY_COUNT_MAX};

/// Kills of the coordinator.
pub const SCENARIO: Scenario = Scenario {
    name: "kill-coordinator",
    summary: "20 times SIGKILL for the coordinator, back after 1 s: planning, running, finishing, client reading",
    play: |context| {
        Box::pin(coordinators::play(context, false, ROUNDS, |scene, moment, round| {
            Box::pin(kill(scene, moment, round))
        }))
    },
};

const ROUNDS: usize = 20;
const ABSENCE: Duration = Duration::from_secs(1);
const COORDINATOR: NodeName = NodeName::Coordinator(0);

async fn kill(scene: &mut Scene, moment: Moment, round: usize) -> Result<(), Failure> {
    for misses in 0..TRY_COUNT_MAX {
        let (query, running, look) = start_until(scene, moment, round, misses).await?;
        let Some(look) = look else {
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        };
        scene.cluster.kill(COORDINATOR).await?;
        if running.is_finished() {
            scene.cluster.restart(COORDINATOR).await?;
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        }
        let struck = struck(scene, &running, &look);
        tokio::time::sleep(ABSENCE).await;
        scene.cluster.restart(COORDINATOR).await?;
        wait_for_recovery(scene, &running, &struck).await;
        coordinators::judge(scene, query, running, &struck).await?;
        scene.report.landed(&format!("kill while {}", moment.name()));
        return scene.cluster.wait_for_workers(scene.cluster.options().workers).await;
    }
    scene.report.problem(format!("no kill landed while {}", moment.name()));
    Ok(())
}
