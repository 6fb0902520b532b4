//! When and where a failed task is tried again.
//!
//! The rule, for failures of class internal and external:
//!
//! 1. The first retry of a task goes at once to another node if there is one, because most such failures are
//!    of the node. If there is none, it waits `retry-initial-delay`, but no longer than
//!    [`SAME_NODE_FIRST_DELAY_MAX`].
//! 2. The second retry waits `retry-initial-delay`, and each further one `retry-delay-scale-factor` times
//!    longer, up to `retry-max-delay`.
//! 3. A task avoids the node it failed on last for `retry-initial-delay`; a query avoids a node on which
//!    [`NODE_FAILURES_FREE_MAX`] or more of its attempts failed in a row, for a time that grows in the same
//!    way. A node is avoided only while there is another one that could take the task.
//!
//! Nothing else of the query waits. A failure for want of resources is retried at once. An attempt lost with
//! its worker is replaced at once; see [`LOST_WORKERS_FREE_MAX`].

use base::{Millis, NodeId};

use crate::options::QueryOptions;

/// The longest wait before the first retry when no other node is there.
pub const SAME_NODE_FIRST_DELAY_MAX: Millis = Millis(1_000);

/// So many workers may be lost under a task before it is suspected to be the cause. Each further one counts as a
/// failure of the task.
pub const LOST_WORKERS_FREE_MAX: u32 = 3;

/// So many workers must be lost under a task before its lease is suspected to be too small.
pub const LOST_WORKERS_TO_GROW_MEMORY_MIN: u32 = 2;

/// So many attempts of a query may fail in a row on one node before the query avoids the node.
pub const NODE_FAILURES_FREE_MAX: u32 = 2;

/// What went wrong with a task so far. Most tasks have none.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Trouble {
    /// The failures that count against the task.
    pub failures: u32,
    /// The workers lost under it.
    pub losses: u32,
    /// The attempts that found an input lost that had been replaced already.
    pub stale_inputs: u32,
    /// The least lease of the next attempt.
    pub lease_bytes_min: u64,
    /// The node to avoid, and until when.
    pub avoided: Option<(NodeId, Millis)>,
}

/// The failures in a row that the attempts of one query had on one node.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct NodeTrouble {
    pub failures: u32,
    pub avoided_until: Millis,
}

/// How long a task waits after its so manieth failure (from 1). `elsewhere`: another node is there.
pub(crate) fn task_delay(options: &QueryOptions, failures: u32, elsewhere: bool) -> Millis {
    match (failures, elsewhere) {
        (0 | 1, true) => Millis(0),
        (0 | 1, false) => options.retry_initial_delay.min(SAME_NODE_FIRST_DELAY_MAX),
        _ => scaled_delay(options, failures - 2),
    }
}

/// How long a query avoids a node after so many failures in a row on it.
pub(crate) fn node_delay(options: &QueryOptions, failures: u32) -> Millis {
    match failures.checked_sub(NODE_FAILURES_FREE_MAX) {
        None => Millis(0),
        Some(steps) => scaled_delay(options, steps),
    }
}

/// Bounds the loop below when the factor is close to one.
const SCALE_STEPS_MAX: u32 = 1_000;

fn scaled_delay(options: &QueryOptions, steps: u32) -> Millis {
    let max = options.retry_max_delay.0 as f64;
    let mut delay = options.retry_initial_delay.0 as f64;
    for _ in 0..steps.min(SCALE_STEPS_MAX) {
        if delay >= max {
            break;
        }
        delay *= options.retry_delay_scale_factor.max(1.0);
    }
    Millis(delay.min(max) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_retry_is_quick_and_later_ones_are_capped() {
        let options = QueryOptions::default();
        let delays =
            |elsewhere| [1, 2, 3, 4, 5, 9].map(|failures| task_delay(&options, failures, elsewhere).0);
        assert_eq!(delays(true), [0, 10_000, 20_000, 40_000, 60_000, 60_000]);
        assert_eq!(delays(false), [1_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
    }

    #[test]
    fn huge_failure_counts_do_not_take_long_to_judge() {
        assert_eq!(task_delay(&QueryOptions::default(), u32::MAX, true), Millis(60_000));
        let flat = QueryOptions { retry_delay_scale_factor: 1e300, ..QueryOptions::default() };
        assert_eq!(task_delay(&flat, 5, true), Millis(60_000));
    }

    #[test]
    fn node_is_avoided_from_the_second_failure_in_a_row() {
        let options = QueryOptions::default();
        assert_eq!(
            [1, 2, 3, 9].map(|failures| node_delay(&options, failures).0),
            [0, 10_000, 20_000, 60_000]
        );
    }
}
