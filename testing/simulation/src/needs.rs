//! Which classes of faults find which bugs: a class that none needs is decoration.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::bug::{BUGS, Bug};
use crate::fault::{Changes, Fault};
use crate::lifetime::live;

/// How many bugs are looked at at once.
const THREADS: usize = 2;

/// Does something for every bug, or for one, some at once. The results come in the order of the bugs.
pub fn for_bugs<T: Send>(only: Option<Bug>, look: impl Fn(&str, Bug) -> T + Sync) -> Vec<(&'static str, T)> {
    let bugs: Vec<_> = BUGS.iter().filter(|(_, bug)| only.is_none_or(|only| only == *bug)).collect();
    let results: Vec<Mutex<Option<T>>> = bugs.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((name, bug)) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = look(name, *bug);
                    let at = bugs.iter().position(|(_, other)| other == bug).unwrap_or_default();
                    results[at].lock().unwrap_or_else(PoisonError::into_inner).replace(result);
                }
            });
        }
    });
    let results = results.into_iter().map(|it| it.into_inner().unwrap_or_else(PoisonError::into_inner));
    bugs.into_iter().map(|(name, _)| *name).zip(results.flatten()).collect()
}

/// Without a class that a bug needs it is found so many times later, or not at all.
const LATER_TIMES: u64 = 5;
/// What is found this early may be found later by chance.
const EARLY: u64 = 20;

/// Tells which classes each bug needs to be found not much later than with all of them, and which bugs need each class.
/// Whether every class is needed by some. With each bug, by name, comes the first seed that finds it.
pub fn needs(count: u64, only: Option<Bug>, firsts: &BTreeMap<&'static str, u64>) -> bool {
    let is_found_without = |bug, fault: Fault, limit: u64| {
        let without = Changes { off: vec![fault], ..Changes::default() };
        (0..limit).any(|seed| live(seed, Some(bug), &without).violation.is_some())
    };
    let needed = for_bugs(only, |name, bug| {
        let limit = firsts.get(name).map_or(count, |first| first.max(&EARLY) * LATER_TIMES).min(count);
        let needed: Vec<Fault> =
            Fault::ALL.into_iter().filter(|fault| !is_found_without(bug, *fault, limit)).collect();
        let names: Vec<&str> = needed.iter().map(|fault| fault.name()).collect();
        eprintln!("{name} needs: {}", names.join(", "));
        needed
    });
    let mut all = true;
    for fault in Fault::ALL {
        let bugs = needed.iter().filter(|(_, faults)| faults.contains(&fault));
        let bugs: Vec<&str> = bugs.map(|(name, _)| *name).collect();
        all &= !bugs.is_empty();
        let text = if bugs.is_empty() { "NO BUG NEEDS IT".to_string() } else { bugs.join(", ") };
        println!("{:<18} {text}", fault.name());
    }
    all || only.is_some()
}
