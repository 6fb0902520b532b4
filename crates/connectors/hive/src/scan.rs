//! Reads a split with DataFusion's Parquet source.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use base::{Error, Result};
use connector::{Scan, Split};
use datafusion::common::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::adapter::TableColumns;
use crate::error;
use crate::footer::Footers;
use crate::prune::file_predicate;
use crate::reader::FileReaders;
use crate::split::FileSplit;
use crate::text::TextRule;

/// Old writers have timestamps of 96 bits, whose years nanoseconds do not hold. They are read in this unit.
const INT96_UNIT: &str = "us";

/// Reads a split.
pub(crate) fn open(
    footers: &Arc<Footers>,
    scan: &Scan,
    split: &Split,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let split = FileSplit::decode(split)?;
    let description = split.describe();
    let plan = plan(footers, scan, &split, &context)?;
    let batches = plan.execute(0, context).map_err(|cause| open_error(&description, cause))?;

    let schema = Arc::clone(&scan.schema);
    let rules = TextRule::of_columns(&schema);
    let batches = batches.map(move |batch| {
        let batch = batch.map_err(|cause| error::in_stream(&description, cause))?;
        finish(&schema, &rules, batch)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&scan.schema), batches)))
}

fn plan(
    footers: &Arc<Footers>,
    scan: &Scan,
    split: &FileSplit,
    context: &TaskContext,
) -> Result<Arc<DataSourceExec>> {
    let global = context.session_config().options().execution.parquet.clone();
    let mut options = TableParquetOptions { global, ..TableParquetOptions::default() };
    options.global.coerce_int96 = Some(INT96_UNIT.to_string());
    // The engine filters again, so evaluating the predicate row by row while reading would do the work twice.
    options.global.pushdown_filters = false;

    let columns = TableColumns { table: Arc::clone(&scan.schema) };
    let readers = FileReaders { footers: Arc::clone(footers) };
    let mut source = ParquetSource::new(TableSchema::from(columns.numbered_schema()))
        .with_table_parquet_options(options)
        .with_parquet_file_reader_factory(Arc::new(readers));
    if let Some(predicate) = file_predicate(scan) {
        let numbered = columns.numbered(predicate);
        source = source.with_predicate(numbered.map_err(|cause| open_error(&split.describe(), cause))?);
    }
    // The limit counts rows that the predicate accepts, and the reader counts all.
    let limit = scan.limit.filter(|_| scan.predicate.is_none()).and_then(|limit| usize::try_from(limit).ok());
    let out_of_range = |_| Error::internal("not a split of the hive connector: its range is too large");
    let start = i64::try_from(split.start).map_err(out_of_range)?;
    let end = i64::try_from(split.end).map_err(out_of_range)?;
    let file = PartitionedFile::new_from_meta(split.file()?).with_range(start, end);
    let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
        .with_file_group(FileGroup::new(vec![file]))
        .with_limit(limit)
        .with_expr_adapter(Some(Arc::new(columns)))
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

fn open_error(description: &str, cause: datafusion::error::DataFusionError) -> Error {
    error::of_file(description, &cause).unwrap_or_else(|| {
        Error::internal(format!("Error opening Hive split {description}")).caused_by(cause)
    })
}

/// Gives a batch exactly the schema of the scan, and its texts the lengths of their types.
fn finish(
    schema: &SchemaRef,
    rules: &[Option<TextRule>],
    batch: RecordBatch,
) -> DataFusionResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().iter().zip(rules).map(|(column, rule)| match rule {
        Some(rule) => rule.apply(Arc::clone(column)),
        None => Arc::clone(column),
    });
    let columns: Vec<ArrayRef> = columns.collect();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
