//! What the attempts of a query may use together.

use base::{ErrorCode, FailureClass};
use operators::Sink;

use crate::region::{Cluster, relay};
use crate::support::connector::Behaviour;
use crate::support::coordinator::{Task, attempt, committed, failure};
use crate::support::plans::{keep_in_memory, pass_on, sort};

#[tokio::test]
async fn a_query_that_needs_more_than_it_may_have_is_told_so_in_trinos_words() {
    let mut cluster = Cluster::start(1).await;
    let (producer, root) = (attempt(1, 0, 0), attempt(0, 0, 0));
    let splits = vec![Behaviour::Rows(1_000_000).split()];
    let sources = vec![cluster.source(0, producer, 0..1)];
    let join = Task::new(root, &keep_in_memory(), splits).pipelined().reading(sources);
    let join = Task { query_memory_bytes: 4 << 20, ..join };
    let waits = Task::new(producer, &pass_on(), vec![Behaviour::Wait.split()]).pipelined();
    cluster.desire(vec![(0, Task { query_memory_bytes: 4 << 20, ..waits }), (0, join)]).await;
    let report = cluster.ends(0, &[root]).await.remove(0);
    let failure = failure(&report);
    assert_eq!(failure.class, FailureClass::InsufficientResources);
    assert_eq!(failure.error.code(), ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT);
    let text = failure.error.message();
    assert!(
        text.contains("Query exceeded per-node memory limit of 4MB (query.max-memory-per-node)"),
        "{text}"
    );
    assert!(text.contains("Top Consumers: {"), "{text}");
    assert!(report.peak_memory_bytes <= 4 << 20, "{report:?}");
    cluster.end().await;
}

/// What one query may have is more than the worker has.
#[tokio::test]
async fn a_worker_that_is_full_is_not_the_fault_of_a_query() {
    let mut cluster = Cluster::start_with(1, |options| options.capacity.memory_bytes = 6 << 20).await;
    let (producer, root) = (attempt(1, 0, 0), attempt(0, 0, 0));
    let sources = vec![cluster.source(0, producer, 0..1)];
    let splits = vec![Behaviour::Rows(2_000_000).split()];
    cluster
        .desire(vec![
            (0, Task::new(producer, &pass_on(), vec![Behaviour::Wait.split()]).pipelined()),
            (0, Task::new(root, &keep_in_memory(), splits).pipelined().reading(sources)),
        ])
        .await;
    let failure = failure(&cluster.ends(0, &[root]).await[0]);
    assert_eq!(failure.class, FailureClass::InsufficientResources);
    assert_eq!(failure.error.code(), ErrorCode::CLUSTER_OUT_OF_MEMORY, "{failure:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sorts_that_share_a_pool_spill_and_end() {
    const ROWS: i64 = 400_000;
    const LIMIT: u64 = 10 << 20;
    let mut cluster = Cluster::start(1).await;
    let sorts = [attempt(1, 0, 0), attempt(1, 1, 0), attempt(1, 2, 0)];
    let sources: Vec<_> = sorts.iter().map(|attempt| cluster.source(0, *attempt, 0..1)).collect();
    let root = attempt(0, 0, 0);
    let gather = Task::new(root, &relay(Sink::Single), Vec::new()).pipelined().reading(sources);
    let mut placed = vec![(0, Task { query_memory_bytes: LIMIT, ..gather })];
    for attempt in sorts {
        let task = Task::new(attempt, &sort(), vec![Behaviour::Rows(ROWS).split()]).pipelined();
        placed.push((0, Task { query_memory_bytes: LIMIT, ..task }));
    }
    cluster.desire(placed).await;
    let mut values = cluster.read(&[cluster.source(0, root, 0..1)]).await.unwrap();
    values.sort_unstable();
    assert!(values.into_iter().eq((0..ROWS).flat_map(|number| [number; 3])));
    let reports = cluster.ends(0, &sorts).await;
    let spilled: u64 = reports.iter().map(|report| report.stats.as_ref().unwrap().spilled_bytes).sum();
    assert!(spilled > 1 << 20, "{spilled} bytes");
    for report in &reports {
        assert_eq!(committed(report).rows, ROWS as u64);
        assert!(report.peak_memory_bytes <= LIMIT, "{report:?}");
    }
    cluster.end().await;
}
