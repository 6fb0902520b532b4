//! Frames of which each is read by one consumer.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use base::Result;
use bytes::Bytes;
use tokio::sync::Notify;

use super::{Answer, Collector, FrameQueues, check_token, held_by, refused};
use crate::direct::fetch::{ConsumerId, OutputSlice};

/// Why a consumer is in the table.
const KNOWN: &str = "it was made known";

#[derive(Debug, Default)]
struct Partition {
    /// Frames that were not given to a consumer yet.
    frames: VecDeque<Bytes>,
    /// The first partition of the consumer that reads it, once that is known.
    owner: Option<u32>,
    is_closed: bool,
}

#[derive(Debug)]
struct Consumer {
    id: ConsumerId,
    partitions: Range<u32>,
    /// The partitions that have frames, the one whose turn it is first.
    ready: VecDeque<u32>,
    /// Frames that were given and not acknowledged, from `acknowledged` on.
    given: VecDeque<Bytes>,
    acknowledged: u64,
    is_starving: bool,
    is_closed: bool,
    wake: Arc<Notify>,
}

/// The frames of an output by partition. Within a partition they keep their order.
#[derive(Debug)]
pub(super) struct PartitionedQueues {
    partitions: Vec<Partition>,
    open_partitions: usize,
    /// By the first partition that they read.
    consumers: BTreeMap<u32, Consumer>,
}

impl PartitionedQueues {
    pub(super) fn new(partitions: u32) -> Self {
        PartitionedQueues {
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
            open_partitions: partitions as usize,
            consumers: BTreeMap::new(),
        }
    }

    fn owner(&self, partition: u32) -> Option<&Consumer> {
        let owner = self.partitions.get(partition as usize)?.owner?;
        self.consumers.get(&owner)
    }

    fn consumer(&mut self, slice: &OutputSlice) -> Result<&mut Consumer> {
        self.make_known(slice)?;
        Ok(self.consumers.get_mut(&slice.partitions.start).expect(KNOWN))
    }

    fn make_known(&mut self, slice: &OutputSlice) -> Result<()> {
        let Range { start, end } = slice.partitions;
        let known = self.consumers.get(&start);
        if known.is_some_and(|known| known.id == slice.consumer && known.partitions == slice.partitions) {
            return Ok(());
        }
        let partitions = self.partitions.get_mut(start as usize..end as usize);
        let partitions = partitions.filter(|partitions| !partitions.is_empty());
        let partitions = partitions.ok_or_else(|| refused(slice, "there are no such partitions"))?;
        if partitions.iter().any(|partition| partition.owner.is_some()) {
            return Err(refused(slice, "another consumer reads it"));
        }
        let mut ready = VecDeque::new();
        for (number, partition) in (start..end).zip(partitions) {
            partition.owner = Some(start);
            if !partition.frames.is_empty() {
                ready.push_back(number);
            }
        }
        let consumer = Consumer {
            id: slice.consumer,
            partitions: slice.partitions.clone(),
            ready,
            given: VecDeque::new(),
            acknowledged: 0,
            is_starving: false,
            is_closed: false,
            wake: Arc::default(),
        };
        self.consumers.insert(start, consumer);
        Ok(())
    }
}

impl FrameQueues for PartitionedQueues {
    fn enqueue(&mut self, partition: u32, frame: Bytes) -> bool {
        let at = partition as usize;
        let Some(queue) = self.partitions.get_mut(at).filter(|queue| !queue.is_closed) else {
            return false;
        };
        let was_empty = queue.frames.is_empty();
        queue.frames.push_back(frame);
        if let Some(consumer) = queue.owner.and_then(|owner| self.consumers.get_mut(&owner)) {
            if was_empty {
                consumer.ready.push_back(partition);
            }
            consumer.is_starving = false;
            consumer.wake.notify_waiters();
        }
        true
    }

    fn attach(&mut self, slice: &OutputSlice) -> Result<Arc<Notify>> {
        self.consumer(slice).map(|consumer| Arc::clone(&consumer.wake))
    }

    fn answer(&mut self, slice: &OutputSlice, token: u64, bytes_max: u64) -> Result<Answer> {
        self.make_known(slice)?;
        let PartitionedQueues { partitions, consumers, .. } = self;
        let consumer = consumers.get_mut(&slice.partitions.start).expect(KNOWN);
        if consumer.is_closed {
            return Ok(Answer { is_closed: true, ..Answer::default() });
        }
        let given = consumer.acknowledged + consumer.given.len() as u64;
        check_token(slice, token, consumer.acknowledged, given)?;
        let released = consumer.given.drain(..(token - consumer.acknowledged) as usize);
        let released_bytes = held_by(released);
        consumer.acknowledged = token;

        let mut collector = Collector::new(bytes_max);
        if consumer.given.is_empty() {
            // Partitions take turns, so that one with much to say does not silence the others.
            while let Some(number) = consumer.ready.front().copied() {
                let queue = &mut partitions[number as usize];
                if !queue.frames.front().is_some_and(|frame| collector.fits(frame)) {
                    break;
                }
                consumer.given.extend(queue.frames.pop_front());
                consumer.ready.pop_front();
                if !queue.frames.is_empty() {
                    consumer.ready.push_back(number);
                }
            }
            collector.answer.frames.extend(consumer.given.iter().cloned());
        } else {
            let again = consumer.given.iter().take_while(|frame| collector.fits(frame)).cloned().collect();
            collector.answer.frames = again;
        }
        let Answer { frames, next_frame_bytes, .. } = collector.answer;
        let is_all = frames.len() == consumer.given.len() && consumer.ready.is_empty();
        Ok(Answer { frames, is_all, is_closed: false, next_frame_bytes, released_bytes })
    }

    fn starve(&mut self, slice: &OutputSlice) {
        if let Ok(consumer) = self.consumer(slice) {
            consumer.is_starving = true;
        }
    }

    fn is_starving(&self, partition: u32) -> bool {
        self.owner(partition).is_some_and(|consumer| consumer.is_starving)
    }

    fn close(&mut self, slice: &OutputSlice) -> Result<u64> {
        let consumer = self.consumer(slice)?;
        consumer.is_closed = true;
        consumer.ready.clear();
        let mut released = held_by(consumer.given.drain(..));
        consumer.wake.notify_waiters();
        let Range { start, end } = slice.partitions;
        for partition in &mut self.partitions[start as usize..end as usize] {
            released += held_by(partition.frames.drain(..));
            if !partition.is_closed {
                partition.is_closed = true;
                self.open_partitions -= 1;
            }
        }
        Ok(released)
    }

    fn is_closed(&self, partition: u32) -> bool {
        self.partitions.get(partition as usize).is_none_or(|partition| partition.is_closed)
    }

    fn is_all_closed(&self) -> bool {
        self.open_partitions == 0
    }

    fn set_consumer_count(&mut self, _count: u32) -> u64 {
        0
    }

    fn clear(&mut self) {
        for partition in &mut self.partitions {
            partition.frames = VecDeque::new();
        }
        for consumer in self.consumers.values_mut() {
            consumer.ready.clear();
            consumer.acknowledged += consumer.given.len() as u64;
            consumer.given = VecDeque::new();
        }
    }

    fn wake_all(&self) {
        self.consumers.values().for_each(|consumer| consumer.wake.notify_waiters());
    }
}
