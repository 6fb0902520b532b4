//! Frames that every consumer reads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base::Result;
use bytes::Bytes;
use tokio::sync::Notify;

use super::{Answer, Collector, FrameQueues, check_token, held_by, refused};
use crate::direct::fetch::{ConsumerId, OutputSlice};

#[derive(Debug, Default)]
struct Consumer {
    /// What is below was acknowledged, what is below `given` was given.
    acknowledged: u64,
    given: u64,
    is_starving: bool,
    is_closed: bool,
    wake: Arc<Notify>,
}

/// The frames of an output, from `first` on. One stays until all consumers have acknowledged it, and as long as more
/// consumers may come.
#[derive(Debug, Default)]
pub(super) struct BroadcastQueue {
    frames: VecDeque<Bytes>,
    first: u64,
    consumers: BTreeMap<ConsumerId, Consumer>,
    consumer_count: Option<u32>,
}

impl BroadcastQueue {
    fn are_all_known(&self) -> bool {
        self.consumer_count.is_some_and(|count| self.consumers.len() >= count as usize)
    }

    fn consumer(&mut self, slice: &OutputSlice) -> Result<&mut Consumer> {
        if slice.partitions != (0..1) {
            return Err(refused(slice, "it is read as a whole, as 0..1"));
        }
        if !self.consumers.contains_key(&slice.consumer) && self.are_all_known() {
            return Err(refused(slice, "all its consumers are known, and this is none of them"));
        }
        Ok(self.consumers.entry(slice.consumer).or_default())
    }

    /// Drops the frames that nobody needs any more.
    fn release(&mut self) -> u64 {
        if !self.are_all_known() {
            return 0;
        }
        let end = self.first + self.frames.len() as u64;
        let open = self.consumers.values().filter(|consumer| !consumer.is_closed);
        let needed = open.map(|consumer| consumer.acknowledged).min().unwrap_or(end);
        let count = needed.saturating_sub(self.first).min(self.frames.len() as u64);
        self.first += count;
        held_by(self.frames.drain(..count as usize))
    }
}

impl FrameQueues for BroadcastQueue {
    fn enqueue(&mut self, partition: u32, frame: Bytes) -> bool {
        if partition != 0 || self.is_all_closed() {
            return false;
        }
        self.frames.push_back(frame);
        for consumer in self.consumers.values_mut() {
            consumer.is_starving = false;
            consumer.wake.notify_waiters();
        }
        true
    }

    fn attach(&mut self, slice: &OutputSlice) -> Result<Arc<Notify>> {
        self.consumer(slice).map(|consumer| Arc::clone(&consumer.wake))
    }

    fn answer(&mut self, slice: &OutputSlice, token: u64, bytes_max: u64) -> Result<Answer> {
        let consumer = self.consumer(slice)?;
        if consumer.is_closed {
            return Ok(Answer { is_closed: true, ..Answer::default() });
        }
        check_token(slice, token, consumer.acknowledged, consumer.given)?;
        consumer.acknowledged = token;
        let given = consumer.given;
        let released_bytes = self.release();

        // What was given before is given again, and no more than that.
        let all = self.first + self.frames.len() as u64;
        let end = if token < given { given } else { all };
        let (from, to) = ((token - self.first) as usize, (end - self.first) as usize);
        let mut collector = Collector::new(bytes_max);
        let frames: Vec<_> =
            self.frames.range(from..to).take_while(|frame| collector.fits(frame)).cloned().collect();
        let reached = token + frames.len() as u64;
        let consumer = self.consumer(slice)?;
        consumer.given = given.max(reached);
        let next_frame_bytes = collector.answer.next_frame_bytes;
        Ok(Answer { frames, is_all: reached == all, is_closed: false, next_frame_bytes, released_bytes })
    }

    fn starve(&mut self, slice: &OutputSlice) {
        if let Ok(consumer) = self.consumer(slice) {
            consumer.is_starving = true;
        }
    }

    fn is_starving(&self, _partition: u32) -> bool {
        self.consumers.values().any(|consumer| consumer.is_starving)
    }

    fn close(&mut self, slice: &OutputSlice) -> Result<u64> {
        let consumer = self.consumer(slice)?;
        consumer.is_closed = true;
        consumer.wake.notify_waiters();
        Ok(self.release())
    }

    fn is_closed(&self, partition: u32) -> bool {
        partition != 0 || self.is_all_closed()
    }

    fn is_all_closed(&self) -> bool {
        self.are_all_known() && self.consumers.values().all(|consumer| consumer.is_closed)
    }

    fn set_consumer_count(&mut self, count: u32) -> u64 {
        self.consumer_count = Some(count);
        self.release()
    }

    fn clear(&mut self) {
        self.first += self.frames.len() as u64;
        self.frames = VecDeque::new();
    }

    fn wake_all(&self) {
        self.consumers.values().for_each(|consumer| consumer.wake.notify_waiters());
    }
}
