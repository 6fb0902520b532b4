//! What the leaves have in common.

use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{Partitioning, PlanProperties};
use std::sync::Arc;

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
pub(crate) fn leaf_statistics(whole: &Arc<Statistics>, schema: &SchemaRef, args: &StatisticsArgs) -> Arc<Statistics> {
    match args.partition() {
        None => Arc::clone(whole),
        Some(_) => Arc::new(Statistics::new_unknown(schema)),
    }
}
