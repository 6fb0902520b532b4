//! The settings of one query: the configuration, with what its session sets on top.

use std::collections::BTreeMap;

use base::{DataSize, Duration};

use crate::kind::MemoryShare;
use crate::server::{
    CompressionCodec, FaultToleranceConfig, RetryPolicy, SPECULATIVE_EXECUTION, SPECULATIVE_EXECUTION_AGE,
    SPECULATIVE_EXECUTION_FRACTION, SPECULATIVE_EXECUTION_SLOWNESS, ServerConfig,
};
use crate::session::SessionPropertyTable;
use crate::values::Values;

/// The settings of one query.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSettings {
    /// `retry_policy`.
    pub retry_policy: RetryPolicy,
    /// `query_retry_attempts`.
    pub query_retry_attempts: u32,
    /// `task_retry_attempts_per_task`.
    pub task_retry_attempts_per_task: u32,
    /// `max_failed_tasks`. None: no limit.
    pub max_failed_tasks: Option<u32>,
    /// `speculative_execution_enabled`.
    pub speculative_execution_enabled: bool,
    /// `speculative_execution_max_task_fraction`.
    pub speculative_execution_task_fraction_max: f64,
    /// `speculative_execution_min_task_age`.
    pub speculative_execution_task_age_min: Duration,
    /// `speculative_execution_min_slowness`.
    pub speculative_execution_slowness_min: f64,
    /// `retry_initial_delay`.
    pub retry_initial_delay: Duration,
    /// `retry_max_delay`.
    pub retry_max_delay: Duration,
    /// `retry_delay_scale_factor`.
    pub retry_delay_scale_factor: f64,
    /// `fault_tolerant_execution_…`.
    pub fault_tolerance: FaultToleranceConfig,
    /// `single_task_max_row_count`. 0: never.
    pub single_task_max_row_count: u64,
    /// `max_hash_partition_count`. Not applied under `TASK`.
    pub max_hash_partition_count: u32,
    /// `exchange_compression_codec`.
    pub exchange_compression_codec: CompressionCodec,
    /// `query_max_execution_time`.
    pub query_max_execution_time: Duration,
    /// `query_max_run_time`.
    pub query_max_run_time: Duration,
    /// `query_max_planning_time`.
    pub query_max_planning_time: Duration,
    /// `query_max_stage_count`.
    pub query_max_stage_count: u32,
    /// `query_max_memory`. Not applied under `TASK`.
    pub query_max_memory: DataSize,
    /// `query_max_total_memory`. Not applied under `TASK`.
    pub query_max_total_memory: DataSize,
    /// `query_max_memory_per_node`. Not applied under `TASK`.
    pub query_max_memory_per_node: MemoryShare,
    /// `required_workers_count`.
    pub required_workers_count: u32,
    /// `required_workers_max_wait_time`.
    pub required_workers_max_wait_time: Duration,
    /// `join_distribution_type`.
    pub join_distribution_type: JoinDistributionType,
    /// `join_max_broadcast_table_size`.
    pub join_max_broadcast_table_size: DataSize,
    /// `join_reordering_strategy`.
    pub join_reordering_strategy: JoinReorderingStrategy,
    /// `sql.forced-session-time-zone`, else `time_zone_id`. None: the time zone that the client sent. Whether there is
    /// such a time zone is not checked here.
    pub time_zone_id: Option<String>,
}

/// `join_distribution_type`: how the rows of joins come to the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinDistributionType {
    /// Whichever costs less.
    Automatic,
    /// Both sides are spread by their keys.
    Partitioned,
    /// The build side is sent to every task.
    Broadcast,
}

impl JoinDistributionType {
    fn of(name: &str) -> Self {
        match name {
            "PARTITIONED" => JoinDistributionType::Partitioned,
            "BROADCAST" => JoinDistributionType::Broadcast,
            _ => JoinDistributionType::Automatic,
        }
    }
}

/// `join_reordering_strategy`: what may be done to the order of joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinReorderingStrategy {
    /// Nothing.
    None,
    /// Products of all rows are avoided.
    EliminateCrossJoins,
    /// Anything that costs less by statistics.
    Automatic,
}

impl JoinReorderingStrategy {
    fn of(name: &str) -> Self {
        match name {
            "NONE" => JoinReorderingStrategy::None,
            "ELIMINATE_CROSS_JOINS" => JoinReorderingStrategy::EliminateCrossJoins,
            _ => JoinReorderingStrategy::Automatic,
        }
    }
}

impl ServerConfig {
    /// The retry policy under what a session has set, which may be wrong: then it is that of the configuration.
    pub fn session_retry_policy(&self, set: &BTreeMap<String, String>) -> RetryPolicy {
        let chosen = set.get("retry_policy").and_then(|name| RetryPolicy::parse(name));
        chosen.unwrap_or(self.retry.policy)
    }
}

impl SessionSettings {
    /// The settings under a configuration and what a session has set.
    ///
    /// # Errors
    /// `INVALID_SESSION_PROPERTY`, as [`SessionPropertyTable::validate`].
    pub fn resolve(config: &ServerConfig, set: &BTreeMap<String, String>) -> Result<Self, base::Error> {
        if set.is_empty() {
            return Ok(Self::of(config, &config.values));
        }
        let table = SessionPropertyTable::new(config);
        let mut values = config.values.clone();
        for (name, value) in set {
            let (property, value) = table.parse(name, value)?;
            values.set.insert(property.name, value);
        }
        Ok(Self::of(config, &values))
    }

    fn of(config: &ServerConfig, values: &Values) -> Self {
        let query_max_memory = values.size("query.max-memory");
        let twice = DataSize(query_max_memory.0.saturating_mul(2));
        SessionSettings {
            retry_policy: RetryPolicy::of(values.choice("retry-policy")),
            query_retry_attempts: values.count("query-retry-attempts"),
            task_retry_attempts_per_task: values.count("task-retry-attempts-per-task"),
            max_failed_tasks: values.optional_count("max-failed-tasks"),
            speculative_execution_enabled: values.boolean(SPECULATIVE_EXECUTION),
            speculative_execution_task_fraction_max: values.double(SPECULATIVE_EXECUTION_FRACTION),
            speculative_execution_task_age_min: values.duration(SPECULATIVE_EXECUTION_AGE),
            speculative_execution_slowness_min: values.double(SPECULATIVE_EXECUTION_SLOWNESS),
            retry_initial_delay: values.duration("retry-initial-delay"),
            retry_max_delay: values.duration("retry-max-delay"),
            retry_delay_scale_factor: values.double("retry-delay-scale-factor"),
            fault_tolerance: FaultToleranceConfig::of(values),
            single_task_max_row_count: values.big_count("optimizer.single-task-max-row-count"),
            max_hash_partition_count: values.count("query.max-hash-partition-count"),
            exchange_compression_codec: CompressionCodec::of(values.choice("exchange.compression-codec")),
            query_max_execution_time: values.duration("query.max-execution-time"),
            query_max_run_time: values.duration("query.max-run-time"),
            query_max_planning_time: values.duration("query.max-planning-time"),
            query_max_stage_count: values.count("query.max-stage-count"),
            query_max_memory,
            query_max_total_memory: values.optional_size("query.max-total-memory").unwrap_or(twice),
            query_max_memory_per_node: values.memory_share("query.max-memory-per-node"),
            required_workers_count: values.count("query-manager.required-workers"),
            required_workers_max_wait_time: values.duration("query-manager.required-workers-max-wait"),
            join_distribution_type: JoinDistributionType::of(values.choice("join-distribution-type")),
            join_max_broadcast_table_size: values.size("join-max-broadcast-table-size"),
            join_reordering_strategy: JoinReorderingStrategy::of(
                values.choice("optimizer.join-reordering-strategy"),
            ),
            time_zone_id: config.sql.forced_session_time_zone.clone().or_else(|| values.text("time_zone_id")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Source;

    fn config() -> ServerConfig {
        ServerConfig::from_properties([
            (Source::Node, "node.environment", "test"),
            (Source::Config, "retry-policy", "TASK"),
            (Source::Config, "retry-max-delay", "30s"),
            (Source::Config, "max-failed-tasks", "100"),
        ])
        .unwrap()
    }

    fn set<const N: usize>(values: [(&str, &str); N]) -> BTreeMap<String, String> {
        values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_session_overrides_the_configuration() {
        let config = config();
        let plain = SessionSettings::resolve(&config, &BTreeMap::new()).unwrap();
        assert_eq!(plain.retry_policy, RetryPolicy::Task);
        assert_eq!((plain.max_failed_tasks, plain.retry_max_delay), (Some(100), Duration::seconds(30)));
        assert_eq!(plain.fault_tolerance, config.fault_tolerance);
        assert_eq!(plain.exchange_compression_codec, CompressionCodec::Lz4);
        assert_eq!(plain.time_zone_id, None);

        let values = set([
            ("retry_policy", "NONE"),
            ("max_failed_tasks", "7"),
            ("speculative_execution_enabled", "false"),
            ("speculative_execution_min_task_age", "1s"),
            ("fault_tolerant_execution_task_memory", "256MB"),
            ("fault_tolerant_execution_max_partition_count", "9"),
            ("exchange_compression_codec", "zstd"),
            ("time_zone_id", "Europe/Berlin"),
            ("join_distribution_type", "BROADCAST"),
            ("join_max_broadcast_table_size", "1GB"),
            ("join_reordering_strategy", "none"),
        ]);
        let own = SessionSettings::resolve(&config, &values).unwrap();
        assert_eq!(own.retry_policy, RetryPolicy::None);
        assert_eq!((own.max_failed_tasks, own.retry_max_delay), (Some(7), Duration::seconds(30)));
        assert!(plain.speculative_execution_enabled && !own.speculative_execution_enabled);
        assert_eq!(own.speculative_execution_task_age_min, Duration::seconds(1));
        assert_eq!(own.fault_tolerance.task_memory, Some(DataSize::megabytes(256)));
        assert_eq!(own.fault_tolerance.max_partition_count, 9);
        assert_eq!(own.exchange_compression_codec, CompressionCodec::Zstd);
        assert_eq!(own.join_distribution_type, JoinDistributionType::Broadcast);
        assert_eq!(own.join_max_broadcast_table_size, DataSize::megabytes(1024));
        assert_eq!(own.join_reordering_strategy, JoinReorderingStrategy::None);
        assert_eq!(own.time_zone_id.as_deref(), Some("Europe/Berlin"));
    }

    #[test]
    fn bad_values_are_refused() {
        for (name, value) in [("nothing", "1"), ("retry_policy", "SOME"), ("query_max_run_time", "1")] {
            let error = SessionSettings::resolve(&config(), &set([(name, value)])).unwrap_err();
            assert_eq!(error.code(), base::ErrorCode::INVALID_SESSION_PROPERTY, "{name}");
        }
    }
}
