//! Reads the bytes of Parquet files for DataFusion, with footers from the cache and errors that keep their kind.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaData;

use crate::error;
use crate::footer::Footers;

/// Makes readers of files.
#[derive(Debug)]
pub(crate) struct FileReaders {
    /// Where files and footers come from.
    pub(crate) footers: Arc<Footers>,
}

impl ParquetFileReaderFactory for FileReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> DataFusionResult<Box<dyn AsyncFileReader + Send>> {
        let file = file.object_meta;
        let metrics = ParquetFileMetrics::new(partition_index, file.location.as_ref(), metrics);
        Ok(Box::new(FileReader { footers: Arc::clone(&self.footers), file, metrics }))
    }
}

struct FileReader {
    footers: Arc<Footers>,
    file: ObjectMeta,
    metrics: ParquetFileMetrics,
}

impl FileReader {
    fn path(&self) -> String {
        format!("/{}", self.file.location)
    }

    async fn read(&self, ranges: &[Range<u64>]) -> ParquetResult<Vec<Bytes>> {
        if let Some(range) = ranges.iter().find(|range| range.end > self.file.size || range.start > range.end)
        {
            let text = format!("bytes {} to {} of a file of {}", range.start, range.end, self.file.size);
            return Err(ParquetError::EOF(text));
        }
        let bytes = self.footers.store().get_ranges(&self.file.location, ranges).await;
        let bytes = bytes.map_err(|cause| external(error::of_store(&self.path(), &cause)))?;
        self.metrics.bytes_scanned.add(bytes.iter().map(Bytes::len).sum());
        Ok(bytes)
    }
}

fn external(error: base::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            let mut bytes = self.read(std::slice::from_ref(&range)).await?;
            bytes.pop().ok_or_else(|| ParquetError::EOF("no bytes were read".to_string()))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { self.read(&ranges).await }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move { self.footers.of(&self.file).await.map_err(external) }.boxed()
    }
}
