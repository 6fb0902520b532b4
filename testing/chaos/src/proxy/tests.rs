use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::*;

/// Long enough for anything that arrives at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to believe that nothing arrives.
const DOUBT: Duration = Duration::from_millis(200);

/// A server that says what it is told, a link to it, and a connection through that.
async fn echo() -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let route = Route::fixed(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let link = Link::open("test", 1, &route).await.unwrap();
    let stream = TcpStream::connect(link.address()).await.unwrap();
    (link, stream)
}

async fn round_trip(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Duration> {
    let started = Instant::now();
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, bytes);
    Ok(started.elapsed())
}

#[tokio::test]
async fn what_is_said_arrives_unchanged() {
    let (link, mut stream) = echo().await;
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let (mut from, mut to) = stream.split();
    let mut answer = vec![0; bytes.len()];
    tokio::join!(async { to.write_all(&bytes).await.unwrap() }, async {
        from.read_exact(&mut answer).await.unwrap();
    });
    assert!(answer == bytes);
    assert_eq!(link.counts().connections, 1);
    assert_eq!(link.counts().delayed + link.counts().stalled + link.counts().resets, 0);
}

#[tokio::test]
async fn latency_delays_each_direction() {
    let (link, mut stream) = echo().await;
    round_trip(&mut stream, b"warm").await.unwrap();
    let slow = DirectionFaults { latency: Duration::from_millis(60), ..Default::default() };
    link.set(LinkFaults { up: slow, down: slow, ..Default::default() });
    assert!(round_trip(&mut stream, b"slow").await.unwrap() >= Duration::from_millis(120));
    assert!(link.counts().delayed >= 2);
}

#[tokio::test]
async fn a_throttled_link_carries_no_more_than_it_may() {
    let (link, mut stream) = echo().await;
    let slow = DirectionFaults { bytes_per_second_max: Some(10_000), ..Default::default() };
    link.set(LinkFaults { up: slow, ..Default::default() });
    assert!(round_trip(&mut stream, &[7; 2_000]).await.unwrap() >= Duration::from_millis(200));
}

#[tokio::test]
async fn what_a_stalled_direction_holds_arrives_when_it_heals() {
    for faults in [LinkFaults::stalled_up(), LinkFaults::stalled_down(), LinkFaults::stalled()] {
        let (link, mut stream) = echo().await;
        round_trip(&mut stream, b"warm").await.unwrap();
        link.set(faults);
        assert!(timeout(DOUBT, round_trip(&mut stream, b"held")).await.is_err());
        link.heal();
        let mut answer = [0; 4];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!((&answer, link.counts().stalled > 0), (b"held", true));
    }
}

#[tokio::test]
async fn a_cut_link_resets_what_is_open_and_what_comes() {
    let (link, mut stream) = echo().await;
    round_trip(&mut stream, b"warm").await.unwrap();
    link.set(LinkFaults::cut());
    let ended = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
    let mut another = TcpStream::connect(link.address()).await.unwrap();
    timeout(PATIENCE, another.read_u8()).await.unwrap().unwrap_err();
    link.heal();
    let mut healed = TcpStream::connect(link.address()).await.unwrap();
    round_trip(&mut healed, b"fine").await.unwrap();
}

#[tokio::test]
async fn connections_are_reset_once_or_by_chance() {
    let (link, mut stream) = echo().await;
    round_trip(&mut stream, b"warm").await.unwrap();
    link.reset();
    timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err();
    let mut another = TcpStream::connect(link.address()).await.unwrap();
    round_trip(&mut another, b"warm").await.unwrap();
    let mean = Some(Duration::from_millis(10));
    link.set(LinkFaults { reset_interval_mean: mean, ..Default::default() });
    timeout(PATIENCE, another.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(link.counts().resets, 2);
}
