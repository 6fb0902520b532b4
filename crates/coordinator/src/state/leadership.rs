//! Which coordinator leads.
//!
//! Each life of a coordinator takes an epoch: the next number in the store, by conditional create. The newest epoch
//! leads. Its owner renews a lease; one that stands by takes the next epoch when the lease has not changed for long
//! enough. A life that finds a newer epoch has been superseded and acts no more.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use base::{Epoch, Error, ErrorCode, Result};
use bytes::Bytes;
use exchange::layout::COORDINATOR_PREFIX;
use exchange::{CoordinatorKey, CreateOutcome, ExchangeStore, StoreError, StoreErrorKind};
use protocol::state::{self, wire};
use tokio::sync::watch;
use tokio::time::sleep;

/// How often the lease is renewed within its duration.
const RENEWALS_PER_LEASE: u32 = 3;
/// How often one that stands by looks at the lease within its duration.
const LOOKS_PER_LEASE: u32 = 10;
/// How long to wait before a request is made again that the store did not answer.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// The records of coordinators are small. Anything larger is none.
const RECORD_BYTES_MAX: u64 = 64 << 10;
/// How many lives are remembered. What queries of older ones left is not found any more.
const EPOCH_COUNT_MAX: u32 = 1000;
/// The first epoch.
const FIRST: Epoch = Epoch(1);

/// Who a coordinator's life is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name of the life: the end of the ids of its queries.
    pub coordinator_id: String,
    /// `node.id`
    pub node_id: String,
    /// Where it serves.
    pub address: String,
}

/// What one life knows of its leadership.
#[derive(Debug)]
pub struct Leadership {
    store: Arc<dyn ExchangeStore>,
    epoch: Epoch,
    lease_duration: Duration,
    /// When it was last seen that no newer epoch is there. The time is that before looking.
    confirmed: Mutex<Instant>,
    standing: watch::Sender<Standing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// As far as is known. The number grows whenever that was seen.
    Leading(u64),
    Superseded(Epoch),
}

impl Leadership {
    /// Takes the next epoch, whoever leads; in any case one after that of which workers have heard. Waits as long as
    /// the store does not answer.
    pub async fn take(
        store: Arc<dyn ExchangeStore>,
        identity: &Identity,
        lease_duration: Duration,
        heard: Option<Epoch>,
    ) -> Self {
        loop {
            let newest = retried("coordinators cannot be listed", || newest_epoch(&*store)).await;
            let next = newest.max(heard).map_or(FIRST, |newest| Epoch(newest.0 + 1));
            if create_epoch(&*store, next, identity).await {
                return Leadership::of(store, next, lease_duration).await;
            }
        }
    }

    /// Waits until the coordinator that leads has given no sign of itself for the duration of a lease, and takes the
    /// next epoch.
    pub async fn stand_by(
        store: Arc<dyn ExchangeStore>,
        identity: &Identity,
        lease_duration: Duration,
    ) -> Self {
        let mut sign = None;
        let mut changed = Instant::now();
        loop {
            // A store that does not answer says nothing about the coordinator that leads.
            let newest = retried("coordinators cannot be listed", || newest_epoch(&*store)).await;
            let counter = match newest {
                Some(epoch) => retried("a lease cannot be read", || read_lease(&*store, epoch)).await,
                None => None,
            };
            let seen = Some((newest, counter));
            if sign != seen {
                (sign, changed) = (seen, Instant::now());
            }
            if changed.elapsed() >= lease_duration {
                let next = newest.map_or(FIRST, |newest| Epoch(newest.0 + 1));
                tracing::info!(
                    epoch = next.0,
                    "the coordinator that leads gives no sign of itself; taking its place"
                );
                if create_epoch(&*store, next, identity).await {
                    return Leadership::of(store, next, lease_duration).await;
                }
            }
            sleep(lease_duration / LOOKS_PER_LEASE).await;
        }
    }

    async fn of(store: Arc<dyn ExchangeStore>, epoch: Epoch, lease_duration: Duration) -> Self {
        let leadership = Leadership {
            store,
            epoch,
            lease_duration,
            confirmed: Mutex::new(Instant::now()),
            standing: watch::Sender::new(Standing::Leading(0)),
        };
        leadership.forget_older_lives().await;
        if let Err(error) = leadership.write_lease(0).await {
            tracing::warn!(%error, "the lease cannot be written yet");
        }
        leadership
    }

    /// The number of this life.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether this life is the newest in the store, though workers have heard of a newer one: the store has lost it.
    pub async fn is_newest_in_store(&self) -> bool {
        let newest = retried("coordinators cannot be listed", || newest_epoch(&*self.store)).await;
        newest.is_none_or(|newest| newest <= self.epoch)
    }

    /// Renews the lease until a newer epoch is there.
    pub async fn keep(&self) {
        let mut counter = 0;
        loop {
            let looked = Instant::now();
            let delay = match newest_epoch(&*self.store).await {
                Ok(Some(newest)) if newest > self.epoch => {
                    self.superseded_by(newest);
                    return;
                }
                Ok(_) => {
                    counter += 1;
                    *lock(&self.confirmed) = looked;
                    self.standing.send_if_modified(|standing| match standing {
                        Standing::Leading(seen) => {
                            *seen = counter;
                            true
                        }
                        Standing::Superseded(_) => false,
                    });
                    match self.write_lease(counter).await {
                        Ok(()) => self.lease_duration / RENEWALS_PER_LEASE,
                        Err(error) => {
                            tracing::warn!(%error, "the lease of this coordinator cannot be renewed");
                            RETRY_DELAY
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "coordinators cannot be listed");
                    RETRY_DELAY
                }
            };
            let mut standing = self.standing.subscribe();
            tokio::select! {
                () = sleep(delay) => {}
                // The sender is our own.
                _ = standing.wait_for(|standing| matches!(standing, Standing::Superseded(_))) => return,
            }
        }
    }

    /// A newer life was heard of.
    pub fn superseded_by(&self, by: Epoch) {
        self.standing.send_if_modified(|standing| match standing {
            Standing::Leading(_) => {
                tracing::warn!(
                    epoch = self.epoch.0,
                    by = by.0,
                    "another coordinator has taken the place of this one"
                );
                *standing = Standing::Superseded(by);
                true
            }
            Standing::Superseded(_) => false,
        });
    }

    /// Whether a newer life is known.
    pub fn is_superseded(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Superseded(_))
    }

    /// Waits until a newer life is known.
    pub async fn superseded(&self) -> Epoch {
        let mut standing = self.standing.subscribe();
        loop {
            if let Standing::Superseded(by) = *standing.borrow_and_update() {
                return by;
            }
            // The sender is our own.
            let _ = standing.changed().await;
        }
    }

    /// The error of whoever wants to act for a life that leads no more.
    pub fn superseded_error(by: Epoch) -> Error {
        let text = format!("Another coordinator has taken the place of this one (epoch {})", by.0);
        Error::new(ErrorCode::SERVER_SHUTTING_DOWN, text)
    }

    /// Makes sure that this life still leads. If that was last seen longer ago than a lease lasts, because the store
    /// was away or the process stood still, waits until it is seen again.
    ///
    /// # Errors
    ///
    /// If it leads no more.
    pub async fn confirm(&self) -> Result<()> {
        let mut standing = self.standing.subscribe();
        loop {
            if let Standing::Superseded(by) = *standing.borrow_and_update() {
                return Err(Leadership::superseded_error(by));
            }
            if lock(&self.confirmed).elapsed() < self.lease_duration {
                return Ok(());
            }
            // The sender is our own.
            let _ = standing.changed().await;
        }
    }

    /// Whether it was seen that this life leads, not longer ago than a lease lasts.
    pub fn is_confirmed(&self) -> bool {
        !self.is_superseded() && lock(&self.confirmed).elapsed() < self.lease_duration
    }

    /// As if the process had stood still for longer than a lease lasts.
    #[cfg(test)]
    pub fn lapse(&self) {
        *lock(&self.confirmed) -= 2 * self.lease_duration;
    }

    async fn write_lease(&self, counter: u64) -> Result<(), StoreError> {
        let content = state::encode(&wire::LeaseRecord { counter });
        let mut upload = self.store.upload(&CoordinatorKey::Lease(self.epoch).to_string()).await?;
        upload.write(content).await?;
        upload.finish().await?;
        Ok(())
    }

    /// Removes the leases of older lives, at which nobody looks any more, and what tells of much older ones.
    async fn forget_older_lives(&self) {
        let Ok(objects) = self.store.list(COORDINATOR_PREFIX).await else {
            return;
        };
        for object in objects {
            let is_old = match object.key.parse() {
                Ok(CoordinatorKey::Lease(epoch)) => epoch < self.epoch,
                Ok(CoordinatorKey::Epoch(epoch)) => epoch.0.saturating_add(EPOCH_COUNT_MAX) < self.epoch.0,
                Ok(CoordinatorKey::Flight(_) | CoordinatorKey::CapsuleKey) | Err(_) => false,
            };
            if is_old {
                // What stays does no harm.
                let _ = self.store.remove(&object.key).await;
            }
        }
    }
}

/// The lives that led.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormerLives {
    /// Their names: what the ids of their queries end in.
    pub coordinator_ids: Vec<String>,
    /// Whether there are others, whose records cannot be read.
    pub are_some_unknown: bool,
}

/// The lives that are on record.
pub async fn former_lives(store: &dyn ExchangeStore) -> Result<FormerLives, StoreError> {
    let mut lives = FormerLives::default();
    for object in store.list(&directory(CoordinatorKey::Epoch(FIRST))).await? {
        let Ok(CoordinatorKey::Epoch(_)) = object.key.parse() else { continue };
        let record = match store.read_all(&object.key, RECORD_BYTES_MAX).await {
            Ok(content) => state::decode::<wire::EpochRecord>(&object.key, &content),
            Err(error) if error.kind == StoreErrorKind::TooLarge => Err(error.into()),
            Err(error) => return Err(error),
        };
        match record {
            Ok(record) => lives.coordinator_ids.push(record.coordinator_id),
            Err(error) => {
                tracing::warn!(%error, "the name of a former coordinator cannot be read");
                lives.are_some_unknown = true;
            }
        }
    }
    Ok(lives)
}

/// The prefix of all keys that are like this one.
fn directory(key: CoordinatorKey) -> String {
    let text = key.to_string();
    let end = text.rfind('/').map_or(0, |at| at + 1);
    text[..end].to_owned()
}

async fn newest_epoch(store: &dyn ExchangeStore) -> Result<Option<Epoch>, StoreError> {
    let objects = store.list(&directory(CoordinatorKey::Epoch(FIRST))).await?;
    let epochs = objects.iter().filter_map(|object| match object.key.parse() {
        Ok(CoordinatorKey::Epoch(epoch)) => Some(epoch),
        _ => None,
    });
    Ok(epochs.max())
}

/// The counter of a lease; None if there is no lease that can be read.
async fn read_lease(store: &dyn ExchangeStore, epoch: Epoch) -> Result<Option<u64>, StoreError> {
    let key = CoordinatorKey::Lease(epoch).to_string();
    match store.read_all(&key, RECORD_BYTES_MAX).await {
        Ok(content) => Ok(state::decode::<wire::LeaseRecord>(&key, &content).ok().map(|lease| lease.counter)),
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Tries to take an epoch until it is known whose it is. Says whether it is ours.
async fn create_epoch(store: &dyn ExchangeStore, epoch: Epoch, identity: &Identity) -> bool {
    let key = CoordinatorKey::Epoch(epoch).to_string();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let content = state::encode(&wire::EpochRecord {
        coordinator_id: identity.coordinator_id.clone(),
        node_id: identity.node_id.clone(),
        address: identity.address.clone(),
        began_nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
    });
    let found: Bytes = loop {
        match store.create(&key, content.clone()).await {
            Ok(CreateOutcome::Created) => return true,
            // It may be our own earlier try whose answer was lost.
            Ok(CreateOutcome::AlreadyExists) => {}
            Err(error) => tracing::warn!(%error, "an epoch cannot be taken yet"),
        }
        match store.read_all(&key, RECORD_BYTES_MAX).await {
            Ok(found) => break found,
            Err(_) => sleep(RETRY_DELAY).await,
        }
    };
    found == content
}

/// Makes a request until the store answers it.
async fn retried<T, F: Future<Output = Result<T, StoreError>>>(what: &str, request: impl Fn() -> F) -> T {
    let mut is_told = false;
    loop {
        match request().await {
            Ok(answer) => return answer,
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, "{what} yet");
                }
                sleep(RETRY_DELAY).await;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
#[path = "leadership_tests.rs"]
mod tests;
