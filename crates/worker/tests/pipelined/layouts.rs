//! Who reads what: one consumer, one for each partition, everybody, and in order.

use std::sync::Arc;

use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use operators::{ExchangeSourceExec, Sink};

use crate::region::{Cluster, by_number, relay};
use crate::support::connector::{Behaviour, schema};
use crate::support::coordinator::{Task, attempt, committed};
use crate::support::plans::{fragment, pass_on, sort, test_scan};

const ROWS: i64 = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_cross_from_every_producer_to_every_consumer() {
    const PARTITIONS: u32 = 6;
    let mut cluster = Cluster::start(2).await;
    // Two producers and two consumers on two workers: half of what flows does not leave its worker.
    let producers = [attempt(2, 0, 0), attempt(2, 1, 0)];
    let consumers = [attempt(1, 0, 0), attempt(1, 1, 0)];
    let root = attempt(0, 0, 0);
    let scan = fragment(test_scan(), by_number(PARTITIONS));
    let read = |cluster: &Cluster, range: std::ops::Range<u32>| {
        (0..2).map(|at| cluster.source(at, producers[at], range.clone())).collect::<Vec<_>>()
    };
    let halves = [read(&cluster, 0..4), read(&cluster, 4..6)];
    let roots: Vec<_> = (0..2).map(|at| cluster.source(at, consumers[at], 0..1)).collect();
    let mut placed = Vec::new();
    for at in 0..2 {
        let splits = vec![Behaviour::Rows(ROWS).split()];
        placed.push((at, Task::new(producers[at], &scan, splits).pipelined()));
        let relay = relay(Sink::Single);
        let consumer = Task::new(consumers[at], &relay, Vec::new()).pipelined();
        placed.push((at, consumer.reading(halves[at].clone())));
    }
    let last = Task::new(root, &relay(Sink::Single), Vec::new()).pipelined().reading(roots);
    placed.push((1, last));
    cluster.desire(placed).await;
    let mut values = cluster.read(&[cluster.source(1, root, 0..1)]).await.unwrap();
    values.sort_unstable();
    assert!(
        values.into_iter().eq((0..ROWS).flat_map(|number| [number, number])),
        "each row of each producer"
    );

    for at in 0..2 {
        let reports = cluster.ends(at, &[producers[at], consumers[at]]).await;
        let (producer, consumer) = (committed(&reports[0]), committed(&reports[1]));
        assert_eq!((producer.winner.clone(), producer.rows), (Some(producers[at].into()), ROWS as u64));
        assert!(producer.commit_record.is_empty() && !producer.is_inline && producer.checksum == 0);
        assert_eq!(producer.partition_bytes.len(), PARTITIONS as usize);
        assert_eq!(producer.partition_bytes.iter().sum::<u64>(), 8 * ROWS as u64);
        assert!(producer.partition_bytes.iter().all(|bytes| *bytes > 0));
        let stats = reports[1].stats.as_ref().unwrap();
        assert_eq!((stats.output_rows, stats.input_rows), (consumer.rows, consumer.rows));
        assert!(stats.exchange_input_bytes > 0 && stats.output_stored_bytes > 0);
        assert_eq!(reports[0].memory_bytes, 0);
        assert!(reports[0].peak_memory_bytes > 0);
    }
    let files: Vec<_> = cluster.members.iter().flat_map(|member| member.directories.files()).collect();
    assert!(files.is_empty(), "{files:?}");
    assert!(cluster.members.iter().all(|member| !member.directories.spill().exists()));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_consumer_gets_all_of_a_broadcast() {
    const CONSUMERS: u32 = 3;
    let mut cluster = Cluster::start(2).await;
    let producer = attempt(1, 0, 0);
    let splits = vec![Behaviour::Rows(ROWS).split()];
    let broadcast = Task::new(producer, &pass_on(), splits).pipelined().broadcast(CONSUMERS);
    let mut placed = vec![(0, broadcast)];
    for partition in 0..CONSUMERS {
        let task = Task::new(attempt(0, partition, 0), &relay(Sink::Single), Vec::new()).pipelined();
        let source = cluster.source(0, producer, 0..1);
        placed.push((partition as usize % 2, task.reading(vec![source])));
    }
    cluster.desire(placed).await;
    for partition in 0..CONSUMERS {
        let root = cluster.source(partition as usize % 2, attempt(0, partition, 0), 0..1);
        let values = cluster.read(&[root]).await.unwrap();
        assert!(values.into_iter().eq(0..ROWS), "consumer {partition}");
    }
    assert_eq!(committed(&cluster.ends(0, &[producer]).await[0]).rows, ROWS as u64);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_keeps_the_order_of_every_producer() {
    let mut cluster = Cluster::start(2).await;
    let producers = [attempt(1, 0, 0), attempt(1, 1, 0), attempt(1, 2, 0)];
    let root = attempt(0, 0, 0);
    let mut key = PhysicalSortExpr::new_default(Arc::new(Column::new("n", 0)));
    key.options.descending = true;
    let merge = ExchangeSourceExec::new(0, schema()).with_ordering(LexOrdering::new([key]).unwrap());
    let sources = (0..3).map(|at| cluster.source(at % 2, producers[at], 0..1)).collect();
    let merge = fragment(Arc::new(merge), Sink::Single);
    let mut placed = vec![(0, Task::new(root, &merge, Vec::new()).pipelined().reading(sources))];
    for (at, producer) in producers.into_iter().enumerate() {
        let splits = vec![Behaviour::Rows(ROWS * (at as i64 + 1)).split()];
        placed.push((at % 2, Task::new(producer, &sort(), splits).pipelined()));
    }
    cluster.desire(placed).await;
    let values = cluster.read(&[cluster.source(0, root, 0..1)]).await.unwrap();
    let mut expected: Vec<i64> = (1..4).flat_map(|times| 0..ROWS * times).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    assert!(values == expected, "all rows, from the last to the first");
    cluster.end().await;
}

/// The region of a query of which nothing may be seen before all of it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_commits_what_it_reads_of_others() {
    for inline_bytes_max in [1 << 20, 0] {
        let mut cluster = Cluster::start(2).await;
        let (producer, root) = (attempt(1, 0, 0), attempt(0, 0, 0));
        let source = cluster.source(0, producer, 0..1);
        let task = Task::new(root, &relay(Sink::Single), Vec::new()).pipelined().reading(vec![source]);
        let splits = vec![Behaviour::Rows(1_000).split()];
        cluster
            .desire(vec![
                (0, Task::new(producer, &pass_on(), splits).pipelined()),
                (1, task.committed(inline_bytes_max)),
            ])
            .await;
        let report = cluster.ends(1, &[root]).await.remove(0);
        let commit = committed(&report);
        assert_eq!((commit.rows, commit.is_inline), (1_000, inline_bytes_max > 0));
        let record = crate::support::plans::record(commit, &root);
        let member = &cluster.members[1];
        assert_eq!(member.directories.files().len(), usize::from(inline_bytes_max == 0));
        let rows = crate::support::plans::rows(&member.exchange, &record, schema()).await;
        assert!(crate::support::plans::numbers(&rows, 0).into_iter().eq(0..1_000));
        cluster.end().await;
    }
}
