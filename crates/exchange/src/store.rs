//! The seam to the storage: a flat name space of immutable objects with a conditional create.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use base::{Error, ErrorCode};
use bytes::Bytes;

/// What went wrong in a store, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreErrorKind {
    /// There is no object of that key. Of committed data this means that it is lost.
    NotFound,
    /// The store does not answer as it should now. Worth trying again; the request may or may not have been
    /// applied.
    Unavailable,
    /// The store refuses us. Trying again does not help.
    Denied,
    /// There is no space left.
    Full,
    /// The object is larger than the caller accepts.
    TooLarge,
    /// The key is not one that the store can hold.
    InvalidKey,
    /// There is no store: no exchange manager is configured.
    NotConfigured,
}

impl StoreErrorKind {
    fn as_str(self) -> &'static str {
        match self {
            StoreErrorKind::NotFound => "not found",
            StoreErrorKind::Unavailable => "the store is unavailable",
            StoreErrorKind::Denied => "permission denied",
            StoreErrorKind::Full => "no space left",
            StoreErrorKind::TooLarge => "the object is too large",
            StoreErrorKind::InvalidKey => "invalid key",
            StoreErrorKind::NotConfigured => "there is no exchange manager",
        }
    }
}

/// A failed request to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// How it is judged.
    pub kind: StoreErrorKind,
    /// The key or prefix of the request.
    pub key: String,
    /// What the store said, for people to read. May be empty.
    pub detail: String,
}

impl StoreError {
    /// An error of that kind.
    pub fn new(kind: StoreErrorKind, key: impl Into<String>, detail: impl Into<String>) -> Self {
        StoreError { kind, key: key.into(), detail: detail.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.kind.as_str())?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if error.kind == StoreErrorKind::NotConfigured {
            return Error::exchange_manager_not_configured();
        }
        Error::new(ErrorCode::EXCHANGE_STORE_ERROR, format!("Exchange storage failed: {error}"))
    }
}

/// Result of a request to a store.
pub type StoreResult<T> = Result<T, StoreError>;

/// The answer to a conditional create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The object is there now, with our content.
    Created,
    /// An object of that key was there before, unchanged. It may be our own: an earlier try whose answer was
    /// lost.
    AlreadyExists,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectMeta {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A store of immutable objects. Keys are `/`-separated paths; see [`crate::layout`] for all there are.
///
/// Every method may be called concurrently. An error of kind [`StoreErrorKind::Unavailable`] leaves open
/// whether the request was applied.
#[async_trait]
pub trait ExchangeStore: fmt::Debug + Send + Sync {
    /// Begins to write an object piece by piece. It appears whole at [`Upload::finish`], replacing one of
    /// that key.
    async fn upload(&self, key: &str) -> StoreResult<Box<dyn Upload>>;

    /// Creates a small object, if there is none of that key. It appears whole or not at all.
    async fn create(&self, key: &str, content: Bytes) -> StoreResult<CreateOutcome>;

    /// The bytes of a range. Fewer come back when the object ends before.
    async fn read(&self, key: &str, range: Range<u64>) -> StoreResult<Bytes>;

    /// The whole object, or [`StoreErrorKind::TooLarge`] when it has more bytes than that.
    async fn read_all(&self, key: &str, bytes_max: u64) -> StoreResult<Bytes>;

    /// The finished objects below a prefix that is empty or ends in `/`, in ascending order of key.
    async fn list(&self, prefix: &str) -> StoreResult<Vec<ObjectMeta>>;

    /// The first components of all keys, in ascending order, also where only unfinished uploads are below.
    async fn list_groups(&self) -> StoreResult<Vec<String>>;

    /// Removes an object. It is no error if there is none.
    async fn remove(&self, key: &str) -> StoreResult<()>;

    /// Removes everything below a prefix that ends in `/`, unfinished uploads of dead processes too.
    async fn remove_prefix(&self, prefix: &str) -> StoreResult<()>;
}

/// An object being written. Dropping it without [`Upload::finish`] leaves no object, and nothing else that
/// the process can reach.
#[async_trait]
pub trait Upload: fmt::Debug + Send {
    /// Appends bytes. May keep a bounded part of them back until the next call.
    async fn write(&mut self, content: Bytes) -> StoreResult<()>;

    /// Completes the object and tells its size. When this returns, the object can be read by everyone.
    async fn finish(self: Box<Self>) -> StoreResult<u64>;

    /// Gives up and removes what was written.
    async fn abort(self: Box<Self>) -> StoreResult<()>;
}
