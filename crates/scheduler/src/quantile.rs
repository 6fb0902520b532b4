//! A quantile of many values, in little memory: values are told apart only as far as matters.

use alloc::collections::BTreeMap;

/// Values are kept with so many significant bits, which bounds how many different ones there can be.
const SIGNIFICANT_BITS: u32 = 8;

/// Below so many values the quantile is brought up to date with each of them.
const EXACT_MAX: u64 = 64;

/// A quantile of the values seen so far.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Quantile {
    quantile: f64,
    /// Values below this are not told apart.
    grain_min: u64,
    /// How often each value was seen, rounded up to [`SIGNIFICANT_BITS`].
    values: BTreeMap<u64, u64>,
    count: u64,
    /// The quantile, as of `current_count` values.
    current: u64,
    current_count: u64,
}

impl Quantile {
    pub(crate) fn new(quantile: f64, grain_min: u64) -> Self {
        Quantile {
            quantile: quantile.clamp(0.0, 1.0),
            grain_min: grain_min.max(1),
            values: BTreeMap::new(),
            count: 0,
            current: 0,
            current_count: 0,
        }
    }

    /// The quantile; 0 if nothing was seen.
    pub(crate) fn value(&self) -> u64 {
        self.current
    }

    /// How many values were seen.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many different values are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.values.len()
    }

    /// One more value was seen.
    pub(crate) fn add(&mut self, value: u64) {
        *self.values.entry(self.rounded(value)).or_default() += 1;
        self.count += 1;
        // A quantile of many values hardly moves with one more of them.
        if self.count <= EXACT_MAX || self.count >= self.current_count + self.current_count / 16 {
            self.current = self.compute();
            self.current_count = self.count;
        }
    }

    fn compute(&self) -> u64 {
        let exact = self.count as f64 * self.quantile;
        let floor = exact as u64;
        let rank = if floor as f64 == exact { floor } else { floor + 1 }.max(1);
        let mut seen = 0;
        for (value, count) in &self.values {
            seen += count;
            if seen >= rank {
                return *value;
            }
        }
        0
    }

    /// Rounds up so that only the first significant bits are left.
    fn rounded(&self, value: u64) -> u64 {
        let spare_bits = (u64::BITS - value.leading_zeros()).saturating_sub(SIGNIFICANT_BITS);
        let grain = (1u64 << spare_bits).max(self.grain_min);
        value.div_ceil(grain).saturating_mul(grain)
    }
}
