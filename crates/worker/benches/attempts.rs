//! What an attempt costs that has next to nothing to do: from the coordinator's wish to the worker's report, with a fake
//! coordinator over a real socket.
//!
//! `cargo bench -p steadfast-worker --bench attempts`

#![allow(clippy::unwrap_used, missing_docs, reason = "it may fail")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use operators::Sink;
use protocol::node::wire;
use support::Fixture;
use support::connector::{Behaviour, schema};
use support::coordinator::{Task, attempt};
use support::plans::{fragment, pass_on, sort};

/// Outputs of that size stay out of the store, in bytes.
const INLINE_BYTES: u64 = 64 << 10;

/// So many tries of tiny attempts, one after the other. How long all take together comes back.
async fn round_trips(fixture: &mut Fixture, tries: u64, tasks: impl Fn(u32) -> Vec<Task>) -> Duration {
    let mut number = 0;
    let start = Instant::now();
    for _ in 0..tries {
        number += 1;
        let tasks = tasks(number);
        fixture.attached.desire(&tasks).await;
        let attempts: Vec<_> = tasks.iter().map(|task| task.attempt).collect();
        fixture.attached.ends(&attempts).await;
    }
    start.elapsed()
}

fn attempts(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("attempt");
    group.sample_size(20).measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    let one = |number| {
        let task = Task::new(attempt(0, 0, number), &pass_on(), vec![Behaviour::Rows(10).split()]);
        vec![task.committed(INLINE_BYTES)]
    };
    group.bench_function("one, in the report", |bencher| {
        let mut fixture = runtime.block_on(Fixture::start());
        bencher.iter_custom(|tries| runtime.block_on(round_trips(&mut fixture, tries, one)));
    });
    group.bench_function("one sort, in the report", |bencher| {
        let mut fixture = runtime.block_on(Fixture::start());
        let sorted = |number| {
            let task = Task::new(attempt(0, 0, number), &sort(), vec![Behaviour::Rows(10).split()]);
            vec![task.committed(INLINE_BYTES)]
        };
        bencher.iter_custom(|tries| runtime.block_on(round_trips(&mut fixture, tries, sorted)));
    });
    group.bench_function("one, in the store", |bencher| {
        let mut fixture = runtime.block_on(Fixture::start());
        let stored = |number| {
            // Another task each time: the first attempt of a task wins.
            let task = Task::new(attempt(0, number, 0), &pass_on(), vec![Behaviour::Rows(10).split()]);
            vec![task.committed(0)]
        };
        bencher.iter_custom(|tries| runtime.block_on(round_trips(&mut fixture, tries, stored)));
    });
    group.bench_function("eight, in the report", |bencher| {
        let mut fixture = runtime.block_on(Fixture::start());
        let eight = |number| {
            let splits = || vec![Behaviour::Rows(10).split()];
            let task = |partition| Task::new(attempt(0, partition, number), &pass_on(), splits());
            (0..8).map(|partition| task(partition).committed(INLINE_BYTES)).collect()
        };
        bencher.iter_custom(|tries| runtime.block_on(round_trips(&mut fixture, tries, eight)));
    });
    group.bench_function("two that stream, and one that reports", |bencher| {
        let mut fixture = runtime.block_on(Fixture::start());
        let announcement = fixture.attached.announcement.clone();
        let region = |number| {
            let source = |producer: base::AttemptId| wire::DirectSource {
                producer: Some(producer.into()),
                incarnation: announcement.incarnation,
                uri: announcement.direct_uri.clone(),
                partition_start: 0,
                partition_end: 1,
            };
            let read =
                fragment(std::sync::Arc::new(operators::ExchangeSourceExec::new(0, schema())), Sink::Single);
            let producers = [attempt(1, 0, number), attempt(1, 1, number)];
            let splits = || vec![Behaviour::Rows(10).split()];
            let mut tasks: Vec<_> =
                producers.iter().map(|id| Task::new(*id, &pass_on(), splits()).pipelined()).collect();
            let root = Task::new(attempt(0, 0, number), &read, Vec::new()).pipelined();
            tasks.push(root.reading(producers.map(source).to_vec()).committed(INLINE_BYTES));
            tasks
        };
        bencher.iter_custom(|tries| runtime.block_on(round_trips(&mut fixture, tries, region)));
    });
    group.finish();
}

criterion_group!(benches, attempts);
criterion_main!(benches);
