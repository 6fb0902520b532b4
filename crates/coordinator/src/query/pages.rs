//! The result of a query as pages, each of which the client fetches by its token.
//!
//! Exactly one page is kept: the last one. A client that lost the answer asks for it again and gets the same
//! bytes; only when it asks for the next one is the page dropped. Each page tells the position after it, from which
//! any other coordinator makes the next one.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use base::{Error, ErrorCode, Result};
use tokio::sync::mpsc;
use tokio::time::Instant;
use types::json::PAGE_TARGET_BYTES;
use types::{BatchRows, JsonRows, RowEncoder};

use super::position::Position;
use super::result_reader::{ReadConsent, ResultBatch, ResultReader};
use super::result_stream::ResultStream;

/// Where rows come from.
#[derive(Debug)]
pub enum PageSource {
    /// They are all here, and make one page. Another coordinator, which finds out for itself, may find other rows: it
    /// must never have to go on in the middle.
    Rows(Vec<RecordBatch>),
    /// They are read from the exchange.
    Exchange(ResultReader),
    /// They are read while they are written.
    Stream(ResultStream),
}

/// The rows of a page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The rows as JSON, an array of arrays. None if there are no rows.
    pub data: Option<Arc<str>>,
    /// Whether no page with rows follows.
    pub is_last: bool,
    /// Whether no page follows at all.
    pub is_final: bool,
    /// Where the next page goes on. None: at the beginning, because no row was delivered yet.
    pub next: Option<Position>,
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
    encoder: Option<RowEncoder>,
    cursor: Option<Cursor>,
    drained: bool,
    /// The token of the page that is kept, and the page.
    kept: Option<(u64, Page)>,
    /// The page that was kept is dropped, and there is no other.
    is_forgotten: bool,
    /// Why a result that is read only once cannot be read on.
    failed: Option<Error>,
}

/// What is being read of the source.
#[derive(Debug)]
struct Cursor {
    batches: mpsc::Receiver<Result<ResultBatch>>,
    /// The end of the last row that went into a page.
    position: Option<Position>,
    /// A batch of which some rows went into pages, and how many.
    partial: Option<Partial>,
    /// The task and generation whose rows the client has, or is about to get.
    begun: Option<(u32, u32)>,
}

#[derive(Debug)]
struct Partial {
    task: u32,
    generation: u32,
    batch: u64,
    rows: BatchRows,
    at: usize,
}

impl Pages {
    /// Whether a page of that token may be asked for. The first token that is asked for may be any: another
    /// coordinator may have served those before it.
    pub fn check(&self, token: u64) -> Result<(), PageError> {
        match self.kept.as_ref().map(|(token, _)| *token) {
            None if self.is_forgotten => Err(PageError::Gone),
            Some(last) if token < last => Err(PageError::Gone),
            Some(last) if token > last + 1 => Err(PageError::Unknown),
            Some(last) if token > last && self.kept_is_final() => Err(PageError::Unknown),
            _ => Ok(()),
        }
    }

    fn kept_is_final(&self) -> bool {
        self.kept.as_ref().is_some_and(|(_, page)| page.is_final)
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

    /// Drops all rows. The client is told why instead of getting them.
    pub fn clear(&mut self) {
        if let Some((_, page)) = &mut self.kept {
            page.data = None;
        }
        self.source = None;
        self.cursor = None;
        self.drained = true;
    }

    /// All rows were delivered: they come from nowhere any more. The last page stays.
    pub fn release(&mut self) {
        self.source = None;
        self.cursor = None;
    }

    /// Forgets what was read. The next page is read from its position again.
    pub fn rewind(&mut self) {
        self.cursor = None;
    }

    /// Keeps a page under that token.
    pub fn keep(&mut self, token: u64, page: Page) -> Page {
        self.kept = Some((token, page.clone()));
        page
    }

    /// Keeps a page without rows under that token.
    pub fn keep_empty(&mut self, token: u64, position: Option<Position>, is_last: bool) -> Page {
        self.keep(token, Page { data: None, is_last, is_final: is_last, next: position })
    }

    /// Drops the page that is kept. It is not made again.
    pub fn forget(&mut self) {
        self.kept = None;
        self.is_forgotten = true;
    }

    /// Makes the page of that token, with rows after that position that are there before the deadline, and keeps
    /// it.
    pub async fn make(&mut self, token: u64, position: Option<Position>, deadline: Instant) -> Result<Page> {
        let made = self.fill(token, position, deadline, false).await;
        self.keep_failure(made)
    }

    /// Makes the page of that token from all rows there are, and keeps it. If they are not all there before the
    /// deadline, or do not fit, it is a page like any other; else no page follows.
    pub async fn make_whole(&mut self, token: u64, deadline: Instant) -> Result<Page> {
        let made = self.fill(token, None, deadline, true).await;
        let page = self.keep_failure(made)?;
        Ok(self.keep(token, Page { is_final: page.is_last, ..page }))
    }

    /// Whoever asks once more for what is read only once is told what went wrong the first time.
    fn keep_failure<T>(&mut self, made: Result<T>) -> Result<T> {
        if let (Err(error), Some(PageSource::Stream(_))) = (&made, &self.source) {
            self.failed.get_or_insert_with(|| error.clone());
        }
        made
    }

    /// Fills a page. `whole`: it is waited for further rows although some are there.
    async fn fill(
        &mut self,
        token: u64,
        position: Option<Position>,
        deadline: Instant,
        whole: bool,
    ) -> Result<Page> {
        if let Some(PageSource::Rows(batches)) = &self.source {
            let page = self.whole(batches, position)?;
            return Ok(self.keep(token, page));
        }
        let mut rows = JsonRows::new();
        if self.cursor.as_ref().is_none_or(|cursor| cursor.position != position) {
            self.drained = false;
            self.open(position).await?;
        }
        while rows.size_bytes() < PAGE_TARGET_BYTES && !self.drained {
            let cursor =
                self.cursor.as_mut().ok_or_else(|| Error::internal("a page was made without rows"))?;
            if let Some(mut partial) = cursor.partial.take() {
                let next = rows.push(&partial.rows, partial.at, PAGE_TARGET_BYTES);
                if next > partial.at {
                    let Partial { task, generation, batch, .. } = partial;
                    cursor.position = Some(Position { task, generation, batch, row: next as u64 });
                }
                partial.at = next;
                cursor.partial = (next < partial.rows.count()).then_some(partial);
                continue;
            }
            match self.next_batch((whole || rows.is_empty()).then_some(deadline)).await? {
                ControlFlow::Continue(Some(batch)) => self.begin(batch).await?,
                ControlFlow::Continue(None) => break,
                ControlFlow::Break(()) => self.drained = true,
            }
        }
        let is_final = self.drained && rows.is_empty();
        let data = (!rows.is_empty()).then(|| Arc::from(rows.finish()));
        let next = self.cursor.as_ref().and_then(|cursor| cursor.position);
        Ok(self.keep(token, Page { data, is_last: self.drained, is_final, next }))
    }

    /// The page of rows that are all here, or the one after it.
    fn whole(&self, batches: &[RecordBatch], position: Option<Position>) -> Result<Page> {
        if position.is_some() {
            return Ok(Page { data: None, is_last: true, is_final: true, next: position });
        }
        let mut rows = JsonRows::new();
        let encoder = self.encoder.as_ref().ok_or_else(|| Error::internal("rows without an encoder"))?;
        for batch in batches {
            rows.push(&encoder.rows(batch)?, 0, usize::MAX);
        }
        let row = rows.count() as u64;
        let next = (row > 0).then_some(Position { task: 0, generation: 0, batch: 0, row });
        let data: Option<Arc<str>> = (row > 0).then(|| Arc::from(rows.finish()));
        Ok(Page { is_last: true, is_final: data.is_none(), next, data })
    }

    /// Begins to read after a position.
    async fn open(&mut self, position: Option<Position>) -> Result<()> {
        let batches = match &self.source {
            Some(PageSource::Exchange(reader)) => reader.open(position).await?,
            Some(PageSource::Stream(stream)) => match &self.failed {
                Some(error) => return Err(error.clone()),
                None => stream.open(position)?,
            },
            Some(PageSource::Rows(_)) | None => {
                return Err(Error::internal("a page was made without rows"));
            }
        };
        let begun = position.map(|position| (position.task, position.generation));
        self.cursor = Some(Cursor { batches, position, partial: None, begun });
        Ok(())
    }

    /// Makes a batch the one whose rows come next, if its task may still be read.
    async fn begin(&mut self, batch: ResultBatch) -> Result<()> {
        let ResultBatch { task, generation, batch, rows } = batch;
        let (begun, position) = match &self.cursor {
            Some(cursor) => (cursor.begun, cursor.position),
            None => (None, None),
        };
        if begun != Some((task, generation)) {
            if begun.is_some_and(|(begun, _)| begun == task) {
                let text =
                    format!("Task {task} of the result was computed again after the client had read of it");
                return Err(Error::new(ErrorCode::EXCHANGE_DATA_LOST, text));
            }
            if let Some(PageSource::Exchange(reader)) = &self.source
                && reader.begin(task, generation).await? == ReadConsent::Void
            {
                // What was read ahead does not count any more. None of it was delivered.
                return self.open(position).await;
            }
        }
        let encoder = self.encoder.as_ref().ok_or_else(|| Error::internal("rows without an encoder"))?;
        let rows = encoder.rows(&rows)?;
        let delivered = position.filter(|at| (at.task, at.batch) == (task, batch));
        let at = delivered.map_or(0, |at| usize::try_from(at.row).unwrap_or(usize::MAX));
        if at > rows.count() {
            let text = "The address of the result page names a row that its batch does not have";
            return Err(Error::new(ErrorCode::EXCHANGE_DATA_LOST, text));
        }
        if let Some(cursor) = &mut self.cursor {
            cursor.begun = Some((task, generation));
            cursor.partial = (at < rows.count()).then_some(Partial { task, generation, batch, rows, at });
        }
        Ok(())
    }

    /// The next batch. `Continue(None)`: none before the deadline, or none at once if there is no deadline.
    async fn next_batch(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<ControlFlow<(), Option<ResultBatch>>> {
        let cursor = self.cursor.as_mut().ok_or_else(|| Error::internal("a page was made without rows"))?;
        let received = match deadline {
            Some(deadline) => match tokio::time::timeout_at(deadline, cursor.batches.recv()).await {
                Ok(received) => received,
                Err(_) => return Ok(ControlFlow::Continue(None)),
            },
            None => match cursor.batches.try_recv() {
                Ok(batch) => Some(batch),
                Err(mpsc::error::TryRecvError::Empty) => return Ok(ControlFlow::Continue(None)),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            },
        };
        match received {
            Some(batch) => Ok(ControlFlow::Continue(Some(batch?))),
            None => Ok(ControlFlow::Break(())),
        }
    }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
