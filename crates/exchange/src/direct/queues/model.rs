//! Random producers and consumers against what must hold whatever happens.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::tests::slice;
use super::*;

const SEEDS: u64 = 400;
const STEPS: usize = 400;

/// A consumer that asks, loses answers, asks again and may go away.
struct Consumer {
    slice: OutputSlice,
    token: u64,
    /// Every frame that was ever given, by its number.
    given: HashMap<u64, Bytes>,
    /// What arrived, in order.
    received: Vec<Bytes>,
    is_closed: bool,
}

struct Model {
    random: StdRng,
    queues: Box<dyn FrameQueues>,
    partitions: u32,
    is_broadcast: bool,
    consumers: Vec<Consumer>,
    /// All frames that were wanted, by partition.
    pushed: Vec<Vec<Bytes>>,
    held_bytes: u64,
    next_number: u32,
}

/// A frame says its partition and has a content of its own.
fn frame(partition: u32, number: u32, length: usize) -> Bytes {
    let mut content = vec![0; 8 + length];
    content[..4].copy_from_slice(&partition.to_le_bytes());
    content[4..8].copy_from_slice(&number.to_le_bytes());
    Bytes::from(content)
}

fn partition_of(frame: &Bytes) -> u32 {
    u32::from_le_bytes(frame[..4].try_into().unwrap())
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let is_broadcast = random.random();
        let (partitions, consumers) = if is_broadcast {
            let consumer = |id| (id, 0..1);
            (1, (0..random.random_range(1..5)).map(consumer).collect::<Vec<_>>())
        } else {
            let partitions: u32 = random.random_range(1..12);
            let mut ranges = Vec::new();
            let mut start = 0;
            while start < partitions {
                let end = random.random_range(start + 1..=partitions);
                ranges.push((u64::from(start), start..end));
                start = end;
            }
            (partitions, ranges)
        };
        let layout =
            if is_broadcast { OutputLayout::Broadcast } else { OutputLayout::Partitioned { partitions } };
        let consumer = |(id, range)| Consumer {
            slice: slice(id, range),
            token: 0,
            given: HashMap::new(),
            received: Vec::new(),
            is_closed: false,
        };
        Model {
            random,
            queues: frame_queues(layout),
            partitions,
            is_broadcast,
            consumers: consumers.into_iter().map(consumer).collect(),
            pushed: vec![Vec::new(); partitions as usize],
            held_bytes: 0,
            next_number: 0,
        }
    }

    fn push(&mut self) {
        let partition = self.random.random_range(0..self.partitions);
        let frame = frame(partition, self.next_number, self.random.random_range(0..100));
        self.next_number += 1;
        if self.queues.enqueue(partition, frame.clone()) {
            self.held_bytes += frame_held_bytes(&frame);
            self.pushed[partition as usize].push(frame);
        }
    }

    /// One request, whose answer may be lost, or be taken in part.
    fn ask(&mut self, bytes_max: u64) -> bool {
        let at = self.random.random_range(0..self.consumers.len());
        let consumer = &mut self.consumers[at];
        let answer = self.queues.answer(&consumer.slice, consumer.token, bytes_max).unwrap();
        self.held_bytes -= answer.released_bytes;
        assert_eq!(answer.is_closed, consumer.is_closed);
        assert!(answer.frames.iter().map(|frame| frame.len() as u64).sum::<u64>() <= bytes_max);
        if answer.next_frame_bytes > 0 {
            let bytes: u64 = answer.frames.iter().map(|frame| frame.len() as u64).sum();
            assert!(bytes + answer.next_frame_bytes > bytes_max && !answer.is_all);
        }
        for (number, frame) in (consumer.token..).zip(&answer.frames) {
            let known = consumer.given.entry(number).or_insert_with(|| frame.clone());
            assert_eq!(known, frame, "the same number, the same bytes");
        }
        let taken = match self.random.random_range(0..4) {
            0 => 0,
            1 => self.random.random_range(0..=answer.frames.len()),
            _ => answer.frames.len(),
        };
        consumer.token += taken as u64;
        consumer.received.extend_from_slice(&answer.frames[..taken]);
        answer.is_all || answer.is_closed
    }

    fn close(&mut self) {
        let at = self.random.random_range(0..self.consumers.len());
        let consumer = &mut self.consumers[at];
        consumer.is_closed = true;
        self.held_bytes -= self.queues.close(&consumer.slice).unwrap();
    }

    /// What a consumer got is what was pushed for it: all of it in the end, and in order by partition.
    fn check(&self, is_complete: bool) {
        for consumer in self.consumers.iter().filter(|consumer| !consumer.is_closed) {
            for partition in consumer.slice.partitions.clone() {
                let of_it = consumer.received.iter().filter(|frame| partition_of(frame) == partition);
                let received: Vec<_> = of_it.cloned().collect();
                let pushed = &self.pushed[partition as usize];
                assert_eq!(received, pushed[..received.len()]);
                assert!(!is_complete || received.len() == pushed.len());
            }
        }
    }
}

#[test]
fn every_frame_arrives_once_and_in_order_whatever_is_lost() {
    for seed in 0..SEEDS {
        let mut model = Model::new(seed);
        let mut is_count_known = !model.is_broadcast;
        let count = model.consumers.len() as u32;
        for step in 0..STEPS {
            match model.random.random_range(0..100) {
                0..50 => model.push(),
                50..97 => {
                    let bytes_max = model.random.random_range(0..1_000);
                    model.ask(bytes_max);
                }
                97..98 if step > STEPS / 2 => model.close(),
                _ if !is_count_known => {
                    is_count_known = true;
                    model.held_bytes -= model.queues.set_consumer_count(count);
                }
                _ => model.check(false),
            }
        }
        if !is_count_known {
            model.held_bytes -= model.queues.set_consumer_count(count);
        }
        // Now nothing more comes: whoever is still there asks until there is nothing left.
        for _ in 0..1_000 {
            model.ask(u64::MAX);
        }
        model.check(true);
        for consumer in &model.consumers {
            model.held_bytes -= model.queues.close(&consumer.slice).unwrap();
        }
        assert!(model.queues.is_all_closed(), "seed {seed}");
        assert_eq!(model.held_bytes, 0, "seed {seed}: all memory came back");
    }
}
