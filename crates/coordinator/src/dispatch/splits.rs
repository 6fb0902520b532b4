//! Enumerating the splits of a scan, only as fast as the scheduler asks for them.

use base::{Error, QueryId, Result, StageId};
use connector::Split;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use super::{Dispatcher, Input};

/// Splits in batches, as a connector gives them.
pub type SplitStream = BoxStream<'static, Result<Vec<Split>>>;

/// How many requests may wait. The scheduler asks again only after an answer, so one is enough.
const REQUEST_COUNT_MAX: usize = 4;

/// The enumeration of one scan.
#[derive(Debug)]
pub struct SplitEnumeration {
    requests: mpsc::Sender<usize>,
}

impl SplitEnumeration {
    /// Starts it. Splits are told to the event loop; an error cancels the query.
    pub fn start(
        query: QueryId,
        stage: StageId,
        scan: u32,
        splits: impl Future<Output = Result<SplitStream>> + Send + 'static,
        dispatcher: Dispatcher,
    ) -> Self {
        let (requests, requested) = mpsc::channel(REQUEST_COUNT_MAX);
        tokio::spawn(async move {
            if let Err(error) = enumerate(query, stage, scan, splits, &dispatcher, requested).await {
                dispatcher.cancel(query, error).await;
            }
        });
        SplitEnumeration { requests }
    }

    /// Asks for more splits.
    pub fn request(&self, count_max: u32) {
        // A full channel means that an answer is under way anyway.
        let _ = self.requests.try_send(usize::try_from(count_max).unwrap_or(usize::MAX).max(1));
    }
}

async fn enumerate(
    query: QueryId,
    stage: StageId,
    scan: u32,
    splits: impl Future<Output = Result<SplitStream>>,
    dispatcher: &Dispatcher,
    mut requested: mpsc::Receiver<usize>,
) -> Result<(), Error> {
    let mut stream = splits.await?;
    let mut known: Vec<Split> = Vec::new();
    let mut more = true;
    while let Some(count_max) = requested.recv().await {
        while more && known.len() <= count_max {
            match stream.next().await {
                Some(batch) => known.extend(batch?),
                None => more = false,
            }
        }
        let rest = known.split_off(count_max.min(known.len()));
        let batch = std::mem::replace(&mut known, rest);
        let last = !more && known.is_empty();
        dispatcher.send(Input::Splits { query, stage, scan, splits: batch, last }).await;
        if last {
            break;
        }
    }
    Ok(())
}
