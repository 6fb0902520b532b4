//! One attempt wins, and everyone finds out which.

use std::sync::Arc;

use base::ErrorCode;
use exchange::{ExchangeManager, ExchangeOptions, ObjectKey};

use crate::support::{Exchange, Fault, FaultyStore, attempt, query, words};

#[tokio::test]
async fn of_concurrent_attempts_one_wins_and_the_losers_clean_up_after_themselves() {
    for inline_bytes_max in [0, 1 << 20] {
        let exchange = Exchange::with(|options| options.inline_bytes_max = inline_bytes_max);
        let schema = words(0..1).schema();
        let mut sinks = Vec::new();
        for number in 0..6 {
            let mut sink = exchange.sink(attempt(0, number), &schema, 2);
            sink.push(1, words(0..1_000)).await.unwrap();
            sinks.push(sink);
        }
        let outcomes = futures::future::join_all(sinks.into_iter().map(|sink| sink.finish())).await;
        let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        let winner = outcomes[0].winner;
        assert!(
            outcomes.iter().all(|outcome| outcome.winner == winner && outcome.record == outcomes[0].record)
        );
        assert_eq!(outcomes[0].record.attempt(), winner);
        let objects = exchange.manager.objects(query()).await.unwrap();
        let mut expected = vec![ObjectKey::Commit(winner.output())];
        if inline_bytes_max == 0 {
            expected.push(ObjectKey::Data(winner));
        }
        assert_eq!(objects, expected);
        assert_eq!(exchange.read(&outcomes[3].record, &schema, 0..2).await.unwrap(), words(0..1_000));
    }
}

async fn finish_with(
    fault: Fault,
    faults: usize,
    rival_first: bool,
) -> (base::Result<exchange::Committed>, Vec<ObjectKey>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(FaultyStore::new(directory.path(), fault, 0));
    let options = ExchangeOptions { inline_bytes_max: 0, ..ExchangeOptions::default() };
    let manager = ExchangeManager::with_store(store.clone(), options);
    let schema = words(0..1).schema();
    let sink = async |number| {
        let options = manager.options().sink(directory.path().join("spill"));
        let mut sink = manager.sink(attempt(0, number), schema.clone(), 2, options).unwrap();
        sink.push(0, words(0..100)).await.unwrap();
        sink.finish().await
    };
    if rival_first {
        sink(7).await.unwrap();
    }
    store.faults_left.store(faults, std::sync::atomic::Ordering::Relaxed);
    let outcome = sink(0).await;
    (outcome, manager.objects(query()).await.unwrap())
}

#[tokio::test]
async fn a_lost_answer_does_not_make_an_attempt_lose_to_itself() {
    let (outcome, objects) = finish_with(Fault::LostAnswer, 1, false).await;
    assert_eq!(outcome.unwrap().winner, attempt(0, 0));
    assert_eq!(objects, [ObjectKey::Commit(attempt(0, 0).output()), ObjectKey::Data(attempt(0, 0))]);
}

#[tokio::test]
async fn a_rival_is_recognised_through_any_doubt() {
    for fault in [Fault::LostAnswer, Fault::Refused, Fault::FalseConflict] {
        let (outcome, objects) = finish_with(fault, 1, true).await;
        assert_eq!(outcome.unwrap().winner, attempt(0, 7), "{fault:?}");
        assert_eq!(objects, [ObjectKey::Commit(attempt(0, 0).output()), ObjectKey::Data(attempt(0, 7))]);
    }
}

#[tokio::test]
async fn a_create_that_was_not_applied_is_tried_again() {
    for fault in [Fault::Refused, Fault::FalseConflict] {
        let (outcome, _) = finish_with(fault, 2, false).await;
        assert_eq!(outcome.unwrap().winner, attempt(0, 0), "{fault:?}");
    }
}

#[tokio::test]
async fn an_attempt_in_doubt_fails_and_leaves_its_data() {
    for fault in [Fault::Refused, Fault::FalseConflict] {
        let (outcome, objects) = finish_with(fault, 100, false).await;
        assert_eq!(outcome.unwrap_err().code(), ErrorCode::EXCHANGE_STORE_ERROR);
        assert_eq!(objects, [ObjectKey::Data(attempt(0, 0))]);
    }
}

#[tokio::test]
async fn an_output_that_nobody_committed_is_none() {
    let exchange = Exchange::new();
    assert_eq!(exchange.manager.committed(attempt(0, 0).output()).await.unwrap(), None);
}

#[tokio::test]
async fn a_small_output_stays_out_of_the_store_until_somebody_commits_it() {
    let exchange = Exchange::new();
    let schema = words(0..1).schema();
    let write = async |number, rows, unstored_bytes_max| {
        let options = exchange::SinkOptions { unstored_bytes_max, ..exchange.sink_options() };
        let mut sink = exchange.manager.sink(attempt(0, number), schema.clone(), 3, options).unwrap();
        sink.push(1, words(0..rows)).await.unwrap();
        sink.finish().await.unwrap()
    };
    let inline = write(0, 100, 64 << 10).await;
    assert!(inline.is_inline && inline.winner == attempt(0, 0));
    assert!(inline.record.stored_bytes() <= 64 << 10);
    exchange.assert_empty();
    assert_eq!(exchange.read(&inline.record, &schema, 1..2).await.unwrap(), words(0..100));

    // An empty output has a record too, and 0 means none.
    for (number, rows, unstored_bytes_max) in [(1, 0, 0), (2, 100_000, 64 << 10)] {
        let stored = write(number, rows, unstored_bytes_max).await;
        assert!(!stored.is_inline, "{rows} rows");
        exchange.manager.remove_query(query()).await.unwrap();
    }

    let committed = exchange.manager.commit(inline.record.clone()).await.unwrap();
    assert!(!committed.is_inline && committed.record == inline.record);
    assert_eq!(exchange.manager.committed(attempt(0, 0).output()).await.unwrap(), Some(inline.record));
    let late = write(3, 50, 64 << 10).await;
    let late = exchange.manager.commit(late.record).await.unwrap();
    assert_eq!(late.winner, attempt(0, 0), "a rival came first");
}

#[tokio::test]
async fn what_may_stay_out_of_the_store_is_not_streamed_into_it() {
    let exchange = Exchange::with(|options| options.inline_bytes_max = 0);
    let schema = words(0..1).schema();
    let options = exchange::SinkOptions {
        unstored_bytes_max: 8 << 20,
        frame_bytes_target: 16 << 10,
        ..exchange.sink_options()
    };
    let mut sink = exchange.manager.sink(attempt(0, 0), schema.clone(), 1, options).unwrap();
    for at in 0..20 {
        sink.push(0, words(at * 1_000..(at + 1) * 1_000)).await.unwrap();
    }
    let committed = sink.finish().await.unwrap();
    assert!(committed.is_inline);
    exchange.assert_empty();
    let handle = exchange::SourceHandle::embedded(&committed.record, 0..1).unwrap();
    assert_eq!(exchange.read_all(vec![handle], &schema).await.unwrap(), words(0..20_000));
}
