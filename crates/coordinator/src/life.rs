//! One life of the coordinator: from the epoch it takes until a newer one is there.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use base::{Epoch, Incarnation, Millis, NodeId, Result};
use config::ServerConfig;
use connector::Catalogs;
use connector::snapshot::SnapshotConnector;
use exchange::direct::DirectReadOptions;
use exchange::{ExchangeManager, ExchangeStore};
use protocol::direct::{Credentials, DirectConnections, DirectTransports};
use protocol::node::{SharedSecret, coordinator_server};
use scheduler::CoreOptions;
use sql::{Analyzer, Functions};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::catalog::{CoordinatorMetadata, SYSTEM_CATALOG, SystemSources, SystemTables};
use crate::dispatch::{Dispatcher, DispatcherOptions, NodeService, NodeServiceOptions};
use crate::http::{HttpState, router};
use crate::node::NodeDescription;
use crate::query::{DeliveredAnswers, DirectInput, QueryRegistry, abandoned};
use crate::query_id::QueryIds;
use crate::recovery::{recover, recover_all_late};
use crate::services::Services;
use crate::state::{Identity, Leadership, StateStore};

/// How large the body of a request may be. Statements may be longer than `query.max-length` only to be refused.
const BODY_BYTES_MAX: usize = 64 << 20;
/// How often it is looked for queries whose client went away.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked for queries that a former life accepted when this one had begun.
const LATE_INTERVAL: Duration = Duration::from_secs(60);

/// What the lives of a coordinator have in common.
pub struct LifeOptions {
    /// The configuration.
    pub config: Arc<ServerConfig>,
    /// The catalogs, without `system`.
    pub catalogs: Catalogs,
    /// The name of each catalog's connector, `system` among them.
    pub connector_names: Vec<(String, String)>,
    /// Where stages leave their output.
    pub exchange: Arc<ExchangeManager>,
    /// Where it is kept what outlives the coordinator.
    pub state: Arc<dyn ExchangeStore>,
    /// The build that workers must share.
    pub build: String,
    /// What the node tells of itself, whatever its life.
    pub node: NodeDescription,
}

/// When a life begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Now, whoever leads, with an epoch after that of which workers have heard.
    AtOnce {
        /// The epoch of which workers have heard although it is not in the store.
        heard: Option<Epoch>,
    },
    /// When the coordinator that leads gives no sign of itself.
    WhenNobodyLeads,
}

/// A life of the coordinator. It ends when this is dropped.
pub struct Life {
    leadership: Arc<Leadership>,
    router: Router,
    _stop: DropGuard,
}

impl Life {
    /// Begins a life: takes the next epoch, as the role says, and goes on with the queries that are there. Waits as
    /// long as that takes.
    ///
    /// # Errors
    /// If the life ended before it could begin, or if the state cannot be used.
    pub async fn begin(options: &LifeOptions, beginning: Beginning) -> Result<Self> {
        let config = &options.config;
        let query_ids = QueryIds::new();
        let identity = Identity {
            coordinator_id: query_ids.coordinator_id().to_owned(),
            node_id: config.node.id.clone(),
            address: options.node.http_uri.clone(),
        };
        let store = Arc::clone(&options.state);
        let lease = config.node.lease_duration.as_std();
        let leadership = Arc::new(match beginning {
            Beginning::AtOnce { heard } => Leadership::take(store, &identity, lease, heard).await,
            Beginning::WhenNobodyLeads => Leadership::stand_by(store, &identity, lease).await,
        });
        tracing::info!(epoch = leadership.epoch().0, "this coordinator leads");
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        tokio::spawn({
            let (leadership, stop) = (Arc::clone(&leadership), stop.clone());
            async move { stop.run_until_cancelled(leadership.keep()).await }
        });
        let begun = begin(options, query_ids, Arc::clone(&leadership), stop);
        let router = tokio::select! {
            router = begun => router?,
            by = leadership.superseded() => return Err(Leadership::superseded_error(by)),
        };
        Ok(Life { leadership, router, _stop: guard })
    }

    /// What it serves.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Whether it leads.
    #[cfg(test)]
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// Waits until another coordinator has taken its place, and says when the next life is to begin. `stands_by`:
    /// whether there is to be one.
    ///
    /// # Errors
    /// If there is to be none.
    pub async fn ended(&self, stands_by: bool) -> Result<Beginning> {
        let by = self.leadership.superseded().await;
        if self.leadership.is_newest_in_store().await {
            tracing::error!(
                epoch = by.0,
                "workers have heard of a newer coordinator than there is in the store: the store has lost its records"
            );
            return Ok(Beginning::AtOnce { heard: Some(by) });
        }
        match stands_by {
            true => Ok(Beginning::WhenNobodyLeads),
            false => Err(Leadership::superseded_error(by)),
        }
    }
}

/// Puts the parts together, and goes on with the queries that are there.
async fn begin(
    options: &LifeOptions,
    query_ids: QueryIds,
    leadership: Arc<Leadership>,
    stop: CancellationToken,
) -> Result<Router> {
    let config = &options.config;
    let epoch = leadership.epoch();
    let state = StateStore::new(Arc::clone(&options.state), leadership);
    let coordinator_ids = state.coordinator_ids().await?;
    let queries =
        Arc::new(QueryRegistry::new(config.query.max_history as usize, config.query.min_expire_age.as_std()));
    let dispatcher = Dispatcher::start(DispatcherOptions {
        core: core_options(config),
        exchange: Arc::clone(&options.exchange),
        state: state.clone(),
        queries: Arc::clone(&queries),
        coordinator_ids: coordinator_ids.clone(),
        stop: stop.clone(),
    });
    let coordinator_id = query_ids.coordinator_id().to_owned();
    let node = Arc::new(NodeDescription { coordinator_id, ..options.node.clone() });
    let tables = Arc::new(SystemTables::default());
    let mut catalogs = options.catalogs.clone();
    catalogs.insert(SYSTEM_CATALOG, Arc::new(SnapshotConnector::new(tables.clone())));
    let catalogs = Arc::new(catalogs);
    tables.connect(SystemSources {
        catalogs: Arc::clone(&catalogs),
        connector_names: options.connector_names.clone(),
        queries: Arc::clone(&queries),
        dispatcher: dispatcher.clone(),
        node: Arc::clone(&node),
    });
    let metadata = Arc::new(CoordinatorMetadata::new(Arc::clone(&catalogs)));
    let services = Arc::new(Services {
        analyzer: Analyzer::new(metadata.clone(), metadata.clone(), Arc::new(Functions::default())),
        config: Arc::clone(config),
        catalogs,
        metadata,
        dispatcher: dispatcher.clone(),
        exchange: Arc::clone(&options.exchange),
        direct: direct_input(config, epoch),
        capsules: state.capsule_key().await?,
        state,
        queries,
        delivered: DeliveredAnswers::default(),
        former_ids: coordinator_ids.iter().filter(|id| *id != query_ids.coordinator_id()).cloned().collect(),
        recovering: tokio::sync::Mutex::default(),
        query_ids,
        stop: stop.clone(),
    });
    recover(&services, &coordinator_ids).await?;
    tokio::spawn({
        let services = Arc::clone(&services);
        async move { stop.run_until_cancelled(sweep(services)).await }
    });
    let node_service = NodeService::new(
        NodeServiceOptions {
            build: options.build.clone(),
            environment: config.node.environment.clone(),
            coordinator_id: node.coordinator_id.clone(),
            epoch,
            heartbeat_interval: scheduler::RunnerOptions::default().report_interval,
            shared_secret: shared_secret(config),
        },
        dispatcher,
    );
    Ok(router(HttpState { services, node })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .merge(node_routes(node_service)))
}

/// The routes of the nodes' own protocol. What it answers to unknown paths is for clients of that protocol only.
fn node_routes(service: NodeService) -> Router {
    let routes = tonic::service::Routes::new(coordinator_server(service));
    routes.into_axum_router().reset_fallback()
}

fn shared_secret(config: &ServerConfig) -> Option<SharedSecret> {
    config.node.shared_secret.as_ref().map(|secret| SharedSecret::new(secret.expose()))
}

/// How this life of the coordinator reads what workers have not stored.
fn direct_input(config: &ServerConfig, epoch: Epoch) -> DirectInput {
    let exchange = &config.direct_exchange;
    let runtime = Handle::current();
    let node = NodeId::new(config.node.id.as_str());
    let secret = shared_secret(config);
    let credentials = Credentials::new(secret.as_ref(), &node, Incarnation(u64::from(epoch.0)));
    DirectInput {
        transports: DirectTransports::new(DirectConnections::new(credentials, runtime.clone())),
        options: DirectReadOptions {
            buffer_bytes_max: exchange.max_buffer_size.0,
            response_bytes_max: exchange.max_response_size.0,
            error_duration_max: exchange.max_error_duration.as_std(),
            integrity: exchange.data_integrity_verification.as_str().parse().unwrap_or_default(),
            ..DirectReadOptions::new(runtime)
        },
    }
}

fn core_options(config: &ServerConfig) -> CoreOptions {
    let millis = |length: base::Duration| -> Millis { length.as_millis() };
    CoreOptions {
        heartbeat_timeout: millis(config.node.heartbeat_timeout),
        no_node_period_max: millis(config.query.allowed_no_matching_node_period),
        required_workers: config.query.required_workers,
        required_workers_wait_max: millis(config.query.required_workers_max_wait),
        split_batch_count_max: config.query.schedule_split_batch_size,
        ..CoreOptions::default()
    }
}

/// Ends queries whose client went away, and forgets old ones.
async fn sweep(services: Arc<Services>) {
    let timeout = services.config.query.client_timeout.as_std();
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    loop {
        interval.tick().await;
        if looked.elapsed() > LATE_INTERVAL {
            looked = Instant::now();
            if let Err(error) = recover_all_late(&services).await {
                tracing::debug!(%error, "queries of former lives cannot be looked for");
            }
        }
        for query in services.queries.all() {
            if let Some(error) = abandoned(&query, timeout) {
                services.end(&query, error).await;
            }
        }
        services.queries.expire();
    }
}
