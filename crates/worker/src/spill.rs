//! Spill files of an attempt.
//!
//! They live in one directory, which appears with the first file and is gone when the attempt ends, whatever else
//! happened. The directory of a whole life of the worker is removed when that life ends, or by the next one.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base::{Error, ErrorCode, Incarnation};
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio_util::io::ReaderStream;

/// Spill files are read back in pieces of this size.
const READ_BUFFER_BYTES: usize = 128 << 10;

/// The directory of one attempt's spill files.
#[derive(Debug)]
pub(crate) struct SpillDirectory {
    path: PathBuf,
    state: Mutex<State>,
    bytes_max: u64,
    used_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    exists: bool,
    closed: bool,
    files: u64,
}

impl SpillDirectory {
    /// The directory at `path`, which may hold so many bytes at once. Nothing is created yet.
    pub(crate) fn new(path: PathBuf, bytes_max: u64) -> Arc<Self> {
        Arc::new(SpillDirectory {
            path,
            state: Mutex::default(),
            bytes_max,
            used_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
        })
    }

    /// Everything that was ever written, in bytes.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Removes the directory with everything in it, if it came to be. No file can be created afterwards.
    pub(crate) fn close(&self) {
        let exists = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.closed = true;
            std::mem::take(&mut state.exists)
        };
        if exists {
            remove(&self.path);
        }
    }

    fn create_file(self: &Arc<Self>) -> io::Result<LocalFile> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(io::Error::other("the attempt has ended"));
        }
        if !state.exists {
            std::fs::create_dir_all(&self.path).map_err(spill_error)?;
            state.exists = true;
        }
        let path = self.path.join(format!("{}.spill", state.files));
        state.files += 1;
        File::create_new(&path).map_err(spill_error)?;
        Ok(LocalFile { path, size_bytes: Arc::new(AtomicU64::new(0)), directory: Arc::clone(self) })
    }
}

impl Drop for SpillDirectory {
    fn drop(&mut self) {
        self.close();
    }
}

/// A full disk is told as what it is to the user.
fn spill_error(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let full = Error::new(ErrorCode::OUT_OF_SPILL_SPACE, "No free space available for spill");
            io::Error::other(full.caused_by(error))
        }
        _ => error,
    }
}

/// Removes a directory with everything in it, if it is there.
fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(directory = %path.display(), %error, "cannot remove a spill directory");
        }
    }
}

/// The spill directories of the lives of one node: `{root}/{node}/{incarnation}/{attempt}`.
#[derive(Debug)]
pub(crate) struct SpillRoot(PathBuf);

impl SpillRoot {
    /// Those of a node within the spill directory of its machine, which nodes may share.
    pub(crate) fn new(spill_directory: &Path, node: &str) -> Self {
        let name: String =
            node.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        SpillRoot(spill_directory.join(format!("node-{name}")))
    }

    /// Removes what earlier lives left behind. Returns the newest of them.
    pub(crate) fn remove_leftovers(&self) -> Option<Incarnation> {
        let entries = std::fs::read_dir(&self.0).ok()?;
        let mut newest = None;
        for entry in entries.flatten() {
            let left = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Incarnation);
            newest = newest.max(left);
            remove(&entry.path());
        }
        newest
    }

    /// The directory of one life.
    pub(crate) fn of_life(&self, incarnation: Incarnation) -> PathBuf {
        self.0.join(incarnation.0.to_string())
    }

    /// Removes the directory of one life, and that of the node if nothing else is in it.
    pub(crate) fn remove_life(&self, incarnation: Incarnation) {
        remove(&self.of_life(incarnation));
        // It is not there if nothing was ever spilled, and not empty if another life has begun.
        std::fs::remove_dir(&self.0).ok();
    }
}

/// Makes the spill files of an attempt for DataFusion.
pub(crate) struct SpillFiles(pub(crate) Arc<SpillDirectory>);

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, _description: &str) -> Result<Arc<dyn SpillFile>> {
        let file = self.0.create_file().map_err(DataFusionError::IoError)?;
        Ok(Arc::new(file))
    }
}

/// A spill file. It is removed when nobody holds it any more.
struct LocalFile {
    path: PathBuf,
    size_bytes: Arc<AtomicU64>,
    directory: Arc<SpillDirectory>,
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        // It is gone already if the attempt has ended.
        std::fs::remove_file(&self.path).ok();
        self.directory.used_bytes.fetch_sub(self.size_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl SpillFile for LocalFile {
    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn size(&self) -> Option<u64> {
        Some(self.size_bytes.load(Ordering::Relaxed))
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let path = self.path.clone();
        let open = async move {
            let file = tokio::fs::File::open(path).await.map_err(DataFusionError::IoError)?;
            Ok::<_, DataFusionError>(
                ReaderStream::with_capacity(file, READ_BUFFER_BYTES).map_err(DataFusionError::IoError),
            )
        };
        Ok(futures::stream::once(open).try_flatten().boxed())
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let file = OpenOptions::new().append(true).open(&self.path).map_err(DataFusionError::IoError)?;
        Ok(Box::new(Writer {
            file,
            size_bytes: Arc::clone(&self.size_bytes),
            directory: Arc::clone(&self.directory),
        }))
    }
}

struct Writer {
    file: File,
    size_bytes: Arc<AtomicU64>,
    directory: Arc<SpillDirectory>,
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        let used = self.directory.used_bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        if used > self.directory.bytes_max {
            self.directory.used_bytes.fetch_sub(length, Ordering::Relaxed);
            let message = format!("Attempt exceeded the spill limit of {} bytes", self.directory.bytes_max);
            return Err(io::Error::other(Error::new(ErrorCode::EXCEEDED_SPILL_LIMIT, message)));
        }
        if let Err(error) = self.file.write_all(bytes) {
            self.directory.used_bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(spill_error(error));
        }
        self.size_bytes.fetch_add(length, Ordering::Relaxed);
        self.directory.written_bytes.fetch_add(length, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base::{Failure, FailureClass};
    use futures::TryStreamExt;

    use super::*;

    fn write(file: &Arc<dyn SpillFile>, bytes: &[u8]) -> Result<()> {
        let mut writer = file.open_writer()?;
        writer.write_all(bytes)?;
        writer.finish()
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_vanishes_with_the_file() {
        let root = tempfile::tempdir().unwrap();
        let directory = SpillDirectory::new(root.path().join("life/attempt"), u64::MAX);
        let files = SpillFiles(Arc::clone(&directory));
        assert!(!directory.path.exists(), "an attempt that does not spill touches no disk");
        let file = files.create_temp_file("sort").unwrap();
        write(&file, b"first").unwrap();
        write(&file, b" second").unwrap();
        let read: Vec<Bytes> = file.read_stream().unwrap().try_collect().await.unwrap();
        assert_eq!(read.concat(), b"first second");
        assert_eq!((file.size(), directory.written_bytes()), (Some(12), 12));
        let path = file.path().unwrap().to_path_buf();
        drop(file);
        assert!(!path.exists());
        assert_eq!(directory.used_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_closed_directory_is_gone_and_stays_gone() {
        let root = tempfile::tempdir().unwrap();
        let directory = SpillDirectory::new(root.path().join("attempt"), u64::MAX);
        let files = SpillFiles(Arc::clone(&directory));
        let file = files.create_temp_file("sort").unwrap();
        directory.close();
        assert!(!directory.path.exists());
        assert!(files.create_temp_file("sort").is_err());
        drop(file);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_nobody_closed_goes_with_its_last_user() {
        let root = tempfile::tempdir().unwrap();
        let directory = SpillDirectory::new(root.path().join("attempt"), u64::MAX);
        let file = SpillFiles(directory).create_temp_file("sort").unwrap();
        write(&file, b"row").unwrap();
        drop(file);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn too_much_spill_is_a_lack_of_resources() {
        let root = tempfile::tempdir().unwrap();
        let directory = SpillDirectory::new(root.path().join("attempt"), 10);
        let file = SpillFiles(directory).create_temp_file("sort").unwrap();
        write(&file, b"0123456789").unwrap();
        let error = write(&file, b"x").unwrap_err();
        let error = connector::error::from_datafusion(&error);
        assert_eq!(error.code(), ErrorCode::EXCEEDED_SPILL_LIMIT);
        assert_eq!(Failure::of(error).class, FailureClass::InsufficientResources);
    }

    #[test]
    fn a_full_disk_is_a_lack_of_spill_space() {
        let full = spill_error(io::ErrorKind::StorageFull.into());
        let error = connector::error::from_datafusion(&DataFusionError::IoError(full));
        assert_eq!(error.code(), ErrorCode::OUT_OF_SPILL_SPACE);
        // More memory would not help, another node may.
        assert_eq!(Failure::of(error).class, FailureClass::Internal);
        let other = spill_error(io::ErrorKind::PermissionDenied.into());
        assert_eq!(other.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_new_life_removes_what_earlier_ones_of_the_same_node_left() {
        let machine = tempfile::tempdir().unwrap();
        let other = SpillRoot::new(machine.path(), "other node").of_life(Incarnation(5));
        std::fs::create_dir_all(&other).unwrap();
        let root = SpillRoot::new(machine.path(), "node/1");
        for life in [3, 12] {
            std::fs::create_dir_all(root.of_life(Incarnation(life)).join("attempt")).unwrap();
        }
        assert_eq!(root.remove_leftovers(), Some(Incarnation(12)));
        assert_eq!(root.remove_leftovers(), None);
        root.remove_life(Incarnation(12));
        assert!(other.exists());
        assert_eq!(std::fs::read_dir(machine.path()).unwrap().count(), 1);
    }
}
