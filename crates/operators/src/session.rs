//! The functions and options that coordinator and workers must agree on.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use base::{Error, Result};
use datafusion::common::config::ConfigOptions;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SessionStateDefaults, TaskContext};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionConfig;

use crate::{DecimalDivision, IntegerArithmetic};

/// Every function that a plan may name, by name and alias.
#[derive(Default)]
struct Functions {
    scalar: HashMap<String, Arc<ScalarUDF>>,
    higher_order: HashMap<String, Arc<HigherOrderUDF>>,
    aggregate: HashMap<String, Arc<AggregateUDF>>,
    window: HashMap<String, Arc<WindowUDF>>,
}

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    // The state resolves aliases; plans name functions by any of them.
    let state = session_state_builder(SessionConfig::new(), Arc::new(RuntimeEnv::default())).build();
    Functions {
        scalar: cloned(state.scalar_functions()),
        higher_order: cloned(state.higher_order_functions()),
        aggregate: cloned(state.aggregate_functions()),
        window: cloned(state.window_functions()),
    }
});

fn cloned<K: Clone + Eq + Hash, V: Clone>(map: &HashMap<K, V>) -> HashMap<K, V> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The start of a session state that knows the functions workers know. It has no catalogs, table functions or
/// file formats.
pub fn session_state_builder(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionStateBuilder {
    let mut scalar_functions = SessionStateDefaults::default_scalar_functions();
    scalar_functions.extend(IntegerArithmetic::all());
    scalar_functions.push(Arc::new(ScalarUDF::from(DecimalDivision::default())));
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(scalar_functions)
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
}

/// This part of an attempt's memory is set aside by a sort for merging what it holds.
///
/// A sort reserves twice the size of each batch; the second half is for its keys in row form. Where the keys are most
/// of the row, they are larger than that, and a merge that finds no more memory cannot spill: it fails.
const SORT_RESERVATION_DIVISOR: usize = 3;

/// A context in which a fragment can be run.
///
/// Sorts are told how much to set aside, by the limit of the runtime's memory pool. There are no functions in it: a plan
/// has all it needs.
///
/// A worker makes one for each attempt: `config` from [`config_from_options`] with the attempt's
/// [`crate::TaskInputsExtension`] added, `runtime` with the attempt's memory pool and spill directory.
pub fn task_context(mut config: SessionConfig, runtime: Arc<RuntimeEnv>) -> TaskContext {
    if let MemoryLimit::Finite(limit_bytes) = runtime.memory_pool.memory_limit() {
        config.options_mut().execution.sort_spill_reservation_bytes = limit_bytes / SORT_RESERVATION_DIVISOR;
    }
    let Functions { scalar, higher_order, aggregate, window } = Functions::default();
    TaskContext::new(None, String::new(), config, scalar, higher_order, aggregate, window, runtime)
}

/// Options of fragments, by name.
type Options = Vec<(String, String)>;

/// The contexts in which fragments were decoded lately, by their options, the last one first. Most queries have the
/// same options, and to list all functions anew would cost as much as all the rest of a small fragment.
static DECODING: Mutex<VecDeque<(Options, Arc<TaskContext>)>> = Mutex::new(VecDeque::new());

/// How many of them are kept.
const DECODING_CONTEXTS_MAX: usize = 16;

/// A context in which fragments with these options can be decoded: it knows all functions, and has nothing of an
/// attempt.
///
/// An option that is not known is an internal error: coordinator and worker are different builds.
pub(crate) fn decoding_context(options: &[(String, String)]) -> Result<Arc<TaskContext>> {
    let mut known = DECODING.lock().unwrap_or_else(PoisonError::into_inner);
    let at = known.iter().position(|(theirs, _)| theirs == options);
    if let Some((options, context)) = at.and_then(|at| known.remove(at)) {
        known.push_front((options, Arc::clone(&context)));
        return Ok(context);
    }
    let mut config = ConfigOptions::new();
    for (name, value) in options {
        config.set(name, value).map_err(|error| {
            Error::internal(format!("option '{name}' of a fragment is not known")).caused_by(error)
        })?;
    }
    let context = Arc::new(TaskContext::new(
        None,
        String::new(),
        SessionConfig::from(config).with_target_partitions(1),
        FUNCTIONS.scalar.clone(),
        FUNCTIONS.higher_order.clone(),
        FUNCTIONS.aggregate.clone(),
        FUNCTIONS.window.clone(),
        Arc::default(),
    ));
    known.truncate(DECODING_CONTEXTS_MAX - 1);
    known.push_front((options.to_vec(), Arc::clone(&context)));
    Ok(context)
}

/// The configuration that a fragment's options describe: one partition, and no options but these.
///
/// An option that is not known is an internal error: coordinator and worker are different builds.
pub fn config_from_options(options: &[(String, String)]) -> Result<SessionConfig> {
    decoding_context(options).map(|context| context.session_config().clone())
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int16Array, RecordBatch};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::execution::memory_pool::FairSpillPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_expr::expressions::col;
    use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
    use datafusion::physical_plan::ExecutionPlan;
    use datafusion::physical_plan::sorts::sort::SortExec;
    use futures::TryStreamExt;

    use super::*;

    const COLUMN_COUNT: usize = 40;
    const BATCH_ROWS: usize = 8192;
    const BATCH_COUNT: usize = 200;
    const MEMORY_BYTES: usize = 128 << 20;

    /// Small numbers in no order: as keys they are half as large again.
    fn batch() -> RecordBatch {
        let column = |column: usize| {
            let values = (0..BATCH_ROWS).map(|row| ((row * 7919 + column) % 10_007) as i16);
            (format!("c{column}"), Arc::new(Int16Array::from_iter_values(values)) as ArrayRef)
        };
        RecordBatch::try_from_iter((0..COLUMN_COUNT).map(column)).unwrap()
    }

    #[test]
    fn contexts_of_the_options_that_were_used_lately_are_kept() {
        let options = |zone: usize| {
            vec![("datafusion.execution.time_zone".to_owned(), format!("+{:02}:{:02}", zone / 60, zone % 60))]
        };
        let first = decoding_context(&options(0)).unwrap();
        for zone in 1..DECODING_CONTEXTS_MAX / 2 {
            decoding_context(&options(zone)).unwrap();
        }
        assert!(Arc::ptr_eq(&first, &decoding_context(&options(0)).unwrap()));
        assert_eq!(
            config_from_options(&options(7)).unwrap().options().execution.time_zone,
            Some("+00:07".into())
        );
        for zone in 0..2 * DECODING_CONTEXTS_MAX {
            decoding_context(&options(100 + zone)).unwrap();
        }
        assert!(!Arc::ptr_eq(&first, &decoding_context(&options(0)).unwrap()));
        assert!(DECODING.lock().unwrap().len() <= DECODING_CONTEXTS_MAX);
    }

    #[tokio::test]
    async fn a_sort_whose_keys_are_the_whole_row_spills_and_ends() {
        let batches = vec![batch(); BATCH_COUNT];
        let schema = batches[0].schema();
        let input = MemorySourceConfig::try_new_exec(&[batches], Arc::clone(&schema), None).unwrap();
        let key = |name: &str| PhysicalSortExpr::new_default(col(name, &schema).unwrap());
        let keys = (0..COLUMN_COUNT).map(|column| key(&format!("c{column}")));
        let ordering = LexOrdering::new(keys).unwrap();
        let sort = Arc::new(SortExec::new(ordering, input));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
            .build_arc()
            .unwrap();
        let context = Arc::new(task_context(SessionConfig::new(), runtime));
        let stream = sort.execute(0, context).unwrap();
        let rows =
            stream.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) }).await.unwrap();
        assert_eq!(rows, BATCH_ROWS * BATCH_COUNT);
        assert!(sort.metrics().unwrap().spill_count().unwrap_or(0) > 1);
    }
}
