//! The store on a local or shared directory.
//!
//! Everything is written to a temporary name first. An object of an attempt is renamed to its final name; a
//! conditional create is a hard link, which fails when the name is taken. A process may die at any point and
//! leaves a temporary file at worst, which [`ExchangeStore::remove_prefix`] removes with the rest of the
//! query. Surviving a power cut costs an fsync of file and directories, which is an option.

mod directory;
mod upload;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::store::{
    CreateOutcome, ExchangeStore, ObjectMeta, StoreError, StoreErrorKind, StoreResult, Upload,
};

use self::directory::Directory;
pub(crate) use self::directory::{process_nonce, read_at_most};
use self::upload::LocalUpload;

/// A store in a directory. All nodes must see the same directory.
#[derive(Debug)]
pub struct LocalStore {
    directory: Arc<Directory>,
}

impl LocalStore {
    /// A store in that directory, which is created when it is first written to. With `fsync`, what was
    /// acknowledged survives a power cut.
    pub fn new(base: impl Into<PathBuf>, fsync: bool) -> Self {
        LocalStore { directory: Arc::new(Directory { base: base.into(), fsync }) }
    }

    /// Runs blocking I/O away from the threads that drive futures.
    async fn blocking<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(&Directory, &str) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let directory = Arc::clone(&self.directory);
        let name = key.to_string();
        run_blocking(key, move || work(&directory, &name)).await
    }
}

async fn run_blocking<T: Send + 'static>(
    key: &str,
    work: impl FnOnce() -> StoreResult<T> + Send + 'static,
) -> StoreResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::new(StoreErrorKind::Unavailable, key, "the I/O task was cancelled")),
    }
}

#[async_trait]
impl ExchangeStore for LocalStore {
    async fn upload(&self, key: &str) -> StoreResult<Box<dyn Upload>> {
        let directory = Arc::clone(&self.directory);
        let upload = self.blocking(key, move |_, key| LocalUpload::open(directory, key));
        Ok(Box::new(upload.await?))
    }

    async fn create(&self, key: &str, content: Bytes) -> StoreResult<CreateOutcome> {
        self.blocking(key, move |directory, key| directory.create(key, &content)).await
    }

    async fn read(&self, key: &str, range: Range<u64>) -> StoreResult<Bytes> {
        self.blocking(key, move |directory, key| directory.read(key, range)).await
    }

    async fn read_all(&self, key: &str, bytes_max: u64) -> StoreResult<Bytes> {
        self.blocking(key, move |directory, key| directory.read_all(key, bytes_max)).await
    }

    async fn list(&self, prefix: &str) -> StoreResult<Vec<ObjectMeta>> {
        self.blocking(prefix, Directory::list).await
    }

    async fn list_groups(&self) -> StoreResult<Vec<String>> {
        self.blocking("", |directory, _| directory.list_groups()).await
    }

    async fn remove(&self, key: &str) -> StoreResult<()> {
        self.blocking(key, Directory::remove).await
    }

    async fn remove_prefix(&self, prefix: &str) -> StoreResult<()> {
        self.blocking(prefix, Directory::remove_prefix).await
    }
}

#[cfg(test)]
mod tests;
