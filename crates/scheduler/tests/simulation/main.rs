//! Thousands of lifetimes of a cluster in virtual time, with the real core and the real runner.
//!
//! A seed decides everything. To replay one that failed:
//!
//! ```text
//! STEADFAST_SIMULATION_SEED=123 cargo test -p steadfast-scheduler --test simulation replay -- --nocapture
//! ```
//!
//! `STEADFAST_SIMULATION_LIFETIMES` says how many lifetimes are lived (default 2,000).

mod execution;
mod faults;
mod host;
mod oracle;
mod plan;
mod random;
mod store;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use scheduler::PlantedBug;

use crate::faults::Coverage;
use crate::world::{Bug, World};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Lets panics of planted bugs pass in silence.
fn install_quiet_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                default(info);
            }
        }));
    });
}

/// Lives a lifetime. What was violated, if anything.
fn live(seed: u64, bug: Option<Bug>, trace: bool) -> (Result<(), String>, World) {
    let mut world = World::new(seed, bug, trace);
    let result = catch_unwind(AssertUnwindSafe(|| world.run().and_then(|()| world.check_attempts())));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default())
    });
    (result, world)
}

fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn lifetimes() {
    let count = number_from_environment("STEADFAST_SIMULATION_LIFETIMES").unwrap_or(2_000);
    let threads = 2;
    let lives = |first: u64| {
        let mut coverage = Coverage::default();
        let (mut happenings, mut failed) = (0, Vec::new());
        for seed in (first..count).step_by(threads) {
            let (result, world) = live(seed, None, false);
            coverage.add(&world.coverage);
            happenings += world.happenings;
            if let Err(violation) = result {
                failed.push((seed, violation));
            }
        }
        (coverage, happenings, failed)
    };
    let (mut coverage, mut happenings, mut failed) = (Coverage::default(), 0, Vec::new());
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads as u64).map(|first| scope.spawn(move || lives(first))).collect();
        for thread in running {
            let (more, count, violations) = thread.join().expect("violations are caught");
            coverage.add(&more);
            happenings += count;
            failed.extend(violations);
        }
    });
    println!("{count} lifetimes, {} happenings each: {coverage:?}", happenings / count.max(1));
    failed.sort();
    for (seed, violation) in failed.iter().take(10) {
        println!(
            "{violation}\n    STEADFAST_SIMULATION_SEED={seed} cargo test -p steadfast-scheduler --test simulation replay -- --nocapture"
        );
    }
    assert!(failed.is_empty(), "{} of {count} lifetimes were bad", failed.len());
    if count >= 1_000 {
        assert_eq!(coverage.missing(), Vec::<&str>::new(), "what never happens is not tested");
    }
}

#[test]
fn replay() {
    let Some(seed) = number_from_environment("STEADFAST_SIMULATION_SEED") else {
        return;
    };
    let (result, world) = live(seed, None, true);
    println!("seed {seed}: {} happenings, {} ms, {:?}", world.happenings, world.now, world.coverage);
    if result.is_err() {
        println!("{:#?}", world.core);
    }
    result.expect("the lifetime is good");
}

#[test]
fn same_seed_same_trace() {
    for seed in 0..50 {
        let (first, second) = (live(seed, None, true).1, live(seed, None, true).1);
        assert_eq!((first.trace, first.now), (second.trace, second.now), "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_found() {
    install_quiet_hook();
    QUIET.set(true);
    let bugs = [
        Bug::Scheduler(PlantedBug::LeakLease),
        Bug::Scheduler(PlantedBug::AbsenceIsLoss),
        Bug::Scheduler(PlantedBug::ReleaseUnheard),
        Bug::Scheduler(PlantedBug::ReporterIsWinner),
        Bug::Scheduler(PlantedBug::NoWorkersOnOnePathOnly),
        Bug::Scheduler(PlantedBug::DropLastSplits),
        Bug::Scheduler(PlantedBug::ReportEndOnce),
        Bug::UnconditionalCommit,
    ];
    let missed: Vec<Bug> = bugs
        .into_iter()
        .filter(|bug| {
            let found = (0..1_000).find_map(|seed| Some((seed, live(seed, Some(*bug), false).0.err()?)));
            println!("{bug:?}: {found:?}");
            found.is_none()
        })
        .collect();
    QUIET.set(false);
    assert_eq!(missed, []);
}
