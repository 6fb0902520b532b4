//! How much memory an attempt is promised: estimates of a stage that learn from its finished attempts.
//!
//! The first lease of a task is the larger of the configured one and a quantile of the peaks that finished
//! attempts of its stage have shown. A lease that was too small is multiplied by the growth factor. The last
//! attempt a task has gets a whole node. No lease is larger than the largest node.

use base::ErrorCode;

use crate::options::QueryOptions;
use crate::quantile::Quantile;

/// A lease of this size asks for a whole node, whatever its size.
pub(crate) const WHOLE_NODE_BYTES: u64 = u64::MAX;

/// Peaks below this are not told apart.
const PEAK_GRAIN_BYTES_MIN: u64 = 1 << 20;

/// Whether an error says that an attempt had too little memory.
pub(crate) fn is_out_of_memory(code: ErrorCode) -> bool {
    code == ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT
        || code == ErrorCode::EXCEEDED_GLOBAL_MEMORY_LIMIT
        || code == ErrorCode::CLUSTER_OUT_OF_MEMORY
}

/// What the finished attempts of one stage tell about the next ones.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Estimator {
    growth_factor: f64,
    peaks: Quantile,
}

impl Estimator {
    pub(crate) fn new(options: &QueryOptions) -> Self {
        Estimator {
            growth_factor: options.task_memory_growth_factor.max(1.0),
            peaks: Quantile::new(options.task_memory_estimation_quantile, PEAK_GRAIN_BYTES_MIN),
        }
    }

    /// The lease of a task that is tried for the first time, before the cap.
    pub(crate) fn initial_bytes(&self, default_bytes: u64) -> u64 {
        default_bytes.max(self.peaks.value())
    }

    /// The least lease of the next attempt of a task whose attempt has ended badly.
    ///
    /// `grow` says that the lease was, or may have been, too small; `last` that no further attempt is left.
    pub(crate) fn retry_bytes(&self, lease_bytes: u64, peak_bytes: u64, grow: bool, last: bool) -> u64 {
        let base = lease_bytes.max(peak_bytes);
        let wanted = match (grow, last) {
            (false, _) => base,
            (true, true) => WHOLE_NODE_BYTES,
            (true, false) => self.grown(base),
        };
        wanted.max(self.peaks.value())
    }

    /// An attempt has committed, with this peak.
    pub(crate) fn register_success(&mut self, peak_bytes: u64) {
        self.peaks.add(peak_bytes);
    }

    /// An attempt has failed because its lease was too small.
    pub(crate) fn register_out_of_memory(&mut self, lease_bytes: u64, peak_bytes: u64) {
        self.peaks.add(self.grown(lease_bytes.max(peak_bytes)));
    }

    fn grown(&self, bytes: u64) -> u64 {
        (bytes as f64 * self.growth_factor) as u64
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
