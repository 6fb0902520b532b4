//! Memory that a sink holds, and whom it is charged to.

use std::fmt;
use std::sync::Arc;

use base::Result;

/// Whom memory is charged to: the pool of an attempt, in a worker.
pub trait MemoryCharge: fmt::Debug + Send + Sync {
    /// Charges so many more bytes, or refuses with the error that the attempt would fail with.
    fn try_grow(&self, bytes: u64) -> Result<()>;

    /// Gives back so many bytes that were charged.
    fn shrink(&self, bytes: u64);
}

/// What one sink has charged. Gives everything back when dropped.
#[derive(Debug)]
pub(crate) struct MemoryAccount {
    charge: Option<Arc<dyn MemoryCharge>>,
    used: u64,
    peak: u64,
}

impl MemoryAccount {
    pub(crate) fn new(charge: Option<Arc<dyn MemoryCharge>>) -> Self {
        MemoryAccount { charge, used: 0, peak: 0 }
    }

    pub(crate) fn try_grow(&mut self, bytes: u64) -> Result<()> {
        if let Some(charge) = &self.charge {
            charge.try_grow(bytes)?;
        }
        self.used += bytes;
        self.peak = self.peak.max(self.used);
        Ok(())
    }

    pub(crate) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.used);
        self.used -= bytes;
        if let Some(charge) = &self.charge {
            charge.shrink(bytes);
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }
}

impl Drop for MemoryAccount {
    fn drop(&mut self) {
        self.shrink(self.used);
    }
}
