//! An upload to a temporary name.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::directory::{Directory, TemporaryFile, store_error};
use super::run_blocking;
use crate::store::{StoreError, StoreErrorKind, StoreResult, Upload};

/// How many bytes an upload keeps back before it writes them.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// An object being written to its temporary name.
#[derive(Debug)]
pub(super) struct LocalUpload {
    directory: Arc<Directory>,
    key: String,
    path: PathBuf,
    /// Empty after a failed write: then the upload cannot go on.
    file: Option<File>,
    temporary: TemporaryFile,
    held: Vec<Bytes>,
    held_bytes: usize,
    length: u64,
}

impl LocalUpload {
    /// Opens the temporary file. Blocks.
    pub(super) fn open(directory: Arc<Directory>, key: &str) -> StoreResult<Self> {
        let path = directory.path(key)?;
        let (file, temporary) = directory.create_temporary(key, &path)?;
        let (key, file) = (key.to_string(), Some(file));
        Ok(LocalUpload { directory, key, path, file, temporary, held: Vec::new(), held_bytes: 0, length: 0 })
    }

    async fn write_held(&mut self) -> StoreResult<()> {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let Some(mut file) = self.file.take() else {
            let detail = "an earlier write failed";
            return Err(StoreError::new(StoreErrorKind::Unavailable, &self.key, detail));
        };
        let key = self.key.clone();
        let file = run_blocking(&self.key, move || {
            for content in held {
                file.write_all(&content).map_err(|error| store_error(&key, &error))?;
            }
            Ok(file)
        });
        self.file = Some(file.await?);
        Ok(())
    }
}

#[async_trait]
impl Upload for LocalUpload {
    async fn write(&mut self, content: Bytes) -> StoreResult<()> {
        self.length += content.len() as u64;
        self.held_bytes += content.len();
        self.held.push(content);
        if self.held_bytes >= WRITE_BUFFER_BYTES { self.write_held().await } else { Ok(()) }
    }

    async fn finish(mut self: Box<Self>) -> StoreResult<u64> {
        self.write_held().await?;
        let LocalUpload { directory, key, path, file, temporary, length, .. } = *self;
        let name = key.clone();
        run_blocking(&key, move || {
            let finish = || {
                if let Some(file) = file {
                    directory.sync_file(&file)?;
                }
                fs::rename(&temporary.path, &path)?;
                directory.sync_parents(&path)
            };
            let finished = finish();
            if finished.is_ok() {
                temporary.forget_parents();
            }
            finished.map(|()| length).map_err(|error| match store_error(&name, &error) {
                // The object is being made: what is missing is our temporary file, taken by cleanup.
                error if error.kind == StoreErrorKind::NotFound => {
                    StoreError { kind: StoreErrorKind::Unavailable, ..error }
                }
                error => error,
            })
        })
        .await
    }

    async fn abort(self: Box<Self>) -> StoreResult<()> {
        let key = self.key.clone();
        run_blocking(&key, move || {
            drop(self);
            Ok(())
        })
        .await
    }
}
