//! Living lifetimes: one, many, twice, and smaller ones that fail the same way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::bug::Bug;
use crate::fault::{Changes, Fault};
use crate::sometimes::SOMETIMES;
use crate::world::{Trace, World};

/// Halving rates more often than this makes no difference.
const HALVINGS_MAX: u32 = 6;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic came from.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Lets panics of lifetimes pass in silence: they are violations, and reported as such.
fn catch<T>(live: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                let place = info.location().map(|at| format!(" ({}:{})", at.file(), at.line()));
                PLACE.replace(place.unwrap_or_default());
            } else {
                default(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(live));
    QUIET.set(false);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()));
        Err(text.unwrap_or_default() + &PLACE.take())
    })
}

/// What became of a lifetime.
#[derive(Clone, Debug)]
pub struct Lifetime {
    /// What was violated, if anything.
    pub violation: Option<String>,
    /// How much happened.
    pub happenings: u64,
    /// How long it lasted, in virtual milliseconds.
    pub millis: u64,
    faults: Vec<u64>,
    sometimes: BTreeMap<&'static str, u64>,
}

fn live_traced(seed: u64, bug: Option<Bug>, changes: &Changes, trace: Trace) -> (Lifetime, World) {
    let mut world = World::new(seed, bug, changes, trace);
    let violation = catch(|| world.run()).err();
    let lifetime = Lifetime {
        violation,
        happenings: world.happenings,
        millis: world.now,
        faults: Fault::ALL.iter().map(|fault| world.faults.count(*fault)).collect(),
        sometimes: world.sometimes.clone(),
    };
    (lifetime, world)
}

/// Lives the lifetime of a seed.
pub fn live(seed: u64, bug: Option<Bug>, changes: &Changes) -> Lifetime {
    live_traced(seed, bug, changes, Trace::Off).0
}

/// Lives the lifetime of a seed and prints what happens, one line per event.
pub fn replay(seed: u64, bug: Option<Bug>, changes: &Changes) -> Lifetime {
    live_traced(seed, bug, changes, Trace::Print).0
}

/// A digest of everything that happens in the lifetime of a seed.
pub fn digest(seed: u64) -> u64 {
    let (_, world) = live_traced(seed, None, &Changes::default(), Trace::Digest(seed));
    match world.trace {
        Trace::Digest(digest) => digest,
        _ => 0,
    }
}

/// The smallest lifetime of a seed that still fails: fewer classes of faults, lower rates, fewer queries.
pub fn shrink(seed: u64, bug: Option<Bug>) -> Changes {
    let mut changes = Changes::default();
    let fails = |changes: &Changes| live(seed, bug, changes).violation.is_some();
    for queries_max in 1..=3 {
        let fewer = Changes { queries_max, ..changes.clone() };
        if fails(&fewer) {
            changes = fewer;
            break;
        }
    }
    for fault in Fault::ALL {
        let mut fewer = changes.clone();
        fewer.off.push(fault);
        if fails(&fewer) {
            changes = fewer;
        }
    }
    while changes.halvings < HALVINGS_MAX {
        let lower = Changes { halvings: changes.halvings + 1, ..changes.clone() };
        if !fails(&lower) {
            break;
        }
        changes = lower;
    }
    changes
}

/// What happened in many lifetimes.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// How many lifetimes there were.
    pub lifetimes: u64,
    /// The seeds that failed, with what was violated.
    pub failed: Vec<(u64, String)>,
    /// How much happened.
    pub happenings: u64,
    /// How long they lasted, in virtual milliseconds.
    pub millis: u64,
    /// How often each class of faults struck, in the order of [`Fault::ALL`].
    pub faults: Vec<u64>,
    /// How often happened what must happen sometimes.
    pub sometimes: BTreeMap<&'static str, u64>,
}

impl Totals {
    /// Adds a lifetime.
    pub fn add(&mut self, seed: u64, lifetime: Lifetime) {
        self.lifetimes += 1;
        self.failed.extend(lifetime.violation.map(|violation| (seed, violation)));
        self.happenings += lifetime.happenings;
        self.millis += lifetime.millis;
        self.faults.resize(Fault::COUNT, 0);
        for (sum, count) in self.faults.iter_mut().zip(&lifetime.faults) {
            *sum += count;
        }
        for (name, count) in &lifetime.sometimes {
            *self.sometimes.entry(name).or_default() += count;
        }
    }

    /// What should have happened and never did.
    pub fn never(&self) -> Vec<&'static str> {
        SOMETIMES
            .into_iter()
            .filter(|name| self.sometimes.get(name).is_none_or(|count| *count == 0))
            .collect()
    }
}
