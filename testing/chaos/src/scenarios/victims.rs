//! Whom a fault strikes, and when.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use exchange::ObjectKey;
use nix::sys::signal::Signal;
use rand::Rng;
use steadfast::Failure;

use crate::attempts::{Look, Task};
use crate::client::Running;
use crate::cluster::{NodeName, files_under};
use crate::scene::{LOOK_INTERVAL, Scene, TRY_COUNT_MAX};

/// After which share of the tasks of a query faults strike at the latest.
const STRIKE_SHARE_MAX: f64 = 0.6;
/// After so many misses faults strike as soon as they can.
const MISS_COUNT_MAX: usize = TRY_COUNT_MAX / 2;
/// How long what a worker has sent before it was frozen may take to be known to the coordinator.
const SETTLE: Duration = Duration::from_millis(50);

/// A moment in a query's life, by chance: when so many of its tasks have ended. Earlier after each miss.
pub fn strike_after(scene: &mut Scene, query: usize, misses: usize) -> usize {
    let tasks = scene.baseline.tasks.get(&scene.queries[query].name).copied().unwrap_or_default();
    let chances_left = MISS_COUNT_MAX.saturating_sub(misses) as f64 / MISS_COUNT_MAX as f64;
    (tasks as f64 * scene.random.random::<f64>() * STRIKE_SHARE_MAX * chances_left) as usize
}

/// Whether so many tasks of a query have ended.
pub fn is_after(look: &Look, tasks: usize) -> bool {
    look.in_state("FINISHED").count() >= tasks
}

/// Workers that stand still, each in the middle of a task, and what was known of their query then.
pub struct Frozen {
    /// The workers.
    pub workers: Vec<usize>,
    /// What the coordinator knew, and still knows.
    pub look: Look,
}

/// Waits until so many tasks of a query have ended, and the fault has whom to strike; then stops those workers. What
/// they had just told the coordinator may be that they are none to be struck any more: then they go on. So the fault
/// lands. None if the query ends before.
///
/// `victims` chooses all workers to be stopped together, or none if nobody is to be struck now.
pub async fn freeze(
    scene: &mut Scene,
    (running, id): (&Running, &str),
    tasks: usize,
    mut victims: impl FnMut(&mut Scene, &Look) -> Vec<usize>,
    is_still: impl Fn(&Scene, &Look, usize) -> bool,
) -> Result<Option<Frozen>, Failure> {
    while !running.is_finished() {
        let Some(look) = scene.look(id).await.filter(|look| is_after(look, tasks)) else {
            tokio::time::sleep(LOOK_INTERVAL).await;
            continue;
        };
        let workers = victims(scene, &look);
        if workers.is_empty() {
            tokio::time::sleep(LOOK_INTERVAL).await;
            continue;
        }
        signal_all(scene, &workers, Signal::SIGSTOP)?;
        tokio::time::sleep(SETTLE).await;
        let look = scene.look(id).await.unwrap_or_default();
        if workers.iter().all(|worker| is_still(scene, &look, *worker)) && !running.is_finished() {
            return Ok(Some(Frozen { workers, look }));
        }
        signal_all(scene, &workers, Signal::SIGCONT)?;
    }
    Ok(None)
}

/// Stops one of the workers that run tasks of a query, by chance.
pub async fn freeze_busy(
    scene: &mut Scene,
    query: (&Running, &str),
    tasks: usize,
) -> Result<Option<(usize, Look)>, Failure> {
    let one = |scene: &mut Scene, look: &Look| {
        let busy = busy_workers(look, scene.cluster.options().workers);
        if busy.is_empty() { busy } else { vec![any_of(scene, &busy)] }
    };
    let frozen = freeze(scene, query, tasks, one, |_, look, worker| is_busy(look, worker)).await?;
    Ok(frozen.and_then(|Frozen { workers, look }| Some((*workers.first()?, look))))
}

/// Sends a signal to workers.
pub fn signal_all(scene: &Scene, workers: &[usize], signal: Signal) -> Result<(), Failure> {
    workers.iter().try_for_each(|worker| scene.cluster.signal(NodeName::Worker(*worker), signal))
}

/// Whether a worker runs attempts.
pub fn is_busy(look: &Look, worker: usize) -> bool {
    let node = NodeName::Worker(worker).to_string();
    look.in_state("RUNNING").any(|attempt| attempt.node == node)
}

/// The workers that run attempts.
pub fn busy_workers(look: &Look, workers: usize) -> Vec<usize> {
    (0..workers).filter(|worker| is_busy(look, *worker)).collect()
}

/// One of these, by chance.
pub fn any_of(scene: &mut Scene, workers: &[usize]) -> usize {
    workers[scene.random.random_range(0..workers.len())]
}

/// The tasks whose output is committed.
pub fn committed(look: &Look) -> BTreeSet<Task> {
    look.in_state("FINISHED").map(|attempt| attempt.task).collect()
}

/// The tasks of a query with a commit record in the exchange.
pub fn committed_in(exchange: &Path, query: &str) -> BTreeSet<Task> {
    let files = files_under(&exchange.join(query));
    let keys = files.iter().filter_map(|file| key_of(exchange, file));
    keys.filter_map(|key| match key {
        ObjectKey::Commit(output) => Some((u64::from(output.task.stage.0), u64::from(output.task.partition))),
        _ => None,
    })
    .collect()
}

/// The key of a file in the exchange, unless it is unfinished or none of ours.
pub fn key_of(exchange: &Path, file: &Path) -> Option<ObjectKey> {
    file.strip_prefix(exchange).ok()?.to_str()?.parse().ok()
}

/// Makes a problem of every task that was committed before a fault and was started again after it.
pub fn check_not_rerun(scene: &mut Scene, committed: &BTreeSet<Task>, look: &Look, fault_unix_millis: u64) {
    let again: Vec<String> = look
        .attempts
        .iter()
        .filter(|attempt| {
            attempt.started_unix_millis > fault_unix_millis && committed.contains(&attempt.task)
        })
        .map(|attempt| format!("{attempt:?}"))
        .collect();
    if !again.is_empty() {
        scene.report.problem(format!("committed output was made again: {}", again.join("; ")));
    }
}

/// Notes that a fault landed, and how soon the first task that it cost was started again.
pub fn note_landing(scene: &mut Scene, fault: &str, look: &Look, fault_unix_millis: u64) {
    scene.report.landed(fault);
    scene.report.recovery_millis.extend(look.recovery_millis(fault_unix_millis));
}

/// A fault was tried often, and always came too late.
pub fn never_landed(scene: &mut Scene, fault: &str, query: usize) -> Result<(), Failure> {
    let name = scene.queries[query].name.clone();
    scene.report.problem(format!("{fault}: no fault landed in {name}"));
    Ok(())
}
