//! Footers of Parquet files, cached.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use base::{Error, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::path::Path as StorePath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader};

use crate::error;

/// How many footers of a scan are read at once.
pub(crate) const FOOTER_CONCURRENCY: usize = 16;

/// The memory that cached footers may take, in bytes.
const CACHE_MAX_BYTES: usize = 64 << 20;

/// So many bytes are read from the end of a file, in the hope that the footer is in them.
const FOOTER_PREFETCH_BYTES: u64 = 64 << 10;

/// A file ends with the length of its footer in four bytes, and four that say that it is a Parquet file.
const TAIL_BYTES: u64 = 8;

/// What the last four bytes of a file are.
const MAGIC: &[u8] = b"PAR1";

/// What they are if the footer is encrypted.
const ENCRYPTED_MAGIC: &[u8] = b"PARE";

/// What makes a file the one whose footer is cached.
type FileVersion = (StorePath, u64, DateTime<Utc>);

/// Reads files and their footers, and keeps the footers read last while they are few enough.
#[derive(Debug)]
pub(crate) struct Footers {
    store: Arc<dyn ObjectStore>,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    footers: HashMap<FileVersion, Arc<ParquetMetaData>>,
    oldest_first: VecDeque<FileVersion>,
    bytes: usize,
}

impl Footers {
    /// Footers of the files of a store.
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Footers { store, cache: Mutex::default() }
    }

    /// The store of the files.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The footer of a file, without page indexes.
    pub(crate) async fn of(&self, file: &ObjectMeta) -> Result<Arc<ParquetMetaData>> {
        let version = (file.location.clone(), file.size, file.last_modified);
        if let Some(footer) = self.cache().footers.get(&version) {
            return Ok(Arc::clone(footer));
        }
        let path = format!("/{}", file.location);
        let bytes = self.footer_bytes(&path, file).await?;
        let footer =
            ParquetMetaDataReader::decode_metadata(&bytes).map_err(|cause| error::bad_data(&path, cause))?;
        let footer = Arc::new(without_arrow_schema(footer));
        self.cache().insert(version, Arc::clone(&footer), CACHE_MAX_BYTES);
        Ok(footer)
    }

    async fn footer_bytes(&self, path: &str, file: &ObjectMeta) -> Result<Bytes> {
        let broken = |reason: &str| error::bad_data(path, reason);
        let read = async |range| {
            let bytes: Bytes = self
                .store
                .get_range(&file.location, range)
                .await
                .map_err(|cause| error::of_store(path, &cause))?;
            Ok::<_, Error>(bytes)
        };
        let prefetched = read(file.size.saturating_sub(FOOTER_PREFETCH_BYTES)..file.size).await?;
        let Some((before, tail)) =
            prefetched.len().checked_sub(TAIL_BYTES as usize).map(|at| prefetched.split_at(at))
        else {
            return Err(broken("it is too short"));
        };
        let (length, magic) = tail.split_at(4);
        if magic == ENCRYPTED_MAGIC {
            return Err(Error::not_supported(format!("Encrypted Parquet files are not supported: {path}")));
        }
        if magic != MAGIC {
            return Err(broken("it does not end as Parquet files do"));
        }
        let length: [u8; 4] = length.try_into().map_err(|_| broken("it is too short"))?;
        let length = u64::from(u32::from_le_bytes(length));
        let end = file.size.saturating_sub(TAIL_BYTES);
        let Some(start) = end.checked_sub(length) else {
            return Err(broken("its footer is longer than the file"));
        };
        match (before.len() as u64).checked_sub(length) {
            Some(at) => Ok(prefetched.slice(at as usize..before.len())),
            None => read(start..end).await,
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The footer without the Arrow schema that some writers leave in it.
///
/// Parquet's own schema says all that a table needs. The other may claim that bytes are text, which the reader
/// would believe.
fn without_arrow_schema(footer: ParquetMetaData) -> ParquetMetaData {
    let file = footer.file_metadata();
    let Some(pairs) = file.key_value_metadata() else {
        return footer;
    };
    let pairs = pairs.iter().filter(|pair| pair.key != ARROW_SCHEMA_META_KEY).cloned().collect();
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_string),
        Some(pairs),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    ParquetMetaDataBuilder::new(file).set_row_groups(footer.row_groups().to_vec()).build()
}

impl Cache {
    fn insert(&mut self, version: FileVersion, footer: Arc<ParquetMetaData>, max_bytes: usize) {
        let bytes = footer.memory_size();
        if bytes > max_bytes || self.footers.contains_key(&version) {
            return;
        }
        while self.bytes + bytes > max_bytes {
            let Some(oldest) = self.oldest_first.pop_front() else {
                break;
            };
            if let Some(evicted) = self.footers.remove(&oldest) {
                self.bytes -= evicted.memory_size();
            }
        }
        self.bytes += bytes;
        self.oldest_first.push_back(version.clone());
        self.footers.insert(version, footer);
    }
}

#[cfg(test)]
mod tests {
    use parquet::schema::types::{SchemaDescriptor, Type};

    use super::*;

    fn footer() -> Arc<ParquetMetaData> {
        let root = Type::group_type_builder("root").build().unwrap();
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
        let file = FileMetaData::new(1, 0, None, None, schema, None);
        Arc::new(ParquetMetaData::new(file, Vec::new()))
    }

    #[test]
    fn the_oldest_footers_go_when_the_bound_is_reached() {
        let mut cache = Cache::default();
        let one = footer().memory_size();
        for number in 0..5 {
            let version = (StorePath::from(format!("f{number}")), 1, DateTime::UNIX_EPOCH);
            cache.insert(version.clone(), footer(), one * 3);
            cache.insert(version, footer(), one * 3);
            assert!(cache.bytes <= one * 3);
        }
        let mut names: Vec<&str> = cache.footers.keys().map(|(path, ..)| path.as_ref()).collect();
        names.sort_unstable();
        assert_eq!(names, ["f2", "f3", "f4"]);
        assert_eq!((cache.bytes, cache.oldest_first.len()), (one * 3, 3));

        let changed = (StorePath::from("f4"), 2, DateTime::UNIX_EPOCH);
        assert!(!cache.footers.contains_key(&changed), "a file that changed is another");
        cache.insert(changed.clone(), footer(), one - 1);
        assert!(!cache.footers.contains_key(&changed), "what can never fit is not kept");
    }
}
