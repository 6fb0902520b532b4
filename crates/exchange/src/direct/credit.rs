//! How many bytes a reader may have asked for or keep.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::Result;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::memory::{MemoryAccount, MemoryCharge};

/// Credit is given out in units of so many bytes.
const UNIT_BYTES: u64 = 1 << 10;

/// The bytes that a reader may have asked for or keep. Who waits is served in order.
#[derive(Clone, Debug)]
pub(super) struct Credit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    units: Arc<Semaphore>,
    units_max: u32,
    account: Mutex<MemoryAccount>,
    returned: Notify,
}

/// Credit that was given. It goes back when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    permit: OwnedSemaphorePermit,
    credit: Credit,
}

fn units_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

fn bytes_of(units: usize) -> u64 {
    units as u64 * UNIT_BYTES
}

impl Credit {
    pub(super) fn new(bytes_max: u64, memory: Option<Arc<dyn MemoryCharge>>) -> Self {
        let units_max = units_of(bytes_max).max(1);
        Credit(Arc::new(Inner {
            units: Arc::new(Semaphore::new(units_max as usize)),
            units_max,
            account: Mutex::new(MemoryAccount::new(memory)),
            returned: Notify::new(),
        }))
    }

    fn account(&self) -> MutexGuard<'_, MemoryAccount> {
        self.0.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for so many bytes, or for all there are where that is less.
    ///
    /// Fails with the error of the memory pool where it refuses although nothing else is held.
    pub(super) async fn reserve(&self, bytes: u64) -> Result<Reservation> {
        let units = units_of(bytes).clamp(1, self.0.units_max);
        loop {
            let permit = Arc::clone(&self.0.units).acquire_many_owned(units).await;
            let permit = permit.expect("the semaphore is never closed");
            let returned = self.0.returned.notified();
            let mut returned = std::pin::pin!(returned);
            returned.as_mut().enable();
            {
                let mut account = self.account();
                match account.try_grow(bytes_of(permit.num_permits())) {
                    Ok(()) => {
                        drop(account);
                        return Ok(Reservation { permit, credit: self.clone() });
                    }
                    Err(error) if account.used() == 0 => return Err(error),
                    Err(_) => {}
                }
            }
            drop(permit);
            returned.await;
        }
    }

    /// The most bytes that were given out at once.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.account().peak()
    }

    /// The bytes that are given out.
    pub(super) fn used_bytes(&self) -> u64 {
        self.account().used()
    }
}

impl Reservation {
    pub(super) fn bytes(&self) -> u64 {
        bytes_of(self.permit.num_permits())
    }

    /// Gives back what is above so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let excess = self.permit.num_permits().saturating_sub(units_of(bytes) as usize);
        drop(self.split_units(excess));
    }

    /// Takes so many bytes, rounded down, out of it.
    pub(super) fn split(&mut self, bytes: u64) -> Option<Reservation> {
        let units = usize::try_from(bytes / UNIT_BYTES).unwrap_or(usize::MAX);
        self.split_units(units.min(self.permit.num_permits()))
    }

    fn split_units(&mut self, units: usize) -> Option<Reservation> {
        let permit = self.permit.split(units)?;
        Some(Reservation { permit, credit: self.credit.clone() })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.credit.account().shrink(self.bytes());
        self.credit.0.returned.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Error, ErrorCode};
    use futures::FutureExt;

    #[derive(Debug)]
    struct Pool(Mutex<u64>);

    impl MemoryCharge for Pool {
        fn try_grow(&self, bytes: u64) -> Result<()> {
            let mut left = self.0.lock().unwrap();
            *left = left
                .checked_sub(bytes)
                .ok_or_else(|| Error::new(ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT, "no"))?;
            Ok(())
        }

        fn shrink(&self, bytes: u64) {
            *self.0.lock().unwrap() += bytes;
        }
    }

    #[tokio::test]
    async fn credit_is_bounded_and_goes_back() {
        let credit = Credit::new(100 * UNIT_BYTES, None);
        let mut most = credit.reserve(90 * UNIT_BYTES).await.unwrap();
        assert!(credit.reserve(20 * UNIT_BYTES).now_or_never().is_none());
        most.shrink_to(50 * UNIT_BYTES - 1);
        let part = most.split(30 * UNIT_BYTES + 1).unwrap();
        assert_eq!((most.bytes(), part.bytes()), (20 * UNIT_BYTES, 30 * UNIT_BYTES));
        drop(most);
        let rest = credit.reserve(70 * UNIT_BYTES).await.unwrap();
        assert_eq!(credit.used_bytes(), 100 * UNIT_BYTES);
        drop((part, rest));
        let all = credit.reserve(u64::MAX).await.unwrap();
        assert_eq!(all.bytes(), 100 * UNIT_BYTES);
        drop(all);
        assert_eq!((credit.used_bytes(), credit.peak_bytes()), (0, 100 * UNIT_BYTES));
    }

    #[tokio::test]
    async fn a_pool_that_refuses_is_asked_again_when_something_went_back() {
        let pool = Arc::new(Pool(Mutex::new(50 * UNIT_BYTES)));
        let credit = Credit::new(100 * UNIT_BYTES, Some(pool.clone()));
        let error = credit.reserve(60 * UNIT_BYTES).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT);
        let first = credit.reserve(30 * UNIT_BYTES).await.unwrap();
        let mut second = std::pin::pin!(credit.reserve(30 * UNIT_BYTES));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        drop(second.await.unwrap());
        assert_eq!(*pool.0.lock().unwrap(), 50 * UNIT_BYTES);
    }
}
