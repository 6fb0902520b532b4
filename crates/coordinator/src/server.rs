//! Putting the coordinator together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::DefaultBodyLimit;
use base::{Epoch, Error, Millis, NodeId, Result};
use config::ServerConfig;
use connector::Catalogs;
use connector::snapshot::SnapshotConnector;
use exchange::ExchangeManager;
use protocol::node::{SharedSecret, coordinator_server};
use scheduler::CoreOptions;
use sql::{Analyzer, Functions};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::catalog::{CoordinatorMetadata, SYSTEM_CATALOG, SystemSources, SystemTables};
use crate::dispatch::{Dispatcher, NodeService, NodeServiceOptions};
use crate::http::{HttpState, router};
use crate::node::NodeDescription;
use crate::query::{QueryRegistry, abandoned};
use crate::query_id::QueryIds;
use crate::services::Services;

/// How large the body of a request may be. Statements may be longer than `query.max-length` only to be refused.
const BODY_BYTES_MAX: usize = 64 << 20;
/// How often it is looked for queries whose client went away.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What a coordinator needs to start.
pub struct CoordinatorOptions {
    /// The configuration.
    pub config: Arc<ServerConfig>,
    /// The catalogs, without `system`.
    pub catalogs: Catalogs,
    /// The name of each catalog's connector.
    pub connector_names: Vec<(String, String)>,
    /// Where stages leave their output.
    pub exchange: Arc<ExchangeManager>,
    /// Where clients and workers connect.
    pub listener: std::net::TcpListener,
    /// The build that workers must share.
    pub build: String,
    /// `http-server.process-forwarded`
    pub process_forwarded: bool,
}

/// A running coordinator. It stops when this is dropped.
pub struct Coordinator {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Coordinator {
    /// Starts a coordinator on the runtime of the caller.
    pub async fn start(options: CoordinatorOptions) -> Result<Self> {
        let config = options.config;
        let unusable =
            |error: std::io::Error| Error::internal(format!("the HTTP port cannot be used: {error}"));
        options.listener.set_nonblocking(true).map_err(unusable)?;
        let listener = TcpListener::from_std(options.listener).map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;

        let query_ids = QueryIds::new();
        let epoch = Epoch::default();
        let dispatcher = Dispatcher::start(
            epoch,
            query_ids.coordinator_id(),
            core_options(&config),
            Arc::clone(&options.exchange),
        );
        let node = Arc::new(NodeDescription {
            node_id: NodeId::new(config.node.id.as_str()),
            environment: config.node.environment.clone(),
            coordinator_id: query_ids.coordinator_id().to_string(),
            http_uri: http_uri(&config, address),
            process_forwarded: options.process_forwarded,
            started: Instant::now(),
        });
        let tables = Arc::new(SystemTables::default());
        let mut catalogs = options.catalogs;
        catalogs.insert(SYSTEM_CATALOG, Arc::new(SnapshotConnector::new(tables.clone())));
        let catalogs = Arc::new(catalogs);
        let queries = Arc::new(QueryRegistry::new(
            config.query.max_history as usize,
            config.query.min_expire_age.as_std(),
        ));
        let mut connector_names = options.connector_names;
        connector_names.push((SYSTEM_CATALOG.to_string(), SYSTEM_CATALOG.to_string()));
        connector_names.sort();
        tables.connect(SystemSources {
            catalogs: Arc::clone(&catalogs),
            connector_names,
            queries: Arc::clone(&queries),
            dispatcher: dispatcher.clone(),
            node: Arc::clone(&node),
        });
        let metadata = Arc::new(CoordinatorMetadata::new(Arc::clone(&catalogs)));
        let services = Arc::new(Services {
            analyzer: Analyzer::new(metadata.clone(), metadata.clone(), Arc::new(Functions::default())),
            config: Arc::clone(&config),
            catalogs,
            metadata,
            dispatcher: dispatcher.clone(),
            exchange: options.exchange,
            queries,
            query_ids,
        });
        tokio::spawn(sweep(Arc::clone(&services)));

        let node_service = NodeService::new(
            NodeServiceOptions {
                build: options.build,
                environment: config.node.environment.clone(),
                coordinator_id: node.coordinator_id.clone(),
                epoch,
                heartbeat_interval: scheduler::RunnerOptions::default().report_interval,
                shared_secret: config
                    .node
                    .shared_secret
                    .as_ref()
                    .map(|secret| SharedSecret::new(secret.expose())),
            },
            dispatcher,
        );
        let app = router(HttpState { services, node })
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .merge(node_routes(node_service));

        let (stop, mut stopped) = watch::channel(false);
        let served = tokio::spawn(async move {
            let stopped = async move {
                // A dropped sender stops the server too.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            tokio::select! {
                served = axum::serve(listener, app) => served,
                () = stopped => Ok(()),
            }
        });
        tracing::info!(uri = %http_uri(&config, address), "coordinator started");
        Ok(Coordinator { address, stop, served })
    }

    /// Where clients and workers connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops serving.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // Whatever the server ended with, it has ended.
        let _ = self.served.await;
    }

    /// Waits until the coordinator fails; it does not end by itself.
    pub async fn wait(&mut self) -> Result<()> {
        let failed =
            |error: &dyn std::fmt::Display| Error::internal(format!("the HTTP server stopped: {error}"));
        match (&mut self.served).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// The routes of the nodes' own protocol. What it answers to unknown paths is for clients of that protocol only.
fn node_routes(service: NodeService) -> axum::Router {
    let routes = tonic::service::Routes::new(coordinator_server(service));
    routes.into_axum_router().reset_fallback()
}

fn http_uri(config: &ServerConfig, address: SocketAddr) -> String {
    let host = config.node.internal_address.clone().unwrap_or_else(|| match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    });
    format!("http://{host}:{}", address.port())
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
    loop {
        interval.tick().await;
        for query in services.queries.all() {
            if let Some(error) = abandoned(&query, timeout) {
                services.end(&query, error).await;
            }
        }
        services.queries.expire();
    }
}
