//! Queries that run beside a scenario, under the clients that people use.

mod python;
mod rust;

use std::time::{Duration, Instant};

use serde_json::Value;
use steadfast::Failure;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use python::PythonClient;
pub use rust::start_rust;

/// How long a query may take, with whatever is done to it.
const QUERY_TIMEOUT: Duration = Duration::from_secs(300);

/// How far a client is with a query.
#[derive(Clone, Debug, Default)]
pub struct ClientProgress {
    /// The query, once it is known.
    pub id: Option<String>,
    /// How many rows have come.
    pub rows: usize,
    /// How many requests were sent again.
    pub retries: u64,
    /// Why one was, the last time.
    pub last_retry: Option<String>,
    /// Whether the client has ended.
    pub has_ended: bool,
}

/// What became of a query.
#[derive(Debug)]
pub struct Outcome {
    /// The query, if one came to be.
    pub id: Option<String>,
    /// Its rows, or what the client's user is told.
    pub rows: Result<Vec<Vec<Value>>, String>,
    /// How many requests were sent again, as far as the client tells.
    pub retries: u64,
    /// How long it took the client to get it all.
    pub wall: Duration,
}

/// A query that runs.
pub struct Running {
    started: Instant,
    progress: watch::Receiver<ClientProgress>,
    rows: JoinHandle<Result<Vec<Vec<Value>>, String>>,
}

impl Running {
    fn new(
        progress: watch::Receiver<ClientProgress>,
        rows: JoinHandle<Result<Vec<Vec<Value>>, String>>,
    ) -> Self {
        Running { started: Instant::now(), progress, rows }
    }

    /// How far it is.
    pub fn progress(&self) -> ClientProgress {
        self.progress.borrow().clone()
    }

    /// Whether the client has all it will get.
    pub fn is_finished(&self) -> bool {
        self.rows.is_finished()
    }

    /// The query, as soon as the client knows it. None if the client ended before.
    pub async fn id(&self) -> Option<String> {
        self.reached(|progress| progress.id.is_some()).await;
        self.progress().id
    }

    /// Waits until the client has got this far, or has ended. Whether it has got this far.
    pub async fn reached(&self, what: impl Fn(&ClientProgress) -> bool) -> bool {
        let mut progress = self.progress.clone();
        // A sender that is gone has ended, too.
        let _ = progress.wait_for(|progress| what(progress) || progress.has_ended).await;
        what(&progress.borrow())
    }

    /// Waits until it has ended.
    pub async fn outcome(mut self) -> Result<Outcome, Failure> {
        let left = QUERY_TIMEOUT.saturating_sub(self.started.elapsed());
        let rows = match tokio::time::timeout(left, &mut self.rows).await {
            Ok(ended) => ended?,
            Err(_) => {
                self.rows.abort();
                Err(format!("the client has no result after {QUERY_TIMEOUT:?}"))
            }
        };
        let ClientProgress { id, retries, last_retry, .. } = self.progress();
        let rows = rows.map_err(|error| match last_retry {
            Some(reason) => format!("{error} (it tried again {retries} times, last after: {reason})"),
            None => error,
        });
        Ok(Outcome { id, rows, retries, wall: self.started.elapsed() })
    }
}

/// Says that the client has ended, however it did.
struct EndTeller(watch::Sender<ClientProgress>);

impl Drop for EndTeller {
    fn drop(&mut self) {
        self.0.send_modify(|progress| progress.has_ended = true);
    }
}
