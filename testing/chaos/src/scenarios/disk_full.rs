//! A disk is full: that of one worker for what does not fit in memory, then that of the exchange.
//!
//! Without room to spill, an attempt fails and runs elsewhere. Without room in the exchange a query fails and says so,
//! and what it had written makes room for the next one.

use serde_json::json;
use steadfast::Failure;

use super::Scenario;
use crate::machine::SmallDisk;
use crate::report::Report;
use crate::scene::{Context, Scene};

/// Full disks.
pub const SCENARIO: Scenario = Scenario {
    name: "disk-full",
    summary: "the spill disk of a worker is full, then the disk of the exchange",
    play: |context| Box::pin(play(context)),
};

const VICTIM: usize = 0;
/// The size of a disk that suffices for whatever is done here, and that of one that is full at once.
const LARGE_KILOBYTES: u64 = 4 << 20;
const FULL_KILOBYTES: u64 = 64;

async fn play(context: Context) -> Result<Report, Failure> {
    // Sinks spill what is more than this: the undisturbed run shows how much.
    let options = context.options().with_exchange("exchange.sink-memory-max", "1MB").with_separate_state();
    let exchange = match SmallDisk::mount(&options.exchange_directory(), LARGE_KILOBYTES) {
        Ok(disk) => disk,
        Err(error) => return Ok(context.skipped(format!("a file system cannot be mounted: {error}"))),
    };
    let spill = SmallDisk::mount(&options.spill_directory(VICTIM), LARGE_KILOBYTES)?;
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene, &spill, &exchange).await;
    let report = scene.finish(played).await;
    // Processes that use the disks must have ended.
    drop((spill, exchange));
    report
}

async fn run(scene: &mut Scene, spill: &SmallDisk, exchange: &SmallDisk) -> Result<(), Failure> {
    spill.resize(FULL_KILOBYTES).await?;
    for query in 0..scene.queries.len() {
        let (running, _) = scene.start_known(query).await?;
        let look = scene.judge(query, running).await?;
        (0..look.in_state("FAILED").count())
            .for_each(|_| scene.report.landed("attempt without room to spill"));
    }
    if scene.report.faults.is_empty() {
        scene.report.problem("no attempt was short of room to spill");
    }
    spill.resize(LARGE_KILOBYTES).await?;
    exchange.resize(FULL_KILOBYTES).await?;
    for query in 0..scene.queries.len() {
        fill_exchange(scene, query).await?;
    }
    exchange.resize(LARGE_KILOBYTES).await?;
    for query in 0..scene.queries.len() {
        let (running, _) = scene.start_known(query).await?;
        scene.judge(query, running).await?;
    }
    Ok(())
}

/// Runs a query that does not fit in the exchange.
async fn fill_exchange(scene: &mut Scene, query: usize) -> Result<(), Failure> {
    let (running, id) = scene.start_known(query).await?;
    let outcome = running.outcome().await?;
    let document = scene.cluster.document(&format!("/v1/query/{id}")).await?;
    match outcome.rows {
        Ok(_) => scene.report.problem(format!("{id} fits in an exchange of {FULL_KILOBYTES} kB")),
        Err(error) => {
            scene.report.landed("query without room in the exchange");
            scene.report.figures.insert("full_exchange_error".into(), document["errorCode"]["name"].clone());
            let expected = [json!("INSUFFICIENT_RESOURCES"), json!("EXTERNAL")];
            if !expected.contains(&document["errorType"]) {
                scene.report.problem(format!("{id} has an error that does not name the cause: {error}"));
            }
        }
    }
    Ok(())
}
