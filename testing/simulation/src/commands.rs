//! The command line.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use crate::bug::{BUGS, Bug};
use crate::exhaustive::{DEPTH_MAX, Explored, explore};
use crate::fault::{Changes, Fault};
use crate::lifetime::{Totals, digest, live, replay, shrink};
use crate::needs::{for_bugs, needs};

const USAGE: &str = "usage: simulation run [--from N] [--count N]
       simulation bugs [--count N] [--all] [--bug NAME] [--needs]
       simulation meta [--from N] [--count N]
       simulation replay SEED [--bug NAME] [--without FAULT]... [--halved N] [--queries N]
       simulation exhaustive [--depth N]";

/// So many violations are shrunk and shown.
const SHOWN_MAX: usize = 5;

/// A bug that was found so often is not looked for any longer.
const HITS_MAX: u64 = 20;

struct Arguments(Vec<String>);

impl Arguments {
    fn value(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|argument| argument == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.value(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|argument| argument == name)
    }

    fn changes(&self) -> Changes {
        let without = self.0.iter().zip(self.0.iter().skip(1)).filter(|(name, _)| *name == "--without");
        let off = without.filter_map(|(_, value)| Fault::ALL.into_iter().find(|fault| fault.name() == value));
        Changes {
            off: off.collect(),
            halvings: self.number("--halved", 0) as u32,
            queries_max: self.number("--queries", 0) as u32,
        }
    }

    fn bug(&self) -> Option<Bug> {
        let name = self.value("--bug")?;
        BUGS.iter().find(|(known, _)| *known == name).map(|(_, bug)| *bug)
    }
}

/// Runs a command. The exit code is not zero if something is violated or missed.
pub fn main(arguments: Vec<String>) -> ExitCode {
    let arguments = Arguments(arguments);
    let good = match arguments.0.first().map(String::as_str) {
        Some("run") => run(&arguments),
        Some("bugs") => bugs(&arguments),
        Some("meta") => meta(&arguments),
        Some("replay") => replay_seed(&arguments),
        Some("exhaustive") => exhaustive(&arguments),
        _ => {
            eprintln!("{USAGE}");
            false
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The seeds that failed once.
pub fn regressions() -> impl Iterator<Item = u64> {
    let lines = include_str!("../regressions.txt").lines();
    lines.filter_map(|line| line.split_whitespace().next()?.parse().ok())
}

fn run(arguments: &Arguments) -> bool {
    let (from, count) = (arguments.number("--from", 0), arguments.number("--count", 1_000));
    let changes = arguments.changes();
    let started = Instant::now();
    let mut totals = Totals::default();
    for seed in regressions().chain(from..from + count) {
        let lifetime = live(seed, arguments.bug(), &changes);
        if let Some(violation) = &lifetime.violation
            && (totals.failed.len() < SHOWN_MAX || arguments.has("--brief"))
        {
            eprintln!("seed {seed}: {violation}");
            if !arguments.has("--brief") {
                eprintln!("    {}", replay_line(seed, arguments.bug()));
            }
        }
        totals.add(seed, lifetime);
        if totals.lifetimes.is_multiple_of(1_000) {
            let (done, bad) = (totals.lifetimes, totals.failed.len());
            eprintln!("{done} lifetimes, {bad} violations, {:.0} s", started.elapsed().as_secs_f64());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", json(&totals, seconds));
    totals.failed.is_empty()
}

/// The command that shows the smallest lifetime of a seed that still fails.
fn replay_line(seed: u64, bug: Option<Bug>) -> String {
    let changes = shrink(seed, bug);
    let mut line = format!("cargo run --release -p simulation -- replay {seed}");
    if let Some((name, _)) = BUGS.iter().find(|(_, known)| Some(*known) == bug) {
        line += &format!(" --bug {name}");
    }
    if changes.queries_max > 0 {
        line += &format!(" --queries {}", changes.queries_max);
    }
    if changes.halvings > 0 {
        line += &format!(" --halved {}", changes.halvings);
    }
    for fault in changes.off {
        line += &format!(" --without {}", fault.name());
    }
    line
}

fn json(totals: &Totals, seconds: f64) -> String {
    let lives = totals.lifetimes.max(1) as f64;
    let faults = Fault::ALL.iter().zip(&totals.faults);
    let faults: Vec<String> =
        faults.map(|(fault, count)| format!("\"{}\":{:.3}", fault.name(), *count as f64 / lives)).collect();
    let sometimes: Vec<String> =
        totals.sometimes.iter().map(|(name, count)| format!("\"{name}\":{count}")).collect();
    format!(
        "{{\"lifetimes\":{},\"violations\":{},\"per_minute\":{:.0},\"happenings_mean\":{:.0},\"virtual_hours\":{:.1},\"faults\":{{{}}},\"sometimes\":{{{}}},\"never\":{:?}}}",
        totals.lifetimes,
        totals.failed.len(),
        lives / seconds * 60.0,
        totals.happenings as f64 / lives,
        totals.millis as f64 / 3_600_000.0,
        faults.join(","),
        sometimes.join(","),
        totals.never()
    )
}

fn bugs(arguments: &Arguments) -> bool {
    let count = arguments.number("--count", 1_000);
    let hits_max = if arguments.has("--all") { u64::MAX } else { HITS_MAX };
    let only = arguments.bug();
    let hits = for_bugs(only, |_, bug| {
        let (mut first, mut hits, mut lived) = (None, 0, 0);
        for seed in 0..count {
            if hits >= hits_max {
                break;
            }
            lived += 1;
            if let Some(violation) = live(seed, Some(bug), &Changes::default()).violation {
                first.get_or_insert((seed, violation));
                hits += 1;
            }
        }
        (first, hits, lived)
    });
    let mut missed = false;
    let mut firsts = BTreeMap::new();
    for (name, (first, hits, lived)) in hits {
        match first {
            Some((seed, violation)) => {
                firsts.insert(name, seed);
                let violation = violation.lines().next().unwrap_or_default();
                println!("{name}: first seed {seed}, {hits} hits in {lived}: {violation}")
            }
            None => println!("{name}: missed in {count}"),
        }
        missed |= hits == 0;
    }
    let all_needed = !arguments.has("--needs") || needs(count, only, &firsts);
    all_needed && !missed
}

fn meta(arguments: &Arguments) -> bool {
    let (from, count) = (arguments.number("--from", 0), arguments.number("--count", 200));
    let differ: Vec<u64> = (from..from + count).filter(|seed| digest(*seed) != digest(*seed)).collect();
    println!("{count} seeds lived twice, {} differ: {differ:?}", differ.len());
    differ.is_empty()
}

fn replay_seed(arguments: &Arguments) -> bool {
    let Some(seed) = arguments.0.get(1).and_then(|text| text.parse().ok()) else {
        eprintln!("{USAGE}");
        return false;
    };
    let lifetime = replay(seed, arguments.bug(), &arguments.changes());
    match &lifetime.violation {
        Some(violation) => println!("{:>8} VIOLATED {violation}", lifetime.millis),
        None => println!("{:>8} all is well", lifetime.millis),
    }
    lifetime.violation.is_none()
}

fn exhaustive(arguments: &Arguments) -> bool {
    let started = Instant::now();
    let depth = arguments.number("--depth", u64::from(DEPTH_MAX)) as u32;
    match explore(depth) {
        Ok(Explored { states, steps, ends }) => {
            let seconds = started.elapsed().as_secs_f64();
            println!("{states} states, {steps} steps, {ends} ends, up to {depth} deep, in {seconds:.1} s");
            true
        }
        Err(violation) => {
            println!("{violation}");
            false
        }
    }
}
