//! One direction of a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::faults::DirectionFaults;
use super::link::{Control, Counters};

/// How much is carried at a time.
const PIECE_BYTES: usize = 16 << 10;
/// How many pieces may be under way in a direction of a connection.
const PIECE_COUNT_MAX: usize = 64;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the dialer to what it dials.
    Up,
    /// From what is dialed to the dialer.
    Down,
}

/// Carries one direction of a connection.
pub(super) struct Pump {
    pub direction: Direction,
    pub control: watch::Receiver<Control>,
    pub counters: Arc<Counters>,
    pub random: StdRng,
}

struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

impl Pump {
    /// Carries until the sender has said all it had to say.
    pub async fn run(self, from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel(PIECE_COUNT_MAX);
        let (direction, control, counters) =
            (self.direction, self.control.clone(), Arc::clone(&self.counters));
        tokio::try_join!(self.take(from, sender), deliver(direction, control, counters, receiver, to))?;
        Ok(())
    }

    async fn take(mut self, mut from: impl AsyncRead + Unpin, sender: mpsc::Sender<Piece>) -> io::Result<()> {
        let mut buffer = vec![0; PIECE_BYTES];
        let mut last_due = Instant::now();
        loop {
            let count = from.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            let delay = self.delay();
            if !delay.is_zero() {
                Counters::add(&self.counters.delayed);
            }
            // Nothing overtakes what was said before it.
            last_due = last_due.max(Instant::now() + delay);
            let piece = Piece { due: last_due, bytes: buffer[..count].to_vec() };
            if sender.send(piece).await.is_err() {
                return Ok(());
            }
        }
    }

    fn delay(&mut self) -> Duration {
        let faults = faults(&self.control, self.direction);
        faults.latency + faults.jitter.mul_f64(self.random.random::<f64>())
    }
}

fn faults(control: &watch::Receiver<Control>, direction: Direction) -> DirectionFaults {
    let control = control.borrow();
    match direction {
        Direction::Up => control.faults.up,
        Direction::Down => control.faults.down,
    }
}

async fn deliver(
    direction: Direction,
    mut control: watch::Receiver<Control>,
    counters: Arc<Counters>,
    mut pieces: mpsc::Receiver<Piece>,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(piece) = pieces.recv().await {
        sleep_until(piece.due).await;
        if faults(&control, direction).is_stalled {
            Counters::add(&counters.stalled);
        }
        healed(&mut control, direction).await;
        if let Some(rate) = faults(&control, direction).bytes_per_second_max {
            sleep(Duration::from_secs_f64(piece.bytes.len() as f64 / rate.max(1) as f64)).await;
        }
        to.write_all(&piece.bytes).await?;
    }
    // The end arrives no sooner than anything else would.
    healed(&mut control, direction).await;
    to.shutdown().await
}

/// Waits until the direction is not stalled.
async fn healed(control: &mut watch::Receiver<Control>, direction: Direction) {
    while faults(control, direction).is_stalled {
        if control.changed().await.is_err() {
            return;
        }
    }
}
