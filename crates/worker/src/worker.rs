//! Starting a worker, and what its owner holds of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::{Error, ErrorCode, Incarnation, Millis, Result};
use bytes::Bytes;
use datafusion::execution::runtime_env::RuntimeEnv;
use exchange::direct::DirectExchange;
use listener::BoundedListener;
use protocol::direct::{Credentials, DirectConnections, DirectTransports};
use protocol::node::{Purpose, wire};
use scheduler::{NodeState, Runner, RunnerOptions};
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::attempt::{AttemptEnvironment, DirectEnvironment};
use crate::connection::Connection;
use crate::direct;
use crate::http::{self, HttpState};
use crate::memory::ProcessMonitor;
use crate::node::{Node, NodeEvent, NodeParts};
use crate::options::WorkerOptions;
use crate::pool::{QueryPools, WorkerMemory};
use crate::spill::SpillRoot;
use crate::status::NodeStatus;

/// How many events may wait for the node. Who has more to tell waits.
const EVENTS_COUNT_MAX: usize = 1024;

/// Stack of a thread that computes, in bytes. Operators of deep plans poll each other in nested calls.
const ATTEMPT_STACK_BYTES: usize = 16 << 20;

/// How long requests that are being answered hold up the end of a worker.
const HTTP_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// A worker.
#[derive(Debug)]
pub struct Worker;

/// A worker that runs. It runs on when this is dropped.
#[derive(Debug)]
pub struct WorkerHandle {
    http_address: SocketAddr,
    incarnation: Incarnation,
    outputs: DirectExchange,
    events: mpsc::Sender<NodeEvent>,
    stop: CancellationToken,
    life: JoinHandle<()>,
    /// Whether `life` was waited for to its end.
    has_ended: bool,
}

impl WorkerHandle {
    /// Where `/v1/info` and `/v1/status` are served.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// The life of the worker.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The outputs that its attempts stream to their consumers.
    pub fn outputs(&self) -> &DirectExchange {
        &self.outputs
    }

    /// Asks the worker to end what it runs, or hand it back when the grace period has passed, and to go.
    /// [`WorkerHandle::wait`] tells when.
    pub async fn shutdown(&self) {
        // It can always shut down; if nobody listens it has gone.
        http::request_state(&self.events, NodeState::ShuttingDown).await;
    }

    /// Ends the worker at once. What it ran is lost; what it committed is not.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the worker has gone. May be given up and called again.
    pub async fn wait(&mut self) -> Result<()> {
        if self.has_ended {
            return Ok(());
        }
        let ended = (&mut self.life).await;
        self.has_ended = true;
        ended.map_err(|error| Error::internal("The worker failed").caused_by(error))
    }
}

impl Worker {
    /// Starts a worker on the caller's runtime, which serves requests and the stream to the coordinator. Attempts
    /// compute on a runtime of their own, with as many threads as there are slots, so that a busy worker answers.
    ///
    /// The coordinator need not be there yet. Fails if the options make no sense.
    pub async fn start(options: WorkerOptions) -> Result<WorkerHandle> {
        let node_id = options.node_id.clone();
        let http_listener = http_listener(options.http_listener)?;
        let http_address = http_listener.local_addr().map_err(not_bound)?;
        let http_listener = BoundedListener::new(http_listener, options.connection_count_max);
        let http_uri = options.http_uri.unwrap_or_else(|| format!("http://{http_address}"));
        let spill = SpillRoot::new(&options.spill_directory, node_id.as_str());
        let incarnation = incarnation(spill.remove_leftovers());
        let secret = options.shared_secret;
        let authentication = secret.as_ref().map_or_else(Bytes::new, |secret| {
            Bytes::copy_from_slice(&secret.prove(Purpose::Attach, &node_id, incarnation))
        });
        let announcement = wire::Announcement {
            node_id: node_id.as_str().to_owned(),
            incarnation: incarnation.0,
            build: options.build,
            environment: options.environment.clone(),
            http_uri: http_uri.clone(),
            catalogs: options.catalogs.names().map(ToOwned::to_owned).collect(),
            authentication,
            direct_uri: http_uri.clone(),
        };
        let outputs = DirectExchange::new();
        let credentials = Credentials::new(secret.as_ref(), &node_id, incarnation);
        let connections = DirectConnections::new(credentials, runtime::Handle::current());
        let direct = DirectEnvironment {
            outputs: outputs.clone(),
            transports: DirectTransports::with_own(
                http_uri.as_str(),
                incarnation,
                outputs.clone(),
                connections,
            ),
            sink_options: options.direct_sink_options,
            read_options: options.direct_read_options,
        };
        let status = NodeStatus::new(node_id.clone(), options.environment, http_uri, options.capacity);
        let status = Arc::new(status);
        let environment = AttemptEnvironment {
            catalogs: options.catalogs,
            exchange: options.exchange,
            sink_options: options.sink_options,
            read_options: options.read_options,
            direct,
            spill_directory: spill.of_life(incarnation),
            spill_bytes_max: options.spill_bytes_max.0,
            memory: WorkerMemory::new(options.capacity.memory_bytes),
            query_pools: QueryPools::default(),
            runtime: Arc::new(RuntimeEnv::default()),
            failure_injections: options.failure_injections,
        };
        let (events, incoming_events) = mpsc::channel(EVENTS_COUNT_MAX);
        let (reports, newest_report) = watch::channel(None);
        let connection =
            Connection::new(options.coordinator_uri, announcement, events.clone(), newest_report)?;
        let computing = Computing::new(options.capacity.slots)?;
        let drain_grace = u64::try_from(options.drain_grace.as_millis()).unwrap_or(u64::MAX);
        let runner_options = RunnerOptions { drain_grace: Millis(drain_grace), ..RunnerOptions::default() };
        let node = Node::new(NodeParts {
            runner: Runner::with_options(incarnation, options.capacity, runner_options),
            environment: Arc::new(environment),
            attempts: computing.handle(),
            events: events.clone(),
            reports,
            status: Arc::clone(&status),
            monitor: ProcessMonitor::new(options.capacity.memory_bytes),
            no_progress_timeout: options.no_progress_timeout,
        });
        let http_stopped = CancellationToken::new();
        let routes = http::router(HttpState { status, events: events.clone() }).merge(direct::direct_routes(
            outputs.clone(),
            incarnation,
            secret,
        ));
        let http = direct::serve(http_listener, routes, http_stopped.clone().cancelled_owned());
        let http = tokio::spawn(http);
        let life = Life { computing, spill, incarnation, http, http_stopped };
        let stop = CancellationToken::new();
        let life = tokio::spawn(life.run(node, incoming_events, connection, stop.clone()));
        tracing::info!(node = %node_id, incarnation = incarnation.0, %http_address, "worker started");
        Ok(WorkerHandle { http_address, incarnation, outputs, events, stop, life, has_ended: false })
    }
}

/// What must be put away when a worker ends.
struct Life {
    computing: Computing,
    spill: SpillRoot,
    incarnation: Incarnation,
    http: JoinHandle<Result<()>>,
    http_stopped: CancellationToken,
}

impl Life {
    async fn run(
        self,
        node: Node,
        events: mpsc::Receiver<NodeEvent>,
        connection: Connection,
        stop: CancellationToken,
    ) {
        let connection = tokio::spawn(connection.run());
        tokio::select! {
            () = node.run(events) => {}
            () = stop.cancelled() => {}
        }
        // The node is gone and with it the receiver of events: whoever sends some ends as well.
        connection.abort();
        self.http_stopped.cancel();
        let http = self.http.abort_handle();
        if timeout(HTTP_SHUTDOWN_TIMEOUT, self.http).await.is_err() {
            http.abort();
        }
        drop(self.computing);
        self.spill.remove_life(self.incarnation);
        tracing::info!("worker ended");
    }
}

fn http_listener(bound: std::net::TcpListener) -> Result<tokio::net::TcpListener> {
    bound.set_nonblocking(true).map_err(not_bound)?;
    tokio::net::TcpListener::from_std(bound).map_err(not_bound)
}

fn not_bound(error: std::io::Error) -> Error {
    Error::new(ErrorCode::CONFIGURATION_INVALID, "The worker cannot serve HTTP on the socket it was given")
        .caused_by(error)
}

/// The time of the start in milliseconds, so that a later life is newer; in any case newer than a life that left
/// something behind, should the clock have gone back.
fn incarnation(left_behind: Option<Incarnation>) -> Incarnation {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    Incarnation(left_behind.map_or(now, |left| now.max(left.0.saturating_add(1))))
}

/// Where attempts compute.
struct Computing(Option<Runtime>);

impl Computing {
    fn new(slots: u32) -> Result<Self> {
        if slots == 0 {
            return Err(Error::new(ErrorCode::CONFIGURATION_INVALID, "A worker needs at least one slot"));
        }
        let number = AtomicUsize::new(0);
        runtime::Builder::new_multi_thread()
            .worker_threads(slots as usize)
            .thread_name_fn(move || format!("attempt-{}", number.fetch_add(1, Ordering::Relaxed)))
            .thread_stack_size(ATTEMPT_STACK_BYTES)
            .enable_all()
            .build()
            .map(|runtime| Computing(Some(runtime)))
            .map_err(|error| Error::internal("The threads of a worker cannot be started").caused_by(error))
    }

    fn handle(&self) -> runtime::Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle().clone()
    }
}

impl Drop for Computing {
    /// An attempt that runs is dropped where it waits. One that is stuck does not hold up the end.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_life_is_newer_even_if_the_clock_went_back() {
        let first = incarnation(None);
        let future = Incarnation(first.0 + 1_000_000);
        assert_eq!(incarnation(Some(future)), Incarnation(future.0 + 1));
        assert!(incarnation(Some(Incarnation(5))) >= first);
    }
}
