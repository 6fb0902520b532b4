//! Whom a fault strikes, and when.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use exchange::ObjectKey;
use rand::Rng;
use steadfast::Failure;

use crate::attempts::{Look, Task};
use crate::cluster::{NodeName, files_under};
use crate::scene::Scene;

/// In which part of the undisturbed time of a query faults strike. Later ones would often come too late; after a miss
/// they come sooner.
const STRIKE_SHARE_MAX: f64 = 0.6;

/// A moment in a query's life, by chance.
pub fn strike_delay(scene: &mut Scene, query: usize, misses: usize) -> Duration {
    let name = &scene.queries[query].name;
    let wall = scene.baseline.walls.get(name).copied().unwrap_or_default();
    wall.mul_f64(scene.random.random::<f64>() * STRIKE_SHARE_MAX / (1 + misses) as f64)
}

/// The workers that run attempts.
pub fn busy_workers(look: &Look, workers: usize) -> Vec<usize> {
    let is_busy = |worker: &usize| {
        let node = NodeName::Worker(*worker).to_string();
        look.in_state("RUNNING").any(|attempt| attempt.node == node)
    };
    (0..workers).filter(is_busy).collect()
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
