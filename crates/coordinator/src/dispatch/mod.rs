//! The event loop around the scheduler's core: facts in, decisions carried out.
//!
//! One task owns the [`scheduler::Core`] and everything that is decided with it: the connections to workers and
//! what running queries need beyond their shape. Everybody else talks to it through a [`Dispatcher`].

mod assignment;
mod cleaner;
mod connection;
mod durability;
mod execution;
mod inline;
mod memory;
mod node_service;
mod persister;
mod pipeline;
mod records;
mod region;
mod reports;
mod root_output;
mod splits;
mod state;
mod totals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{AttemptId, Error, Incarnation, Millis, NodeId, OutputId, QueryId, Result, StageId};
use connector::Split;
use exchange::{Committed, ExchangeManager};
use protocol::node::NodeReport;
use protocol::state::TasksContent;
use scheduler::{Core, CoreOptions, Event, Record};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use cleaner::{Cleaner, KnownQueries, SweepTimes};
pub use connection::{Outbox, WorkerDescription};
pub use execution::{AttemptRecord, Execution, ScanDescription, StageDescription, Submission};
pub use memory::QueryMemoryLimits;
pub use node_service::{NodeService, NodeServiceOptions};
use persister::Persister;
pub use pipeline::{Pipeline, PipelineOptions};
pub use records::Recovery;
pub use region::Producer;
pub use root_output::{NextOutput, RootOutput};
pub use state::DispatchState;
pub use totals::AttemptCounts;

use crate::query::{QueryRegistry, ReadConsent};
use crate::state::StateStore;

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
    /// A query of a former life goes on.
    Recover(Box<Recovery>),
    /// It is known what is under the key of the record that is being created for a query.
    Persisted {
        query: QueryId,
        created: Box<Result<(Record, TasksContent)>>,
    },
    /// A query is to have records. It is told when it has, or has ended.
    MakeDurable {
        query: QueryId,
        answer: oneshot::Sender<Result<()>>,
    },
    /// It is known what is in the store of an output that an attempt reported.
    Committed {
        query: QueryId,
        attempt: AttemptId,
        found: Box<Committed>,
    },
    /// Everything is to be deleted that former lives left of a query. It is told when that is done.
    Purge {
        query: QueryId,
        answer: oneshot::Sender<()>,
    },
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
    /// The client is about to get rows of a root task.
    ResultRead {
        query: QueryId,
        partition: u32,
        generation: Option<u32>,
        answer: oneshot::Sender<ReadConsent>,
    },
    /// A committed output of the root stage could not be read.
    OutputLost {
        output: OutputId,
        error: Error,
        answer: oneshot::Sender<Result<()>>,
    },
    Inspect(Box<dyn FnOnce(&DispatchState) + Send>),
}

/// What the event loop of a coordinator life works with.
pub struct DispatcherOptions {
    /// The scheduler's limits.
    pub core: CoreOptions,
    /// Where stages leave their output.
    pub exchange: Arc<ExchangeManager>,
    /// Where decisions are recorded.
    pub state: StateStore,
    /// The queries that are remembered.
    pub queries: Arc<QueryRegistry>,
    /// What the ids of the queries of this life and of those before it end in.
    pub coordinator_ids: Vec<String>,
    /// Ends the life.
    pub stop: CancellationToken,
}

/// The way to the event loop.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    inbox: mpsc::Sender<Input>,
}

impl Dispatcher {
    /// Starts the loop of a coordinator life. It ends when the life does.
    pub fn start(options: DispatcherOptions) -> Self {
        let DispatcherOptions { core, exchange, state, queries, coordinator_ids, stop } = options;
        let (inbox, facts) = mpsc::channel(INBOX_COUNT_MAX);
        let dispatcher = Dispatcher { inbox };
        let epoch = state.leadership().epoch();
        let core = Core::new(epoch, core);
        let known =
            KnownQueries { coordinator_ids, queries: Arc::clone(&queries), dispatcher: dispatcher.clone() };
        let persister = Persister::new(state.clone(), Arc::clone(&exchange), dispatcher.clone());
        let cleaner = Cleaner::start(exchange, state, known, SweepTimes::default(), stop.clone());
        let state = DispatchState::new(core, epoch, dispatcher.clone(), queries, cleaner, persister);
        tokio::spawn(async move {
            // What was decided and not done is decided again by the next life.
            stop.run_until_cancelled(run(state, facts)).await;
        });
        dispatcher
    }

    /// Goes on with a query of a former life. What becomes of it is told to the submission's [`RootOutput`].
    pub async fn recover(&self, recovery: Recovery) {
        self.send(Input::Recover(Box::new(recovery))).await;
    }

    /// Runs a planned query. What becomes of it is told to the submission's [`RootOutput`].
    pub async fn submit(&self, submission: Submission) {
        self.send(Input::Submit(Box::new(submission))).await;
    }

    /// Records all that was decided and committed of a query that runs without records, and all that will be. Returns
    /// when what there is can be relied upon, or the query has failed.
    ///
    /// # Errors
    /// If what is in the store is not what the query goes by, or this life of the coordinator has ended.
    pub async fn make_durable(&self, query: QueryId) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::MakeDurable { query, answer }).await;
        answered.await.map_err(|_| Error::internal("the scheduler has stopped"))?
    }

    /// Deletes everything that former lives of the coordinator left of a query.
    pub async fn purge(&self, query: QueryId) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Purge { query, answer }).await;
        answered.await.map_err(|_| Error::internal("the scheduler has stopped"))
    }

    /// Ends a query with an error, unless it has ended.
    pub async fn cancel(&self, query: QueryId, error: Error) {
        self.send(Input::Cancel(query, error)).await;
    }

    /// The result of a query was delivered, or nobody wants it any more.
    pub async fn close(&self, query: QueryId) {
        self.send(Input::Close(query)).await;
    }

    /// The client is about to get rows of a root task, of that version of its output if one is named. Says whether
    /// they may be given.
    pub async fn result_read(
        &self,
        query: QueryId,
        partition: u32,
        generation: Option<u32>,
    ) -> Result<ReadConsent> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::ResultRead { query, partition, generation, answer }).await;
        answered.await.map_err(|_| Error::internal("the scheduler has stopped"))
    }

    /// A committed output of the root stage could not be read. Fails with the error if it will not be computed again.
    pub async fn output_lost(&self, output: OutputId, error: Error) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::OutputLost { output, error, answer }).await;
        answered.await.map_err(|_| Error::internal("the scheduler has stopped"))?
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
            tracing::debug!("the scheduler has stopped");
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
mod pipeline_tests;
#[cfg(test)]
mod test_worker;
#[cfg(test)]
mod tests;
