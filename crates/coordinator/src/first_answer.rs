//! How the client of a new statement is answered first: with the promise that the query outlives this coordinator, or,
//! if its answer is there already, without any.
//!
//! What is written before what, when a query is recorded: first all that was decided and committed, then the plan, last
//! the statement. A query exists for other coordinators only if its statement is on record; what is there without it
//! is garbage, wherever this one stopped.

use std::sync::Arc;
use std::time::Duration;

use base::{Error, ErrorCode, QueryId, Result};
use config::RetryPolicy;
use exchange::ObjectKey;
use scheduler::Record;
use tokio::time::{Instant, timeout};

use crate::dispatch::Dispatcher;
use crate::query::{FirstAnswer, Query, QueryState, Recorded, run};
use crate::services::Services;
use crate::slug::FIRST_TOKEN;
use crate::state::StateStore;

/// How long it takes at most to make a page of a result that is there. If it takes longer, the result is not short.
const PAGE_PATIENCE: Duration = Duration::from_millis(100);
/// How long a client may wait until its statement is recorded. Then it is told to try again.
const RECORD_PATIENCE: Duration = Duration::from_secs(10);

impl Services {
    /// Waits until it is known how the client of a query is answered first, which is soon. Everybody is told the same.
    ///
    /// # Errors
    /// If the query should be recorded and cannot be. It is ended then.
    pub async fn first_answer(self: &Arc<Self>, query: &Arc<Query>) -> Result<FirstAnswer> {
        let answer = query.first_answer.get_or_try_init(|| self.find_first_answer(query)).await;
        if let Err(error) = &answer {
            self.end(query, error.clone()).await;
        }
        answer.cloned()
    }

    async fn find_first_answer(self: &Arc<Self>, query: &Arc<Query>) -> Result<FirstAnswer> {
        if query.retry_policy != RetryPolicy::Task {
            // It ends with this coordinator in any case: nothing is promised, and nothing is to be waited for.
            return Ok(FirstAnswer::Recorded);
        }
        let wait = self.config.query.first_answer_wait.as_std();
        if !wait.is_zero() {
            // Waiting in vain is no error: then the query is not short.
            let _ = timeout(wait, query.is_answerable()).await;
        }
        let has_ended = !wait.is_zero() && query.state() >= QueryState::Finishing;
        if has_ended && let Some(capsule) = self.short_answer(query).await {
            return Ok(FirstAnswer::Short { capsule });
        }
        let unanswered =
            |_| Error::new(ErrorCode::EXCHANGE_STORE_ERROR, "The statement cannot be recorded now");
        timeout(RECORD_PATIENCE, self.make_durable(query)).await.map_err(unanswered).flatten()?;
        Ok(FirstAnswer::Recorded)
    }

    /// The capsule of a query that has ended, if it is short. The page with its rows is kept then.
    async fn short_answer(&self, query: &Arc<Query>) -> Option<String> {
        if matches!(*query.recorded.lock().await, Recorded::Everything)
            || !query.client.extra_credentials.is_empty()
        {
            return None;
        }
        let capsule = self.capsules.seal(query.id, &query.record())?;
        if query.state() == QueryState::Failed {
            return Some(capsule);
        }
        let deadline = Instant::now() + PAGE_PATIENCE;
        let mut pages = query.pages.lock().await;
        match pages.make_whole(FIRST_TOKEN, deadline).await {
            Ok(page) if page.is_final => Some(capsule),
            // It is given to the client when everything that it promises is on record.
            Ok(_) => None,
            // Whoever asks for the page finds out what is wrong.
            Err(_) => {
                pages.rewind();
                None
            }
        }
    }

    /// Records a query, unless it is recorded: another coordinator goes on with it from now on, or tells why it failed.
    ///
    /// # Errors
    /// If this life of the coordinator leads no more, or the query cannot be recorded as it is.
    pub async fn make_durable(self: &Arc<Self>, query: &Arc<Query>) -> Result<()> {
        let (services, query) = (Arc::clone(self), Arc::clone(query));
        // What is begun is ended, whether anybody waits for it or not.
        let recorded =
            tokio::spawn(async move { record(&services.dispatcher, &services.state, &query).await });
        recorded.await.map_err(|_| Error::internal("recording a query ended in a panic"))?
    }

    /// The query of a capsule that a former life of the coordinator sealed. None if it is not one, or if the client may
    /// not ask for it any more.
    pub fn open_capsule(&self, id: QueryId, capsule: &str) -> Option<Query> {
        // What this life has answered it knows, or has forgotten for good.
        if !self.is_of_former_life(id.as_str()) {
            return None;
        }
        let record = self.capsules.open(id, capsule)?;
        // The clocks of two coordinators may differ a little.
        let age = record.created.elapsed().unwrap_or_default();
        let policy = self.config.session_retry_policy(&record.client.system_properties);
        (age <= self.config.query.client_timeout.as_std()).then(|| Query::of(id, record).under(policy))
    }

    /// Runs a short query again whose coordinator died, unless that is being done.
    pub fn run_again(self: &Arc<Self>, query: Query) -> Arc<Query> {
        let (query, is_new) = self.remember(query);
        if is_new && query.begin() {
            tracing::info!(query = %query.id, "running a short query again whose coordinator died");
            let (services, query) = (Arc::clone(self), Arc::clone(&query));
            tokio::spawn(async move {
                // What the former life left would be taken for what this one writes.
                match services.dispatcher.purge(query.id).await {
                    Ok(()) => run(services, query).await,
                    Err(error) => services.end(&query, error).await,
                }
            });
        }
        query
    }
}

/// Records a query that is not recorded.
pub async fn record(dispatcher: &Dispatcher, state: &StateStore, query: &Query) -> Result<()> {
    let mut recorded = query.recorded.lock().await;
    let outcome = match std::mem::replace(&mut *recorded, Recorded::Everything) {
        Recorded::Everything => return Ok(()),
        Recorded::Nothing => None,
        Recorded::NothingOf(plan) => {
            dispatcher.make_durable(query.id).await?;
            state.create(ObjectKey::Plan(query.id), plan.encode()?).await?;
            // One that failed before the scheduler was asked has no outcome on record.
            query.root().and_then(|root| root.outcome()).filter(Result::is_err)
        }
        Recorded::OutcomeNeither(outcome) => Some(outcome),
    };
    let has_ended = outcome.is_some();
    if let Some(outcome) = outcome {
        state.create_record(query.id, &Record::Done { outcome }, Vec::new()).await?;
    }
    state.create(ObjectKey::Query(query.id), query.record().encode()).await?;
    if has_ended {
        // It may have been deleted before all of this was there.
        dispatcher.close(query.id).await;
    }
    Ok(())
}

/// Waits for the first answer to a statement on behalf of a client that has no address of it yet: if the client goes
/// away meanwhile, nobody will ask for the result.
pub struct Waiting {
    services: Arc<Services>,
    query: Option<Arc<Query>>,
}

impl Waiting {
    /// Begins to wait.
    pub fn new(services: &Arc<Services>, query: &Arc<Query>) -> Self {
        Waiting { services: Arc::clone(services), query: Some(Arc::clone(query)) }
    }

    /// The client gets its answer.
    pub fn answered(mut self) {
        self.query = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(query) = self.query.take() {
            let services = Arc::clone(&self.services);
            let text = "The client went away before it was answered";
            tokio::spawn(async move {
                services.end(&query, Error::new(ErrorCode::ABANDONED_QUERY, text)).await;
            });
        }
    }
}
