//! Runs of frames that did not fit in a sink's memory.
//!
//! A run holds frames of all partitions in ascending order, so that merging runs is copying: of each
//! partition, the part of the first run, then of the second, and so on. All runs of a sink are in one file,
//! whose name is removed as soon as it is open: whatever happens to the process, the space is free when it
//! ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::{Error, ErrorCode, Result};
use bytes::Bytes;

use crate::local::{process_nonce, read_at_most};

/// How many bytes are written at a time.
const WRITE_BYTES: usize = 1 << 20;

/// How much of one run is read at a time when runs are merged: the most and the least, in bytes.
const MERGE_BYTES_PER_RUN_MAX: u64 = 1 << 20;
const MERGE_BYTES_PER_RUN_MIN: u64 = 4 << 10;

/// The spill file of one sink.
#[derive(Debug)]
pub(crate) struct SpillFile {
    file: Arc<File>,
    _directory: SpillDirectory,
    length: u64,
    runs: Vec<Run>,
    held: Vec<Bytes>,
    held_bytes: usize,
}

/// The directory of a spill file, removed when dropped. It is made where the file is made, so that it goes also
/// when whoever asked for the file has gone away meanwhile.
#[derive(Debug)]
struct SpillDirectory(PathBuf);

impl Drop for SpillDirectory {
    fn drop(&mut self) {
        // Others may use the same directory: it goes with the last of them.
        let _ = fs::remove_dir(&self.0);
    }
}

#[derive(Debug)]
struct Run {
    offset: u64,
    /// The length of each partition.
    lengths: Vec<u64>,
}

fn spill_error(error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::OUT_OF_SPILL_SPACE,
        _ => ErrorCode::GENERIC_INTERNAL_ERROR,
    };
    Error::new(code, "Exchange sink failed to spill to disk").caused_by(error)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| spill_error(&error)),
        Err(_) => Err(Error::internal("Exchange sink failed to spill to disk: the I/O task was cancelled")),
    }
}

impl SpillFile {
    pub(crate) async fn create(directory: PathBuf) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = directory.join(format!("exchange-{:016x}-{number}.spill", process_nonce()));
        blocking(move || {
            fs::create_dir_all(&directory)?;
            let directory = SpillDirectory(directory);
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&name)?;
            fs::remove_file(&name)?;
            Ok(SpillFile {
                file: Arc::new(file),
                _directory: directory,
                length: 0,
                runs: Vec::new(),
                held: Vec::new(),
                held_bytes: 0,
            })
        })
        .await
    }

    /// The bytes in all runs.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// The memory that the index of one run takes, in bytes.
    pub(crate) fn run_index_bytes(partitions: usize) -> u64 {
        (partitions * size_of::<u64>()) as u64
    }

    pub(crate) fn begin_run(&mut self, partitions: usize) {
        self.runs.push(Run { offset: self.length, lengths: Vec::with_capacity(partitions) });
    }

    /// Adds the frames of the next partition to the run that was begun last.
    pub(crate) async fn append(&mut self, frames: Vec<Bytes>) -> Result<()> {
        let length: usize = frames.iter().map(Bytes::len).sum();
        if let Some(run) = self.runs.last_mut() {
            run.lengths.push(length as u64);
        }
        self.length += length as u64;
        self.held_bytes += length;
        self.held.extend(frames);
        if self.held_bytes >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Writes what is held back. A run can be read after this.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let file = Arc::clone(&self.file);
        blocking(move || held.iter().try_for_each(|frame| (&*file).write_all(frame))).await
    }

    /// How much of each run to read at a time, where all together should stay below a bound.
    pub(crate) fn merge_bytes_per_run(&self, bytes_max: u64) -> u64 {
        let share = bytes_max / self.runs.len().max(1) as u64;
        share.clamp(MERGE_BYTES_PER_RUN_MIN, MERGE_BYTES_PER_RUN_MAX)
    }

    /// Readers of all runs, each at its first partition.
    pub(crate) fn readers(&self, read_bytes: u64) -> Vec<RunReader> {
        let reader = |run: &Run| RunReader {
            file: Arc::clone(&self.file),
            position: run.offset,
            end: run.offset + run.lengths.iter().sum::<u64>(),
            lengths: run.lengths.clone().into_iter(),
            left: 0,
            buffer: Bytes::new(),
            read_bytes,
        };
        self.runs.iter().map(reader).collect()
    }
}

/// Reads one run from front to back.
#[derive(Debug)]
pub(crate) struct RunReader {
    file: Arc<File>,
    /// Where the next read starts, and where the run ends.
    position: u64,
    end: u64,
    lengths: std::vec::IntoIter<u64>,
    /// What is left of the current partition.
    left: u64,
    buffer: Bytes,
    read_bytes: u64,
}

impl RunReader {
    /// Goes on to the next partition.
    pub(crate) fn next_partition(&mut self) {
        self.left = self.lengths.next().unwrap_or(0);
    }

    /// The next bytes of the current partition, `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.buffer.is_empty() {
            self.buffer = self.read().await?;
        }
        let length = self.left.min(self.buffer.len() as u64);
        self.left -= length;
        Ok(Some(self.buffer.split_to(length as usize)))
    }

    async fn read(&mut self) -> Result<Bytes> {
        let (file, position) = (Arc::clone(&self.file), self.position);
        let length = self.read_bytes.min(self.end - self.position);
        self.position += length;
        let content = blocking(move || {
            let mut content = vec![0; length as usize];
            let filled = read_at_most(&file, &mut content, position)?;
            if filled == content.len() { Ok(content) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        });
        Ok(content.await?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn runs_come_back_partition_by_partition() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("attempt");
        let mut spill = SpillFile::create(directory.clone()).await.unwrap();
        let content =
            |run: usize, partition: usize| vec![(run * 16 + partition) as u8; (run + 1) * partition * 9_000];
        for run in 0..3 {
            spill.begin_run(5);
            for partition in 0..5 {
                let whole = Bytes::from(content(run, partition));
                let (first, second) = (whole.slice(..whole.len() / 3), whole.slice(whole.len() / 3..));
                spill.append(vec![first, second]).await.unwrap();
            }
            spill.flush().await.unwrap();
        }
        assert_eq!(spill.run_count(), 3);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "the file has no name");
        let mut readers = spill.readers(spill.merge_bytes_per_run(100_000));
        for partition in 0..5 {
            for (run, reader) in readers.iter_mut().enumerate() {
                reader.next_partition();
                let mut back = Vec::new();
                while let Some(bytes) = reader.next().await.unwrap() {
                    back.extend_from_slice(&bytes);
                }
                assert_eq!(back, content(run, partition));
            }
        }
        drop(spill);
        assert!(!directory.exists());
    }

    #[test]
    fn a_file_that_nobody_waits_for_any_more_leaves_no_directory() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("attempt");
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            // Polled once, the file is under way on another thread; then whoever asked for it goes away.
            let creation = futures::future::poll_immediate(SpillFile::create(directory.clone()));
            drop(creation.await);
            // There is one such thread, so this comes after it.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        });
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
