//! What the parts of the coordinator share.

use std::sync::Arc;

use base::{Error, QueryId};
use chrono::Utc;
use config::ServerConfig;
use connector::Catalogs;
use exchange::ExchangeManager;
use protocol::client::ClientContext;
use sql::Analyzer;

use crate::catalog::CoordinatorMetadata;
use crate::dispatch::Dispatcher;
use crate::query::{Query, QueryProgress, QueryRegistry, QueryState};
use crate::query_id::QueryIds;

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
    /// The queries that are remembered.
    pub queries: Arc<QueryRegistry>,
    /// Names for new queries.
    pub query_ids: QueryIds,
}

impl Services {
    /// Accepts a statement as a new query. It does nothing until it is started.
    pub fn accept(&self, text: String, client: ClientContext) -> Arc<Query> {
        let query = Arc::new(Query::new(self.query_ids.next(Utc::now()), text, client));
        self.queries.insert(Arc::clone(&query));
        query
    }

    /// Ends a query with an error, unless it has ended.
    pub async fn end(&self, query: &Arc<Query>, error: Error) {
        if query.fail(error.clone()) {
            self.dispatcher.cancel(query.id, error).await;
            // Once it is closed, the scheduler forgets it.
            QueryProgress::refresh_with_attempts(self, query).await;
            self.dispatcher.close(query.id).await;
            // A page may be in the making; it ends by itself, and then the rest of the rows is let go.
            let query = Arc::clone(query);
            tokio::spawn(async move { query.pages.lock().await.clear() });
        }
    }

    /// The result of a query was delivered.
    pub async fn finish(&self, query: &Arc<Query>) {
        QueryProgress::refresh_with_attempts(self, query).await;
        if query.advance(QueryState::Finished) {
            self.dispatcher.close(query.id).await;
        }
    }

    /// A query, if it is remembered.
    pub fn query(&self, id: &str) -> Option<Arc<Query>> {
        self.queries.get(&id.parse::<QueryId>().ok()?)
    }
}
