//! Plans that one task runs as a whole.

use datafusion::prelude::SessionConfig;

/// With this, every scan is planned to be read by one task, and so nothing of a plan needs an exchange.
#[derive(Clone, Copy, Debug)]
pub struct OneTask;

impl OneTask {
    /// The configuration under which plans are for one task.
    pub fn config(config: SessionConfig) -> SessionConfig {
        config.with_target_partitions(1).with_extension(std::sync::Arc::new(OneTask))
    }

    /// Whether a plan is for one task.
    pub fn is_set(config: &SessionConfig) -> bool {
        config.get_extension::<OneTask>().is_some()
    }
}
