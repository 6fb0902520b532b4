//! What placement asks of the workers, kept up with each change of one: who has room, who is slow, how large they are.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;

use base::{Millis, NodeId};

use crate::event::Capacity;
use crate::workers::Worker;

type Open = BTreeSet<(Reverse<u64>, NodeId)>;

/// What placement asks of the workers.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct WorkerIndex {
    /// The active workers with a free slot that are not slow, the one with the most free memory first.
    open_fast: Open,
    /// The slow ones, likewise.
    open_slow: Open,
    /// The sizes of the active workers: memory and slots, and how many have them.
    sizes: BTreeMap<(u64, u32), u32>,
    active: u32,
    slots: u64,
    /// The slots of the active workers that are not slow.
    fast_slots: u64,
    /// How many active workers are slow.
    slow: u32,
    /// Until when workers are slow, active or not.
    slow_until: BTreeSet<(Millis, NodeId)>,
}

/// What the index holds of a worker.
#[derive(PartialEq)]
pub(crate) struct Entry {
    /// None if it takes no attempts.
    capacity: Option<Capacity>,
    /// Its free memory, if it takes attempts and has a slot for one.
    open_bytes: Option<u64>,
    is_slow: bool,
    slow_until: Option<Millis>,
}

impl Entry {
    pub(crate) fn of(worker: &Worker) -> Self {
        let is_open = worker.is_active() && worker.has_free_slot();
        Entry {
            capacity: worker.is_active().then_some(worker.capacity),
            open_bytes: is_open.then(|| worker.free_bytes()),
            is_slow: worker.is_slow(),
            slow_until: worker.slow_until,
        }
    }

    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow
    }
}

impl WorkerIndex {
    /// The index of these workers, from nothing.
    pub(crate) fn of<'a>(workers: impl Iterator<Item = (&'a NodeId, &'a Worker)>) -> Self {
        let mut index = WorkerIndex::default();
        workers.for_each(|(node, worker)| index.insert(node, &Entry::of(worker)));
        index
    }

    /// A worker has changed.
    pub(crate) fn change(&mut self, node: &NodeId, before: &Entry, after: &Entry) {
        if before.open_bytes != after.open_bytes || before.is_slow != after.is_slow {
            self.remove_open(node, before);
            self.insert_open(node, after);
        }
        if before.slow_until != after.slow_until {
            self.remove_until(node, before);
            self.insert_until(node, after);
        }
        if (before.capacity, before.is_slow) != (after.capacity, after.is_slow) {
            self.remove_size(before);
            self.insert_size(after);
        }
    }

    fn insert(&mut self, node: &NodeId, entry: &Entry) {
        self.insert_open(node, entry);
        self.insert_until(node, entry);
        self.insert_size(entry);
    }

    fn insert_open(&mut self, node: &NodeId, entry: &Entry) {
        if let Some(free) = entry.open_bytes {
            self.open_mut(entry.is_slow).insert((Reverse(free), node.clone()));
        }
    }

    fn remove_open(&mut self, node: &NodeId, entry: &Entry) {
        if let Some(free) = entry.open_bytes {
            self.open_mut(entry.is_slow).remove(&(Reverse(free), node.clone()));
        }
    }

    fn open_mut(&mut self, is_slow: bool) -> &mut Open {
        if is_slow { &mut self.open_slow } else { &mut self.open_fast }
    }

    fn insert_until(&mut self, node: &NodeId, entry: &Entry) {
        self.slow_until.extend(entry.slow_until.map(|until| (until, node.clone())));
    }

    fn remove_until(&mut self, node: &NodeId, entry: &Entry) {
        if let Some(until) = entry.slow_until {
            self.slow_until.remove(&(until, node.clone()));
        }
    }

    fn insert_size(&mut self, entry: &Entry) {
        if let Some(Capacity { memory_bytes, slots }) = entry.capacity {
            *self.sizes.entry((memory_bytes, slots)).or_default() += 1;
            self.active += 1;
            self.slots += u64::from(slots);
            self.fast_slots += if entry.is_slow { 0 } else { u64::from(slots) };
            self.slow += u32::from(entry.is_slow);
        }
    }

    fn remove_size(&mut self, entry: &Entry) {
        if let Some(Capacity { memory_bytes, slots }) = entry.capacity {
            let count = self.sizes.entry((memory_bytes, slots)).or_default();
            *count -= 1;
            if *count == 0 {
                self.sizes.remove(&(memory_bytes, slots));
            }
            self.active -= 1;
            self.slots -= u64::from(slots);
            self.fast_slots -= if entry.is_slow { 0 } else { u64::from(slots) };
            self.slow -= u32::from(entry.is_slow);
        }
    }

    /// How many workers take new attempts.
    pub(crate) fn active(&self) -> u32 {
        self.active
    }

    /// The slots of the active workers.
    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    /// The slots of the active workers that are not slow.
    pub(crate) fn fast_slots(&self) -> u64 {
        self.fast_slots
    }

    /// How many active workers are slow.
    pub(crate) fn slow(&self) -> u32 {
        self.slow
    }

    /// The memory in bytes and the slots of the largest active worker.
    pub(crate) fn largest(&self) -> Option<(u64, u32)> {
        self.sizes.last_key_value().map(|(size, _)| *size)
    }

    /// Whether an active worker has a free slot.
    pub(crate) fn has_open(&self) -> bool {
        !self.open_fast.is_empty() || !self.open_slow.is_empty()
    }

    /// The active workers with a free slot that are slow, or that are not, the one with the most free memory first.
    pub(crate) fn open(&self, is_slow: bool) -> impl Iterator<Item = (u64, &NodeId)> {
        let open = if is_slow { &self.open_slow } else { &self.open_fast };
        open.iter().map(|(Reverse(free), node)| (*free, node))
    }

    /// The worker that is the first not to be slow any more, and when.
    pub(crate) fn first_slow_until(&self) -> Option<&(Millis, NodeId)> {
        self.slow_until.first()
    }
}
