//! The event loop around the scheduler's core: facts in, decisions carried out.
//!
//! One task owns the [`scheduler::Core`] and everything that is decided with it: the connections to workers and
//! what running queries need beyond their shape. Everybody else talks to it through a [`Dispatcher`].

mod assignment;
mod cleaner;
mod connection;
mod execution;
mod node_service;
mod root_output;
mod splits;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Epoch, Error, Incarnation, Millis, NodeId, QueryId, Result, StageId};
use connector::Split;
use exchange::{CommitRecord, ExchangeManager};
use protocol::node::NodeReport;
use scheduler::{Core, CoreOptions, Event};
use tokio::sync::{mpsc, oneshot};

use cleaner::{Cleaner, KnownQueries, SweepTimes};
pub use connection::{Outbox, WorkerDescription};
pub use execution::{AttemptRecord, Execution, ScanDescription, StageDescription, Submission};
pub use node_service::{NodeService, NodeServiceOptions};
pub use root_output::{NextOutput, RootOutput};
pub use state::DispatchState;

/// How many facts may wait for the loop before those who tell them wait too.
const INBOX_COUNT_MAX: usize = 1024;
/// How many facts are taken in before messages to workers go out.
const BURST_COUNT_MAX: usize = 128;

/// The loop wakes up so often although nothing happens. So it notices when the whole process stood still.
const WAKE_INTERVAL: Duration = Duration::from_secs(1);
/// A loop that wakes up so much too late stood still.
const STANDSTILL_MIN: Duration = Duration::from_secs(1);

/// A fact for the loop.
enum Input {
    Submit(Box<Submission>),
    Cancel(QueryId, Error),
    Close(QueryId),
    /// The query was closed a while ago. It may have been released since.
    NotReleased(QueryId),
    Splits {
        query: QueryId,
        stage: StageId,
        scan: u32,
        splits: Vec<Split>,
        last: bool,
    },
    /// The client is about to get the rows of a root task.
    ReadResult {
        record: Arc<CommitRecord>,
        answer: oneshot::Sender<bool>,
    },
    Attached {
        description: WorkerDescription,
        connection: u64,
        outbox: Outbox,
    },
    Reported {
        node: NodeId,
        connection: u64,
        report: Box<NodeReport>,
    },
    Detached {
        node: NodeId,
        incarnation: Incarnation,
        connection: u64,
    },
    Inspect(Box<dyn FnOnce(&DispatchState) + Send>),
}

/// The way to the event loop.
#[derive(Clone)]
pub struct Dispatcher {
    inbox: mpsc::Sender<Input>,
}

impl Dispatcher {
    /// Starts the loop of a coordinator life. All its queries have ids that end in `coordinator_id`.
    pub fn start(
        epoch: Epoch,
        coordinator_id: &str,
        options: CoreOptions,
        exchange: Arc<ExchangeManager>,
    ) -> Self {
        let (inbox, facts) = mpsc::channel(INBOX_COUNT_MAX);
        let dispatcher = Dispatcher { inbox };
        let core = Core::new(epoch, options);
        let known =
            KnownQueries { coordinator_id: coordinator_id.to_owned(), dispatcher: dispatcher.clone() };
        let cleaner = Cleaner::start(exchange, known, SweepTimes::default());
        let state = DispatchState::new(core, epoch, dispatcher.clone(), cleaner);
        tokio::spawn(run(state, facts));
        dispatcher
    }

    /// Runs a planned query. What becomes of it is told to the submission's [`RootOutput`].
    pub async fn submit(&self, submission: Submission) {
        self.send(Input::Submit(Box::new(submission))).await;
    }

    /// Ends a query with an error, unless it has ended.
    pub async fn cancel(&self, query: QueryId, error: Error) {
        self.send(Input::Cancel(query, error)).await;
    }

    /// The result of a query was delivered, or nobody wants it any more.
    pub async fn close(&self, query: QueryId) {
        self.send(Input::Close(query)).await;
    }

    /// The client is about to get rows of a committed output of the root stage. Whether it may: if not, the output has
    /// been found lost, and another one will be there.
    pub async fn read_result(&self, record: Arc<CommitRecord>) -> bool {
        let (answer, answered) = oneshot::channel();
        self.send(Input::ReadResult { record, answer }).await;
        answered.await.unwrap_or_default()
    }

    /// Looks at the state of the loop, between two steps.
    pub async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&DispatchState) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let look = move |state: &DispatchState| {
            // Whoever asked may have gone away; then nobody misses the answer.
            let _ = answer.send(look(state));
        };
        self.send(Input::Inspect(Box::new(look))).await;
        answered.await.map_err(|_| Error::internal("the scheduler has stopped"))
    }

    async fn send(&self, input: Input) {
        if self.inbox.send(input).await.is_err() {
            tracing::error!("the scheduler has stopped");
        }
    }
}

async fn run(mut state: DispatchState, mut facts: mpsc::Receiver<Input>) {
    let start = Instant::now();
    let now = || Millis(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
    loop {
        let asleep = Instant::now();
        let wake = asleep + WAKE_INTERVAL;
        let deadline = state.next_deadline().map_or(wake, |at| wake.min(start + Duration::from_millis(at.0)));
        let fact = tokio::select! {
            fact = facts.recv() => match fact {
                Some(fact) => Some(fact),
                None => return,
            },
            () = tokio::time::sleep_until(deadline.into()) => None,
        };
        if asleep.elapsed() > WAKE_INTERVAL + STANDSTILL_MIN {
            tracing::warn!(seconds = asleep.elapsed().as_secs_f64(), "the coordinator stood still");
            state.step(now(), Event::Resumed);
        }
        match fact {
            Some(fact) => {
                state.take(now(), fact);
                for _ in 1..BURST_COUNT_MAX {
                    let Ok(fact) = facts.try_recv() else { break };
                    state.take(now(), fact);
                }
            }
            None => state.step(now(), Event::Tick),
        }
        state.flush();
    }
}

#[cfg(test)]
mod tests;
