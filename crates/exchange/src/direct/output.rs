//! The output of one attempt, between its producer and its consumers.

use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use base::{Failure, Result};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::fetch::{FetchError, FetchRequest, FetchResponse, OutputSlice};
use super::handle::DirectSinkMetrics;
use super::options::DirectSinkOptions;
use super::queues::{FrameQueues, OutputLayout, frame_queues};
use super::rows::{EncodedRows, RowBuffers};
use crate::buffer::frame_held_bytes;
use crate::memory::MemoryAccount;

/// How much longer a consumer waits for full frames for each partition there is. It bounds the frames that are made
/// before their time to 2,000 a second for an output: many consumers that take every row at once would cost more than
/// they gain.
const FRAME_DELAY_PER_PARTITION: Duration = Duration::from_micros(500);

/// A producer that found the buffer full goes on when it is at most this part of full, so that it then makes frames
/// that are worth their overhead.
const LOW_WATER_DIVISOR: u64 = 2;

#[derive(Debug)]
enum Outcome {
    Running,
    /// All frames are there.
    Finished,
    Failed(Failure),
    /// Nobody can read it any more.
    Gone,
}

#[derive(Debug)]
struct State {
    queues: Box<dyn FrameQueues>,
    /// Charged with the rows that wait and with the frames.
    account: MemoryAccount,
    /// How little must be used before the producer goes on, if it waits.
    space_wanted: Option<u64>,
    outcome: Outcome,
    metrics: DirectSinkMetrics,
    partition_bytes: Vec<u64>,
}

/// Whether there is memory for more.
#[derive(Debug)]
pub(super) enum Reserved {
    Granted,
    /// There will be when at most so many bytes are used.
    Full {
        low_water: u64,
    },
    /// Nobody wants more.
    Ended,
}

/// The output of one attempt. The lock of the rows is taken before that of the state, and kept while frames go from
/// one to the other, so that they stay in order; it is never kept while the producer waits.
#[derive(Debug)]
pub(super) struct Output {
    bytes_max: u64,
    frame_delay: Duration,
    pub(super) rows: tokio::sync::Mutex<RowBuffers>,
    state: Mutex<State>,
    space: Notify,
    is_satisfied: watch::Sender<bool>,
}

impl Output {
    pub(super) fn new(schema: SchemaRef, layout: OutputLayout, options: &DirectSinkOptions) -> Result<Self> {
        let partitions = layout.partitions();
        let rows = RowBuffers::new(schema, partitions, options.compression, options.frame_bytes_max)?;
        let state = State {
            queues: frame_queues(layout),
            account: MemoryAccount::new(options.memory.clone()),
            space_wanted: None,
            outcome: Outcome::Running,
            metrics: DirectSinkMetrics::default(),
            partition_bytes: vec![0; partitions as usize],
        };
        Ok(Output {
            bytes_max: match layout {
                OutputLayout::Broadcast => options.broadcast_buffer_bytes_max,
                OutputLayout::Single | OutputLayout::Partitioned { .. } => options.buffer_bytes_max,
            },
            frame_delay: options.frame_delay + FRAME_DELAY_PER_PARTITION * partitions,
            rows: tokio::sync::Mutex::new(rows),
            state: Mutex::new(state),
            space: Notify::new(),
            is_satisfied: watch::Sender::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What the producer does.

    /// Whether nobody wants more of that partition.
    pub(super) fn is_closed(&self, partition: u32) -> bool {
        self.state().queues.is_closed(partition)
    }

    /// Whether the producer may stop.
    pub(super) fn is_ended(&self) -> bool {
        let state = self.state();
        !matches!(state.outcome, Outcome::Running) || state.queues.is_all_closed()
    }

    /// Charges so many more bytes, if they fit.
    ///
    /// Fails with the error of the memory pool where it refuses although the output holds nothing.
    pub(super) fn reserve(&self, bytes: u64) -> Result<Reserved> {
        let mut state = self.state();
        if !matches!(state.outcome, Outcome::Running) || state.queues.is_all_closed() {
            return Ok(Reserved::Ended);
        }
        let used = state.account.used();
        if used > 0 && used + bytes > self.bytes_max {
            let low_water = (self.bytes_max / LOW_WATER_DIVISOR).min(self.bytes_max.saturating_sub(bytes));
            return Ok(Reserved::Full { low_water });
        }
        match state.account.try_grow(bytes) {
            Ok(()) => Ok(Reserved::Granted),
            Err(_) if used > 0 => Ok(Reserved::Full { low_water: used / LOW_WATER_DIVISOR }),
            Err(error) => Err(error),
        }
    }

    /// Brings what is charged for rows in line with what they hold.
    pub(super) fn adjust(&self, difference: i64) {
        let mut state = self.state();
        match difference {
            0.. => state.account.grow(difference.unsigned_abs()),
            ..0 => state.account.shrink(difference.unsigned_abs()),
        }
    }

    pub(super) fn is_starving(&self, partition: u32) -> bool {
        self.state().queues.is_starving(partition)
    }

    /// Takes note of rows that were pushed, with the bytes of their values.
    pub(super) fn count_rows(&self, partition: u32, rows: usize, bytes: u64) {
        let mut state = self.state();
        state.metrics.rows += rows as u64;
        state.partition_bytes[partition as usize] += bytes;
    }

    /// The bytes of the values that were pushed to each partition.
    pub(super) fn partition_bytes(&self) -> Arc<[u64]> {
        self.state().partition_bytes.as_slice().into()
    }

    /// Gives frames to the consumers and takes the charge of what they were made of.
    pub(super) fn enqueue(&self, encoded: EncodedRows) {
        let mut state = self.state();
        let is_running = matches!(state.outcome, Outcome::Running);
        let mut charged = encoded.freed_bytes;
        for frame in encoded.frames {
            let held = frame_held_bytes(&frame);
            if !is_running || state.queues.is_closed(encoded.partition) {
                continue;
            }
            if held > charged {
                state.account.grow(held - charged);
                charged = held;
            }
            charged -= held;
            state.metrics.frames += 1;
            state.metrics.stored_bytes += frame.len() as u64;
            state.queues.enqueue(encoded.partition, frame);
        }
        self.release(&mut state, charged);
    }

    /// Gives memory back. The producer goes on if that is enough.
    fn release(&self, state: &mut State, bytes: u64) {
        state.account.shrink(bytes);
        if state.space_wanted.is_some_and(|wanted| state.account.used() <= wanted) {
            state.space_wanted = None;
            self.space.notify_one();
        }
    }

    /// Lets the consumers have all rows, and waits until they have taken enough of them.
    pub(super) async fn make_room(&self, low_water: u64) -> Result<()> {
        let all = self.rows.lock().await.all();
        self.flush(all).await?;
        let start = Instant::now();
        loop {
            {
                let mut state = self.state();
                let is_ended = !matches!(state.outcome, Outcome::Running) || state.queues.is_all_closed();
                if is_ended || state.account.used() <= low_water {
                    state.metrics.waits += 1;
                    state.metrics.wait_time += start.elapsed();
                    return Ok(());
                }
                state.space_wanted = Some(low_water);
            }
            // There is one producer: what is told before it listens is kept for it.
            self.space.notified().await;
        }
    }

    /// Turns the rows that wait in these partitions into frames.
    pub(super) async fn flush(&self, partitions: Range<u32>) -> Result<()> {
        let mut rows = self.rows.lock().await;
        for partition in partitions {
            if let Some(encoded) = rows.encode_pending(partition)? {
                self.enqueue(encoded);
            }
        }
        Ok(())
    }

    pub(super) fn finish(&self) {
        let mut state = self.state();
        if matches!(state.outcome, Outcome::Running) {
            state.outcome = Outcome::Finished;
        }
        state.queues.wake_all();
    }

    pub(super) fn fail(&self, failure: Failure) {
        self.end(Outcome::Failed(failure));
    }

    /// The producer went away without a word. What it finished stays.
    pub(super) fn abandon(&self) {
        let is_running = matches!(self.state().outcome, Outcome::Running);
        if is_running {
            self.end(Outcome::Gone);
        }
    }

    /// Ends it whatever it is at. How it failed comes back, if it did.
    pub(super) fn remove(&self) -> Option<Failure> {
        let failure = match &self.state().outcome {
            Outcome::Failed(failure) => Some(failure.clone()),
            Outcome::Running | Outcome::Finished | Outcome::Gone => None,
        };
        if failure.is_none() {
            self.end(Outcome::Gone);
        }
        failure
    }

    fn end(&self, outcome: Outcome) {
        {
            let mut state = self.state();
            state.outcome = outcome;
            state.queues.clear();
            let used = state.account.used();
            self.release(&mut state, used);
            state.queues.wake_all();
        }
        self.space.notify_one();
        // Whoever is at the rows just now drops them when it is done: nothing is enqueued any more.
        if let Ok(mut rows) = self.rows.try_lock() {
            rows.close();
        }
    }

    // What consumers do.

    pub(super) async fn fetch(&self, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        let deadline = Instant::now() + request.wait_max;
        let frames_due = deadline.min(Instant::now() + self.frame_delay);
        let wake = self.state().queues.attach(&request.slice)?;
        let mut has_flushed = false;
        loop {
            let mut woken = pin!(wake.notified());
            woken.as_mut().enable();
            let response = self.answer(request)?;
            if response.is_end || response.next_frame_bytes > 0 || !response.frames.is_empty() {
                return Ok(response);
            }
            if has_flushed && Instant::now() >= deadline {
                return Ok(response);
            }
            tokio::select! {
                () = woken => {}
                () = sleep_until(if has_flushed { deadline } else { frames_due }) => {
                    if !has_flushed {
                        has_flushed = true;
                        self.starve(&request.slice).await?;
                    }
                }
            }
        }
    }

    fn answer(&self, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        let mut state = self.state();
        let is_finished = match &state.outcome {
            Outcome::Running => false,
            Outcome::Finished => true,
            Outcome::Failed(failure) => return Err(FetchError::Failed(failure.clone())),
            Outcome::Gone => return Err(FetchError::Gone),
        };
        let answer = state.queues.answer(&request.slice, request.token, request.bytes_max)?;
        self.release(&mut state, answer.released_bytes);
        let is_end = answer.is_closed || is_finished && answer.is_all;
        Ok(FetchResponse { frames: answer.frames, is_end, next_frame_bytes: answer.next_frame_bytes })
    }

    /// A consumer gets whatever there is, or what comes next.
    async fn starve(&self, slice: &OutputSlice) -> Result<(), FetchError> {
        self.state().queues.starve(slice);
        if let Err(error) = self.flush(slice.partitions.clone()).await {
            // The producer learns of it with its next rows, the consumers at once.
            self.fail(Failure::of(error));
        }
        Ok(())
    }

    pub(super) async fn close(&self, slice: &OutputSlice) -> Result<()> {
        let mut rows = self.rows.lock().await;
        {
            let mut state = self.state();
            let mut released = state.queues.close(slice)?;
            for partition in slice.partitions.clone() {
                if state.queues.is_closed(partition) && !rows.is_closed() {
                    released += rows.discard(partition);
                }
            }
            self.release(&mut state, released);
        }
        drop(rows);
        self.look_whether_satisfied();
        Ok(())
    }

    pub(super) fn set_consumer_count(&self, count: u32) {
        {
            let mut state = self.state();
            let released = state.queues.set_consumer_count(count);
            self.release(&mut state, released);
        }
        self.look_whether_satisfied();
    }

    fn look_whether_satisfied(&self) {
        if self.state().queues.is_all_closed() {
            self.is_satisfied.send_replace(true);
            self.space.notify_one();
        }
    }

    pub(super) async fn satisfied(&self) {
        // The sender lives as long as this.
        let _ = self.is_satisfied.subscribe().wait_for(|is_satisfied| *is_satisfied).await;
    }

    pub(super) fn metrics(&self) -> DirectSinkMetrics {
        let state = self.state();
        DirectSinkMetrics {
            memory_bytes: state.account.used(),
            memory_bytes_peak: state.account.peak(),
            ..state.metrics
        }
    }
}
