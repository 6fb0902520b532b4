//! Reading one producer: asking, asking again, and closing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::credit::{Credit, Reservation};
use super::error::DirectReadError;
use super::fetch::{FetchError, FetchRequest, FetchResponse, FetchTransport, OutputSlice};
use super::options::{DataIntegrity, DirectReadOptions};
use crate::frame::FrameHeader;

/// A request for less than this is not worth a round trip, in bytes.
const REQUEST_BYTES_MIN: u64 = 16 << 10;

/// What is asked for where it is not known that there is more, in bytes. What is asked for is charged while the request
/// waits, and many readers wait for producers that have nothing yet.
const REQUEST_BYTES_FIRST: u64 = 256 << 10;

/// How long a producer is told that its consumer wants no more. One that does not hear it is ended by the coordinator.
const CLOSE_DURATION_MAX: Duration = Duration::from_secs(10);

/// A frame that arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) source: usize,
    pub(super) frame: Bytes,
    /// Goes back when the frame was read.
    pub(super) _held: Vec<Reservation>,
}

/// What a source tells its reader.
#[derive(Debug)]
pub(super) enum SourceEvent {
    Arrived(Arrival),
    /// All frames of that source were told.
    Ended(usize),
    Failed(DirectReadError),
}

/// One producer as it is read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) number: usize,
    pub(super) slice: OutputSlice,
    pub(super) transport: Arc<dyn FetchTransport>,
    pub(super) options: Arc<DirectReadOptions>,
    pub(super) credit: Credit,
    /// How much it may ask for while the length of the next frame is not known.
    pub(super) share_bytes: u64,
    pub(super) events: mpsc::Sender<SourceEvent>,
}

/// How much each of so many sources may ask for. Half of the buffer is left for frames that are larger.
pub(super) fn share_bytes(options: &DirectReadOptions, sources: usize) -> u64 {
    let share = options.buffer_bytes_max / 2 / sources.max(1) as u64;
    share.clamp(REQUEST_BYTES_MIN, options.response_bytes_max.max(REQUEST_BYTES_MIN))
}

/// How much a source asks for: little while its producer has little, up to its share while that has more.
#[derive(Debug)]
struct Pace {
    share_bytes: u64,
    bytes: u64,
    /// The length of the next frame, if it is known; else 0.
    next_frame_bytes: u64,
}

impl Pace {
    fn new(share_bytes: u64) -> Self {
        Pace { share_bytes, bytes: REQUEST_BYTES_FIRST.min(share_bytes), next_frame_bytes: 0 }
    }

    fn wanted(&self) -> u64 {
        self.bytes.max(self.next_frame_bytes)
    }

    /// What a request must be for at least to bring anything.
    fn least(&self) -> u64 {
        REQUEST_BYTES_MIN.min(self.share_bytes).max(self.next_frame_bytes)
    }

    fn answered(&mut self, response: &FetchResponse) {
        self.next_frame_bytes = response.next_frame_bytes;
        let bytes = match response.next_frame_bytes {
            // Frames that come one at a time are about as long as each other.
            0 => response.frames.iter().map(|frame| 2 * frame.len() as u64).max().unwrap_or(0),
            _ => 2 * self.bytes,
        };
        self.bytes = bytes.max(REQUEST_BYTES_FIRST).min(self.share_bytes);
    }
}

impl Source {
    /// Reads to the end, and tells the reader. If that is gone, there is nobody to tell.
    pub(super) async fn run(self) {
        let event = match self.read().await {
            Ok(true) => SourceEvent::Ended(self.number),
            Ok(false) => return,
            Err(error) => SourceEvent::Failed(self.verdict(error).await),
        };
        self.events.send(event).await.ok();
    }

    /// Waits for somebody to end the reader, where that is for others to do.
    async fn verdict(&self, error: DirectReadError) -> DirectReadError {
        let wait_max = self.options.verdict_wait_max;
        if wait_max.is_zero() || !error.awaits_verdict() {
            return error;
        }
        tracing::debug!(slice = %self.slice, %error, "a reader waits to be ended");
        sleep(wait_max).await;
        error.without_verdict(wait_max)
    }

    /// False if the reader is gone.
    async fn read(&self) -> Result<bool, DirectReadError> {
        let start = Instant::now();
        let mut backoff = Backoff::new(self.options.error_duration_max);
        let mut token = 0;
        let mut pace = Pace::new(self.share_bytes);
        loop {
            let mut reservation = self.credit.reserve(pace.wanted(), pace.least()).await?;
            let bytes_max = reservation.bytes();
            let wait_max = self.options.wait_max;
            let request = FetchRequest { slice: self.slice.clone(), token, bytes_max, wait_max };
            let response = self.transport.fetch(&request).await.and_then(|response| self.checked(response));
            let response = match response {
                Ok(response) => response,
                Err(error) => {
                    drop(reservation);
                    let wait = self.wait_after(error, &mut backoff, start)?;
                    sleep(wait).await;
                    continue;
                }
            };
            backoff.succeeded();
            token += response.frames.len() as u64;
            pace.answered(&response);
            reservation.shrink_to(response.bytes());
            if !self.tell(response.frames, reservation).await {
                return Ok(false);
            }
            if response.is_end {
                return Ok(true);
            }
        }
    }

    /// Looks at the checksums, before the next request acknowledges the frames.
    fn checked(&self, response: FetchResponse) -> Result<FetchResponse, FetchError> {
        if self.options.integrity == DataIntegrity::None {
            return Ok(response);
        }
        for frame in &response.frames {
            let header = FrameHeader::parse(frame, self.options.frame_bytes_max);
            if let Err(error) = header.and_then(|header| header.verify(frame)) {
                return Err(FetchError::Corrupt(error.to_string()));
            }
        }
        Ok(response)
    }

    /// How long to wait before the request is made again, if that may help.
    fn wait_after(
        &self,
        error: FetchError,
        backoff: &mut Backoff,
        start: Instant,
    ) -> Result<Duration, DirectReadError> {
        let producer = self.slice.producer;
        let reason = match error {
            // The other side has waited already.
            FetchError::NotStarted if start.elapsed() < self.options.start_wait_max => {
                backoff.succeeded();
                return Ok(Duration::ZERO);
            }
            FetchError::NotStarted => {
                return Err(DirectReadError::NotStarted { producer, waited: start.elapsed() });
            }
            FetchError::Gone => return Err(DirectReadError::OutputGone { producer }),
            FetchError::WorkerLost => return Err(DirectReadError::WorkerLost { producer }),
            FetchError::Failed(failure) => return Err(DirectReadError::ProducerFailed { producer, failure }),
            FetchError::Refused(error) => return Err(DirectReadError::Local(error)),
            FetchError::Corrupt(reason) if self.options.integrity != DataIntegrity::Retry => {
                return Err(DirectReadError::Corrupt { producer, reason });
            }
            FetchError::Corrupt(reason) | FetchError::Unreachable(reason) => reason,
        };
        let now = Instant::now();
        let wait = backoff.failed(now);
        tracing::debug!(slice = %self.slice, reason, failures = backoff.failures(), "a fetch failed");
        wait.ok_or_else(|| DirectReadError::Unreachable {
            producer,
            failures: backoff.failures(),
            duration: backoff.duration(now),
            reason,
        })
    }

    async fn tell(&self, frames: Vec<Bytes>, mut reservation: Reservation) -> bool {
        let mut frames = frames.into_iter().peekable();
        let mut rest = None;
        while let Some(frame) = frames.next() {
            let part = reservation.split(frame.len() as u64);
            // What rounding left over goes with the last one.
            if frames.peek().is_none() {
                rest = reservation.split(u64::MAX);
            }
            let held = part.into_iter().chain(rest.take()).collect();
            let arrival = Arrival { source: self.number, frame, _held: held };
            if self.events.send(SourceEvent::Arrived(arrival)).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// Tells a producer that its consumer wants no more.
pub(super) async fn close(slice: OutputSlice, transport: Arc<dyn FetchTransport>, start_wait_max: Duration) {
    let mut backoff = Backoff::new(CLOSE_DURATION_MAX);
    let mut starting = Backoff::new(start_wait_max);
    loop {
        let wait = match transport.close(&slice).await {
            Ok(()) => return,
            Err(FetchError::NotStarted) => starting.failed(Instant::now()),
            Err(FetchError::Unreachable(_)) => backoff.failed(Instant::now()),
            Err(FetchError::Gone | FetchError::WorkerLost | FetchError::Failed(_)) => return,
            Err(error @ (FetchError::Refused(_) | FetchError::Corrupt(_))) => {
                tracing::warn!(%slice, %error, "an output could not be closed");
                return;
            }
        };
        match wait {
            Some(wait) => sleep(wait).await,
            None => {
                tracing::debug!(%slice, "an output could not be closed in time");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pace: &mut Pace, frames: &[usize], next_frame_bytes: u64) {
        let frames = frames.iter().map(|length| Bytes::from(vec![0; *length])).collect();
        pace.answered(&FetchResponse { frames, is_end: false, next_frame_bytes });
    }

    #[test]
    fn a_source_asks_for_more_where_there_is_more() {
        let mut pace = Pace::new(4 << 20);
        assert_eq!((pace.wanted(), pace.least()), (REQUEST_BYTES_FIRST, REQUEST_BYTES_MIN));
        answer(&mut pace, &[], 0);
        assert_eq!(pace.wanted(), REQUEST_BYTES_FIRST, "nothing came");
        answer(&mut pace, &[], 900 << 10);
        assert_eq!((pace.wanted(), pace.least()), (900 << 10, 900 << 10), "the next frame is larger");
        answer(&mut pace, &[900 << 10], 100);
        assert_eq!((pace.wanted(), pace.least()), (1 << 20, REQUEST_BYTES_MIN));
        for _ in 0..5 {
            answer(&mut pace, &[1 << 20], 100);
        }
        assert_eq!(pace.wanted(), 4 << 20);
        answer(&mut pace, &[400 << 10], 0);
        assert_eq!(pace.wanted(), 800 << 10, "the producer has no more just now");
        answer(&mut pace, &[], 9 << 20);
        assert_eq!((pace.wanted(), pace.least()), (9 << 20, 9 << 20), "a frame larger than the share");
    }

    #[test]
    fn a_small_share_is_not_exceeded() {
        let pace = Pace::new(20 << 10);
        assert_eq!((pace.wanted(), pace.least()), (20 << 10, REQUEST_BYTES_MIN));
    }
}
