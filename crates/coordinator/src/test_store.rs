//! Stores in which tests have a hand.

use std::fmt::Debug;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use exchange::{CreateOutcome, ExchangeStore, LocalStore, ObjectMeta, StoreError, Upload};

/// What is different about a store.
#[async_trait]
pub trait StoreHooks: Debug + Send + Sync {
    /// Takes the place of [`ExchangeStore::create`].
    async fn create(
        &self,
        store: &LocalStore,
        key: &str,
        content: Bytes,
    ) -> Result<CreateOutcome, StoreError> {
        store.create(key, content).await
    }

    /// Takes the place of [`ExchangeStore::remove_prefix`].
    async fn remove_prefix(&self, store: &LocalStore, prefix: &str) -> Result<(), StoreError> {
        store.remove_prefix(prefix).await
    }
}

/// A directory that behaves as its hooks say. They can be seen through it.
#[derive(Debug)]
pub struct HookedStore<H> {
    local: LocalStore,
    hooks: H,
}

impl<H> HookedStore<H> {
    pub fn new(directory: &Path, hooks: H) -> Arc<Self> {
        Arc::new(HookedStore { local: LocalStore::new(directory, false), hooks })
    }
}

impl<H> Deref for HookedStore<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.hooks
    }
}

#[async_trait]
impl<H: StoreHooks> ExchangeStore for HookedStore<H> {
    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.local.upload(key).await
    }

    async fn create(&self, key: &str, content: Bytes) -> Result<CreateOutcome, StoreError> {
        self.hooks.create(&self.local, key, content).await
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.local.read(key, range).await
    }

    async fn read_all(&self, key: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        self.local.read_all(key, bytes_max).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.local.list(prefix).await
    }

    async fn list_groups(&self) -> Result<Vec<String>, StoreError> {
        self.local.list_groups().await
    }

    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        self.local.remove(key).await
    }

    async fn remove_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        self.hooks.remove_prefix(&self.local, prefix).await
    }
}
