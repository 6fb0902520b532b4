//! What a client gets of a result while it is written, and what it is told when that goes wrong.

use std::ops::Range;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use base::{AttemptId, Epoch, Failure, Incarnation, NodeId, StageId, TaskId};
use exchange::direct::{Demand, DirectExchange, DirectSink, DirectSinkOptions, OutputHandle, OutputLayout};
use protocol::direct::{Credentials, DirectConnections};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const URI: &str = "http://127.0.0.1:1";
const LIFE: Incarnation = Incarnation(7);

fn numbers(range: Range<i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(range)) as _)]).unwrap()
}

/// Two root tasks, whose outputs are in this process.
struct Fixture {
    query: QueryId,
    schema: SchemaRef,
    input: DirectInput,
    root: Arc<RootOutput>,
    stream: ResultStream,
    sinks: Vec<DirectSink>,
    outputs: Vec<OutputHandle>,
}

impl Fixture {
    fn new() -> Self {
        let query: QueryId = "20261120_061411_00007_abcde".parse().unwrap();
        let exchange = DirectExchange::new();
        let credentials = Credentials::new(None, &NodeId::new("n"), LIFE);
        let connections = DirectConnections::new(credentials, Handle::current());
        let input = DirectInput {
            transports: DirectTransports::with_own(URI, LIFE, exchange.clone(), connections),
            options: DirectReadOptions::new(Handle::current()),
        };
        let root = Arc::new(RootOutput::default());
        let schema = numbers(0..0).schema();
        let (mut sinks, mut outputs, mut producers) = (Vec::new(), Vec::new(), Vec::new());
        for partition in 0..2 {
            let task = TaskId { query, stage: StageId(0), partition };
            let attempt = AttemptId { task, generation: 0, epoch: Epoch(1), number: 0 };
            let options = DirectSinkOptions { buffer_bytes_max: 64 << 10, ..DirectSinkOptions::default() };
            let created =
                exchange.create_output(attempt, Arc::clone(&schema), OutputLayout::Single, &options);
            let (sink, output) = created.unwrap();
            sinks.push(sink);
            outputs.push(output);
            producers.push(Producer { attempt, incarnation: LIFE, uri: URI.into() });
        }
        root.stream(producers);
        Fixture {
            query,
            stream: ResultStream::start(query, Arc::clone(&root), schema.clone(), input.clone()),
            schema,
            input,
            root,
            sinks,
            outputs,
        }
    }

    /// Waits until nobody wants any of the outputs.
    async fn are_closed(&self) {
        for output in &self.outputs {
            timeout(PATIENCE, output.satisfied()).await.expect("the output is closed");
        }
    }
}

async fn next(batches: &mut mpsc::Receiver<Result<ResultBatch>>) -> Option<Result<ResultBatch>> {
    timeout(PATIENCE, batches.recv()).await.expect("something comes")
}

fn values(batch: &ResultBatch) -> Vec<i64> {
    batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec()
}

#[tokio::test]
async fn rows_come_before_the_query_has_ended_and_the_end_only_then() {
    let mut fixture = Fixture::new();
    let mut batches = fixture.stream.open(None).unwrap();
    let (mut second, mut first) = (fixture.sinks.pop().unwrap(), fixture.sinks.pop().unwrap());
    assert_eq!(first.push(0, numbers(0..10)).await.unwrap(), Demand::More);
    let got = next(&mut batches).await.unwrap().unwrap();
    assert_eq!((values(&got), got.task, got.generation, got.batch), ((0..10).collect(), 0, 0, 0));
    assert_eq!(second.push(0, numbers(10..20)).await.unwrap(), Demand::More);
    let got = next(&mut batches).await.unwrap().unwrap();
    assert_eq!((values(&got), got.batch), ((10..20).collect(), 1));
    first.finish().await.unwrap();
    second.finish().await.unwrap();
    fixture.are_closed().await;
    assert!(batches.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Empty));
    fixture.root.finish(Ok(()));
    assert!(next(&mut batches).await.is_none());
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_the_tasks() {
    let mut fixture = Fixture::new();
    let _batches = fixture.stream.open(None).unwrap();
    let pushing = async {
        for at in 0.. {
            let rows = numbers(at * 100_000..(at + 1) * 100_000);
            assert_eq!(fixture.sinks[0].push(0, rows).await.unwrap(), Demand::More);
        }
    };
    // 32 MB of answers, what is read ahead, two batches and the buffer of the sink; then the producer waits.
    assert!(timeout(Duration::from_secs(2), pushing).await.is_err());
    assert!(fixture.outputs[0].metrics().stored_bytes < 64 << 20);
}

#[tokio::test]
async fn a_short_result_is_here_before_anybody_asks() {
    let mut fixture = Fixture::new();
    for sink in fixture.sinks.drain(..) {
        let mut sink = sink;
        for at in 0..5 {
            assert_eq!(sink.push(0, numbers(at..at + 1)).await.unwrap(), Demand::More);
        }
        sink.finish().await.unwrap();
    }
    // The tasks may end.
    fixture.are_closed().await;
    fixture.root.finish(Ok(()));
    let mut batches = fixture.stream.open(None).unwrap();
    let mut rows = 0;
    while let Some(batch) = next(&mut batches).await {
        rows += batch.unwrap().rows.num_rows();
    }
    assert_eq!(rows, 10);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_tasks() {
    let mut fixture = Fixture::new();
    let mut batches = fixture.stream.open(None).unwrap();
    assert_eq!(fixture.sinks[0].push(0, numbers(0..10)).await.unwrap(), Demand::More);
    next(&mut batches).await.unwrap().unwrap();
    drop(batches);
    fixture.are_closed().await;
    // What was read is gone.
    let error = fixture.stream.open(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::EXCHANGE_DATA_LOST);
}

#[tokio::test]
async fn the_error_is_that_of_the_scheduler() {
    let mut fixture = Fixture::new();
    let mut batches = fixture.stream.open(None).unwrap();
    let failing = fixture.sinks.pop().unwrap();
    failing.fail(Failure::of(Error::new(ErrorCode::REMOTE_HOST_GONE, "a producer of mine is gone")));
    let silent = timeout(Duration::from_millis(300), batches.recv()).await;
    assert!(silent.is_err(), "the reader tells what it sees: {silent:?}");
    fixture.root.finish(Err(Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero")));
    let error = next(&mut batches).await.unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::DIVISION_BY_ZERO);
    assert!(next(&mut batches).await.is_none());
    fixture.are_closed().await;
}

#[tokio::test]
async fn a_query_that_fails_before_it_runs_gives_its_error() {
    let fixture = Fixture::new();
    let root = Arc::new(RootOutput::default());
    let stream = ResultStream::start(fixture.query, Arc::clone(&root), fixture.schema, fixture.input);
    let mut batches = stream.open(None).unwrap();
    root.finish(Err(Error::new(ErrorCode::NO_NODES_AVAILABLE, "No nodes available to run query")));
    let error = next(&mut batches).await.unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::NO_NODES_AVAILABLE);
}
