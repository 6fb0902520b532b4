//! Blocking work on a directory.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::store::{CreateOutcome, ObjectMeta, StoreError, StoreErrorKind, StoreResult};

/// How an unfinished file ends. No key of the layout does.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// How often a directory that vanishes or fills under us is tried again.
const DIRECTORY_RACES_MAX: usize = 64;

/// The base directory of a store.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) base: PathBuf,
    pub(super) fsync: bool,
}

/// Judges an I/O error by its kind.
pub(super) fn store_error(key: &str, error: &io::Error) -> StoreError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => StoreErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, key, error.to_string())
}

/// A number that no other process has, with high probability on any machine.
pub(crate) fn process_nonce() -> u64 {
    static NONCE: OnceLock<u64> = OnceLock::new();
    *NONCE.get_or_init(|| {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        hasher.finish()
    })
}

impl Directory {
    pub(super) fn path(&self, key: &str) -> StoreResult<PathBuf> {
        let valid = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
        let valid = key.split('/').all(valid) && !key.ends_with(TEMPORARY_SUFFIX);
        if valid {
            Ok(self.base.join(key))
        } else {
            Err(StoreError::new(StoreErrorKind::InvalidKey, key, ""))
        }
    }

    fn prefix_path(&self, prefix: &str) -> StoreResult<PathBuf> {
        match prefix.strip_suffix('/') {
            Some(prefix) => self.path(prefix),
            None => Err(StoreError::new(StoreErrorKind::InvalidKey, prefix, "a prefix ends in '/'")),
        }
    }

    /// Creates a file of a temporary name beside the final one.
    pub(super) fn create_temporary(&self, key: &str, path: &Path) -> StoreResult<(File, TemporaryFile)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut name = path.as_os_str().to_os_string();
        name.push(format!(".{:016x}.{number}{TEMPORARY_SUFFIX}", process_nonce()));
        let temporary = PathBuf::from(name);
        let parent = path.parent().unwrap_or(&self.base);
        let mut last = None;
        // The parent is there most of the time. A concurrent writer that gave up may remove it again while it is empty.
        for _ in 0..DIRECTORY_RACES_MAX {
            let error = match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => {
                    return Ok((file, TemporaryFile { path: temporary, base: self.base.clone() }));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::create_dir_all(parent) {
                    Ok(()) => error,
                    Err(error) => error,
                },
                Err(error) => return Err(store_error(key, &error)),
            };
            // Also "exists" is such a race: the directory was there, and was gone when it was looked at.
            if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) {
                return Err(store_error(key, &error));
            }
            last = Some(error);
        }
        let detail = last.map(|error| error.to_string()).unwrap_or_default();
        Err(StoreError::new(StoreErrorKind::Unavailable, key, detail))
    }

    pub(super) fn sync_file(&self, file: &File) -> io::Result<()> {
        if self.fsync { file.sync_all() } else { Ok(()) }
    }

    /// Makes a new name durable: the entry in its directory, and the directories themselves up to the base.
    pub(super) fn sync_parents(&self, path: &Path) -> io::Result<()> {
        if !self.fsync {
            return Ok(());
        }
        for parent in path.ancestors().skip(1) {
            File::open(parent)?.sync_all()?;
            if parent == self.base {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn create(&self, key: &str, content: &[u8]) -> StoreResult<CreateOutcome> {
        let path = self.path(key)?;
        let (mut file, temporary) = self.create_temporary(key, &path)?;
        let written = file.write_all(content).and_then(|()| self.sync_file(&file));
        written.map_err(|error| store_error(key, &error))?;
        drop(file);
        match fs::hard_link(&temporary.path, &path) {
            Ok(()) => {
                temporary.forget_parents();
                self.sync_parents(&path).map_err(|error| store_error(key, &error))?;
                Ok(CreateOutcome::Created)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(CreateOutcome::AlreadyExists),
            // The temporary file was there a moment ago: cleanup took it, which is not the absence of an
            // object.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::new(StoreErrorKind::Unavailable, key, error.to_string()))
            }
            Err(error) => Err(store_error(key, &error)),
        }
    }

    pub(super) fn read(&self, key: &str, range: Range<u64>) -> StoreResult<Bytes> {
        let path = self.path(key)?;
        let read = || {
            let file = File::open(&path)?;
            let end = range.end.min(file.metadata()?.len());
            let length = end.saturating_sub(range.start);
            let mut content = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            let filled = read_at_most(&file, &mut content, range.start)?;
            content.truncate(filled);
            Ok(Bytes::from(content))
        };
        read().map_err(|error| store_error(key, &error))
    }

    pub(super) fn read_all(&self, key: &str, bytes_max: u64) -> StoreResult<Bytes> {
        let size = fs::metadata(self.path(key)?).map_err(|error| store_error(key, &error))?.len();
        if size > bytes_max {
            return Err(StoreError::new(StoreErrorKind::TooLarge, key, format!("{size} bytes")));
        }
        self.read(key, 0..size)
    }

    pub(super) fn list(&self, prefix: &str) -> StoreResult<Vec<ObjectMeta>> {
        let root = if prefix.is_empty() { self.base.clone() } else { self.prefix_path(prefix)? };
        let mut objects = Vec::new();
        let mut open = vec![(prefix.to_string(), root)];
        while let Some((prefix, path)) = open.pop() {
            for (name, entry) in entries(&path).map_err(|error| store_error(&prefix, &error))? {
                let Some(metadata) =
                    present(entry.metadata()).map_err(|error| store_error(&prefix, &error))?
                else {
                    continue;
                };
                if metadata.is_dir() {
                    open.push((format!("{prefix}{name}/"), entry.path()));
                } else if !name.ends_with(TEMPORARY_SUFFIX) {
                    objects.push(ObjectMeta { key: format!("{prefix}{name}"), size: metadata.len() });
                }
            }
        }
        objects.sort();
        Ok(objects)
    }

    pub(super) fn list_groups(&self) -> StoreResult<Vec<String>> {
        let entries = entries(&self.base).map_err(|error| store_error("", &error))?;
        let mut groups: Vec<String> = entries.into_iter().map(|(name, _)| name).collect();
        groups.sort();
        Ok(groups)
    }

    pub(super) fn remove(&self, key: &str) -> StoreResult<()> {
        let path = self.path(key)?;
        present(fs::remove_file(&path)).map_err(|error| store_error(key, &error))?;
        remove_empty_parents(&path, &self.base);
        Ok(())
    }

    pub(super) fn remove_prefix(&self, prefix: &str) -> StoreResult<()> {
        let path = self.prefix_path(prefix)?;
        let mut last = None;
        // A late writer may add a file while the directory is being emptied.
        for _ in 0..DIRECTORY_RACES_MAX {
            match present(fs::remove_dir_all(&path)) {
                Ok(_) => {
                    remove_empty_parents(&path, &self.base);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => last = Some(error),
                Err(error) => return Err(store_error(prefix, &error)),
            }
        }
        let detail = last.map(|error| error.to_string()).unwrap_or_default();
        Err(StoreError::new(StoreErrorKind::Unavailable, prefix, detail))
    }
}

/// `None` instead of an error when the thing is not there.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a directory holds, where the names are text; nothing when it is not there.
fn entries(path: &Path) -> io::Result<Vec<(String, fs::DirEntry)>> {
    let Some(listing) = present(fs::read_dir(path))? else {
        return Ok(Vec::new());
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry));
        }
    }
    Ok(entries)
}

/// Reads until the buffer is full or the file ends, and tells how much was read.
pub(crate) fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Removes the directories above a path up to the base, as long as they are empty.
fn remove_empty_parents(path: &Path, base: &Path) {
    for parent in path.ancestors().skip(1) {
        if parent == base || !parent.starts_with(base) || fs::remove_dir(parent).is_err() {
            break;
        }
    }
}

/// A file of a temporary name, removed when dropped.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    pub(super) path: PathBuf,
    base: PathBuf,
}

impl TemporaryFile {
    /// The file has another name now: only the temporary one has to go.
    pub(super) fn forget_parents(mut self) {
        self.base = PathBuf::new();
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        if !self.base.as_os_str().is_empty() {
            remove_empty_parents(&self.path, &self.base);
        }
    }
}
