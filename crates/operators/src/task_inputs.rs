//! What the leaves of a fragment read when a task runs it.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use connector::{Connector, Split};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};

/// What the leaves of a fragment read. The worker makes one for each attempt.
pub trait TaskInputs: Send + Sync {
    /// The splits of a scan, by its number within the fragment.
    fn splits(&self, scan: u32) -> Vec<Split>;

    /// The catalog of that name.
    fn connector(&self, catalog: &str) -> Result<Arc<dyn Connector>>;

    /// All rows of an input, by its number within the fragment, in any order.
    fn exchange(&self, input: u32, schema: SchemaRef) -> Result<SendableRecordBatchStream>;

    /// The rows of an input, one stream for each producer task, each in the order it was written.
    fn exchange_streams(&self, input: u32, schema: SchemaRef) -> Result<Vec<SendableRecordBatchStream>>;

    /// Tells that a scan has read all of a split.
    fn split_completed(&self, scan: u32);
}

/// [`TaskInputs`] in the form in which DataFusion's session configuration carries it.
#[derive(Clone)]
pub struct TaskInputsExtension(pub Arc<dyn TaskInputs>);

impl TaskInputsExtension {
    /// The inputs of the task that runs in this context.
    pub fn of(context: &TaskContext) -> Result<Arc<dyn TaskInputs>> {
        context
            .session_config()
            .get_extension::<TaskInputsExtension>()
            .map(|extension| Arc::clone(&extension.0))
            .ok_or_else(|| DataFusionError::Internal("a leaf of a fragment ran outside of a task".into()))
    }
}

impl fmt::Debug for TaskInputsExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskInputsExtension")
    }
}
