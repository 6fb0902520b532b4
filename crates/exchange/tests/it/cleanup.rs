//! Nothing leaks.

use base::ErrorCode;
use exchange::{ExchangeManager, ExchangeOptions};

use crate::support::{Exchange, attempt, count_entries, query, words};

#[tokio::test]
async fn a_dropped_or_aborted_sink_leaves_nothing() {
    for partitions in [1, 40] {
        for abort in [false, true] {
            let exchange = Exchange::with(|options| options.sink_memory_bytes_max = 1 << 20);
            let mut sink = exchange.sink(attempt(0, 0), &words(0..1).schema(), partitions);
            for at in 0..40 {
                sink.push(at % partitions, words(i64::from(at) * 4_000..i64::from(at + 1) * 4_000))
                    .await
                    .unwrap();
            }
            assert!(exchange.files() > 0 || count_entries(exchange.spill.path()) > 0, "it wrote something");
            if abort {
                sink.abort().await.unwrap();
            } else {
                drop(sink);
            }
            exchange.assert_empty();
        }
    }
}

#[tokio::test]
async fn another_manager_finds_and_removes_what_queries_left() {
    let exchange = Exchange::with(|options| options.inline_bytes_max = 0);
    let schema = words(0..1).schema();
    let other_query = "20261121_000000_00001_zzzzz".parse().unwrap();
    for partition in 0..5 {
        exchange.write(attempt(partition, 0), &schema, 2, &[(0, words(0..10))]).await;
        let mut other = attempt(partition, 0);
        other.task.query = other_query;
        exchange.write(other, &schema, 2, &[(0, words(0..10))]).await;
    }
    // What a worker that was killed in the middle of an upload leaves.
    let dead =
        exchange.directory.path().join(query().to_string()).join("1/9.0.0.0.data.00000000000000aa.3.tmp");
    std::fs::write(dead, b"half").unwrap();
    let only_dead = "20261122_000000_00001_zzzzz";
    std::fs::create_dir_all(exchange.directory.path().join(only_dead).join("4")).unwrap();
    std::fs::write(exchange.directory.path().join(only_dead).join("4/0.0.commit.00.1.tmp"), b"half").unwrap();

    let restarted = ExchangeManager::new(exchange.manager.options().clone()).unwrap();
    let queries = restarted.queries().await.unwrap();
    assert_eq!(queries, [query(), other_query, only_dead.parse().unwrap()]);
    restarted.remove_query(query()).await.unwrap();
    restarted.remove_query(query()).await.unwrap();
    assert_eq!(restarted.queries().await.unwrap(), queries[1..]);
    assert_eq!(restarted.objects(other_query).await.unwrap().len(), 10);
    for query in &queries[1..] {
        restarted.remove_query(*query).await.unwrap();
    }
    exchange.assert_empty();
}

#[tokio::test]
async fn the_probe_leaves_nothing_and_names_the_property_when_it_fails() {
    let exchange = Exchange::with(|options| options.fsync = true);
    exchange.manager.probe().await.unwrap();
    exchange.manager.probe().await.unwrap();
    exchange.assert_empty();

    let file = exchange.spill.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let base_directories = vec![file.join("below").to_str().unwrap().to_string()];
    let manager =
        ExchangeManager::new(ExchangeOptions { base_directories, ..ExchangeOptions::default() }).unwrap();
    let error = manager.probe().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::CONFIGURATION_UNAVAILABLE);
    assert!(error.message().starts_with("exchange.base-directories: cannot write in "), "{error}");
}
