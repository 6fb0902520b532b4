//! What the parts of the coordinator share.

use std::sync::Arc;
use std::time::Duration;

use base::{Error, ErrorCode, QueryId, Result};
use chrono::Utc;
use config::{RetryPolicy, ServerConfig};
use connector::Catalogs;
use exchange::{ExchangeManager, ObjectKey};
use protocol::client::ClientContext;
use scheduler::Record;
use sql::Analyzer;
use tokio_util::sync::CancellationToken;

use crate::catalog::CoordinatorMetadata;
use crate::dispatch::Dispatcher;
use crate::query::{DirectInput, Ending, Query, QueryProgress, QueryRegistry, QueryState};
use crate::query_id::QueryIds;
use crate::state::StateStore;

/// How long a client may wait until its statement is recorded. Then it is told to try again.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(10);

/// What the parts of the coordinator share.
pub struct Services {
    /// The configuration.
    pub config: Arc<ServerConfig>,
    /// The catalogs, `system` among them.
    pub catalogs: Arc<Catalogs>,
    /// Where names are resolved.
    pub metadata: Arc<CoordinatorMetadata>,
    /// From statements to logical plans.
    pub analyzer: Analyzer,
    /// The way to the scheduler.
    pub dispatcher: Dispatcher,
    /// Where results are read.
    pub exchange: Arc<ExchangeManager>,
    /// How results are read that are not stored.
    pub direct: DirectInput,
    /// What outlives this coordinator.
    pub state: StateStore,
    /// The queries that are remembered.
    pub queries: Arc<QueryRegistry>,
    /// Names for new queries.
    pub query_ids: QueryIds,
    /// Ends this life of the coordinator.
    pub stop: CancellationToken,
    /// What the ids of the queries of former lives end in.
    pub former_ids: Vec<String>,
    /// Held while it is looked for a query of a former life that was not found when this one began.
    pub recovering: tokio::sync::Mutex<()>,
}

impl Services {
    /// Accepts a statement as a new query. It does nothing until it is started. It is recorded, unless it would not
    /// go on under another coordinator anyway.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub async fn accept(&self, text: String, client: ClientContext) -> Result<Arc<Query>> {
        let policy = self.config.session_retry_policy(&client.system_properties);
        let query = Arc::new(Query::new(self.query_ids.next(Utc::now()), text, client).under(policy));
        // Whoever cleans the store must know it before anything of it is there.
        self.queries.insert(Arc::clone(&query));
        if policy != RetryPolicy::Task {
            return Ok(query);
        }
        match self.record(&query).await {
            Ok(()) => Ok(query),
            Err(error) => {
                query.fail(error.clone());
                self.queries.remove(&query.id);
                Err(error)
            }
        }
    }

    /// Records a query that is accepted, if it is not recorded yet: another coordinator goes on with it.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub async fn record(&self, query: &Query) -> Result<()> {
        if query.is_recorded() {
            return Ok(());
        }
        let content = query.record().encode();
        let created = self.state.try_create(ObjectKey::Query(query.id), content);
        let created = tokio::time::timeout(ACCEPT_PATIENCE, created).await;
        let unanswered =
            |_| Error::new(ErrorCode::EXCHANGE_STORE_ERROR, "The statement cannot be recorded now");
        created.map_err(unanswered).flatten()?;
        query.set_recorded();
        Ok(())
    }

    /// Ends a query with an error, unless it has ended. It has when its outcome is recorded; that is not waited for.
    pub async fn end(self: &Arc<Self>, query: &Arc<Query>, error: Error) {
        match query.ending() {
            Ending::OfScheduler(root) if root.outcome().is_none() => {
                self.dispatcher.cancel(query.id, error).await;
            }
            // The scheduler has done its part, and the client has not got everything.
            Ending::OfScheduler(_) => self.conclude(query, Err(error)).await,
            Ending::Ours => {
                let (services, query) = (Arc::clone(self), Arc::clone(query));
                tokio::spawn(async move { services.record_outcome(&query, Err(error)).await });
            }
            Ending::OfAnother => {}
        }
    }

    /// The result of a query was delivered.
    pub async fn finish(&self, query: &Arc<Query>) {
        match query.ending() {
            Ending::OfScheduler(_) => self.conclude(query, Ok(())).await,
            Ending::Ours => self.record_outcome(query, Ok(())).await,
            Ending::OfAnother => {}
        }
    }

    /// Records the outcome of a query that the scheduler does not know. The one that is there counts.
    async fn record_outcome(&self, query: &Arc<Query>, outcome: Result<()>) {
        if !query.is_recorded() {
            return self.conclude(query, outcome).await;
        }
        let record = Record::Done { outcome };
        let outcome = match self.state.create_record(query.id, &record, Vec::new()).await {
            Ok((Record::Done { outcome }, _)) => outcome,
            Ok(_) => Err(Error::internal("the outcome of a query is another record")),
            // Whoever leads now ends it.
            Err(_) if self.state.leadership().is_superseded() => return,
            Err(error) => Err(error),
        };
        self.conclude(query, outcome).await;
    }

    /// The outcome of a query is known: it can be told, and what is left of the query be deleted.
    pub async fn conclude(&self, query: &Arc<Query>, outcome: Result<()>) {
        // Once it is closed, the scheduler forgets it.
        QueryProgress::refresh_with_attempts(self, query).await;
        let (concluded, failed) = match outcome {
            Ok(()) => (query.advance(QueryState::Finished), false),
            Err(error) => (query.fail(error), true),
        };
        if concluded {
            self.dispatcher.close(query.id).await;
        }
        if failed {
            // A page may be in the making; it ends by itself, and then the rest of the rows is let go.
            let query = Arc::clone(query);
            tokio::spawn(async move { query.pages.lock().await.clear() });
        }
    }

    /// Whether a former life of the coordinator named a query so.
    pub fn is_of_former_life(&self, id: &str) -> bool {
        self.former_ids.iter().any(|former| id.ends_with(former.as_str()))
    }

    /// A query, if it is remembered.
    pub fn query(&self, id: &str) -> Option<Arc<Query>> {
        self.queries.get(&id.parse::<QueryId>().ok()?)
    }
}
