//! The exchange of a node.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use base::{AttemptId, Error, ErrorCode, OutputId, Result};

use crate::commit::{Committed, commit, read_record};
use crate::handle::SourceHandle;
use crate::local::LocalStore;
use crate::options::{ExchangeOptions, ReadOptions, SinkOptions};
use crate::record::CommitRecord;
use crate::sink::ExchangeSink;
use crate::source::BatchReader;
use crate::store::ExchangeStore;

/// Opens sinks and sources on a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ExchangeManager {
    store: Arc<dyn ExchangeStore>,
    options: Arc<ExchangeOptions>,
}

impl ExchangeManager {
    /// The exchange that the options describe. Does no I/O; see [`ExchangeManager::probe`].
    ///
    /// Fails with `CONFIGURATION_INVALID`, by the name of the property, where the base directories are not
    /// supported.
    pub fn new(options: ExchangeOptions) -> Result<Self> {
        let store = LocalStore::new(options.base_directory()?, options.fsync);
        Ok(ExchangeManager::with_store(Arc::new(store), options))
    }

    /// An exchange on any store.
    pub fn with_store(store: Arc<dyn ExchangeStore>, options: ExchangeOptions) -> Self {
        ExchangeManager { store, options: Arc::new(options) }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ExchangeStore> {
        &self.store
    }

    /// The options.
    pub fn options(&self) -> &ExchangeOptions {
        &self.options
    }

    /// A sink for the output of an attempt, in so many partitions.
    ///
    /// Fails with `MAX_OUTPUT_PARTITION_COUNT_EXCEEDED` where these are more than the options allow.
    pub fn sink(
        &self,
        attempt: AttemptId,
        schema: SchemaRef,
        partitions: u32,
        options: SinkOptions,
    ) -> Result<ExchangeSink> {
        let max = self.options.output_partition_count_max;
        if partitions > max {
            let text =
                format!("Max number of output partitions exceeded for exchange: {partitions} of {max}");
            return Err(Error::new(ErrorCode::MAX_OUTPUT_PARTITION_COUNT_EXCEEDED, text));
        }
        ExchangeSink::new(Arc::clone(&self.store), attempt, schema, partitions, options)
    }

    /// Reads handles one after the other, with the next ones read ahead.
    pub fn open(&self, handles: Vec<SourceHandle>, schema: SchemaRef, options: &ReadOptions) -> BatchReader {
        let store = Arc::clone(&self.store);
        BatchReader::new(store, handles, schema, options, self.options.frame_bytes_max)
    }

    /// Reads one handle, for merges that read each producer at its own pace.
    pub fn open_one(&self, handle: SourceHandle, schema: SchemaRef, options: &ReadOptions) -> BatchReader {
        self.open(vec![handle], schema, options)
    }

    /// Reads a whole committed output in constant memory. What the record carries itself is not read again.
    pub fn open_output(
        &self,
        record: &CommitRecord,
        schema: SchemaRef,
        options: &ReadOptions,
    ) -> BatchReader {
        let handle = SourceHandle::embedded(record, 0..u32::MAX);
        self.open(handle.into_iter().collect(), schema, options)
    }

    /// Commits an output that its record carries and that stayed out of the store, or finds out who did before.
    ///
    /// After an error the output may be committed or not: only reading back can tell.
    pub async fn commit(&self, record: CommitRecord) -> Result<Committed> {
        commit(&*self.store, record).await
    }

    /// The record of an output, if it is committed.
    ///
    /// Fails with [`Error::lost`] where there is a record that cannot be read.
    pub async fn committed(&self, output: OutputId) -> Result<Option<CommitRecord>> {
        read_record(&*self.store, output).await
    }
}
