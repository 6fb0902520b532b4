//! One connection through a link.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::link::{Control, Counters};
use super::pump::{Direction, Pump};

/// How long what is dialed may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One connection through a link.
pub(super) struct Connection {
    pub target: SocketAddr,
    pub control: watch::Receiver<Control>,
    pub counters: Arc<Counters>,
    pub random: StdRng,
}

impl Connection {
    /// Carries what both ends say until one of them, or a fault, ends it.
    pub async fn carry(mut self, mut dialer: TcpStream) {
        if self.control.borrow().faults.is_cut {
            self.reset(&[&dialer]);
            return;
        }
        let Ok(Ok(mut dialed)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.target)).await else {
            // Nobody listens there: the dialer learns it as it would without the link.
            let _ = dialer.set_zero_linger();
            return;
        };
        Counters::add(&self.counters.connections);
        for stream in [&dialer, &dialed] {
            // Small messages must not wait for each other here.
            let _ = stream.set_nodelay(true);
        }
        let (up, down) = (self.pump(Direction::Up), self.pump(Direction::Down));
        let (from_dialer, to_dialer) = dialer.split();
        let (from_dialed, to_dialed) = dialed.split();
        let was_reset = tokio::select! {
            ended = async { tokio::try_join!(up.run(from_dialer, to_dialed), down.run(from_dialed, to_dialer)) } => {
                match ended {
                    Ok(_) => false,
                    Err(_) => {
                        // One end has gone without a word; so does the other.
                        let _ = (dialer.set_zero_linger(), dialed.set_zero_linger());
                        return;
                    }
                }
            }
            () = self.reset_due() => true,
        };
        if was_reset {
            self.reset(&[&dialer, &dialed]);
        }
    }

    fn pump(&mut self, direction: Direction) -> Pump {
        Pump {
            direction,
            control: self.control.clone(),
            counters: Arc::clone(&self.counters),
            random: StdRng::seed_from_u64(self.random.random()),
        }
    }

    /// Waits until this connection is to be reset.
    async fn reset_due(&mut self) {
        let known = self.control.borrow_and_update().reset_count;
        loop {
            let control = *self.control.borrow_and_update();
            if control.faults.is_cut || control.reset_count != known {
                return;
            }
            let due = async {
                match control.faults.reset_interval_mean {
                    // Exponentially distributed, so that every moment is as likely as every other.
                    Some(mean) => sleep(mean.mul_f64(-(1.0 - self.random.random::<f64>()).ln())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => return,
                changed = self.control.changed() => if changed.is_err() { return },
            }
        }
    }

    fn reset(&self, streams: &[&TcpStream]) {
        for stream in streams {
            // Closing it then sends a reset instead of an orderly end.
            let _ = stream.set_zero_linger();
        }
        Counters::add(&self.counters.resets);
    }
}
