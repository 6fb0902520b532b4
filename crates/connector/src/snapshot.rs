//! Tables that the coordinator knows by heart: its own state, and the names of things.
//!
//! Their splits carry the rows. So any worker can read them, and a retry reads the same rows again.

use std::fmt::Debug;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use async_trait::async_trait;
use base::{Error, Result};
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::{self, BoxStream, StreamExt};

use crate::Connector;
use crate::metadata::{TableHandle, TableMetadata, TableStatistics};
use crate::scan::{Scan, Split, SplitOptions};

/// Rows of a split at most.
const SPLIT_ROW_COUNT_MAX: usize = 8192;

/// Tables whose rows are known where they are planned.
#[async_trait]
pub trait SnapshotTables: Debug + Send + Sync {
    /// The schemas.
    fn schemas(&self) -> Vec<String>;

    /// The tables of a schema.
    fn tables(&self, schema: &str) -> Vec<String>;

    /// A table.
    fn table(&self, schema: &str, table: &str) -> Option<TableMetadata>;

    /// The rows of a table as they are now, in the table's Arrow schema.
    async fn rows(&self, table: &TableHandle) -> Result<RecordBatch>;
}

/// A connector over [`SnapshotTables`]. On a worker it has none, and reads what the splits carry.
#[derive(Clone, Debug, Default)]
pub struct SnapshotConnector {
    tables: Option<Arc<dyn SnapshotTables>>,
}

impl SnapshotConnector {
    /// The connector of the node that knows the tables.
    pub fn new(tables: Arc<dyn SnapshotTables>) -> Self {
        SnapshotConnector { tables: Some(tables) }
    }

    /// The connector of a node that only reads splits.
    pub fn reader() -> Self {
        SnapshotConnector::default()
    }
}

#[async_trait]
impl Connector for SnapshotConnector {
    async fn schemas(&self) -> Result<Vec<String>> {
        Ok(self.tables.as_ref().map(|tables| tables.schemas()).unwrap_or_default())
    }

    async fn tables(&self, schema: &str) -> Result<Vec<String>> {
        Ok(self.tables.as_ref().map(|tables| tables.tables(schema)).unwrap_or_default())
    }

    async fn table(&self, schema: &str, table: &str) -> Result<Option<TableMetadata>> {
        Ok(self.tables.as_ref().and_then(|tables| tables.table(schema, table)))
    }

    async fn statistics(&self, _table: &TableHandle) -> Result<TableStatistics> {
        Ok(TableStatistics::default())
    }

    fn is_parallel(&self, _table: &TableHandle) -> bool {
        false
    }

    async fn splits(
        &self,
        scan: &Scan,
        _options: &SplitOptions,
    ) -> Result<BoxStream<'static, Result<Vec<Split>>>> {
        let tables = self
            .tables
            .as_ref()
            .ok_or_else(|| Error::internal("this node does not know the rows of system tables"))?;
        let rows = project(&tables.rows(&scan.table).await?, &scan.schema)?;
        let splits: Vec<Split> = (0..rows.num_rows())
            .step_by(SPLIT_ROW_COUNT_MAX)
            .map(|start| encode(&rows.slice(start, SPLIT_ROW_COUNT_MAX.min(rows.num_rows() - start))))
            .collect::<Result<_>>()?;
        Ok(stream::once(async move { Ok(splits) }).boxed())
    }

    fn open(
        &self,
        scan: &Scan,
        split: &Split,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let reader = StreamReader::try_new(Cursor::new(split.payload.clone()), None).map_err(unreadable)?;
        let batches = reader.map(|batch| batch.map_err(DataFusionError::from));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&scan.schema), stream::iter(batches))))
    }
}

/// The columns of `schema`, by name.
fn project(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let indexes: Vec<usize> = schema
        .fields()
        .iter()
        .map(|field| rows.schema().index_of(field.name()))
        .collect::<Result<_, _>>()
        .map_err(|error| Error::internal(format!("a system table lacks a column: {error}")))?;
    rows.project(&indexes).map_err(|error| Error::internal(error.to_string()))
}

fn encode(rows: &RecordBatch) -> Result<Split> {
    let unwritable = |error| Error::internal(format!("rows of a system table cannot be written: {error}"));
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).map_err(unwritable)?;
    writer.write(rows).map_err(unwritable)?;
    let payload = Bytes::from(writer.into_inner().map_err(unwritable)?);
    Ok(Split { size_bytes: payload.len() as u64, payload })
}

fn unreadable(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("rows of a system table cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use futures::TryStreamExt;

    #[derive(Debug)]
    struct OneTable;

    #[async_trait]
    impl SnapshotTables for OneTable {
        fn schemas(&self) -> Vec<String> {
            vec!["runtime".into()]
        }

        fn tables(&self, _schema: &str) -> Vec<String> {
            vec!["numbers".into()]
        }

        fn table(&self, _schema: &str, _table: &str) -> Option<TableMetadata> {
            None
        }

        async fn rows(&self, _table: &TableHandle) -> Result<RecordBatch> {
            let numbers = Int64Array::from_iter_values(0..20_000);
            let names = StringArray::from_iter_values((0..20_000).map(|number| format!("name {number}")));
            let batch = RecordBatch::try_from_iter(vec![
                ("number", Arc::new(numbers) as Arc<dyn arrow::array::Array>),
                ("name", Arc::new(names)),
            ]);
            batch.map_err(|error| Error::internal(error.to_string()))
        }
    }

    #[tokio::test]
    async fn a_worker_reads_the_rows_that_the_splits_carry() {
        let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, false)]));
        let scan = Scan { table: TableHandle(Bytes::new()), schema, predicate: None, limit: None };
        let options = SplitOptions { target_size_bytes: 1 << 20, node_count: 1, slot_count: 1 };
        let here = SnapshotConnector::new(Arc::new(OneTable));
        let splits: Vec<Split> = here.splits(&scan, &options).await.unwrap().try_concat().await.unwrap();
        assert_eq!(splits.len(), 3);
        let there = SnapshotConnector::reader();
        let mut rows = 0;
        for split in &splits {
            let stream = there.open(&scan, split, Arc::new(TaskContext::default())).unwrap();
            let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
            rows += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            assert!(batches.iter().all(|batch| batch.num_columns() == 1));
        }
        assert_eq!(rows, 20_000);
    }
}
