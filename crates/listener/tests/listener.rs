//! A server with few connections, and clients that want many.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::middleware::map_request;
use axum::routing::get;
use axum::serve::IncomingStream;
use listener::{BoundedListener, ConnectionHandle, count_requests};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// What requests for `/slow` wait for, and how many of them wait.
#[derive(Clone, Debug, Default)]
struct Gate {
    is_open: bool,
    waiting: usize,
}

/// What requests on a connection are to have among their extensions.
#[derive(Clone, Debug)]
struct Connection(ConnectInfo<ConnectionHandle>);

impl Connected<IncomingStream<'_, BoundedListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Connection(stream.io().connect_info())
    }
}

async fn tell_connection(ConnectInfo(connection): ConnectInfo<Connection>, mut request: Request) -> Request {
    request.extensions_mut().insert(connection.0);
    request
}

/// A server that answers `/quick` at once and `/slow` when the gate opens.
async fn start(connection_count_max: usize) -> (SocketAddr, watch::Sender<Gate>) {
    let gate = watch::Sender::new(Gate::default());
    let waits_for = gate.clone();
    let slow = move || async move {
        waits_for.send_modify(|gate| gate.waiting += 1);
        let _ = waits_for.subscribe().wait_for(|gate| gate.is_open).await;
        "slow"
    };
    let routes = Router::new().route("/quick", get(async || "quick")).route("/slow", get(slow));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = BoundedListener::new(listener, connection_count_max);
    let counted = count_requests(routes).layer(map_request(tell_connection));
    let counted = counted.into_make_service_with_connect_info::<Connection>();
    tokio::spawn(async move { axum::serve(listener, counted).await });
    (address, gate)
}

async fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// Reads until the text has come or the connection has ended. Whether the text has come.
async fn reads(stream: &mut TcpStream, text: &str) -> bool {
    let mut read = Vec::new();
    let mut piece = [0; 1024];
    let found = async {
        while !String::from_utf8_lossy(&read).contains(text) {
            match stream.read(&mut piece).await {
                Ok(count) if count > 0 => read.extend_from_slice(&piece[..count]),
                _ => return false,
            }
        }
        true
    };
    timeout(PATIENCE, found).await.expect("the server answers or closes")
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

async fn served(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address).await;
    ask(&mut stream, "/quick").await;
    assert!(reads(&mut stream, "quick").await);
    stream
}

#[tokio::test]
async fn many_silent_connections_do_not_keep_others_out() {
    let (address, _gate) = start(4).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(connect(address).await);
    }
    served(address).await;
    let mut open = 0;
    for mut stream in silent {
        // A connection that is open says nothing; one that is closed tells its end.
        open += usize::from(timeout(Duration::from_millis(100), stream.read(&mut [0])).await.is_err());
    }
    assert!(open <= 4, "{open} are open");
}

#[tokio::test]
async fn client_that_was_served_stays_when_silent_ones_come() {
    let (address, _gate) = start(4).await;
    let mut client = served(address).await;
    for _ in 0..50 {
        connect(address).await;
    }
    ask(&mut client, "/quick").await;
    assert!(reads(&mut client, "quick").await);
}

#[tokio::test]
async fn client_that_is_idle_for_longest_makes_room_for_a_new_one() {
    let (address, _gate) = start(2).await;
    let mut first = served(address).await;
    let mut second = served(address).await;
    let _third = served(address).await;
    assert!(!reads(&mut first, "anything").await, "it is closed");
    ask(&mut second, "/quick").await;
    assert!(reads(&mut second, "quick").await);
}

#[tokio::test]
async fn requests_under_way_are_not_disturbed_and_a_new_client_is_told() {
    let (address, gate) = start(2).await;
    let mut busy = [connect(address).await, connect(address).await];
    for stream in &mut busy {
        ask(stream, "/slow").await;
    }
    let both = async { gate.subscribe().wait_for(|gate| gate.waiting == 2).await.map(|_| ()) };
    timeout(PATIENCE, both).await.expect("requests are under way").unwrap();
    let mut refused = connect(address).await;
    ask(&mut refused, "/quick").await;
    assert!(reads(&mut refused, "503 Service Unavailable").await);
    gate.send_modify(|gate| gate.is_open = true);
    for stream in &mut busy {
        assert!(reads(stream, "slow").await);
    }
    served(address).await;
}
