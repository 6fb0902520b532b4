//! Memory that a sink or a buffer holds, and whom it is charged to.

use std::fmt;
use std::sync::Arc;

use base::Result;

/// Whom memory is charged to: the pool of an attempt, in a worker.
pub trait MemoryCharge: fmt::Debug + Send + Sync {
    /// Charges so many more bytes, or refuses with the error that the attempt would fail with.
    fn try_grow(&self, bytes: u64) -> Result<()>;

    /// The same for one that holds so many bytes already. A charge that many share may let those go on that hold
    /// little, so that none of them stands still because of the others.
    fn try_grow_from(&self, held: u64, bytes: u64) -> Result<()> {
        let _ = held;
        self.try_grow(bytes)
    }

    /// Gives back so many bytes that were charged.
    fn shrink(&self, bytes: u64);
}

/// What one sink has charged. Gives everything back when dropped.
#[derive(Debug)]
pub(crate) struct MemoryAccount {
    charge: Option<Arc<dyn MemoryCharge>>,
    used: u64,
    /// What of it is charged: all but what was refused to [`MemoryAccount::grow`].
    charged: u64,
    peak: u64,
}

impl MemoryAccount {
    pub(crate) fn new(charge: Option<Arc<dyn MemoryCharge>>) -> Self {
        MemoryAccount { charge, used: 0, charged: 0, peak: 0 }
    }

    pub(crate) fn try_grow(&mut self, bytes: u64) -> Result<()> {
        if let Some(charge) = &self.charge {
            charge.try_grow_from(self.used, bytes)?;
        }
        self.charged += bytes;
        self.add(bytes);
        Ok(())
    }

    /// Takes note of bytes that are held whether that is granted or not.
    pub(crate) fn grow(&mut self, bytes: u64) {
        if self.try_grow(bytes).is_err() {
            self.add(bytes);
        }
    }

    fn add(&mut self, bytes: u64) {
        self.used += bytes;
        self.peak = self.peak.max(self.used);
    }

    pub(crate) fn shrink(&mut self, bytes: u64) {
        self.used -= bytes.min(self.used);
        let returned = self.charged.saturating_sub(self.used);
        self.charged -= returned;
        if let Some(charge) = &self.charge
            && returned > 0
        {
            charge.shrink(returned);
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use base::{Error, ErrorCode};

    use super::*;

    #[derive(Debug)]
    struct Pool {
        limit: u64,
        used: Mutex<u64>,
    }

    impl MemoryCharge for Pool {
        fn try_grow(&self, bytes: u64) -> Result<()> {
            let mut used = self.used.lock().unwrap();
            if *used + bytes > self.limit {
                return Err(Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "no"));
            }
            *used += bytes;
            Ok(())
        }

        fn shrink(&self, bytes: u64) {
            *self.used.lock().unwrap() -= bytes;
        }
    }

    #[test]
    fn what_was_refused_and_held_all_the_same_is_never_given_back() {
        let pool = Arc::new(Pool { limit: 100, used: Mutex::new(0) });
        let mut account = MemoryAccount::new(Some(Arc::clone(&pool) as _));
        account.try_grow(80).unwrap();
        assert!(account.try_grow(30).is_err());
        account.grow(30);
        account.grow(10);
        assert_eq!((account.used(), account.peak(), *pool.used.lock().unwrap()), (120, 120, 90));
        account.shrink(25);
        assert_eq!((account.used(), *pool.used.lock().unwrap()), (95, 90));
        account.shrink(15);
        assert_eq!((account.used(), *pool.used.lock().unwrap()), (80, 80));
        drop(account);
        assert_eq!(*pool.used.lock().unwrap(), 0);
    }
}
