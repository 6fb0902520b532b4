//! A node: what its configuration says, put together and run.

mod build;
mod catalogs;
mod descriptors;
mod exchanges;
mod machine;
mod stop;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use base::{DataSize, NodeId, StageId};
use config::ServerConfig;
use connector::Catalogs;
use coordinator::{Coordinator, CoordinatorOptions};
use exchange::ExchangeManager;
use nix::sys::signal::Signal;
use protocol::node::SharedSecret;
use scheduler::Capacity;
use worker::{FailureInjection, InjectedAction, Worker, WorkerHandle, WorkerOptions};

use crate::Failure;
pub use catalogs::catalogs;
use exchanges::{direct_read_options, direct_sink_options, exchange_manager, state_store};
pub use stop::{StopReason, StopRequests};

/// A running node.
pub struct Node {
    address: String,
    coordinator: Option<Coordinator>,
    worker: Option<WorkerHandle>,
}

impl Node {
    /// Starts the node that a configuration describes.
    pub async fn start(config: ServerConfig) -> Result<Self, Failure> {
        let config = Arc::new(config);
        let (catalogs, connector_names) = catalogs(&config)?;
        let exchange = Arc::new(exchange_manager(&config)?);
        if config.exchange_manager.is_some() {
            exchange.probe().await?;
        }
        let connection_count_max = descriptors::connection_count_max(&config.node);
        let bind_ip = config.node.bind_ip.as_deref().unwrap_or("0.0.0.0");
        let listener = listen(bind_ip, config.node.http_port)?;
        let build = build::build_id()?;
        if !config.node.coordinator {
            let uri = config.node.discovery_uri.clone().ok_or("discovery.uri is not set")?;
            let listener = Port { listener, connection_count_max };
            let worker = start_worker(&config, catalogs, exchange, listener, uri, build).await?;
            let address = format!("http://{}", reachable(&config, worker.http_address()));
            return Ok(Node { address, coordinator: None, worker: Some(worker) });
        }
        let coordinator = Coordinator::start(CoordinatorOptions {
            config: Arc::clone(&config),
            catalogs: catalogs.clone(),
            connector_names,
            state: state_store(&config, &exchange).await?,
            exchange: Arc::clone(&exchange),
            listener,
            connection_count_max,
            build: build.clone(),
            process_forwarded: config.node.process_forwarded,
        })
        .await?;
        let address = format!("http://{}", reachable(&config, coordinator.address()));
        let worker = match config.node.include_coordinator {
            true => {
                // Other workers read from it too.
                let own = Port { listener: listen(bind_ip, 0)?, connection_count_max };
                let uri = format!("http://127.0.0.1:{}", coordinator.address().port());
                Some(start_worker(&config, catalogs, exchange, own, uri, build).await?)
            }
            false => None,
        };
        Ok(Node { address, coordinator: Some(coordinator), worker })
    }

    /// Where it serves.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs until it is told to stop, or until it has shut down by itself.
    pub async fn run(mut self, stop: &mut StopRequests) -> Result<Ending, Failure> {
        let mut ending = Ending::InOrder;
        match (&mut self.coordinator, self.worker.take()) {
            (Some(coordinator), worker) => {
                tokio::select! {
                    _ = stop.next() => {}
                    served = coordinator.wait() => served?,
                }
                if let Some(worker) = worker {
                    worker.stop();
                }
            }
            (None, Some(worker)) => ending = run_worker(worker, stop).await?,
            (None, None) => {}
        }
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.stop().await;
        }
        Ok(ending)
    }
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing was lost with it.
    InOrder,
    /// It was told to end at once. Attempts that it ran are lost, and run elsewhere.
    CutShort(StopReason),
}

impl Ending {
    /// The exit code of the process: that of a program which the signal has ended, if it was cut short.
    pub fn exit_code(self) -> u8 {
        match self {
            Ending::InOrder | Ending::CutShort(StopReason::Abandoned) => 0,
            Ending::CutShort(StopReason::Interrupted) => SIGNALLED + Signal::SIGINT as u8,
            Ending::CutShort(StopReason::Terminated) => SIGNALLED + Signal::SIGTERM as u8,
        }
    }
}

/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: u8 = 128;

/// Runs a worker. SIGTERM lets it end what it runs or hand it back; everything else, and a second SIGTERM, ends it at
/// once.
async fn run_worker(mut worker: WorkerHandle, stop: &mut StopRequests) -> Result<Ending, Failure> {
    let mut is_terminated = false;
    loop {
        let reason = tokio::select! {
            ended = worker.wait() => {
                ended?;
                return Ok(Ending::InOrder);
            }
            reason = stop.next() => reason,
        };
        if reason == StopReason::Terminated && !is_terminated {
            is_terminated = true;
            worker.shutdown().await;
            continue;
        }
        if reason != StopReason::Abandoned {
            tracing::warn!("ending at once; attempts that run are lost, and run elsewhere");
        }
        worker.stop();
        worker.wait().await?;
        return Ok(Ending::CutShort(reason));
    }
}

fn listen(address: &str, port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((address, port)).map_err(|error| {
        format!("cannot listen on {address}:{port} (http-server.http.port, node.bind-ip): {error}").into()
    })
}

/// Under which host and port others reach a socket.
fn reachable(config: &ServerConfig, address: SocketAddr) -> String {
    match (&config.node.internal_address, address.ip()) {
        (Some(host), _) => format!("{host}:{}", address.port()),
        (None, ip) if ip.is_unspecified() => {
            // A coordinator's is its own, and may name itself as only itself does.
            let coordinator = config.node.discovery_uri.as_deref().filter(|_| !config.node.coordinator);
            let ip = machine::address_towards(coordinator);
            SocketAddr::new(ip, address.port()).to_string()
        }
        (None, _) => address.to_string(),
    }
}

/// Where a worker serves.
struct Port {
    listener: TcpListener,
    connection_count_max: usize,
}

async fn start_worker(
    config: &ServerConfig,
    mut catalogs: Catalogs,
    exchange: Arc<ExchangeManager>,
    port: Port,
    coordinator_uri: String,
    build: String,
) -> Result<WorkerHandle, Failure> {
    catalogs.insert("system", Arc::new(connector::snapshot::SnapshotConnector::reader()));
    let limit = match config.memory.limit_per_node {
        Some(limit) => limit,
        None => machine::memory_limit()?,
    };
    let spill_directory = config.task.spill_paths.first().cloned().ok_or("spiller-spill-path is empty")?;
    let http_uri = format!("http://{}", reachable(config, port.listener.local_addr()?));
    let options = WorkerOptions {
        node_id: NodeId::new(config.node.id.as_str()),
        environment: config.node.environment.clone(),
        build,
        coordinator_uri,
        http_listener: port.listener,
        connection_count_max: port.connection_count_max,
        http_uri: Some(http_uri),
        capacity: Capacity {
            memory_bytes: config.memory.pool(limit).0,
            slots: config.task.max_worker_threads,
        },
        catalogs,
        sink_options: exchange.options().sink(&spill_directory),
        read_options: exchange.options().read(),
        direct_sink_options: direct_sink_options(config),
        direct_read_options: direct_read_options(config),
        exchange,
        spill_directory,
        spill_bytes_max: DataSize(u64::MAX),
        no_progress_timeout: config.task.no_progress_timeout.as_std(),
        drain_grace: config.node.shutdown_grace_period.as_std(),
        shared_secret: config.node.shared_secret.as_ref().map(|secret| SharedSecret::new(secret.expose())),
        failure_injections: config.task.failure_injections.iter().flat_map(injections).collect(),
    };
    Ok(Worker::start(options).await?)
}

/// The injections of a configuration, one for each attempt number.
fn injections(configured: &config::FailureInjection) -> Vec<FailureInjection> {
    let code = match configured.class {
        base::ErrorType::UserError => base::ErrorCode::GENERIC_USER_ERROR,
        base::ErrorType::InternalError => base::ErrorCode::GENERIC_INTERNAL_ERROR,
        base::ErrorType::InsufficientResources => base::ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT,
        base::ErrorType::External => base::ErrorCode::EXCHANGE_STORE_ERROR,
    };
    let of = |number: Option<u32>| FailureInjection {
        stage: configured.stage.map(StageId),
        partition: configured.partition,
        number,
        action: match configured.delay {
            Some(delay) => InjectedAction::DelayCommit(delay.as_std()),
            None => InjectedAction::Fail(code),
        },
    };
    if *configured.attempts.end() == u32::MAX && *configured.attempts.start() == 0 {
        return vec![of(None)];
    }
    configured.attempts.clone().map(|number| of(Some(number))).collect()
}
