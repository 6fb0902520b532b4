//! The coordinator as its process sees it: a port, and one life after another behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Router};
use base::{Error, NodeId, Result};
use config::ServerConfig;
use connector::Catalogs;
use exchange::{ExchangeManager, ExchangeStore};
use listener::{Accepted, BoundedListener};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::codegen::Service;

use crate::catalog::SYSTEM_CATALOG;
use crate::http::{serve, standby_router};
use crate::life::{Beginning, Life, LifeOptions};
use crate::node::NodeDescription;

/// How long to wait before a life is begun again that could not begin.
const RETRY_DELAY: Duration = Duration::from_secs(1);

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
    /// Where it is kept what outlives the coordinator. All coordinators of a cluster see the same.
    pub state: Arc<dyn ExchangeStore>,
    /// Where clients and workers connect.
    pub listener: std::net::TcpListener,
    /// How many connections to it may be open.
    pub connection_count_max: usize,
    /// The build that workers must share.
    pub build: String,
    /// `http-server.process-forwarded`
    pub process_forwarded: bool,
}

/// A running coordinator. It stops when this is dropped.
pub struct Coordinator {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
    lived: tokio::task::JoinHandle<Result<()>>,
}

impl Coordinator {
    /// Starts a coordinator on the runtime of the caller. Returns when it leads and goes on with the queries that
    /// were there, or, if it is to stand by, when it does.
    pub async fn start(options: CoordinatorOptions) -> Result<Self> {
        let config = options.config;
        let unusable =
            |error: std::io::Error| Error::internal(format!("the HTTP port cannot be used: {error}"));
        options.listener.set_nonblocking(true).map_err(unusable)?;
        let listener = TcpListener::from_std(options.listener).map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let listener = BoundedListener::new(listener, options.connection_count_max);
        let http_uri = http_uri(&config, address);
        let node = NodeDescription {
            node_id: NodeId::new(config.node.id.as_str()),
            environment: config.node.environment.clone(),
            coordinator_id: String::new(),
            http_uri: http_uri.clone(),
            process_forwarded: options.process_forwarded,
            started: Instant::now(),
        };
        let mut connector_names = options.connector_names;
        connector_names.push((SYSTEM_CATALOG.to_string(), SYSTEM_CATALOG.to_string()));
        connector_names.sort();
        let (served_router, router) = watch::channel(standby_router(node.clone()));
        let life_options = LifeOptions {
            config: Arc::clone(&config),
            catalogs: options.catalogs,
            connector_names,
            exchange: options.exchange,
            state: options.state,
            build: options.build,
            node,
        };
        let app = listener::count_requests(Router::new().fallback(answer).with_state(router));
        let (stop, mut stopped) = watch::channel(false);
        let served = tokio::spawn(async move {
            let stopped = async move {
                // A dropped sender stops the server too.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            tokio::select! {
                () = serve(listener, |connection| counted(&app, connection)) => {}
                () = stopped => {}
            }
        });
        let first = match config.node.standby {
            true => None,
            false => Some(Life::begin(&life_options, Beginning::AtOnce { heard: None }).await?),
        };
        if let Some(life) = &first {
            served_router.send_modify(|router| *router = life.router());
        }
        let mut stopped = stop.subscribe();
        let lived = tokio::spawn(async move {
            tokio::select! {
                lived = live(life_options, first, served_router) => lived,
                _ = stopped.wait_for(|stop| *stop) => Ok(()),
            }
        });
        tracing::info!(uri = http_uri, standby = config.node.standby, "coordinator started");
        Ok(Coordinator { address, stop, served, lived })
    }

    /// Where clients and workers connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops serving.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // Whatever the server and the life ended with, they have ended.
        let _ = self.served.await;
        let _ = self.lived.await;
    }

    /// Waits until the coordinator fails, or another one has taken its place and it is not to stand by; it does not
    /// end by itself otherwise.
    pub async fn wait(&mut self) -> Result<()> {
        let failed =
            |error: &dyn std::fmt::Display| Error::internal(format!("the HTTP server stopped: {error}"));
        tokio::select! {
            served = &mut self.served => match served {
                Ok(()) => Ok(()),
                Err(error) => Err(failed(&error)),
            },
            lived = &mut self.lived => match lived {
                Ok(lived) => lived,
                Err(error) => Err(failed(&error)),
            },
        }
    }
}

/// One life after another. Between them the coordinator stands by.
async fn live(options: LifeOptions, first: Option<Life>, router: watch::Sender<Router>) -> Result<()> {
    let stands_by = options.config.node.standby;
    let mut life = first;
    let mut beginning = Beginning::WhenNobodyLeads;
    loop {
        if let Some(life) = life.take() {
            router.send_modify(|router| *router = life.router());
            let ended = life.ended(stands_by).await;
            router.send_modify(|router| *router = standby_router(options.node.clone()));
            beginning = ended?;
        }
        match Life::begin(&options, beginning).await {
            Ok(begun) => life = Some(begun),
            Err(error) => {
                tracing::warn!(%error, "this coordinator could not begin to lead");
                if !stands_by {
                    return Err(error);
                }
                beginning = Beginning::WhenNobodyLeads;
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// The routes as they are served on a connection: its requests are counted by it.
fn counted(app: &Router, connection: &Accepted) -> Router {
    app.clone().layer(Extension(connection.connect_info()))
}

/// Answers a request as the coordinator now is.
async fn answer(State(router): State<watch::Receiver<Router>>, request: Request) -> Response {
    let mut router = router.borrow().clone();
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn http_uri(config: &ServerConfig, address: SocketAddr) -> String {
    let host = config.node.internal_address.clone().unwrap_or_else(|| match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    });
    format!("http://{host}:{}", address.port())
}
