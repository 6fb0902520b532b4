//! The outputs of a query that travel in the reports of workers, and are nowhere but in the memory of the coordinator.

use std::collections::{BTreeMap, BTreeSet};

use base::AttemptId;

/// How large the output of a task may be to travel in a report, in bytes.
const TASK_BYTES_MAX: u64 = 64 << 10;
/// How many bytes of outputs of one query the coordinator holds. They are sent to every task that reads them.
const QUERY_BYTES_MAX: u64 = 1 << 20;

/// What of a query's output is in the memory of the coordinator, and whether anything may be in the store.
#[derive(Debug, Default)]
pub struct InlineOutputs {
    /// For each attempt that may report its output, how many bytes are set aside for that.
    rooms: BTreeMap<AttemptId, u64>,
    /// For each attempt that reported its output, how many bytes that has.
    held: BTreeMap<AttemptId, u64>,
    /// The sum of both.
    bytes: u64,
    /// Those of the held ones that are in the store by now, too.
    stored: BTreeSet<AttemptId>,
    /// Whether an attempt may have written to the store.
    is_store_used: bool,
}

impl InlineOutputs {
    /// How large the output of an attempt that is about to be assigned may be to travel in its report.
    pub fn room(&mut self, attempt: AttemptId) -> u64 {
        if let Some(room) = self.rooms.get(&attempt) {
            return *room;
        }
        let room = TASK_BYTES_MAX.min(QUERY_BYTES_MAX.saturating_sub(self.bytes));
        self.bytes += room;
        self.rooms.insert(attempt, room);
        room
    }

    /// An attempt is assigned whose output may be as large to travel in its report, whatever the others have.
    pub fn set_room(&mut self, attempt: AttemptId, bytes: u64) {
        self.bytes += bytes;
        self.bytes -= self.rooms.insert(attempt, bytes).unwrap_or_default();
    }

    /// An attempt is assigned that commits in the store, whatever it writes.
    pub fn assigned_to_store(&mut self) {
        self.is_store_used = true;
    }

    /// An attempt has ended. What it wrote is in its report, if that is so; else there may be something in the store.
    pub fn ended(&mut self, attempt: &AttemptId, is_inline: bool) {
        self.bytes -= self.rooms.remove(attempt).unwrap_or_default();
        self.is_store_used |= !is_inline;
    }

    /// The output of an attempt is to be held.
    pub fn hold(&mut self, attempt: AttemptId, bytes: u64) {
        self.bytes += bytes;
        self.bytes -= self.held.insert(attempt, bytes).unwrap_or_default();
    }

    /// A held output is in the store, too.
    pub fn stored(&mut self, attempt: AttemptId) {
        self.is_store_used = true;
        if self.held.contains_key(&attempt) {
            self.stored.insert(attempt);
        }
    }

    /// A held output is of no use any more.
    pub fn forget(&mut self, attempt: &AttemptId) {
        self.bytes -= self.held.remove(attempt).unwrap_or_default();
        self.stored.remove(attempt);
    }

    /// Whether the output of an attempt is here, in the store or not.
    pub fn holds(&self, attempt: &AttemptId) -> bool {
        self.held.contains_key(attempt)
    }

    /// The attempts whose outputs are nowhere but here.
    pub fn unstored(&self) -> impl Iterator<Item = AttemptId> {
        self.held.keys().filter(|attempt| !self.stored.contains(attempt)).copied()
    }

    /// Whether anything of the query may be in the store, now or later.
    pub fn is_store_used(&self) -> bool {
        self.is_store_used || !self.rooms.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use base::{Epoch, StageId, TaskId};

    use super::*;

    fn attempt(partition: u32) -> AttemptId {
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        let task = TaskId { query, stage: StageId(1), partition };
        AttemptId { task, generation: 0, epoch: Epoch(1), number: 0 }
    }

    #[test]
    fn no_more_is_set_aside_and_held_than_a_query_may_have() {
        let mut outputs = InlineOutputs::default();
        let rooms: u64 = (0..100).map(|partition| outputs.room(attempt(partition))).sum();
        assert_eq!(rooms, QUERY_BYTES_MAX);
        assert_eq!(outputs.room(attempt(0)), TASK_BYTES_MAX, "asked again, it is the same");
        assert_eq!(outputs.room(attempt(100)), 0);
        for partition in 0..100 {
            outputs.ended(&attempt(partition), true);
            outputs.hold(attempt(partition), 10);
            outputs.hold(attempt(partition), 10);
        }
        assert_eq!(outputs.bytes, 1000);
        assert_eq!(outputs.room(attempt(101)), TASK_BYTES_MAX);
    }

    #[test]
    fn the_store_is_unused_only_if_all_that_was_assigned_was_reported() {
        let mut outputs = InlineOutputs::default();
        assert!(!outputs.is_store_used());
        outputs.room(attempt(0));
        assert!(outputs.is_store_used(), "it may write too much");
        outputs.ended(&attempt(0), true);
        assert!(!outputs.is_store_used());
        outputs.room(attempt(1));
        outputs.ended(&attempt(1), false);
        assert!(outputs.is_store_used(), "what it had begun may be there");
        let mut outputs = InlineOutputs::default();
        outputs.assigned_to_store();
        assert!(outputs.is_store_used());
    }

    #[test]
    fn what_is_stored_is_held_on() {
        let mut outputs = InlineOutputs::default();
        outputs.hold(attempt(0), 5);
        outputs.hold(attempt(1), 5);
        outputs.stored(attempt(0));
        assert_eq!(outputs.unstored().collect::<Vec<_>>(), [attempt(1)]);
        assert!(outputs.holds(&attempt(0)) && outputs.is_store_used());
        outputs.forget(&attempt(0));
        outputs.forget(&attempt(1));
        assert_eq!((outputs.bytes, outputs.unstored().count()), (0, 0));
    }
}
