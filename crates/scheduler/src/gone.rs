//! The attempts that a worker had and has no more.

use alloc::collections::{BTreeSet, VecDeque};

use base::AttemptId;

/// So many are remembered.
const GONE_COUNT_MAX: usize = 4096;

/// The last attempts that were started and are held no more. None of them is ever started again: it may have written
/// something already. Whoever desires one had not heard of its end.
#[derive(Debug, Default)]
pub(crate) struct GoneAttempts {
    order: VecDeque<AttemptId>,
    ids: BTreeSet<AttemptId>,
}

impl GoneAttempts {
    /// An attempt that was started is held no more.
    pub(crate) fn note(&mut self, attempt: AttemptId) {
        if !self.ids.insert(attempt) {
            return;
        }
        self.order.push_back(attempt);
        if self.order.len() > GONE_COUNT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    /// Whether it is one of them.
    pub(crate) fn contains(&self, attempt: &AttemptId) -> bool {
        self.ids.contains(attempt)
    }
}

#[cfg(test)]
mod tests {
    use base::{Epoch, StageId, TaskId};

    use super::*;

    fn attempt(number: u32) -> AttemptId {
        let query = "20260101_000000_00001_aaaaa".parse().unwrap();
        let task = TaskId { query, stage: StageId(0), partition: 0 };
        AttemptId { task, generation: 0, epoch: Epoch(1), number }
    }

    #[test]
    fn the_last_ones_are_remembered_once() {
        let mut gone = GoneAttempts::default();
        for number in 0..=GONE_COUNT_MAX as u32 {
            gone.note(attempt(number));
            gone.note(attempt(number));
        }
        let remembered = [0, 1, GONE_COUNT_MAX as u32].map(|number| gone.contains(&attempt(number)));
        assert_eq!(remembered, [false, true, true]);
        assert_eq!((gone.order.len(), gone.ids.len()), (GONE_COUNT_MAX, GONE_COUNT_MAX));
    }
}
