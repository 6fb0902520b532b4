//! The functions and options that coordinator and workers must agree on.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use base::{Error, Result};
use datafusion::common::config::ConfigOptions;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SessionStateDefaults, TaskContext};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionConfig;

/// Every function that a plan may name, by name and alias.
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
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The start of a session state that knows the functions workers know. It has no catalogs, table functions or
/// file formats.
pub fn session_state_builder(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionStateBuilder {
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
}

/// A context in which a fragment can be decoded and run.
///
/// A worker makes one for each attempt: `config` from [`config_from_options`] with the attempt's
/// [`crate::TaskInputsExtension`] added, `runtime` with the attempt's memory pool and spill directory.
pub fn task_context(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> TaskContext {
    TaskContext::new(
        None,
        String::new(),
        config,
        FUNCTIONS.scalar.clone(),
        FUNCTIONS.higher_order.clone(),
        FUNCTIONS.aggregate.clone(),
        FUNCTIONS.window.clone(),
        runtime,
    )
}

/// The configuration that a fragment's options describe: one partition, and no options but these.
///
/// An option that is not known is an internal error: coordinator and worker are different builds.
pub fn config_from_options(options: &[(String, String)]) -> Result<SessionConfig> {
    let mut config = ConfigOptions::new();
    for (name, value) in options {
        config.set(name, value).map_err(|error| {
            Error::internal(format!("option '{name}' of a fragment is not known")).caused_by(error)
        })?;
    }
    Ok(SessionConfig::from(config).with_target_partitions(1))
}
