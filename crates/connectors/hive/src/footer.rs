//! Footers of Parquet files, cached.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use base::Result;
use chrono::{DateTime, Utc};
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use object_store::path::Path as StorePath;
use object_store::{ObjectMeta, ObjectStore};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use crate::error;

/// How many footers of a scan are read at once.
pub(crate) const FOOTER_CONCURRENCY: usize = 16;

/// The memory that cached footers may take, in bytes.
const CACHE_MAX_BYTES: usize = 64 << 20;

/// So many bytes are read from the end of a file, in the hope that the footer is in them.
const FOOTER_PREFETCH_BYTES: usize = 64 << 10;

/// What makes a file the one whose footer is cached.
type FileVersion = (StorePath, u64, DateTime<Utc>);

/// Reads footers, and keeps those read last while they are few enough.
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

    /// The footer of a file.
    pub(crate) async fn of(&self, file: &ObjectMeta) -> Result<Arc<ParquetMetaData>> {
        let version = (file.location.clone(), file.size, file.last_modified);
        if let Some(footer) = self.cache().footers.get(&version) {
            return Ok(Arc::clone(footer));
        }
        let footer = DFParquetMetadata::new(&*self.store, file)
            .with_metadata_size_hint(Some(FOOTER_PREFETCH_BYTES))
            .with_page_index_policy(Some(PageIndexPolicy::Skip))
            .fetch_metadata()
            .await
            .map_err(|cause| {
                let path = format!("/{}", file.location);
                error::of_file(&path, &cause).unwrap_or_else(|| error::bad_data(&path, cause))
            })?;
        self.cache().insert(version, Arc::clone(&footer), CACHE_MAX_BYTES);
        Ok(footer)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn insert(&mut self, version: FileVersion, footer: Arc<ParquetMetaData>, max_bytes: usize) {
        let bytes = footer.memory_size();
        if bytes > max_bytes || self.footers.contains_key(&version) {
            return;
        }
        while self.bytes + bytes > max_bytes {
            let Some(oldest) = self.oldest_first.pop_front() else { break };
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
    use parquet::file::metadata::FileMetaData;
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
