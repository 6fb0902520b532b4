//! One link: a listener, what is wrong with it, and what that has come to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::connection::Connection;
use super::faults::LinkFaults;
use super::route::Route;
use crate::random::seed_of;

/// How long to wait when this process can hold no more connections.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(10);

/// What a link has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Connections that were carried.
    pub connections: u64,
    /// Pieces that arrived later than they could have.
    pub delayed: u64,
    /// Pieces that were held back because their direction was stalled.
    pub stalled: u64,
    /// Connections that were reset, or refused because the link was cut.
    pub resets: u64,
}

/// The same, while it counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub connections: AtomicU64,
    pub delayed: AtomicU64,
    pub stalled: AtomicU64,
    pub resets: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a link is told. Resets of the connections that are open are counted, so that none is missed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Control {
    pub faults: LinkFaults,
    pub reset_count: u64,
}

/// A link between a dialer and what it dials. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    control: watch::Sender<Control>,
    counters: Arc<Counters>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// Opens a link without faults, on any port of this machine.
    pub async fn open(name: &str, seed: u64, route: &Route) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (control, told) = watch::channel(Control::default());
        let counters = Arc::new(Counters::default());
        let accepting = accept(listener, seed_of(seed, name), route.watch(), told, Arc::clone(&counters));
        Ok(Link { address, control, counters, accepting: tokio::spawn(accepting) })
    }

    /// Where it is to be dialed.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes these things wrong with it, and nothing else.
    pub fn set(&self, faults: LinkFaults) {
        self.control.send_modify(|control| control.faults = faults);
    }

    /// Makes nothing wrong with it.
    pub fn heal(&self) {
        self.set(LinkFaults::default());
    }

    /// Resets the connections that are open.
    pub fn reset(&self) {
        self.control.send_modify(|control| control.reset_count += 1);
    }

    /// What it has done so far.
    pub fn counts(&self) -> LinkCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkCounts {
            connections: read(&self.counters.connections),
            delayed: read(&self.counters.delayed),
            stalled: read(&self.counters.stalled),
            resets: read(&self.counters.resets),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    seed: u64,
    target: watch::Receiver<SocketAddr>,
    control: watch::Receiver<Control>,
    counters: Arc<Counters>,
) {
    // Aborted with this future.
    let mut carried = JoinSet::new();
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = carried.join_next() => continue,
        };
        let dialer = match accepted {
            Ok((dialer, _)) => dialer,
            Err(error) => {
                eprintln!("proxy: a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        number += 1;
        let connection = Connection {
            target: *target.borrow(),
            control: control.clone(),
            counters: Arc::clone(&counters),
            random: StdRng::seed_from_u64(seed.wrapping_add(number)),
        };
        carried.spawn(connection.carry(dialer));
    }
}
