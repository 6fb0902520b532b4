//! What an attempt costs that has next to nothing to do: from the coordinator's wish to the worker's report, with a fake
//! coordinator over a real socket. Microseconds: half of the rounds take no longer, and 99 of 100.
//!
//! `cargo bench -p steadfast-worker --bench attempts -- [rounds]`

#![allow(clippy::unwrap_used, missing_docs, reason = "it may fail")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::AttemptId;
use operators::{ExchangeSourceExec, Fragment, Sink};
use protocol::node::wire;
use support::Fixture;
use support::connector::{Behaviour, schema};
use support::coordinator::{Attached, Task, attempt};
use support::plans::{fragment, pass_on, sort};

/// Outputs of that size stay out of the store, in bytes.
const INLINE_BYTES: u64 = 64 << 10;

const ROUNDS: u32 = 2_000;

/// These rounds, the first of which warm up, are not counted.
const WARM_UP_PART: u32 = 10;

fn tiny(attempt: AttemptId, fragment: &Fragment) -> Task {
    Task::new(attempt, fragment, vec![Behaviour::Rows(10).split()])
}

/// Two producers that stream to a root, whose output is in the report.
fn region(announcement: &wire::Announcement, number: u32) -> Vec<Task> {
    let source = |producer: AttemptId| wire::DirectSource {
        producer: Some(producer.into()),
        incarnation: announcement.incarnation,
        uri: announcement.direct_uri.clone(),
        partition_start: 0,
        partition_end: 1,
    };
    let producers = [attempt(1, 0, number), attempt(1, 1, number)];
    let read = fragment(Arc::new(ExchangeSourceExec::new(0, schema())), Sink::Single);
    let root = Task::new(attempt(0, 0, number), &read, Vec::new()).pipelined();
    let root = root.reading(producers.map(source).to_vec()).committed(INLINE_BYTES);
    let producers = producers.into_iter().map(|producer| tiny(producer, &pass_on()).pipelined());
    producers.chain([root]).collect()
}

/// Runs tasks again and again, and tells how long a round takes. What a round is to run is made before it begins.
async fn measure(name: &str, rounds: u32, tasks: impl Fn(&Attached, u32) -> Vec<Task>) {
    let mut fixture = Fixture::start().await;
    let mut times = Vec::new();
    let processor = processor_time();
    let mut processor_used = Duration::ZERO;
    for number in 0..rounds {
        if number == rounds / WARM_UP_PART {
            times.clear();
            processor_used = processor_time() - processor;
        }
        let tasks = tasks(&fixture.attached, number);
        let attempts: Vec<_> = tasks.iter().map(|task| task.attempt).collect();
        let start = Instant::now();
        fixture.attached.desire(&tasks).await;
        fixture.attached.ends(&attempts).await;
        times.push(start.elapsed());
    }
    let used = processor_time() - processor - processor_used;
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100].as_micros();
    let per_round = used.as_micros() / times.len() as u128;
    println!("{name:<44} p50 {:>6}   p99 {:>6}   processor {per_round:>6}", at(50), at(99));
}

/// The processor time that this process has used.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    measure("one, in the report", rounds, |_, number| {
        vec![tiny(attempt(0, 0, number), &pass_on()).committed(INLINE_BYTES)]
    })
    .await;
    measure("one sort, in the report", rounds, |_, number| {
        vec![tiny(attempt(0, 0, number), &sort()).committed(INLINE_BYTES)]
    })
    .await;
    // Another task each time: the first attempt of a task wins.
    measure("one, in the store", rounds, |_, number| {
        vec![tiny(attempt(0, number, 0), &pass_on()).committed(0)]
    })
    .await;
    measure("eight, in the report", rounds, |_, number| {
        let task = |partition| tiny(attempt(0, partition, number), &pass_on()).committed(INLINE_BYTES);
        (0..8).map(task).collect()
    })
    .await;
    measure("two that stream, and one that reports", rounds, |attached, number| {
        region(&attached.announcement, number)
    })
    .await;
}
