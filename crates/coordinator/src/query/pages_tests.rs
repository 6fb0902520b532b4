use arrow::array::{ArrayRef, Int64Array};
use std::time::Duration;
use types::{ClientCapabilities, Type};

use super::*;

fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(rows));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn encoder() -> RowEncoder {
    RowEncoder::new(vec![Type::Bigint], ClientCapabilities::ALL)
}

/// Pages of rows that are all here.
fn whole(batches: Vec<RecordBatch>) -> Pages {
    let mut pages = Pages::default();
    pages.set_source(PageSource::Rows(batches), encoder());
    pages
}

/// Pages of rows that come one after the other, read after a position.
fn streamed_after(position: Option<Position>) -> (Pages, mpsc::Sender<Result<ResultBatch>>) {
    let (sender, batches) = mpsc::channel(1);
    let begun = position.map(|position| (position.task, position.generation));
    let cursor = Some(Cursor { batches, position, partial: None, begun });
    (Pages { encoder: Some(encoder()), cursor, ..Pages::default() }, sender)
}

fn streamed() -> (Pages, mpsc::Sender<Result<ResultBatch>>) {
    streamed_after(None)
}

/// The same, of these batches.
fn pages_after(position: Option<Position>, batches: Vec<RecordBatch>) -> Pages {
    let (pages, sender) = streamed_after(position);
    tokio::spawn(async move {
        let numbered = (0..)
            .zip(batches)
            .skip_while(|(number, _)| position.is_some_and(|position| *number < position.batch));
        for (number, rows) in numbered {
            // Whoever reads may want no more.
            let _ = sender.send(result_batch(0, number, rows)).await;
        }
    });
    pages
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test]
async fn the_last_page_is_kept_and_no_other() {
    let mut pages = pages_after(None, vec![batch(0..2)]);
    assert_eq!(pages.check(0), Ok(()));
    let first = pages.make(0, None, soon()).await.unwrap();
    assert_eq!(first.data.as_deref(), Some("[[0],[1]]"));
    assert_eq!(pages.kept(0).unwrap().data, first.data, "asked for again, it is the same");
    assert_eq!(pages.check(1), Ok(()));
    assert_eq!(pages.check(2), Err(PageError::Unknown));
    let last = pages.make(1, first.next, soon()).await.unwrap();
    assert!(last.data.is_none() && last.is_last);
    assert_eq!(pages.check(0), Err(PageError::Gone));
    assert_eq!(pages.check(1), Ok(()));
    assert_eq!(pages.check(2), Err(PageError::Unknown), "nothing follows the last page");
}

/// Reads a result of so many rows in batches, and forgets everything but the position after every so many pages.
async fn read_through(count: i64, forget_after: u64) -> u64 {
    let batches =
        || (0..count).step_by(50_000).map(|start| batch(start..count.min(start + 50_000))).collect();
    let mut pages = pages_after(None, batches());
    let (mut token, mut expected, mut position) = (0, 0, None);
    loop {
        assert_eq!(pages.check(token), Ok(()));
        let page = pages.make(token, position, soon()).await.unwrap();
        position = page.next;
        let Some(data) = page.data else { break };
        assert!(data.len() < 2 * PAGE_TARGET_BYTES);
        let rows: Vec<[i64; 1]> = serde_json::from_str(&data).unwrap();
        for [row] in rows {
            assert_eq!(row, expected);
            expected += 1;
        }
        token += 1;
        if token % forget_after == 0 {
            pages = pages_after(position, batches());
        }
    }
    assert_eq!(expected, count);
    token
}

#[tokio::test]
async fn a_long_result_is_cut_and_nothing_is_lost_or_twice() {
    let count = read_through(1_000_000, u64::MAX).await;
    assert!(count > 4, "the result was cut into {count} pages");
}

#[tokio::test]
async fn a_result_is_read_on_by_somebody_who_knows_nothing_but_the_position() {
    for forget_after in [1, 2, 3] {
        read_through(1_000_000, forget_after).await;
    }
}

#[tokio::test]
async fn a_position_beyond_its_batch_is_refused() {
    let position = Position { task: 0, generation: 0, batch: 0, row: 3 };
    let mut pages = pages_after(Some(position), vec![batch(0..2)]);
    let error = pages.make(7, Some(position), soon()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::EXCHANGE_DATA_LOST);
}

fn result_batch(generation: u32, batch: u64, rows: RecordBatch) -> Result<ResultBatch> {
    Ok(ResultBatch { task: 0, generation, batch, rows })
}

#[tokio::test]
async fn a_result_that_fits_one_page_is_whole() {
    let (mut pages, sender) = streamed();
    let sent = tokio::spawn(async move {
        for at in 0..3 {
            sender.send(result_batch(0, at, batch(0..1))).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let page = pages.make_whole(0, soon()).await.unwrap();
    sent.await.unwrap();
    assert_eq!(page.data.as_deref(), Some("[[0],[0],[0]]"));
    assert!(page.is_final && pages.kept(0).unwrap().is_final);
    assert_eq!(pages.check(1), Err(PageError::Unknown), "nothing follows");
    pages.forget();
    assert_eq!(pages.check(0), Err(PageError::Gone));
}

#[tokio::test]
async fn a_result_that_does_not_fit_one_page_or_is_late_goes_on_as_any_other() {
    let mut long = pages_after(None, (0..20).map(|at| batch(at * 50_000..(at + 1) * 50_000)).collect());
    let first = long.make_whole(0, soon()).await.unwrap();
    assert!(!first.is_final && first.data.is_some());
    let second = long.make(1, first.next, soon()).await.unwrap();
    assert!(second.data.is_some());
    let (mut late, sender) = streamed();
    sender.send(result_batch(0, 0, batch(0..1))).await.unwrap();
    let page = late.make_whole(0, Instant::now()).await.unwrap();
    assert!(!page.is_final);
    drop(sender);
}

#[tokio::test]
async fn a_page_without_rows_in_time_is_empty_and_not_the_last() {
    let (mut pages, sender) = streamed();
    let page = pages.make(0, None, Instant::now()).await.unwrap();
    assert!(page.data.is_none() && !page.is_last);
    sender.send(result_batch(0, 0, batch(0..1))).await.unwrap();
    drop(sender);
    let page = pages.make(1, page.next, soon()).await.unwrap();
    assert_eq!(page.data.as_deref(), Some("[[0]]"));
    assert_eq!(page.next, Some(Position { task: 0, generation: 0, batch: 0, row: 1 }));
}

#[tokio::test]
async fn an_error_of_the_source_is_told() {
    let (mut pages, sender) = streamed();
    sender.send(Err(Error::internal("broken"))).await.unwrap();
    assert!(pages.make(0, None, soon()).await.is_err());
}

#[tokio::test]
async fn rows_of_two_versions_of_an_output_are_never_mixed() {
    let (mut pages, sender) = streamed();
    sender.send(result_batch(0, 0, batch(0..1))).await.unwrap();
    let page = pages.make(0, None, soon()).await.unwrap();
    assert_eq!(page.data.as_deref(), Some("[[0]]"));
    sender.send(result_batch(1, 0, batch(0..1))).await.unwrap();
    let error = pages.make(1, page.next, soon()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::EXCHANGE_DATA_LOST);
}

#[tokio::test]
async fn rows_that_are_all_here_are_one_page_whatever_another_coordinator_finds() {
    let mut pages = whole(vec![batch(0..200_000), batch(200_000..400_000)]);
    let page = pages.make(0, None, soon()).await.unwrap();
    let rows: Vec<[i64; 1]> = serde_json::from_str(page.data.as_deref().unwrap()).unwrap();
    assert!(rows.iter().map(|[row]| *row).eq(0..400_000));
    assert!(page.is_last && page.next.is_some());
    let last = pages.make(1, page.next, soon()).await.unwrap();
    assert!(last.data.is_none() && last.is_last);
    for found in [Vec::new(), vec![batch(0..3)], vec![batch(0..500_000)]] {
        let mut other = whole(found);
        let last = other.make(1, page.next, soon()).await.unwrap();
        assert!(last.data.is_none() && last.is_last);
        assert_eq!(other.check(2), Err(PageError::Unknown));
    }
}

#[tokio::test]
async fn no_rows_make_no_page() {
    let page = whole(vec![batch(0..0)]).make(0, None, soon()).await.unwrap();
    assert!(page.data.is_none() && page.is_last && page.next.is_none());
}
