//! How much memory an attempt is promised: estimates of a stage that learn from its finished attempts.
//!
//! The first lease of a task is the larger of the configured one and a quantile of the peaks that finished
//! attempts of its stage have shown. A lease that was too small is multiplied by the growth factor. The last
//! attempt a task has gets a whole node. No lease is larger than the largest node.

use alloc::collections::BTreeMap;

use base::ErrorCode;

use crate::options::QueryOptions;

/// A lease of this size asks for a whole node, whatever its size.
pub(crate) const WHOLE_NODE_BYTES: u64 = u64::MAX;

/// Peaks below this are not told apart.
const PEAK_GRAIN_BYTES_MIN: u64 = 1 << 20;

/// Peaks are kept with so many significant bits, which bounds how many different ones there can be.
const PEAK_SIGNIFICANT_BITS: u32 = 8;

/// Below so many peaks the quantile is brought up to date with each of them.
const PEAKS_EXACT_MAX: u64 = 64;

/// Whether an error says that an attempt had too little memory.
pub(crate) fn is_out_of_memory(code: ErrorCode) -> bool {
    code == ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT
        || code == ErrorCode::EXCEEDED_GLOBAL_MEMORY_LIMIT
        || code == ErrorCode::CLUSTER_OUT_OF_MEMORY
}

/// What the finished attempts of one stage tell about the next ones.
#[derive(Debug)]
pub(crate) struct Estimator {
    growth_factor: f64,
    quantile: f64,
    /// How often each peak was seen, rounded up to [`PEAK_SIGNIFICANT_BITS`].
    peaks: BTreeMap<u64, u64>,
    count: u64,
    /// The quantile of the peaks, as of `quantile_count` of them.
    quantile_bytes: u64,
    quantile_count: u64,
}

impl Estimator {
    pub(crate) fn new(options: &QueryOptions) -> Self {
        Estimator {
            growth_factor: options.task_memory_growth_factor.max(1.0),
            quantile: options.task_memory_estimation_quantile.clamp(0.0, 1.0),
            peaks: BTreeMap::new(),
            count: 0,
            quantile_bytes: 0,
            quantile_count: 0,
        }
    }

    /// The lease of a task that is tried for the first time, before the cap.
    pub(crate) fn initial_bytes(&self, default_bytes: u64) -> u64 {
        default_bytes.max(self.quantile_bytes)
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
        wanted.max(self.quantile_bytes)
    }

    /// An attempt has committed, with this peak.
    pub(crate) fn register_success(&mut self, peak_bytes: u64) {
        self.register(peak_bytes);
    }

    /// An attempt has failed because its lease was too small.
    pub(crate) fn register_out_of_memory(&mut self, lease_bytes: u64, peak_bytes: u64) {
        self.register(self.grown(lease_bytes.max(peak_bytes)));
    }

    fn grown(&self, bytes: u64) -> u64 {
        (bytes as f64 * self.growth_factor) as u64
    }

    fn register(&mut self, bytes: u64) {
        *self.peaks.entry(rounded(bytes)).or_default() += 1;
        self.count += 1;
        // A quantile of many values hardly moves with one more of them.
        if self.count <= PEAKS_EXACT_MAX || self.count >= self.quantile_count + self.quantile_count / 16 {
            self.quantile_bytes = self.compute_quantile();
            self.quantile_count = self.count;
        }
    }

    fn compute_quantile(&self) -> u64 {
        let exact = self.count as f64 * self.quantile;
        let floor = exact as u64;
        let rank = if floor as f64 == exact { floor } else { floor + 1 }.max(1);
        let mut seen = 0;
        for (bytes, count) in &self.peaks {
            seen += count;
            if seen >= rank {
                return *bytes;
            }
        }
        0
    }
}

/// Rounds up so that only the first significant bits are left.
fn rounded(bytes: u64) -> u64 {
    let spare_bits = (u64::BITS - bytes.leading_zeros()).saturating_sub(PEAK_SIGNIFICANT_BITS);
    let grain = (1u64 << spare_bits).max(PEAK_GRAIN_BYTES_MIN);
    bytes.div_ceil(grain).saturating_mul(grain)
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
