//! A worker runs what a coordinator desires.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use base::{ErrorCode, Failure, FailureClass};
use connector::{Scan, SplitOptions};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateMode;
use exchange::SourceHandle;
use futures::TryStreamExt;
use operators::{ExchangeSourceExec, Sink};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::Fixture;
use support::connector::{BATCH_ROWS, Behaviour, schema};
use support::coordinator::{Task, attempt, committed, failed, is_running, of_attempt};
use support::plans::{count_by, fragment, keep_in_memory, numbers, pass_on, record, rows, scan_of, sort};
use worker::{FailureInjection, InjectedAction};

/// Customers by nation, counted in two stages with a hash exchange between them.
#[tokio::test]
async fn an_aggregation_in_two_stages_counts_every_row_once() {
    const PARTITIONS: u32 = 3;
    let mut fixture = Fixture::start().await;
    assert_eq!(fixture.attached.announcement.catalogs, ["test", "tpch"]);
    let tpch = connector_tpch::create("tpch", &BTreeMap::new()).unwrap();
    let table = tpch.table("tiny", "customer").await.unwrap().unwrap();
    let table_schema = table.arrow_schema();
    let key_at = table_schema.index_of("nationkey").unwrap();
    let rows_schema = Arc::new(table_schema.project(&[key_at]).unwrap());
    let scan = Scan { table: table.handle, schema: Arc::clone(&rows_schema), predicate: None, limit: None };
    let options = SplitOptions { target_size_bytes: 1 << 20, node_count: 2, slot_count: 4 };
    let splits: Vec<_> = tpch.splits(&scan, &options).await.unwrap().try_concat().await.unwrap();
    assert!(splits.len() > 1, "{splits:?}");

    let partial = count_by(AggregateMode::Partial, "nationkey", scan_of("tpch", scan), &rows_schema);
    let between = partial.schema();
    let keys: Vec<Arc<dyn datafusion::physical_plan::PhysicalExpr>> =
        vec![Arc::new(datafusion::physical_expr::expressions::Column::new("nationkey", 0))];
    let producer = fragment(partial, Sink::Hash { keys, partitions: PARTITIONS });
    let producers: Vec<Task> = splits
        .iter()
        .enumerate()
        .map(|(number, split)| Task::new(attempt(1, number as u32, 0), &producer, vec![split.clone()]))
        .collect();
    fixture.attached.desire(&producers).await;
    let attempts: Vec<_> = producers.iter().map(|task| task.attempt).collect();
    let outputs: Vec<_> = fixture
        .attached
        .ends(&attempts)
        .await
        .iter()
        .zip(&attempts)
        .map(|(report, attempt)| {
            let committed = committed(report);
            assert_eq!(committed.winner, Some((*attempt).into()));
            assert_eq!(committed.partition_bytes.len(), PARTITIONS as usize);
            let stats = report.stats.as_ref().unwrap();
            assert_eq!((stats.completed_splits, stats.output_rows), (1, committed.rows));
            let names: Vec<_> = stats.operators.iter().map(|operator| operator.name.as_str()).collect();
            assert_eq!(names, ["AggregateExec", "SplitScanExec"]);
            assert_eq!(stats.operators[0].output_rows, stats.output_rows);
            assert_eq!(stats.operators[1].output_rows, stats.input_rows);
            assert!(stats.wall_nanos > 0 && stats.cpu_nanos > 0 && stats.input_bytes > 0);
            record(committed, attempt)
        })
        .collect();

    let source: Arc<dyn ExecutionPlan> = Arc::new(ExchangeSourceExec::new(0, Arc::clone(&between)));
    let last = count_by(AggregateMode::Final, "nationkey", source, &rows_schema);
    let result = last.schema();
    let consumer = fragment(last, Sink::Single);
    let consumers: Vec<Task> = (0..PARTITIONS)
        .map(|partition| {
            let handle = |output| SourceHandle::of(output, partition..partition + 1);
            let handles = outputs.iter().filter_map(handle).map(|handle| handle.encode());
            let sources = handles.collect();
            Task { sources, ..Task::new(attempt(0, partition, 0), &consumer, Vec::new()) }
        })
        .collect();
    fixture.attached.desire(&consumers).await;
    let attempts: Vec<_> = consumers.iter().map(|task| task.attempt).collect();
    let mut counts = BTreeMap::new();
    for (report, attempt) in fixture.attached.ends(&attempts).await.iter().zip(&attempts) {
        assert!(report.stats.as_ref().unwrap().exchange_input_bytes > 0);
        let record = record(committed(report), attempt);
        for batch in rows(&fixture.exchange, &record, Arc::clone(&result)).await {
            let (keys, values) = (batch.column(0), batch.column(1).as_primitive::<Int64Type>());
            for (key, count) in keys.as_primitive::<Int64Type>().values().iter().zip(values.values()) {
                assert_eq!(counts.insert(*key, *count), None, "nation {key} is in two partitions");
            }
        }
    }
    assert_eq!((counts.len(), counts.values().sum::<i64>()), (25, 1500));

    fixture.attached.desire(&[]).await;
    fixture.attached.empties().await;
}

#[tokio::test]
async fn more_attempts_than_slots_take_turns() {
    let mut fixture = Fixture::start().await;
    let task = |partition| Task::new(attempt(0, partition, 0), &pass_on(), vec![Behaviour::Rows(10).split()]);
    let tasks: Vec<Task> = (0..10).map(task).collect();
    fixture.attached.desire(&tasks).await;
    let attempts: Vec<_> = tasks.iter().map(|task| task.attempt).collect();
    for report in fixture.attached.ends(&attempts).await {
        assert_eq!(committed(&report).rows, 10);
    }
}

#[tokio::test]
async fn the_second_attempt_to_commit_names_the_first() {
    let mut fixture = Fixture::start().await;
    let task = |number| Task::new(attempt(0, 0, number), &pass_on(), vec![Behaviour::Rows(10).split()]);
    fixture.attached.desire(&[task(0)]).await;
    fixture.attached.ends(&[attempt(0, 0, 0)]).await;
    fixture.attached.desire(&[task(1)]).await;
    let report = fixture.attached.ends(&[attempt(0, 0, 1)]).await;
    assert_eq!(committed(&report[0]).winner, Some(attempt(0, 0, 0).into()));
}

#[tokio::test]
async fn spilled_files_do_not_wait_for_an_attempt_that_notices_late_that_it_is_to_end() {
    let mut fixture = Fixture::start().await;
    let held = attempt(0, 0, 0);
    let splits = vec![Behaviour::Rows(4_000_000).split(), Behaviour::Spin.split()];
    let task = Task { memory_bytes: 30 << 20, ..Task::new(held, &sort(), splits) };
    fixture.attached.desire(&[task]).await;
    fixture.connector.splits_started(2).await;
    assert!(!fixture.directories.files().is_empty(), "it has not spilled");
    fixture.attached.desire(&[]).await;
    let sequence = fixture.attached.sequence();
    let report = fixture.attached.report(|report| report.desired_sequence == sequence).await;
    assert!(of_attempt(&report, &held).is_some_and(is_running), "it spins");
    let left = fixture.directories.files();
    assert!(left.is_empty(), "{left:?}");
    fixture.connector.release();
    fixture.attached.empties().await;
    let left = fixture.directories.files();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_sort_that_does_not_fit_spills_and_leaves_nothing() {
    const ROWS: i64 = 4_000_000;
    let mut fixture = Fixture::start().await;
    let sorted = attempt(0, 0, 0);
    let task = Task::new(sorted, &sort(), vec![Behaviour::Rows(ROWS).split()]);
    fixture.attached.desire(&[Task { memory_bytes: 30 << 20, ..task }]).await;
    let report = fixture.attached.ends(&[sorted]).await.remove(0);
    let record = record(committed(&report), &sorted);
    let sorted = numbers(&rows(&fixture.exchange, &record, schema()).await, 0);
    assert!(sorted.iter().rev().copied().eq(0..ROWS));
    let stats = report.stats.as_ref().unwrap();
    assert!(stats.spilled_bytes > 1 << 20, "{stats:?}");
    assert!(report.peak_memory_bytes > 1 << 20 && report.peak_memory_bytes <= 30 << 20, "{report:?}");
    assert!(std::fs::read_dir(fixture.directories.spill()).is_ok(), "it did spill here");
    assert!(fixture.directories.files().iter().all(|file| file.starts_with(fixture.directories.exchange())));
}

#[tokio::test]
async fn an_attempt_that_needs_more_memory_says_so() {
    let mut fixture = Fixture::start().await;
    let task = Task::new(attempt(0, 0, 0), &keep_in_memory(), vec![Behaviour::Rows(1_000_000).split()]);
    fixture.attached.desire(&[Task { memory_bytes: 4 << 20, ..task.clone() }]).await;
    let report = fixture.attached.ends(&[attempt(0, 0, 0)]).await.remove(0);
    let error = failed(&report);
    assert_eq!(Failure::of(error.clone()).class, FailureClass::InsufficientResources, "{error}");
    assert!(report.peak_memory_bytes > 1 << 20 && report.peak_memory_bytes <= 4 << 20, "{report:?}");

    let again = Task { attempt: attempt(0, 0, 1), memory_bytes: 40 << 20, ..task };
    fixture.attached.desire(&[again]).await;
    assert_eq!(committed(&fixture.attached.ends(&[attempt(0, 0, 1)]).await[0]).rows, 0);
}

#[tokio::test]
async fn an_attempt_that_is_cancelled_while_it_computes_leaves_nothing() {
    let mut fixture = Fixture::start_with(|options| options.sink_options.inline_bytes_max = 0).await;
    let endless = attempt(0, 0, 0);
    let task = Task::new(endless, &pass_on(), vec![Behaviour::Endless.split()]);
    fixture.attached.desire(&[task]).await;
    let report = fixture
        .attached
        .report(|report| {
            let stats = of_attempt(report, &endless).and_then(|each| each.stats.as_ref());
            stats.is_some_and(|stats| stats.output_rows > 100 * BATCH_ROWS as u64)
        })
        .await;
    let stats = of_attempt(&report, &endless).unwrap().stats.as_ref().unwrap();
    assert!(stats.operators[0].output_rows > 0, "a running attempt tells how far it is");
    assert_ne!(fixture.directories.files(), Vec::<std::path::PathBuf>::new(), "its output has begun");
    fixture.attached.desire(&[]).await;
    fixture.attached.empties().await;
    fixture.connector.splits_dropped(1).await;
    assert_eq!(fixture.directories.files(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn an_attempt_that_is_cancelled_while_it_waits_ends_at_once() {
    let mut fixture = Fixture::start().await;
    let task = Task::new(attempt(0, 0, 0), &sort(), vec![Behaviour::Wait.split()]);
    fixture.attached.desire(&[task]).await;
    fixture.connector.splits_started(1).await;
    fixture.attached.desire(&[]).await;
    fixture.connector.splits_dropped(1).await;
    fixture.attached.empties().await;
}

#[tokio::test]
async fn a_panic_fails_the_attempt_and_nothing_else() {
    let mut fixture = Fixture::start().await;
    let cursed = Task::new(attempt(0, 0, 0), &sort(), vec![Behaviour::Panic.split()]);
    let good = Task::new(attempt(0, 1, 0), &sort(), vec![Behaviour::Rows(3).split()]);
    fixture.attached.desire(&[cursed, good]).await;
    let reports = fixture.attached.ends(&[attempt(0, 0, 0), attempt(0, 1, 0)]).await;
    let error = failed(&reports[0]);
    assert_eq!(error.code(), ErrorCode::GENERIC_INTERNAL_ERROR);
    assert!(error.message().contains("the split is cursed"), "{error}");
    assert_eq!(committed(&reports[1]).rows, 3);
}

#[tokio::test]
async fn a_fragment_that_makes_no_sense_fails_the_attempt() {
    let mut fixture = Fixture::start().await;
    let task = Task::new(attempt(0, 0, 0), &pass_on(), Vec::new());
    fixture.attached.desire(&[Task { fragment: "nonsense".into(), ..task }]).await;
    let reports = fixture.attached.ends(&[attempt(0, 0, 0)]).await;
    assert_eq!(Failure::of(failed(&reports[0])).class, FailureClass::Internal);
}

#[tokio::test]
async fn injected_failures_hit_the_attempts_they_name() {
    let injection = |partition, action| FailureInjection {
        stage: None,
        partition: Some(partition),
        number: Some(0),
        action,
    };
    let mut fixture = Fixture::start_with(|options| {
        options.failure_injections = vec![
            injection(0, InjectedAction::Fail(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT)),
            injection(1, InjectedAction::Panic),
            injection(2, InjectedAction::DelayCommit(Duration::from_millis(20))),
        ];
    })
    .await;
    let tasks = |number| -> Vec<Task> {
        let splits = || vec![Behaviour::Rows(1).split()];
        (0..3).map(|partition| Task::new(attempt(0, partition, number), &pass_on(), splits())).collect()
    };
    fixture.attached.desire(&tasks(0)).await;
    let reports = fixture.attached.ends(&[0, 1, 2].map(|partition| attempt(0, partition, 0))).await;
    assert_eq!(failed(&reports[0]).code(), ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT);
    assert!(failed(&reports[1]).message().contains("injected"));
    assert_eq!(committed(&reports[2]).rows, 1);
    fixture.attached.desire(&tasks(1)).await;
    for report in fixture.attached.ends(&[0, 1].map(|partition| attempt(0, partition, 1))).await {
        assert_eq!(committed(&report).rows, 1);
    }
}

#[tokio::test]
async fn lost_input_names_the_output_that_is_lost() {
    let mut fixture = Fixture::start_with(|options| options.sink_options.inline_bytes_max = 0).await;
    let producer = attempt(1, 0, 0);
    fixture.attached.desire(&[Task::new(producer, &pass_on(), vec![Behaviour::Rows(1000).split()])]).await;
    let report = fixture.attached.ends(&[producer]).await.remove(0);
    let handle = SourceHandle::of(&record(committed(&report), &producer), 0..1).unwrap();
    for file in fixture.directories.files() {
        std::fs::remove_file(file).unwrap();
    }
    let source: Arc<dyn ExecutionPlan> = Arc::new(ExchangeSourceExec::new(0, schema()));
    let consumer = Task::new(attempt(0, 0, 0), &fragment(source, Sink::Single), Vec::new());
    let sources = vec![handle.encode()];
    fixture.attached.desire(&[Task { sources, ..consumer }]).await;
    let report = fixture.attached.ends(&[attempt(0, 0, 0)]).await.remove(0);
    assert_eq!(failed(&report).lost_output(), Some(producer.output()));
}

#[tokio::test]
async fn an_attempt_that_does_nothing_is_failed_by_the_watchdog() {
    let mut fixture =
        Fixture::start_with(|options| options.no_progress_timeout = Duration::from_millis(300)).await;
    let task = Task::new(attempt(0, 0, 0), &pass_on(), vec![Behaviour::Wait.split()]);
    fixture.attached.desire(&[task]).await;
    let report = fixture.attached.ends(&[attempt(0, 0, 0)]).await.remove(0);
    let error = failed(&report);
    assert_eq!(error.code(), ErrorCode::ABANDONED_TASK);
    assert!(error.message().starts_with("No progress for"), "{error}");
    fixture.connector.splits_dropped(1).await;
}
