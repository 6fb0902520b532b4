//! The test of a store before it is relied on.

use std::sync::atomic::{AtomicU64, Ordering};

use base::{Error, ErrorCode, Result};
use bytes::Bytes;

use crate::local::process_nonce;
use crate::manager::ExchangeManager;
use crate::options::BASE_DIRECTORIES_PROPERTY;
use crate::store::{CreateOutcome, ExchangeStore, StoreResult};

/// How the names of the probe's objects start. No query id does.
const PROBE_GROUP: &str = "probe";

const FIRST: &[u8] = b"first";
const SECOND: &[u8] = b"second";

impl ExchangeManager {
    /// Writes, reads, creates twice and deletes, as the exchange will do.
    ///
    /// Fails with `CONFIGURATION_UNAVAILABLE`, by the name of the property, where the store cannot be relied
    /// on.
    pub async fn probe(&self) -> Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PROBE_GROUP}-{:016x}-{number}/", process_nonce());
        let outcome = exercise(&**self.store(), &prefix).await;
        let removed = self.store().remove_prefix(&prefix).await;
        let (step, problem) = match (outcome, removed) {
            (Ok(None), Ok(())) => return Ok(()),
            (Ok(Some(wrong)), _) => (wrong, None),
            (Err((step, error)), _) => (step, Some(error)),
            (Ok(None), Err(error)) => ("delete", Some(error)),
        };
        let place = self.options().base_directories.join(", ");
        let text = match &problem {
            Some(error) => format!("{BASE_DIRECTORIES_PROPERTY}: cannot {step} in '{place}': {error}"),
            None => format!("{BASE_DIRECTORIES_PROPERTY}: '{place}' cannot hold an exchange: {step}"),
        };
        Err(Error::new(ErrorCode::CONFIGURATION_UNAVAILABLE, text))
    }
}

/// Does what the exchange does. `Some` text says what the store does wrong without an error.
async fn exercise(
    store: &dyn ExchangeStore,
    prefix: &str,
) -> Result<Option<&'static str>, (&'static str, crate::store::StoreError)> {
    fn step<T>(
        name: &'static str,
        result: StoreResult<T>,
    ) -> Result<T, (&'static str, crate::store::StoreError)> {
        result.map_err(|error| (name, error))
    }
    let (created, uploaded) = (format!("{prefix}created"), format!("{prefix}uploaded"));
    let mut upload = step("write", store.upload(&uploaded).await)?;
    step("write", upload.write(Bytes::from_static(FIRST)).await)?;
    step("write", upload.finish().await)?;
    if step("read", store.read(&uploaded, 1..4).await)? != FIRST[1..4] {
        return Ok(Some("a read returns other bytes than were written"));
    }
    if step("create", store.create(&created, Bytes::from_static(FIRST)).await)? != CreateOutcome::Created {
        return Ok(Some("a conditional create finds an object that is not there"));
    }
    if step("create", store.create(&created, Bytes::from_static(SECOND)).await)?
        != CreateOutcome::AlreadyExists
    {
        return Ok(Some("a conditional create replaces an object"));
    }
    if step("read", store.read_all(&created, u64::MAX).await)? != FIRST {
        return Ok(Some("a conditional create changes an object"));
    }
    if step("list", store.list(prefix).await)?.len() != 2 {
        return Ok(Some("a listing leaves objects out"));
    }
    step("delete", store.remove(&created).await)?;
    Ok(None)
}
