//! An output as a client reads it that knows Arrow Flight and nothing of us.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int32Type};
use arrow_flight::{FlightClient, Ticket};
use base::{Error, ErrorCode, Failure};
use exchange::direct::OutputLayout;
use futures::TryStreamExt;
use protocol::direct::{FetchTicket, OutputSlice};
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::support::{LIFE, Node, PATIENCE, Pool, attempt, sink_options};

fn rows(range: std::ops::Range<i64>) -> RecordBatch {
    let words: Vec<_> = range.clone().map(|n| format!("a word that is too long for a view: {n}")).collect();
    let kinds: DictionaryArray<Int32Type> = range.clone().map(|n| ["x", "y"][n as usize % 2]).collect();
    RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef),
        ("word", Arc::new(StringViewArray::from_iter_values(words)) as ArrayRef),
        ("kind", Arc::new(kinds) as ArrayRef),
    ])
    .unwrap()
}

async fn client(node: &Node) -> FlightClient {
    let channel = Channel::from_shared(format!("http://{}", node.address)).unwrap().connect().await.unwrap();
    FlightClient::new(channel)
}

fn ticket() -> Ticket {
    let slice = OutputSlice { producer: attempt(0), incarnation: LIFE, consumer: 0, partitions: 0..2 };
    Ticket { ticket: FetchTicket { slice, frames: None }.encode() }
}

#[tokio::test]
async fn any_flight_client_can_read_an_output() {
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let layout = OutputLayout::Partitioned { partitions: 2 };
    let (mut sink, handle) = node
        .exchange
        .create_output(attempt(0), rows(0..0).schema(), layout, &sink_options(&pool, 1 << 20))
        .unwrap();
    let producer = tokio::spawn(async move {
        for at in 0..100 {
            let _ = sink.push(at as u32 % 2, rows(at * 1_000..(at + 1) * 1_000)).await.unwrap();
        }
        sink.finish().await.unwrap();
    });
    let stream = client(&node).await.do_get(ticket()).await.unwrap();
    let batches: Vec<RecordBatch> = timeout(PATIENCE, stream.try_collect()).await.unwrap().unwrap();
    let read = concat_batches(&batches[0].schema(), &batches).unwrap();
    let names: Vec<_> = read.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["n", "word", "kind"]);
    assert_eq!(read.column(2).data_type(), &DataType::Utf8);
    let mut numbers = read.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
    for (n, word) in numbers.iter().zip(read.column(1).as_string::<i32>()) {
        assert!(word.unwrap().ends_with(&format!(": {n}")));
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..100_000));
    producer.await.unwrap();
    timeout(PATIENCE, handle.satisfied()).await.unwrap();
    assert_eq!(pool.used(), 0);
}

#[tokio::test]
async fn a_failure_ends_the_stream_of_a_flight_client() {
    let (node, pool) = (Node::start(None).await, Arc::new(Pool::default()));
    let layout = OutputLayout::Partitioned { partitions: 2 };
    let (sink, _handle) = node
        .exchange
        .create_output(attempt(0), rows(0..0).schema(), layout, &sink_options(&pool, 1 << 20))
        .unwrap();
    let stream = client(&node).await.do_get(ticket()).await.unwrap();
    sink.fail(Failure::of(Error::new(ErrorCode::DIVISION_BY_ZERO, "Division by zero")));
    let outcome: Result<Vec<RecordBatch>, _> = timeout(PATIENCE, stream.try_collect()).await.unwrap();
    assert!(outcome.unwrap_err().to_string().contains("Division by zero"));
}
