//! What every commit is checked by: thousands of lifetimes, bugs that must be found, equal traces, small scopes.

use simulation::{BUGS, Changes, Totals, digest, explore, live, regressions};

/// How many seeds the bugs are looked for in.
const SEEDS: u64 = 1_000;

#[test]
fn lifetimes_hold() {
    let threads = 2;
    let lives = |first: u64| {
        let mut totals = Totals::default();
        for seed in regressions().chain(0..SEEDS).filter(|seed| seed % threads == first) {
            totals.add(seed, live(seed, None, &Changes::default()));
        }
        totals
    };
    let failed = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || lives(first))).collect();
        let totals = running.into_iter().map(|thread| thread.join().expect("violations are caught"));
        totals.flat_map(|totals| totals.failed).collect::<Vec<_>>()
    });
    let lines = failed.iter().map(|(seed, violation)| {
        format!("{violation}\n    cargo run --release -p simulation -- replay {seed}\n")
    });
    assert!(failed.is_empty(), "{}", lines.collect::<String>());
}

#[test]
fn same_seed_same_trace() {
    for seed in 0..50 {
        assert_eq!(digest(seed), digest(seed), "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_found() {
    let is_missed =
        |bug| (0..SEEDS).all(|seed| live(seed, Some(bug), &Changes::default()).violation.is_none());
    let missed: Vec<&str> = BUGS.iter().filter(|(_, bug)| is_missed(*bug)).map(|(name, _)| *name).collect();
    assert_eq!(missed, Vec::<&str>::new());
}

#[test]
fn every_interleaving_at_small_scope_holds() {
    let explored = explore(7).expect("nothing is violated");
    assert!(explored.states > 1_000, "{explored:?}");
}
