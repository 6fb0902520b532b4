//! What the leaves have in common.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{Result, Statistics};
use datafusion::error::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{Partitioning, PlanProperties};

/// The properties of a leaf that produces rows as they come and yields to the runtime by itself.
pub(crate) fn leaf_properties(equivalences: EquivalenceProperties, partitions: usize) -> Arc<PlanProperties> {
    let properties = PlanProperties::new(
        equivalences,
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    );
    Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative))
}

/// The statistics of the whole, or nothing known for one partition of it.
pub(crate) fn leaf_statistics(
    whole: &Arc<Statistics>,
    schema: &SchemaRef,
    args: &StatisticsArgs,
) -> Arc<Statistics> {
    match args.partition() {
        None => Arc::clone(whole),
        Some(_) => Arc::new(Statistics::new_unknown(schema)),
    }
}

/// A stream that lets other work of the thread run from time to time.
pub(crate) fn cooperative_stream(
    stream: impl RecordBatchStream + Send + Unpin + 'static,
) -> SendableRecordBatchStream {
    Box::pin(cooperative(stream))
}

/// The batch under this schema. Only the types of its columns must be the same.
pub(crate) fn conform(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if Arc::ptr_eq(batch.schema_ref(), schema) || batch.schema_ref() == schema {
        return Ok(batch);
    }
    let types = |schema: &SchemaRef| -> Vec<DataType> {
        schema.fields().iter().map(|field| field.data_type().clone()).collect()
    };
    let (found, wanted) = (types(batch.schema_ref()), types(schema));
    if found != wanted {
        let list = |types: &[DataType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(DataFusionError::Internal(format!(
            "a leaf read columns of types [{}] where the plan has [{}]",
            list(&found),
            list(&wanted)
        )));
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &rows)?)
}
