//! Changes of a catalog over which the coordinator is killed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use steadfast::client::{Client, ClientError};

use super::support::{PATIENCE, TestCluster, failure};

/// How often it is tried to strike the coordinator just then.
const TRIES_MAX: usize = 60;
/// How long it runs between two looks.
const SLICE: Duration = Duration::from_micros(50);

/// Where to strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// It is recorded what will be changed; nothing is.
    Decided,
    /// It is changed; the outcome is not recorded.
    Changed,
}

/// Runs a statement, and tells its kind.
async fn run(mut client: Client, text: String) -> Result<Option<String>, ClientError> {
    let mut statement = client.start(&text).await?;
    let mut update_type = None;
    while let Some(page) = statement.next().await? {
        update_type = page.update_type;
    }
    Ok(update_type)
}

/// Whether a query is on record with its intent and without its outcome.
fn is_undecided(exchange: &Path) -> bool {
    let Ok(queries) = std::fs::read_dir(exchange) else { return false };
    let mut queries = queries.flatten().map(|query| query.path());
    queries.any(|query| query.join("intent").exists() && !query.join("done").exists())
}

/// Lets a process run for a moment at a time, until it is in the midst of something or need not be watched any more.
/// Says whether it is stopped there.
fn run_in_slices(process: Pid, is_amidst: impl Fn() -> bool, over: &AtomicBool) -> bool {
    while !over.load(Ordering::Relaxed) {
        kill(process, Signal::SIGSTOP).unwrap();
        if is_amidst() {
            return true;
        }
        kill(process, Signal::SIGCONT).unwrap();
        std::thread::sleep(SLICE);
    }
    false
}

/// Runs a statement that makes a file come or go, and kills the coordinator at that moment. Says whether it was killed
/// in time.
async fn strike(test: &mut TestCluster, text: &str, file: &Path, moment: Moment) -> bool {
    let exchange = test.cluster.options().exchange_directory();
    let process = Pid::from_raw(i32::try_from(test.cluster.coordinator().process_id().unwrap()).unwrap());
    let was_there = file.exists();
    let is_amidst = {
        let file = file.to_path_buf();
        move || is_undecided(&exchange) && (file.exists() != was_there) == (moment == Moment::Changed)
    };
    let over = Arc::new(AtomicBool::new(false));
    let watcher = tokio::task::spawn_blocking({
        let (is_amidst, over) = (is_amidst.clone(), Arc::clone(&over));
        move || run_in_slices(process, is_amidst, &over)
    });
    let running = tokio::spawn({
        let ended = run(test.client("hive", "default"), text.to_owned());
        async move {
            let result = ended.await;
            over.store(true, Ordering::Relaxed);
            result
        }
    });
    let mut landed = watcher.await.unwrap();
    if landed {
        test.cluster.kill_coordinator().await.unwrap();
        // What it did on its way to death counts too.
        landed = is_amidst();
        test.cluster.restart_coordinator().await.unwrap();
    }
    let update_type = tokio::time::timeout(PATIENCE, running).await.expect("it ends").unwrap().unwrap();
    assert_eq!(update_type.as_deref(), text.rsplit_once(' ').map(|(kind, _)| kind), "{text}");
    assert_ne!(file.exists(), was_there, "{text}");
    landed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_once_and_told_whenever_the_coordinator_is_killed() {
    let mut test = TestCluster::start().await;
    let metastore = test.cluster.options().directory.join("hive");
    for moment in [Moment::Decided, Moment::Changed] {
        let (mut created, mut dropped) = (false, false);
        for number in 0..TRIES_MAX {
            let name = format!("made_{number}_{moment:?}").to_lowercase();
            let file = metastore.join(&name).join(".steadfastSchema");
            let (create, drop) = (format!("CREATE SCHEMA {name}"), format!("DROP SCHEMA {name}"));
            let mut client = test.client("hive", "default");
            if created {
                client.query(&create).await.unwrap();
            } else {
                created = strike(&mut test, &create, &file, moment).await;
            }
            if dropped {
                client.query(&drop).await.unwrap();
            } else {
                dropped = strike(&mut test, &drop, &file, moment).await;
            }
            assert_eq!(failure(client.query(&drop).await).0, "SCHEMA_NOT_FOUND");
            if created && dropped {
                break;
            }
        }
        assert!(created && dropped, "{moment:?}: the coordinator was never killed in time");
    }
    test.is_clean().await;
}
