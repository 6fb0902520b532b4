//! What the parts of the coordinator share.

use std::sync::Arc;

use base::{Error, QueryId, Result};
use chrono::Utc;
use config::ServerConfig;
use connector::Catalogs;
use exchange::ExchangeManager;
use protocol::client::ClientContext;
use scheduler::Record;
use sql::Analyzer;
use tokio_util::sync::CancellationToken;

use crate::capsule::CapsuleKey;
use crate::catalog::CoordinatorMetadata;
use crate::dispatch::Dispatcher;
use crate::query::{DeliveredAnswers, DirectInput, Ending, Query, QueryRegistry, QueryState, Recorded};
use crate::query_id::QueryIds;
use crate::state::StateStore;

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
    /// The answers of short queries that were delivered.
    pub delivered: DeliveredAnswers,
    /// Names for new queries.
    pub query_ids: QueryIds,
    /// What statements are sealed with that are not recorded.
    pub capsules: CapsuleKey,
    /// Ends this life of the coordinator.
    pub stop: CancellationToken,
    /// What the ids of the queries of former lives end in.
    pub former_ids: Vec<String>,
    /// Held while it is looked for a query of a former life that was not found when this one began.
    pub recovering: tokio::sync::Mutex<()>,
}

impl Services {
    /// Accepts a statement as a new query. Nothing of it is recorded, and it does nothing until it is run.
    pub fn accept(&self, text: String, client: ClientContext) -> Arc<Query> {
        let policy = self.config.session_retry_policy(&client.system_properties);
        let query = Arc::new(Query::new(self.query_ids.next(Utc::now()), text, client).under(policy));
        // Whoever cleans the store must know it before anything of it is there.
        self.queries.insert(Arc::clone(&query));
        query
    }

    /// Remembers a query unless there is one of its name, and says whether it did. Tells the one that is remembered.
    pub fn remember(&self, query: Query) -> (Arc<Query>, bool) {
        self.queries.get_or_insert(Arc::new(query))
    }

    /// Ends a query with an error, unless it has ended. It has when its outcome is recorded; that is not waited for.
    pub async fn end(self: &Arc<Self>, query: &Arc<Query>, error: Error) {
        match query.ending() {
            Ending::OfScheduler(root) if root.outcome().is_none() => {
                self.dispatcher.cancel(query.id, error).await;
            }
            // The scheduler has done its part, and the client has not got everything.
            Ending::OfScheduler(_) => self.give_up_delivery(query, error).await,
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

    /// Records the outcome of a query that the scheduler does not know, if anything of the query is recorded. The one
    /// that is there counts.
    async fn record_outcome(&self, query: &Arc<Query>, outcome: Result<()>) {
        let mut recorded = query.recorded.lock().await;
        if !matches!(*recorded, Recorded::Everything) {
            *recorded = Recorded::OutcomeNeither(outcome.clone());
            drop(recorded);
            return self.conclude(query, outcome).await;
        }
        drop(recorded);
        let record = Record::Done { outcome: outcome.clone() };
        let outcome = match (self.state.create_record(query.id, &record, Vec::new()).await, outcome) {
            // It had its answer, which cannot be given here. An empty one would be another.
            (Ok((Record::Done { outcome: Ok(()) }, _)), Err(error)) => {
                return self.give_up_delivery(query, error).await;
            }
            (created, _) => created,
        };
        let outcome = match outcome {
            Ok((Record::Done { outcome }, _)) => outcome,
            Ok(_) => Err(Error::internal("the outcome of a query is another record")),
            // Whoever leads now ends it.
            Err(_) if self.state.leadership().is_superseded() => return,
            Err(error) => Err(error),
        };
        self.conclude(query, outcome).await;
    }

    /// The answer of a query that ended well cannot be given to its client.
    async fn give_up_delivery(&self, query: &Arc<Query>, error: Error) {
        query.set_undelivered();
        self.conclude(query, Err(error)).await;
    }

    /// The outcome of a query is known: it can be told, and what is left of the query be deleted.
    pub async fn conclude(&self, query: &Arc<Query>, outcome: Result<()>) {
        let (concluded, failed) = match outcome {
            Ok(()) => (query.advance(QueryState::Finished), false),
            Err(error) => (query.fail(error), true),
        };
        if concluded {
            // What is being recorded of it is there before it is deleted.
            let mut recorded = query.recorded.lock().await;
            if let Recorded::NothingOf(_) | Recorded::Everything = *recorded {
                self.dispatcher.close(query.id).await;
            }
            // What is remembered of it is small.
            if let Recorded::NothingOf(_) = *recorded {
                *recorded = Recorded::OutcomeNeither(query.error().map_or(Ok(()), Err));
            }
            if let Some(root) = query.root() {
                root.forget_outputs();
            }
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
