//! The result of a query as pages, each of which the client fetches by its token.
//!
//! Exactly one page is kept: the last one. A client that lost the answer asks for it again and gets the same
//! bytes; only when it asks for the next one is the page dropped.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use base::{Error, Result};
use tokio::sync::mpsc;
use tokio::time::Instant;
use types::json::PAGE_TARGET_BYTES;
use types::{BatchRows, JsonRows, RowEncoder};

/// Where rows come from.
#[derive(Debug)]
pub enum PageSource {
    /// They are all here.
    Rows(VecDeque<RecordBatch>),
    /// They come as they are read from the exchange.
    Stream(mpsc::Receiver<Result<RecordBatch>>),
}

/// The rows of a page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The rows as JSON, an array of arrays. None if there are no rows.
    pub data: Option<Arc<str>>,
    /// Whether no page with rows follows.
    pub is_last: bool,
}

/// Why a page cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageError {
    /// The token is older than the page that is kept.
    Gone,
    /// The token is none that was given out.
    Unknown,
}

/// The result of a query as pages.
#[derive(Debug, Default)]
pub struct Pages {
    source: Option<PageSource>,
    /// A batch of which some rows were delivered, and how many.
    partial: Option<(BatchRows, usize)>,
    encoder: Option<RowEncoder>,
    drained: bool,
    /// The token of the page that is kept, and the page.
    kept: Option<(u64, Page)>,
}

impl Pages {
    /// Whether a page of that token may be asked for.
    pub fn check(&self, token: u64) -> Result<(), PageError> {
        let last = self.kept.as_ref().map(|(token, _)| *token);
        match last {
            Some(last) if token < last => Err(PageError::Gone),
            Some(last) if token > last + 1 => Err(PageError::Unknown),
            None if token > 0 => Err(PageError::Unknown),
            Some(last) if token > last && self.kept_is_final() => Err(PageError::Unknown),
            _ => Ok(()),
        }
    }

    fn kept_is_final(&self) -> bool {
        self.kept.as_ref().is_some_and(|(_, page)| page.is_last && page.data.is_none())
    }

    /// The page of that token, if it is the one that is kept.
    pub fn kept(&self, token: u64) -> Option<Page> {
        self.kept.as_ref().filter(|(kept, _)| *kept == token).map(|(_, page)| page.clone())
    }

    /// Whether rows may come.
    pub fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// Rows come from here, and are written as this encoder says.
    pub fn set_source(&mut self, source: PageSource, encoder: RowEncoder) {
        self.source = Some(source);
        self.encoder = Some(encoder);
    }

    /// Drops all rows that were not delivered.
    pub fn clear(&mut self) {
        self.source = None;
        self.partial = None;
        self.drained = true;
    }

    /// Keeps a page without rows under that token.
    pub fn keep_empty(&mut self, token: u64, is_last: bool) -> Page {
        let page = Page { data: None, is_last };
        self.kept = Some((token, page.clone()));
        page
    }

    /// Makes the page of that token, with rows that are there before the deadline, and keeps it.
    pub async fn make(&mut self, token: u64, deadline: Instant) -> Result<Page> {
        let mut rows = JsonRows::new();
        while rows.size_bytes() < PAGE_TARGET_BYTES && !self.drained {
            if self.partial.is_none() {
                match self.next_batch(rows.is_empty().then_some(deadline)).await? {
                    ControlFlow::Continue(Some(batch)) => {
                        let encoder = self.encoder.as_ref();
                        let encoder = encoder.ok_or_else(|| Error::internal("rows without an encoder"))?;
                        self.partial = Some((encoder.rows(&batch)?, 0));
                    }
                    ControlFlow::Continue(None) => break,
                    ControlFlow::Break(()) => {
                        self.drained = true;
                        break;
                    }
                }
            }
            if let Some((batch, at)) = self.partial.take() {
                let next = rows.push(&batch, at, PAGE_TARGET_BYTES);
                self.partial = (next < batch.count()).then_some((batch, next));
            }
        }
        let data = (!rows.is_empty()).then(|| Arc::from(rows.finish()));
        let page = Page { data, is_last: self.drained };
        self.kept = Some((token, page.clone()));
        Ok(page)
    }

    /// The next batch. `Continue(None)`: none before the deadline, or none at once if there is no deadline.
    async fn next_batch(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<ControlFlow<(), Option<RecordBatch>>> {
        let source = self.source.as_mut().ok_or_else(|| Error::internal("a page was made without rows"))?;
        let received = match source {
            PageSource::Rows(batches) => batches.pop_front().map(Ok),
            PageSource::Stream(batches) => match deadline {
                Some(deadline) => match tokio::time::timeout_at(deadline, batches.recv()).await {
                    Ok(received) => received,
                    Err(_) => return Ok(ControlFlow::Continue(None)),
                },
                None => match batches.try_recv() {
                    Ok(batch) => Some(batch),
                    Err(mpsc::error::TryRecvError::Empty) => return Ok(ControlFlow::Continue(None)),
                    Err(mpsc::error::TryRecvError::Disconnected) => None,
                },
            },
        };
        match received {
            Some(batch) => Ok(ControlFlow::Continue(Some(batch?))),
            None => Ok(ControlFlow::Break(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use std::time::Duration;
    use types::{ClientCapabilities, Type};

    fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(rows));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    fn pages(source: PageSource) -> Pages {
        let mut pages = Pages::default();
        pages.set_source(source, RowEncoder::new(vec![Type::Bigint], ClientCapabilities::ALL));
        pages
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn the_last_page_is_kept_and_no_other() {
        let mut pages = pages(PageSource::Rows(VecDeque::from([batch(0..2)])));
        assert_eq!(pages.check(1), Err(PageError::Unknown));
        assert_eq!(pages.check(0), Ok(()));
        let first = pages.make(0, soon()).await.unwrap();
        assert_eq!(first.data.as_deref(), Some("[[0],[1]]"));
        assert_eq!(pages.kept(0).unwrap().data, first.data, "asked for again, it is the same");
        assert_eq!(pages.check(1), Ok(()));
        let last = pages.make(1, soon()).await.unwrap();
        assert!(last.data.is_none() && last.is_last);
        assert_eq!(pages.check(0), Err(PageError::Gone));
        assert_eq!(pages.check(1), Ok(()));
        assert_eq!(pages.check(2), Err(PageError::Unknown), "nothing follows the last page");
    }

    #[tokio::test]
    async fn a_long_result_is_cut_and_nothing_is_lost_or_twice() {
        let count = 1_000_000;
        let mut pages = pages(PageSource::Rows(VecDeque::from([batch(0..count)])));
        let (mut token, mut expected) = (0, 0);
        loop {
            let page = pages.make(token, soon()).await.unwrap();
            let Some(data) = page.data else { break };
            assert!(data.len() < 2 * PAGE_TARGET_BYTES);
            let rows: Vec<[i64; 1]> = serde_json::from_str(&data).unwrap();
            for [row] in rows {
                assert_eq!(row, expected);
                expected += 1;
            }
            token += 1;
        }
        assert_eq!(expected, count);
        assert!(token > 4, "the result was cut into {token} pages");
    }

    #[tokio::test]
    async fn a_page_without_rows_in_time_is_empty_and_not_the_last() {
        let (sender, receiver) = mpsc::channel(1);
        let mut pages = pages(PageSource::Stream(receiver));
        let page = pages.make(0, Instant::now()).await.unwrap();
        assert!(page.data.is_none() && !page.is_last);
        sender.send(Ok(batch(0..1))).await.unwrap();
        drop(sender);
        let page = pages.make(1, soon()).await.unwrap();
        assert_eq!(page.data.as_deref(), Some("[[0]]"));
    }

    #[tokio::test]
    async fn an_error_of_the_source_is_told() {
        let (sender, receiver) = mpsc::channel(1);
        let mut pages = pages(PageSource::Stream(receiver));
        sender.send(Err(Error::internal("broken"))).await.unwrap();
        assert!(pages.make(0, soon()).await.is_err());
    }
}
