//! Failures, lost workers, and attempts that are ended where they wait.

use std::time::Duration;

use base::{ErrorCode, FailureClass};
use operators::Sink;
use tokio::time::timeout;

use crate::region::{Cluster, by_number, relay};
use crate::support::connector::{Behaviour, schema};
use crate::support::coordinator::{PATIENCE, Task, attempt, failed, failure};
use crate::support::plans::{fragment, pass_on, test_scan};

#[tokio::test]
async fn the_failure_of_a_producer_is_told_by_the_producer_alone() {
    let mut cluster = Cluster::start(2).await;
    let (producer, good, root) = (attempt(1, 0, 0), attempt(1, 1, 0), attempt(0, 0, 0));
    let sources = vec![cluster.source(0, producer, 0..1), cluster.source(1, good, 0..1)];
    cluster
        .desire(vec![
            (0, Task::new(producer, &pass_on(), vec![Behaviour::Panic.split()]).pipelined()),
            (1, Task::new(good, &pass_on(), vec![Behaviour::Rows(10).split()]).pipelined()),
            (1, Task::new(root, &relay(Sink::Single), Vec::new()).pipelined().reading(sources)),
        ])
        .await;
    let error = failed(&cluster.ends(0, &[producer]).await[0]);
    assert!(error.message().contains("the split is cursed"), "{error}");
    cluster.runs_on(1, &[root], Duration::from_millis(700)).await;
    cluster.end().await;
}

#[tokio::test]
async fn who_is_not_ended_after_the_failure_of_its_producer_blames_nobody() {
    let mut cluster = Cluster::start_with(1, |options| {
        options.direct_read_options.verdict_wait_max = Duration::from_millis(300);
    })
    .await;
    let (producer, root) = (attempt(1, 0, 0), attempt(0, 0, 0));
    let sources = vec![cluster.source(0, producer, 0..1)];
    cluster
        .desire(vec![
            (0, Task::new(producer, &pass_on(), vec![Behaviour::Panic.split()]).pipelined()),
            (0, Task::new(root, &relay(Sink::Single), Vec::new()).pipelined().reading(sources)),
        ])
        .await;
    let failure = failure(&cluster.ends(0, &[root]).await[0]);
    assert_eq!(failure.class, FailureClass::WorkerLost);
    assert_eq!(failure.error.code(), ErrorCode::PAGE_TRANSPORT_TIMEOUT);
    cluster.end().await;
}

#[tokio::test]
async fn who_loses_the_worker_of_its_producer_tries_on_until_it_is_ended() {
    for is_ended in [true, false] {
        let error_duration = if is_ended { PATIENCE * 10 } else { Duration::from_millis(500) };
        let mut cluster = Cluster::start_with(2, |options| {
            options.direct_read_options.error_duration_max = error_duration;
            options.direct_read_options.verdict_wait_max = error_duration;
        })
        .await;
        let (producer, root) = (attempt(1, 0, 0), attempt(0, 0, 0));
        let sources = vec![cluster.source(0, producer, 0..1)];
        cluster
            .desire(vec![
                (0, Task::new(producer, &pass_on(), vec![Behaviour::Wait.split()]).pipelined()),
                (1, Task::new(root, &relay(Sink::Single), Vec::new()).pipelined().reading(sources)),
            ])
            .await;
        cluster.members[0].connector.splits_started(1).await;
        let mut lost = cluster.members.remove(0);
        lost.worker.stop();
        timeout(PATIENCE, lost.worker.wait()).await.unwrap().unwrap();
        if is_ended {
            cluster.runs_on(0, &[root], Duration::from_millis(700)).await;
        } else {
            let failure = failure(&cluster.ends(0, &[root]).await[0]);
            assert_eq!(failure.class, FailureClass::WorkerLost);
            assert_eq!(failure.error.code(), ErrorCode::PAGE_TRANSPORT_TIMEOUT);
        }
        cluster.end().await;
    }
}

/// The worker is there again, at the same address, and knows nothing of what its last life had.
#[tokio::test]
async fn another_life_of_a_worker_is_not_taken_for_the_lost_one() {
    let mut cluster = Cluster::start_with(2, |options| {
        options.direct_read_options.verdict_wait_max = Duration::from_millis(300);
    })
    .await;
    let (producer, root) = (attempt(1, 0, 0), attempt(0, 0, 0));
    let mut source = cluster.source(0, producer, 0..1);
    source.incarnation -= 1;
    let relay = Task::new(root, &relay(Sink::Single), Vec::new()).pipelined().reading(vec![source]);
    let rows = Task::new(producer, &pass_on(), vec![Behaviour::Rows(10).split()]).pipelined();
    cluster.desire(vec![(0, rows), (1, relay)]).await;
    let failure = failure(&cluster.ends(1, &[root]).await[0]);
    assert_eq!(failure.class, FailureClass::WorkerLost);
    assert_eq!(failure.error.code(), ErrorCode::REMOTE_HOST_GONE);
    cluster.end().await;
}

#[tokio::test]
async fn attempts_that_wait_for_each_other_end_at_once_when_nobody_wants_them() {
    let mut cluster = Cluster::start(2).await;
    let full = fragment(test_scan(), by_number(4));
    let (blocked, flushing, reading) = (attempt(2, 0, 0), attempt(2, 1, 0), attempt(1, 0, 0));
    // One partition is read and three are not: the producer is blocked, and then its consumer.
    let sources = vec![cluster.source(0, blocked, 1..2), cluster.source(1, attempt(3, 0, 0), 0..1)];
    cluster
        .desire(vec![
            (0, Task::new(blocked, &full, vec![Behaviour::Endless.split()]).pipelined()),
            (1, Task::new(flushing, &full, vec![Behaviour::Rows(10).split()]).pipelined()),
            (1, Task::new(reading, &relay(Sink::Single), Vec::new()).pipelined().reading(sources)),
        ])
        .await;
    let mut reader = cluster.reader(&[cluster.source(1, reading, 0..1)], schema());
    let rows = timeout(PATIENCE, futures::StreamExt::next(&mut reader)).await.unwrap().unwrap().unwrap();
    assert!(rows.num_rows() > 0);
    cluster.runs_on(0, &[blocked], Duration::from_millis(300)).await;
    cluster.let_go().await;
    cluster.members[0].connector.splits_dropped(1).await;
    drop(reader);
    cluster.end().await;
}

#[tokio::test]
async fn consumers_that_are_gone_are_no_reason_to_wait() {
    let mut cluster = Cluster::start(2).await;
    let (producer, root) = (attempt(1, 0, 0), attempt(0, 0, 0));
    let sources = vec![cluster.source(0, producer, 0..1)];
    let relay = Task::new(root, &relay(Sink::Single), Vec::new()).pipelined().reading(sources);
    let endless = Task::new(producer, &pass_on(), vec![Behaviour::Endless.split()]).pipelined();
    cluster.desire(vec![(0, endless), (1, relay)]).await;
    // The consumer alone is ended, whether it has begun or not: that closes what it reads.
    cluster.members[1].attached.desire(&[]).await;
    cluster.members[1].attached.empties().await;
    let report = cluster.ends(0, &[producer]).await.remove(0);
    assert_eq!(crate::support::coordinator::committed(&report).winner, Some(producer.into()));
    cluster.end().await;
}
