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
    /// Held by the one who is served. Without it, whoever asks again and again for little could keep the memory pool
    /// so full that one who needs much never gets it.
    turn: tokio::sync::Mutex<()>,
}

/// Credit that was given. It goes back when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    permit: OwnedSemaphorePermit,
    /// What is charged: more than the units are worth where more was wanted than there is.
    bytes: u64,
    credit: Credit,
}

fn units_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

impl Credit {
    pub(super) fn new(bytes_max: u64, memory: Option<Arc<dyn MemoryCharge>>) -> Self {
        let units_max = units_of(bytes_max).max(1);
        Credit(Arc::new(Inner {
            units: Arc::new(Semaphore::new(units_max as usize)),
            units_max,
            account: Mutex::new(MemoryAccount::new(memory)),
            returned: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
        }))
    }

    fn account(&self) -> MutexGuard<'_, MemoryAccount> {
        self.0.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives as many bytes as are wanted if they are there now; else waits for the least that are of use. More than
    /// there are at all are given to one who then has everything.
    ///
    /// Fails with the error of the memory pool where it refuses although nothing else is held.
    pub(super) async fn reserve(&self, wanted: u64, least: u64) -> Result<Reservation> {
        let _turn = self.0.turn.lock().await;
        let semaphore = Arc::clone(&self.0.units);
        if let Ok(permit) = semaphore.try_acquire_many_owned(self.units(wanted))
            && self.account().try_grow(wanted).is_ok()
        {
            return Ok(Reservation { permit, bytes: wanted, credit: self.clone() });
        }
        let permit = Arc::clone(&self.0.units).acquire_many_owned(self.units(least)).await;
        let permit = permit.expect("the semaphore is never closed");
        loop {
            let mut returned = std::pin::pin!(self.0.returned.notified());
            returned.as_mut().enable();
            {
                let mut account = self.account();
                match account.try_grow(least) {
                    Ok(()) => {
                        drop(account);
                        return Ok(Reservation { permit, bytes: least, credit: self.clone() });
                    }
                    Err(error) if account.used() == 0 => return Err(error),
                    Err(_) => {}
                }
            }
            returned.await;
        }
    }

    fn units(&self, bytes: u64) -> u32 {
        units_of(bytes).clamp(1, self.0.units_max)
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
    /// How many bytes it is for.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back what is above so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let excess = self.permit.num_permits().saturating_sub(units_of(bytes) as usize);
        let permit = self.permit.split(excess);
        let given_back = self.bytes.saturating_sub(bytes);
        self.bytes -= given_back;
        drop(permit.map(|permit| Reservation { permit, bytes: given_back, credit: self.credit.clone() }));
    }

    /// Takes so many bytes out of it, and all whole units that are in them.
    pub(super) fn split(&mut self, bytes: u64) -> Option<Reservation> {
        let units = usize::try_from(bytes / UNIT_BYTES).unwrap_or(usize::MAX).min(self.permit.num_permits());
        let permit = self.permit.split(units)?;
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Some(Reservation { permit, bytes, credit: self.credit.clone() })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.credit.account().shrink(self.bytes);
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
        let mut most = credit.reserve(90 * UNIT_BYTES, 90 * UNIT_BYTES).await.unwrap();
        assert!(credit.reserve(20 * UNIT_BYTES, 20 * UNIT_BYTES).now_or_never().is_none());
        most.shrink_to(50 * UNIT_BYTES - 1);
        let part = most.split(30 * UNIT_BYTES + 1).unwrap();
        assert_eq!((most.bytes, part.bytes), (20 * UNIT_BYTES - 2, 30 * UNIT_BYTES + 1));
        assert_eq!((most.permit.num_permits(), part.permit.num_permits()), (20, 30));
        drop(most);
        let rest = credit.reserve(70 * UNIT_BYTES, 70 * UNIT_BYTES).await.unwrap();
        assert_eq!(credit.used_bytes(), 100 * UNIT_BYTES + 1);
        assert!(credit.reserve(UNIT_BYTES, UNIT_BYTES).now_or_never().is_none());
        drop((part, rest));
        assert_eq!(credit.used_bytes(), 0);
    }

    #[tokio::test]
    async fn more_than_there_is_is_charged_and_given_alone() {
        let credit = Credit::new(100 * UNIT_BYTES, None);
        let some = credit.reserve(1, 1).await.unwrap();
        assert!(credit.reserve(150 * UNIT_BYTES, 150 * UNIT_BYTES).now_or_never().is_none());
        drop(some);
        let mut all = credit.reserve(150 * UNIT_BYTES, 150 * UNIT_BYTES).await.unwrap();
        assert_eq!(credit.used_bytes(), 150 * UNIT_BYTES);
        assert!(credit.reserve(1, 1).now_or_never().is_none());
        let part = all.split(150 * UNIT_BYTES).unwrap();
        drop(all);
        assert_eq!((credit.used_bytes(), part.permit.num_permits()), (150 * UNIT_BYTES, 100));
        drop(part);
        assert_eq!((credit.used_bytes(), credit.peak_bytes()), (0, 150 * UNIT_BYTES));
    }

    #[tokio::test]
    async fn a_pool_that_refuses_is_asked_again_when_something_went_back() {
        let pool = Arc::new(Pool(Mutex::new(50 * UNIT_BYTES)));
        let credit = Credit::new(100 * UNIT_BYTES, Some(pool.clone()));
        let error = credit.reserve(60 * UNIT_BYTES, 60 * UNIT_BYTES).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT);
        let first = credit.reserve(30 * UNIT_BYTES, 30 * UNIT_BYTES).await.unwrap();
        let mut second = std::pin::pin!(credit.reserve(30 * UNIT_BYTES, 30 * UNIT_BYTES));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        drop(second.await.unwrap());
        assert_eq!(*pool.0.lock().unwrap(), 50 * UNIT_BYTES);
    }

    #[tokio::test]
    async fn who_wants_more_than_there_is_just_now_gets_the_least_that_is_of_use() {
        let pool = Arc::new(Pool(Mutex::new(70 * UNIT_BYTES)));
        let credit = Credit::new(100 * UNIT_BYTES, Some(pool.clone()));
        let first = credit.reserve(60 * UNIT_BYTES, 1).await.unwrap();
        assert_eq!(first.bytes(), 60 * UNIT_BYTES);
        // There is credit, and the pool refuses.
        let second = credit.reserve(30 * UNIT_BYTES, 5 * UNIT_BYTES).await.unwrap();
        assert_eq!(second.bytes(), 5 * UNIT_BYTES);
        // There is memory, and no credit.
        *pool.0.lock().unwrap() += 100 * UNIT_BYTES;
        let third = credit.reserve(50 * UNIT_BYTES, 5 * UNIT_BYTES).await.unwrap();
        assert_eq!(third.bytes(), 5 * UNIT_BYTES);
        assert_eq!(credit.used_bytes(), 70 * UNIT_BYTES);
    }
}
