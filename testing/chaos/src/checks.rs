//! The checks in which every scenario ends, besides that of the rows of each query.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::{NodeName, files_under};
use crate::scene::Scene;

/// How long what is left behind may stay. The exchange is swept once a minute when there is no reason to look sooner.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(90);
/// How long processes may take to give back what they took.
const FOOTPRINT_TIMEOUT: Duration = Duration::from_secs(45);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How many more files and sockets than before the faults are none too many: connections that idle.
const DESCRIPTOR_SLACK: usize = 16;
/// How much more memory than before the faults is none too much: allocators keep what they had.
const RESIDENT_FACTOR: f64 = 1.5;
const RESIDENT_SLACK_BYTES: f64 = (256 << 20) as f64;

/// What may stay in the exchange: the memory of coordinators about themselves.
const LASTING_DIRECTORY: &str = "coordinator";

/// Words that no log may have.
const FORBIDDEN_WORDS: [&str; 2] = ["panicked", "invariant"];

/// Makes the checks. What fails becomes a problem of the report.
pub async fn check(scene: &mut Scene) {
    a_trivial_query_works(scene).await;
    nothing_is_left(scene).await;
    footprints_are_back(scene).await;
    logs_are_calm(scene);
}

async fn a_trivial_query_works(scene: &mut Scene) {
    for (text, expected) in [("SELECT 1", json!([[1]])), ("SELECT count(*) FROM nation", json!([[25]]))] {
        match scene.cluster.client().query(text).await {
            Ok(result) if json!(result.rows) == expected => {}
            Ok(result) => scene.report.problem(format!("afterwards {text} gives {:?}", result.rows)),
            Err(error) => scene.report.problem(format!("afterwards {text} fails: {error}")),
        }
    }
}

async fn nothing_is_left(scene: &mut Scene) {
    let options = scene.cluster.options();
    let mut places = vec![options.exchange_directory(), options.state_directory()];
    places.extend((0..options.workers).map(|worker| options.spill_directory(worker)));
    let started = Instant::now();
    loop {
        let left: Vec<PathBuf> = places.iter().flat_map(|place| left_in(place)).collect();
        if left.is_empty() {
            let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            scene.report.figures.insert("clean_after_ms".into(), json!(millis));
            return;
        }
        if started.elapsed() > SWEEP_TIMEOUT {
            let first: Vec<_> = left.iter().take(5).collect();
            scene.report.problem(format!("{} files are left behind, such as {first:?}", left.len()));
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn left_in(place: &Path) -> Vec<PathBuf> {
    let mut files = files_under(place);
    files.retain(|file| !file.starts_with(place.join(LASTING_DIRECTORY)));
    files
}

async fn footprints_are_back(scene: &mut Scene) {
    let deadline = Instant::now() + FOOTPRINT_TIMEOUT;
    loop {
        let excess = excess(scene);
        if excess.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            excess.into_iter().for_each(|text| scene.report.problem(text));
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// What processes have taken and not given back.
fn excess(scene: &Scene) -> Vec<String> {
    let now = scene.cluster.footprints();
    let before = &scene.baseline.footprints;
    let mut excess = Vec::new();
    for (node, now) in now {
        // One that stood by has served since then: the first coordinator's footprint is what it is allowed.
        let before = match node {
            NodeName::Coordinator(_) => before.get(&NodeName::Coordinator(0)),
            NodeName::Worker(_) => before.get(&node),
        };
        let Some(before) = before else { continue };
        if now.descriptors > before.descriptors + DESCRIPTOR_SLACK {
            excess.push(format!(
                "{node} has {} descriptors open, before the faults {}",
                now.descriptors, before.descriptors
            ));
        }
        let allowed = before.resident_bytes as f64 * RESIDENT_FACTOR + RESIDENT_SLACK_BYTES;
        if now.resident_bytes as f64 > allowed {
            excess.push(format!(
                "{node} holds {} MB of memory, before the faults {} MB",
                now.resident_bytes >> 20,
                before.resident_bytes >> 20
            ));
        }
    }
    excess
}

fn logs_are_calm(scene: &mut Scene) {
    for (node, log) in scene.cluster.logs() {
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if let Some(line) = forbidden_line(&text) {
            scene.report.problem(format!("the log of {node} says: {line}"));
        }
    }
}

fn forbidden_line(log: &str) -> Option<&str> {
    log.lines().find(|line| {
        let line = line.to_lowercase();
        FORBIDDEN_WORDS.iter().any(|word| line.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_log_is_found() {
        assert_eq!(
            forbidden_line("fine\nthread 'io' panicked at x.rs\nfine"),
            Some("thread 'io' panicked at x.rs")
        );
        assert_eq!(forbidden_line("Invariant I-2 is broken"), Some("Invariant I-2 is broken"));
        assert_eq!(forbidden_line("all is fine"), None);
    }

    #[test]
    fn what_coordinators_keep_is_not_left_behind() {
        let place = tempfile::tempdir().unwrap();
        for path in ["coordinator/epoch/1", "query/0/0.0.commit"] {
            let path = place.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        assert_eq!(left_in(place.path()), [place.path().join("query/0/0.0.commit")]);
    }
}
