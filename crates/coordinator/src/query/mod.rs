//! The life of a query: accepted, planned, run, delivered, remembered.

mod explain_analyze;
mod limits;
mod pages;
mod position;
mod progress;
mod recorded;
mod registry;
mod result_reader;
mod result_stream;
mod run;
mod short_answers;
mod state;
mod work;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use base::{Error, ErrorCode, QueryId};
use config::RetryPolicy;
use protocol::client::{ClientContext, SessionUpdate, StatementStats};
use sql::OutputColumn;
use tokio::sync::{OnceCell, watch};

use crate::dispatch::RootOutput;
use crate::slug::Slug;
use crate::state::QueryRecord;

pub use limits::abandoned;
pub use pages::{Page, PageError, Pages};
pub use position::Position;
pub use progress::{AttemptProgress, QueryProgress};
pub use recorded::{FirstAnswer, Recorded};
pub use registry::QueryRegistry;
pub use result_reader::ReadConsent;
pub use result_stream::DirectInput;
pub use run::{answer_again, resume, resume_definition, run};
pub use short_answers::DeliveredAnswers;
pub use state::{QueryState, QueryStatus};

/// A query that was accepted.
pub struct Query {
    /// Its name.
    pub id: QueryId,
    /// The statement.
    pub text: String,
    /// What the client told of itself and its session.
    pub client: ClientContext,
    /// The secrets in its addresses.
    pub slug: Slug,
    /// What is tried again when something of it fails.
    pub retry_policy: RetryPolicy,
    /// The result as the client fetches it.
    pub pages: tokio::sync::Mutex<Pages>,
    /// What of it is on record. Whoever changes that, or relies on it, holds the lock meanwhile.
    pub recorded: tokio::sync::Mutex<Recorded>,
    /// How its client was answered first. Empty until it is.
    pub first_answer: OnceCell<FirstAnswer>,
    status: Mutex<QueryStatus>,
    /// Who ends it.
    owner: Mutex<Owner>,
    /// The last that is known of its stages; kept when the scheduler has forgotten it.
    progress: Mutex<QueryProgress>,
    changed: watch::Sender<()>,
    /// How many requests of the client are being served.
    attended: AtomicU64,
    /// Whether it was begun.
    begun: AtomicBool,
    /// Whether it waits until its client has the address of its first page.
    waits: AtomicBool,
    /// Whether its client has.
    asked: AtomicBool,
    /// Whether the client was told how it ended, or knows.
    told: AtomicBool,
    /// Whether it ended well, and its client did not get the answer.
    undelivered: AtomicBool,
    /// Why its record cannot be read, if it cannot.
    record_error: Option<Error>,
}

/// Who ends a query.
#[derive(Debug)]
enum Owner {
    /// Whoever wants to first: it was not handed to the scheduler.
    Anybody,
    /// The scheduler. It tells of the query here.
    Scheduler(Arc<RootOutput>),
    /// Somebody ended it before the scheduler knew of it.
    Nobody,
}

/// How to end a query.
#[derive(Debug)]
pub enum Ending {
    /// Its outcome is to be recorded by whoever asked.
    Ours,
    /// The scheduler ends it.
    OfScheduler(Arc<RootOutput>),
    /// Somebody else is ending it.
    OfAnother,
}

/// A request of a query's client that is being served. Its end is the last that was heard of the client.
pub struct Attendance(Arc<Query>);

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.touch();
        self.0.attended.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Query {
    /// A query that is accepted now. Nothing of it is recorded.
    pub fn new(id: QueryId, text: String, client: ClientContext) -> Self {
        let slug_key = *Slug::random().key();
        Query::of(id, QueryRecord { text, client, slug_key, created: SystemTime::now() })
    }

    /// A query of a former life of the coordinator, which is on record.
    pub fn recovered(id: QueryId, record: QueryRecord) -> Self {
        Query {
            recorded: tokio::sync::Mutex::new(Recorded::Everything),
            first_answer: OnceCell::new_with(Some(FirstAnswer::Recorded)),
            ..Query::of(id, record)
        }
    }

    /// The same under another retry policy than `TASK`.
    pub fn under(self, retry_policy: RetryPolicy) -> Self {
        Query { retry_policy, ..self }
    }

    /// The query of a statement that is not recorded.
    pub fn of(id: QueryId, record: QueryRecord) -> Self {
        let QueryRecord { text, client, slug_key, created } = record;
        Query {
            id,
            text,
            client,
            slug: Slug::of(slug_key),
            retry_policy: RetryPolicy::Task,
            pages: tokio::sync::Mutex::new(Pages::default()),
            recorded: tokio::sync::Mutex::new(Recorded::Nothing),
            first_answer: OnceCell::new(),
            status: Mutex::new(QueryStatus::new(created)),
            owner: Mutex::new(Owner::Anybody),
            progress: Mutex::new(QueryProgress::default()),
            changed: watch::Sender::new(()),
            attended: AtomicU64::new(0),
            begun: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            told: AtomicBool::new(false),
            undelivered: AtomicBool::new(false),
            record_error: None,
        }
    }

    /// A query of a former life of the coordinator whose record cannot be read: it has failed, and nobody knows whose it
    /// was.
    pub fn unreadable(id: QueryId, error: Error) -> Self {
        let record = QueryRecord {
            text: String::new(),
            client: ClientContext::default(),
            slug_key: *Slug::random().key(),
            created: SystemTime::now(),
        };
        let query = Query { record_error: Some(error.clone()), ..Query::recovered(id, record) };
        query.begin();
        query.ending();
        query.fail(error);
        query
    }

    /// Why the record of it cannot be read, if it cannot. Then no address is that of its client.
    pub fn record_error(&self) -> Option<&Error> {
        self.record_error.as_ref()
    }

    /// Whether this call is the one that begins it.
    pub fn begin(&self) -> bool {
        !self.begun.swap(true, Ordering::AcqRel)
    }

    /// Its client asks for a page, so it has the address.
    pub fn set_asked(&self) {
        if !self.asked.swap(true, Ordering::AcqRel) {
            self.changed.send_replace(());
        }
    }

    /// Waits until its client asks for a page. There is no use in letting the client wait for a first answer meanwhile.
    pub async fn asked(&self) {
        self.waits.store(true, Ordering::Release);
        self.changed.send_replace(());
        self.until(|| self.asked.load(Ordering::Acquire)).await;
    }

    /// Waits until its tasks are done or it has ended, or until it waits for its client.
    pub async fn is_answerable(&self) {
        self.until(|| self.waits.load(Ordering::Acquire) || self.state() >= QueryState::Finishing).await;
    }

    /// Another coordinator began it.
    pub fn was_begun(&self) {
        lock(&self.status).times.was_begun();
    }

    /// What is known of it.
    pub fn status(&self) -> QueryStatus {
        lock(&self.status).clone()
    }

    /// When it ended, if it has.
    pub fn ended_at(&self) -> Option<Instant> {
        lock(&self.status).times.ended_at
    }

    /// Its state.
    pub fn state(&self) -> QueryState {
        lock(&self.status).state
    }

    /// Its error, if it failed.
    pub fn error(&self) -> Option<Error> {
        lock(&self.status).error.clone()
    }

    /// Moves on to a later state. Says whether it did.
    pub fn advance(&self, state: QueryState) -> bool {
        let advanced = lock(&self.status).advance(state);
        if advanced {
            self.changed.send_replace(());
        }
        advanced
    }

    /// Fails, unless it has ended. Says whether it did.
    pub fn fail(&self, error: Error) -> bool {
        let failed = {
            let mut status = lock(&self.status);
            let failed = status.advance(QueryState::Failed);
            if failed {
                tracing::info!(query = %self.id, code = error.code().name, %error, "query failed");
                status.error = Some(error);
            }
            failed
        };
        self.changed.send_replace(());
        failed
    }

    /// The columns of the result are known.
    pub fn set_columns(&self, columns: Vec<OutputColumn>) {
        lock(&self.status).columns = Some(columns);
        self.changed.send_replace(());
    }

    /// What kind of statement it is, and what the client is to change in its session.
    pub fn set_update(&self, update_type: Option<&'static str>, session_update: SessionUpdate) {
        let mut status = lock(&self.status);
        status.update_type = update_type;
        status.session_update = session_update;
    }

    /// The record of it.
    pub fn record(&self) -> QueryRecord {
        QueryRecord {
            text: self.text.clone(),
            client: self.client.clone(),
            slug_key: *self.slug.key(),
            created: lock(&self.status).times.created,
        }
    }

    /// Where the scheduler tells of it, once it was handed over.
    pub fn root(&self) -> Option<Arc<RootOutput>> {
        match &*lock(&self.owner) {
            Owner::Scheduler(root) => Some(Arc::clone(root)),
            Owner::Anybody | Owner::Nobody => None,
        }
    }

    /// It is handed to the scheduler. Says whether it is: it may have been ended before.
    pub fn hand_over(&self, root: Arc<RootOutput>) -> bool {
        let mut owner = lock(&self.owner);
        match *owner {
            Owner::Nobody => false,
            Owner::Anybody | Owner::Scheduler(_) => {
                *owner = Owner::Scheduler(root);
                true
            }
        }
    }

    /// Somebody wants to end it, and asks how.
    pub fn ending(&self) -> Ending {
        let mut owner = lock(&self.owner);
        match &*owner {
            Owner::Scheduler(root) => Ending::OfScheduler(Arc::clone(root)),
            Owner::Nobody => Ending::OfAnother,
            Owner::Anybody => {
                *owner = Owner::Nobody;
                Ending::Ours
            }
        }
    }

    /// The last that is known of its stages.
    pub fn progress(&self) -> QueryProgress {
        lock(&self.progress).clone()
    }

    /// Changes what is known of its stages.
    pub fn update_progress(&self, change: impl FnOnce(&mut QueryProgress)) {
        change(&mut lock(&self.progress));
    }

    /// How far it is, as clients see it.
    pub fn statement_stats(&self) -> StatementStats {
        lock(&self.progress).statement_stats(self)
    }

    /// A request of the client is being served. While it is, and at its end, the client is there.
    pub fn attend(self: &Arc<Self>) -> Attendance {
        self.attended.fetch_add(1, Ordering::AcqRel);
        Attendance(Arc::clone(self))
    }

    /// Whether a request of the client is being served.
    pub fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Acquire) > 0
    }

    /// The client was told how it ended, or has ended it.
    pub fn set_told(&self) {
        self.told.store(true, Ordering::Release);
    }

    /// It ended well, and its answer cannot be given to its client.
    pub fn set_undelivered(&self) {
        self.undelivered.store(true, Ordering::Release);
    }

    /// Whether it ended well, and its client is told of a failure. What is left of it tells another coordinator of the
    /// same failure, and the outcome alone would tell it of none.
    pub fn is_undelivered(&self) -> bool {
        self.undelivered.load(Ordering::Acquire)
    }

    /// Whether it ended, not longer ago than that, and its client may still ask how.
    pub fn is_awaited(&self, within: Duration) -> bool {
        self.ended_at().is_some_and(|at| at.elapsed() < within) && !self.told.load(Ordering::Acquire)
    }

    fn touch(&self) {
        let mut status = lock(&self.status);
        status.times.heard = SystemTime::now();
        status.times.heard_at = Instant::now();
    }

    /// Waits until it has reached a state, or a later one.
    pub async fn reached(&self, state: QueryState) {
        self.until(|| self.state() >= state).await;
    }

    /// Waits until the columns of its result are known, or it has ended.
    pub async fn has_columns(&self) {
        self.until(|| self.is_described()).await;
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let mut changes = self.changed.subscribe();
        while !holds() {
            // The sender lives as long as the query.
            let _ = changes.changed().await;
        }
    }

    fn is_described(&self) -> bool {
        let status = lock(&self.status);
        status.columns.is_some() || status.state.is_final()
    }

    /// The error of a query that its user cancelled.
    pub fn canceled() -> Error {
        Error::new(ErrorCode::USER_CANCELED, "Query was canceled")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
