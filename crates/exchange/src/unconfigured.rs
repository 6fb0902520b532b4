//! The exchange of a node that has none: whatever would have to be stored fails.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::manager::ExchangeManager;
use crate::options::ExchangeOptions;
use crate::store::{
    CreateOutcome, ExchangeStore, ObjectMeta, StoreError, StoreErrorKind, StoreResult, Upload,
};

/// Refuses to store anything. There is nothing in it.
#[derive(Clone, Copy, Debug)]
struct NoStore;

fn error(kind: StoreErrorKind, key: &str) -> StoreError {
    StoreError::new(kind, key, "")
}

#[async_trait]
impl ExchangeStore for NoStore {
    async fn upload(&self, key: &str) -> StoreResult<Box<dyn Upload>> {
        Err(error(StoreErrorKind::NotConfigured, key))
    }

    async fn create(&self, key: &str, _content: Bytes) -> StoreResult<CreateOutcome> {
        Err(error(StoreErrorKind::NotConfigured, key))
    }

    async fn read(&self, key: &str, _range: Range<u64>) -> StoreResult<Bytes> {
        Err(error(StoreErrorKind::NotFound, key))
    }

    async fn read_all(&self, key: &str, _bytes_max: u64) -> StoreResult<Bytes> {
        Err(error(StoreErrorKind::NotFound, key))
    }

    async fn list(&self, _prefix: &str) -> StoreResult<Vec<ObjectMeta>> {
        Ok(Vec::new())
    }

    async fn list_groups(&self) -> StoreResult<Vec<String>> {
        Ok(Vec::new())
    }

    async fn remove(&self, _key: &str) -> StoreResult<()> {
        Ok(())
    }

    async fn remove_prefix(&self, _prefix: &str) -> StoreResult<()> {
        Ok(())
    }
}

impl ExchangeManager {
    /// The exchange of a node that has no exchange manager: outputs that stay out of the store are written and read
    /// as ever, everything else fails with `EXCHANGE_MANAGER_NOT_CONFIGURED`.
    pub fn unconfigured(options: ExchangeOptions) -> Self {
        ExchangeManager::with_store(Arc::new(NoStore), options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Error;

    #[tokio::test]
    async fn nothing_is_stored_and_nothing_is_there() {
        let exchange = ExchangeManager::unconfigured(ExchangeOptions::default());
        let store = exchange.store();
        let error: Error = store.create("key", Bytes::new()).await.unwrap_err().into();
        assert_eq!(error, Error::exchange_manager_not_configured());
        assert!(store.list("").await.unwrap().is_empty());
        store.remove_prefix("key/").await.unwrap();
    }
}
