//! Who waits for whom, and who need not go on.

use std::time::Duration;

use futures::StreamExt;
use operators::Sink;
use protocol::node::wire::WorkerReport;
use tokio::time::timeout;

use crate::region::{BUFFER_BYTES, Cluster, by_number, first, relay};
use crate::support::connector::{BATCH_ROWS, Behaviour, schema};
use crate::support::coordinator::{PATIENCE, Task, attempt, committed, of_attempt};
use crate::support::plans::{fragment, pass_on, test_scan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_consumer_bounds_the_memory_of_its_producers() {
    let mut cluster = Cluster::start(2).await;
    let (producer, root) = (attempt(1, 0, 0), attempt(0, 0, 0));
    let source = cluster.source(0, producer, 0..1);
    let relay = Task::new(root, &relay(Sink::Single), Vec::new()).pipelined().reading(vec![source]);
    let endless = Task::new(producer, &pass_on(), vec![Behaviour::Endless.split()]).pipelined();
    cluster.desire(vec![(0, endless), (1, relay)]).await;
    let mut reader = cluster.reader(&[cluster.source(1, root, 0..1)], schema());
    let mut rows = 0;
    // Ten times what all buffers on the way can hold.
    while rows * 8 < 40 * BUFFER_BYTES as i64 {
        let batch = timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
        rows += batch.num_rows() as i64;
    }
    for (member, attempt) in [(0, producer), (1, root)] {
        let peak =
            |report: &WorkerReport| of_attempt(report, &attempt).map_or(0, |each| each.peak_memory_bytes);
        let report = cluster.members[member].attached.report(|report| peak(report) > 0).await;
        let peak = peak(&report);
        // The output of one, and of the other the input too.
        assert!(peak <= 2 * BUFFER_BYTES + (1 << 20), "{peak} bytes of {attempt}");
    }
    // All buffers are full now, and nobody reads: nothing moves.
    let produced = |report: &WorkerReport| {
        let stats = of_attempt(report, &producer).and_then(|each| each.stats.as_ref());
        stats.map_or(0, |stats| stats.output_rows)
    };
    let attached = &mut cluster.members[0].attached;
    let mut before = 0;
    loop {
        let now = produced(&attached.report(|report| produced(report) > 0).await);
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before as i64 - rows <= 8 * BUFFER_BYTES as i64 / 8 + 4 * BATCH_ROWS, "{before} of {rows}");
    drop(reader);
    // Whoever reads no more has enough: all are done.
    for (member, attempt) in [(0, producer), (1, root)] {
        assert!(committed(&cluster.ends(member, &[attempt]).await[0]).rows >= rows as u64);
    }
    cluster.members[0].connector.splits_dropped(1).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_ends_its_producers_on_all_workers() {
    let mut cluster = Cluster::start(2).await;
    let producers = [attempt(2, 0, 0), attempt(2, 1, 0)];
    let (middle, root) = (attempt(1, 0, 0), attempt(0, 0, 0));
    let endless = fragment(test_scan(), by_number(3));
    let sources = (0..2).map(|at| cluster.source(at, producers[at], 0..3)).collect();
    let from_middle = vec![cluster.source(0, middle, 0..1)];
    let limit = fragment(first(relay(Sink::Single).plan, 10), Sink::Single);
    cluster
        .desire(vec![
            (0, Task::new(producers[0], &endless, vec![Behaviour::Endless.split()]).pipelined()),
            (1, Task::new(producers[1], &endless, vec![Behaviour::Endless.split()]).pipelined()),
            (0, Task::new(middle, &relay(Sink::Single), Vec::new()).pipelined().reading(sources)),
            (1, Task::new(root, &limit, Vec::new()).pipelined().reading(from_middle)),
        ])
        .await;
    let values = cluster.read(&[cluster.source(1, root, 0..1)]).await.unwrap();
    assert_eq!(values.len(), 10);
    assert_eq!(committed(&cluster.ends(1, &[root]).await[0]).rows, 10);
    assert!(committed(&cluster.ends(0, &[middle]).await[0]).rows >= 10);
    for (at, producer) in producers.into_iter().enumerate() {
        assert_eq!(committed(&cluster.ends(at, &[producer]).await[0]).winner, Some(producer.into()));
        cluster.members[at].connector.splits_dropped(1).await;
    }
    cluster.end().await;
}

/// Nobody reads, and nothing is pushed either: the attempt learns from its consumer alone that it may stop.
#[tokio::test]
async fn an_attempt_that_gives_no_rows_learns_that_nobody_wants_any() {
    let mut cluster = Cluster::start(1).await;
    let producer = attempt(0, 0, 0);
    let waits = Task::new(producer, &pass_on(), vec![Behaviour::Wait.split()]).pipelined();
    cluster.desire(vec![(0, waits)]).await;
    cluster.members[0].connector.splits_started(1).await;
    drop(cluster.reader(&[cluster.source(0, producer, 0..1)], schema()));
    assert_eq!(committed(&cluster.ends(0, &[producer]).await[0]).rows, 0);
    cluster.members[0].connector.splits_dropped(1).await;
    cluster.end().await;
}

#[tokio::test]
async fn who_waits_for_producers_or_consumers_is_not_stuck() {
    const PATIENCE_OF_WATCHDOG: Duration = Duration::from_millis(200);
    let mut cluster =
        Cluster::start_with(1, |options| options.no_progress_timeout = PATIENCE_OF_WATCHDOG).await;
    let (done, full, early) = (attempt(2, 0, 0), attempt(2, 1, 0), attempt(1, 0, 0));
    let nobody = cluster.source(0, attempt(3, 0, 0), 0..1);
    cluster
        .desire(vec![
            (0, Task::new(done, &pass_on(), vec![Behaviour::Rows(10).split()]).pipelined()),
            (0, Task::new(full, &pass_on(), vec![Behaviour::Endless.split()]).pipelined()),
            (0, Task::new(early, &relay(Sink::Single), Vec::new()).pipelined().reading(vec![nobody])),
        ])
        .await;
    cluster.runs_on(0, &[done, full, early], 10 * PATIENCE_OF_WATCHDOG).await;
    // The watchdog is there: who waits for nobody is stuck.
    let stuck = attempt(2, 2, 0);
    cluster.desire(vec![(0, Task::new(stuck, &pass_on(), vec![Behaviour::Wait.split()]).pipelined())]).await;
    let report = cluster.ends(0, &[stuck]).await.remove(0);
    assert_eq!(crate::support::coordinator::failed(&report).code(), base::ErrorCode::ABANDONED_TASK);
    cluster.end().await;
}

/// An operator that knows its answer without looking at an input does not leave that input's producer waiting.
#[tokio::test]
async fn what_nobody_reads_is_closed() {
    let mut cluster = Cluster::start(1).await;
    let (producer, root) = (attempt(1, 0, 0), attempt(0, 0, 0));
    let endless = Task::new(producer, &pass_on(), vec![Behaviour::Endless.split()]).pipelined();
    let source = cluster.source(0, producer, 0..1);
    let blind = Task::new(root, &pass_on(), vec![Behaviour::Rows(10).split()]).pipelined();
    cluster.desire(vec![(0, endless), (0, blind.reading(vec![source]))]).await;
    let values = cluster.read(&[cluster.source(0, root, 0..1)]).await.unwrap();
    assert_eq!(values.len(), 10);
    for report in cluster.ends(0, &[producer, root]).await {
        committed(&report);
    }
    cluster.end().await;
}

/// Attempts of a region wait for each other: one that waited for a slot would keep the others waiting.
#[tokio::test]
async fn a_region_needs_no_slots() {
    const LENGTH: u32 = 12;
    let mut cluster = Cluster::start(1).await;
    let first = attempt(LENGTH, 0, 0);
    let rows = Task::new(first, &pass_on(), vec![Behaviour::Rows(20_000).split()]).pipelined();
    // The last one first, so that all wait for those that come later.
    let mut placed = Vec::new();
    for stage in 0..LENGTH {
        let source = cluster.source(0, attempt(stage + 1, 0, 0), 0..1);
        let task = Task::new(attempt(stage, 0, 0), &relay(Sink::Single), Vec::new()).pipelined();
        placed.push((0, task.reading(vec![source])));
    }
    placed.push((0, rows));
    cluster.desire(placed).await;
    let values = cluster.read(&[cluster.source(0, attempt(0, 0, 0), 0..1)]).await.unwrap();
    assert!(values.into_iter().eq(0..20_000));
    cluster.end().await;
}
