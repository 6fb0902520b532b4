//! A committed object of the exchange is deleted, truncated, or has one bit flipped, before anybody reads it.
//!
//! Answers are right, and only the task whose output was lost is run again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use base::AttemptId;
use exchange::ObjectKey;
use rand::Rng;
use steadfast::Failure;

use super::Scenario;
use super::victims::{committed_in, key_of, never_landed};
use crate::attempts::{Look, Task, unix_millis};
use crate::cluster::files_under;
use crate::report::Report;
use crate::scene::{Context, Scene, TRY_COUNT_MAX};

/// Objects that are lost.
pub const SCENARIO: Scenario = Scenario {
    name: "lost-output",
    summary: "a committed object is deleted, truncated, one of its bits flipped, before it is read",
    play: |context| Box::pin(play(context)),
};

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Delete,
    Truncate,
    Flip,
}

impl Damage {
    const ALL: [Damage; 3] = [Damage::Delete, Damage::Truncate, Damage::Flip];

    fn name(self) -> &'static str {
        match self {
            Damage::Delete => "object deleted",
            Damage::Truncate => "object truncated",
            Damage::Flip => "bit flipped",
        }
    }

    /// Does it, at a place of the file given as a share of its length.
    fn inflict(self, file: &Path, share: f64) -> io::Result<()> {
        if self == Damage::Delete {
            return std::fs::remove_file(file);
        }
        let opened = File::options().read(true).write(true).open(file)?;
        let length = opened.metadata()?.len();
        let at = ((length as f64 * share) as u64).min(length.saturating_sub(1));
        if self == Damage::Truncate {
            return opened.set_len(at);
        }
        let mut byte = [0];
        opened.read_exact_at(&mut byte, at)?;
        opened.write_all_at(&[byte[0] ^ 1], at)
    }
}

async fn play(context: Context) -> Result<Report, Failure> {
    // All but the smallest outputs are objects of their own.
    let options =
        context.options().answering_at_once().with_exchange("exchange.inline-output-max-size", "1kB");
    let mut scene = Scene::start(&context, options, context.queries()?).await?;
    let played = run(&mut scene).await;
    scene.finish(played).await
}

async fn run(scene: &mut Scene) -> Result<(), Failure> {
    for damage in Damage::ALL {
        for query in 0..scene.queries.len() {
            lose(scene, damage, query).await?;
        }
    }
    Ok(())
}

async fn lose(scene: &mut Scene, damage: Damage, query: usize) -> Result<(), Failure> {
    for _ in 0..TRY_COUNT_MAX {
        let exchange = scene.cluster.options().exchange_directory();
        let (choice, place) = (scene.random.random::<u32>(), scene.random.random::<f64>());
        let (running, id) = scene.start_known(query).await?;
        let found = scene.watch(&running, &id, |look| unread(&exchange, &id, look, choice)).await;
        let Some((file, attempt)) = found else {
            scene.judge(query, running).await?;
            scene.report.missed += 1;
            continue;
        };
        let damaged_at = unix_millis();
        let task = (u64::from(attempt.task.stage.0), u64::from(attempt.task.partition));
        let is_damaged = damage.inflict(&file, place).is_ok();
        let problems_before = scene.report.problems.len();
        let look = scene.judge(query, running).await?;
        let again: BTreeSet<Task> = look
            .attempts
            .iter()
            .filter(|attempt| attempt.generation > 0)
            .map(|attempt| attempt.task)
            .collect();
        let is_right = scene.report.problems.len() == problems_before;
        if !is_damaged || (again.is_empty() && is_right) {
            // It was gone already, or nobody read that part of it any more.
            scene.report.missed += 1;
            continue;
        }
        let fault = format!("{} in {}", damage.name(), scene.queries[query].name);
        if again != BTreeSet::from([task]) {
            scene.report.problem(format!("{fault}: lost was {task:?}, made again was {again:?}"));
        }
        let first = look.attempts.iter().filter(|attempt| attempt.generation > 0);
        let first = first.map(|attempt| attempt.started_unix_millis).min();
        scene.report.recovery_millis.extend(first.map(|at| at.saturating_sub(damaged_at)));
        if !again.is_empty() {
            scene.report.landed(damage.name());
        }
        return Ok(());
    }
    never_landed(scene, damage.name(), query)
}

/// An object that is committed and that nobody can have read yet, because its stage still runs.
fn unread(exchange: &Path, id: &str, look: &Look, choice: u32) -> Option<(PathBuf, AttemptId)> {
    let committed = committed_in(exchange, id);
    let running: BTreeSet<u64> = look.in_state("RUNNING").map(|attempt| attempt.task.0).collect();
    let objects: Vec<(PathBuf, AttemptId)> = files_under(&exchange.join(id))
        .into_iter()
        .filter_map(|file| match key_of(exchange, &file)? {
            ObjectKey::Data(attempt) => Some((file, attempt)),
            _ => None,
        })
        .filter(|(_, attempt)| {
            let (stage, partition) = (u64::from(attempt.task.stage.0), u64::from(attempt.task.partition));
            running.contains(&stage) && committed.contains(&(stage, partition))
        })
        .collect();
    let at = (choice as usize).checked_rem(objects.len())?;
    objects.into_iter().nth(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_done() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("object");
        std::fs::write(&file, [0; 100]).unwrap();
        Damage::Flip.inflict(&file, 0.5).unwrap();
        assert_eq!(std::fs::read(&file).unwrap()[50], 1);
        Damage::Truncate.inflict(&file, 0.3).unwrap();
        assert_eq!(std::fs::read(&file).unwrap().len(), 30);
        Damage::Delete.inflict(&file, 0.0).unwrap();
        assert!(!file.exists());
    }
}
