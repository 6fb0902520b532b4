//! What all attempts of a worker have reserved together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all attempts of a worker have reserved together, which is at most what the worker has for them.
#[derive(Debug)]
pub(crate) struct WorkerMemory {
    capacity_bytes: u64,
    reserved_bytes: AtomicU64,
}

impl WorkerMemory {
    /// Nothing is reserved of so many bytes.
    pub(crate) fn new(capacity_bytes: u64) -> Arc<Self> {
        Arc::new(WorkerMemory { capacity_bytes, reserved_bytes: AtomicU64::new(0) })
    }

    /// What there is, in bytes.
    pub(crate) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// What is reserved, in bytes.
    pub(crate) fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    /// Reserves so many more bytes, if they are there.
    pub(super) fn try_grow(&self, bytes: u64) -> bool {
        let grown = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.capacity_bytes);
        self.reserved_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
    }

    /// Takes note of bytes that are used whether they are there or not.
    pub(super) fn grow(&self, bytes: u64) {
        self.reserved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn shrink(&self, bytes: u64) {
        self.reserved_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_promised_than_there_is() {
        let memory = WorkerMemory::new(100);
        assert!(memory.try_grow(60) && !memory.try_grow(41) && memory.try_grow(40));
        memory.grow(20);
        memory.shrink(30);
        assert!(memory.try_grow(10) && !memory.try_grow(1));
        assert_eq!((memory.reserved_bytes(), memory.capacity_bytes()), (100, 100));
    }
}
