//! DataFusion's options, pinned.

use datafusion::common::config::ConfigOptions;
use datafusion::prelude::SessionConfig;

/// What the planner may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannerOptions {
    /// How many partitions a hash exchange has: `fault-tolerant-execution-max-partition-count`.
    pub partitions: u32,
    /// The time zone of the session, by name.
    pub time_zone: String,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// The build side of a join is sent to every task, instead of both sides being spread by hash, when it is
    /// estimated to be smaller than this, in bytes. `join-max-broadcast-table-size` is 100 MB in Trino; every task
    /// of ours is smaller than a worker, so less pays.
    pub broadcast_bytes_max: usize,
    /// Whether the build side of a join is sent to every task: `join_distribution_type`.
    pub join_distribution: JoinDistribution,
    /// Whether joins are put in another order: `join_reordering_strategy`.
    pub join_reordering: JoinReordering,
    /// Whether fragments that are alike are computed once. Only right where what a fragment wrote is kept until all
    /// its consumers have read it.
    pub share_fragments: bool,
    /// Which plans are not cut.
    pub single_task: SingleTask,
}

/// Which plans one task runs as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SingleTask {
    /// Only those of which nothing can be shared by tasks.
    #[default]
    Never,
    /// Those whose tables have no more rows than these together, as far as statistics say.
    UpTo {
        /// The rows.
        rows: u64,
    },
    /// All.
    Always,
}

/// How the rows of joins come to the tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JoinDistribution {
    /// A small build side is sent to every task.
    #[default]
    Automatic,
    /// Both sides are spread by their keys.
    Partitioned,
    /// The build side is sent to every task wherever that gives right rows.
    Broadcast,
}

/// What may be done to the order of joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JoinReordering {
    /// They stay as they are written. What has no join condition but conditions further up is joined by those even
    /// so.
    None,
    /// The product of all rows of two tables is avoided if there is an order without it.
    EliminateCrossJoins,
    /// The order is taken that costs least by statistics.
    #[default]
    Automatic,
}

impl Default for PlannerOptions {
    fn default() -> Self {
        PlannerOptions {
            partitions: 50,
            time_zone: "UTC".into(),
            batch_rows: 8192,
            broadcast_bytes_max: 16 << 20,
            join_distribution: JoinDistribution::Automatic,
            join_reordering: JoinReordering::Automatic,
            share_fragments: true,
            single_task: SingleTask::Never,
        }
    }
}

/// The configuration in which logical plans are made, optimised and turned into physical ones.
pub fn session_config(options: &PlannerOptions) -> SessionConfig {
    let mut config = ConfigOptions::new();
    config.catalog.create_default_catalog_and_schema = false;
    config.catalog.information_schema = false;

    config.sql_parser.collect_spans = true;
    // Trino sorts NULL last, in both directions.
    config.sql_parser.default_null_ordering = "nulls_last".into();
    config.sql_parser.map_string_types_to_utf8view = false;

    config.execution.time_zone = Some(options.time_zone.clone());
    config.execution.target_partitions = options.partitions.max(1) as usize;
    // Views would drag whole buffers through the exchange.
    config.execution.parquet.schema_force_view_types = false;
    // Sibling scans share no state: every task has its own.
    config.execution.enable_file_stream_work_stealing = false;

    let optimizer = &mut config.optimizer;
    // Parallelism is tasks, so no local partitions are made for it.
    optimizer.enable_round_robin_repartition = false;
    optimizer.repartition_file_scans = false;
    optimizer.preserve_file_partitions = 0;
    // These two make operators that cannot travel.
    optimizer.enable_window_topn = false;
    optimizer.enable_piecewise_merge_join = false;
    optimizer.prefer_hash_join = true;
    // A sort that is kept through a hash exchange would need a merge by partition.
    optimizer.prefer_existing_sort = false;
    // An interleaved union is valid only while all its inputs are spread alike, which cutting does not keep.
    optimizer.prefer_existing_union = true;
    config.explain.show_sizes = false;

    let mut config = SessionConfig::from(config).with_batch_size(options.batch_rows.max(1));
    // Set by name and last: this way it also turns off the filters of joins, aggregates and top-n.
    config
        .options_mut()
        .set("datafusion.optimizer.enable_dynamic_filter_pushdown", "false")
        .expect("the option exists");
    config
}

/// The options that a worker needs to run a fragment as it was planned: those of execution and optimisation that
/// differ from DataFusion's defaults.
pub fn fragment_options(config: &SessionConfig) -> Vec<(String, String)> {
    const PREFIXES: [&str; 2] = ["datafusion.execution.", "datafusion.optimizer."];
    /// A task has one partition; planning concurrency is the coordinator's own.
    const LOCAL: [&str; 2] =
        ["datafusion.execution.target_partitions", "datafusion.execution.planning_concurrency"];
    let default = ConfigOptions::new();
    let default = default.entries();
    let mut options: Vec<(String, String)> = config
        .options()
        .entries()
        .into_iter()
        .filter(|entry| PREFIXES.iter().any(|prefix| entry.key.starts_with(prefix)))
        .filter(|entry| !LOCAL.contains(&entry.key.as_str()))
        .filter(|entry| !default.iter().any(|known| known.key == entry.key && known.value == entry.value))
        .filter_map(|entry| entry.value.map(|value| (entry.key, value)))
        .collect();
    options.sort();
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_filter_is_pushed_at_run_time() {
        let config = session_config(&PlannerOptions::default());
        let optimizer = &config.options().optimizer;
        assert!(!optimizer.enable_dynamic_filter_pushdown);
        assert!(!optimizer.enable_join_dynamic_filter_pushdown);
        assert!(!optimizer.enable_topk_dynamic_filter_pushdown);
        assert!(!optimizer.enable_aggregate_dynamic_filter_pushdown);
    }

    #[test]
    fn workers_get_what_differs_and_can_set_it() {
        let options = PlannerOptions { time_zone: "Asia/Tokyo".into(), ..PlannerOptions::default() };
        let config = session_config(&options);
        let shipped = fragment_options(&config);
        assert!(shipped.contains(&("datafusion.execution.time_zone".into(), "Asia/Tokyo".into())));
        assert!(!shipped.iter().any(|(name, _)| name.ends_with("target_partitions")));
        let there = operators::config_from_options(&shipped).unwrap();
        assert_eq!(there.target_partitions(), 1);
        assert_eq!(fragment_options(&there), shipped);
    }
}
