//! A node that serves outputs, and a proxy before it that cuts connections.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use base::{AttemptId, Epoch, Incarnation, NodeId, Result, StageId, TaskId};
use exchange::MemoryCharge;
use exchange::direct::{
    ConsumerId, DirectExchange, DirectReadError, DirectReadOptions, DirectReader, DirectSinkOptions,
    DirectSource, OutputSlice,
};
use futures::StreamExt;
use listener::BoundedListener;
use protocol::direct::{Credentials, DirectConnections, DirectTransports};
use protocol::node::SharedSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::direct::{direct_routes, serve};

/// A test that waits longer than this for anything has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The life of the node in the tests.
pub const LIFE: Incarnation = Incarnation(7);

/// A node that serves its outputs. It ends with this.
pub struct Node {
    pub exchange: DirectExchange,
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

impl Node {
    pub async fn start(secret: Option<SharedSecret>) -> Self {
        let exchange = DirectExchange::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = direct_routes(exchange.clone(), LIFE, secret);
        let server = tokio::spawn(async move {
            serve(BoundedListener::new(listener, 1_000), routes, std::future::pending()).await.unwrap()
        });
        Node { exchange, address, server }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The ways of another node, which knows that secret.
pub fn transports(secret: Option<&SharedSecret>) -> DirectTransports {
    let (life, name) = (Incarnation(1), NodeId::new("consumer"));
    let connections = DirectConnections::new(Credentials::new(secret, &name, life), Handle::current());
    DirectTransports::new(connections)
}

pub fn source(transports: &DirectTransports, address: SocketAddr, slice: OutputSlice) -> DirectSource {
    DirectSource { slice, transport: transports.to(&format!("http://{address}"), LIFE).unwrap() }
}

pub fn attempt(partition: u32) -> AttemptId {
    let query = "20261120_061411_00007_abcde".parse().unwrap();
    let task = TaskId { query, stage: StageId(1), partition };
    AttemptId { task, generation: 0, epoch: Epoch(0), number: 0 }
}

pub fn slice(producer: AttemptId, consumer: u64, partitions: Range<u32>) -> OutputSlice {
    OutputSlice { producer, consumer: ConsumerId(consumer), partitions }
}

pub fn numbers(range: Range<i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(range)) as _)]).unwrap()
}

pub fn schema() -> SchemaRef {
    numbers(0..0).schema()
}

pub fn read_options() -> DirectReadOptions {
    DirectReadOptions { wait_max: Duration::from_millis(200), ..DirectReadOptions::new(Handle::current()) }
}

pub fn sink_options(pool: &Arc<Pool>, buffer_bytes_max: u64) -> DirectSinkOptions {
    DirectSinkOptions {
        buffer_bytes_max,
        broadcast_buffer_bytes_max: buffer_bytes_max,
        memory: Some(pool.clone()),
        ..DirectSinkOptions::default()
    }
}

pub async fn read_all(mut reader: DirectReader) -> std::result::Result<Vec<i64>, DirectReadError> {
    let mut values = Vec::new();
    while let Some(batch) = reader.next().await {
        values.extend_from_slice(batch?.column(0).as_primitive::<Int64Type>().values());
    }
    Ok(values)
}

/// A pool that counts.
#[derive(Debug, Default)]
pub struct Pool {
    used: AtomicU64,
    peak: AtomicU64,
}

impl Pool {
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::SeqCst)
    }
}

impl MemoryCharge for Pool {
    fn try_grow(&self, bytes: u64) -> Result<()> {
        let used = self.used.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.peak.fetch_max(used, Ordering::SeqCst);
        Ok(())
    }

    fn shrink(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
    }
}

/// Passes connections on to a node, and cuts each of the first ones after so many bytes of answers.
pub struct CuttingProxy {
    pub address: SocketAddr,
    pub cuts: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl CuttingProxy {
    pub async fn start(to: SocketAddr, cuts: usize, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (done, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (count, stopped) = (Arc::clone(&done), stop.clone());
        let accept = async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(to).await.unwrap();
                let bytes_max = if count.load(Ordering::SeqCst) < cuts { bytes } else { usize::MAX };
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    if pass(near, far, bytes_max).await {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = accept => {}
                () = stopped.cancelled() => {}
            }
        });
        CuttingProxy { address, cuts: done, stop }
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Passes bytes both ways until one side ends. True if it was cut after so many bytes of answers.
async fn pass(near: TcpStream, far: TcpStream, bytes_max: usize) -> bool {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let requests = async {
        tokio::io::copy(&mut near_in, &mut far_out).await.ok();
        false
    };
    let answers = async {
        let (mut buffer, mut left) = (vec![0; 16 << 10], bytes_max);
        while let Ok(length @ 1..) = far_in.read(&mut buffer).await {
            let length = length.min(left);
            if near_out.write_all(&buffer[..length]).await.is_err() {
                return false;
            }
            left -= length;
            if left == 0 {
                return true;
            }
        }
        false
    };
    tokio::select! {
        cut = requests => cut,
        cut = answers => cut,
    }
}
