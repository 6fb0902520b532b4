//! Properties of Trino's that sessions know and that have no effect here.

use crate::kind::Kind;
use crate::property::{DefaultValue, Property, Topic};

use super::kinds::{BIG_COUNT, BOOLEAN, COUNT, DURATION, POSITIVE, RATIO, SIZE, double, integer};

/// What `SHOW SESSION` says of them.
const DOC: &str = "Accepted for compatibility with Trino; has no effect.";

pub(super) const fn ignored(
    name: &'static str,
    session: &'static str,
    kind: Kind,
    default: Option<&'static str>,
) -> Property {
    let property = Property::unset(Topic::Other, name, kind, DOC).session(session).without_effect();
    match default {
        Some(text) => Property { default: DefaultValue::Text(text), ..property },
        None => property,
    }
}

/// The properties.
pub(super) const PROPERTIES: &[Property] = &[
    ignored("query.execution-policy", "execution_policy", Kind::Text, Some("phased")),
    ignored(
        "optimizer.join-multi-clause-independence-factor",
        "join_multi_clause_independence_factor",
        RATIO,
        Some("0.25"),
    ),
    ignored(
        "query.determine-partition-count-for-write-enabled",
        "determine_partition_count_for_write_enabled",
        BOOLEAN,
        Some("false"),
    ),
    ignored("query.min-hash-partition-count", "min_hash_partition_count", POSITIVE, Some("4")),
    ignored(
        "query.min-hash-partition-count-for-write",
        "min_hash_partition_count_for_write",
        POSITIVE,
        Some("50"),
    ),
    ignored("task.min-writer-count", "task_min_writer_count", POSITIVE, Some("1")),
    ignored("task.max-writer-count", "task_max_writer_count", POSITIVE, None),
    ignored("redistribute-writes", "redistribute_writes", BOOLEAN, Some("true")),
    ignored("use-preferred-write-partitioning", "use_preferred_write_partitioning", BOOLEAN, Some("true")),
    ignored("scale-writers", "scale_writers", BOOLEAN, Some("true")),
    ignored("query.max-writer-task-count", "max_writer_task_count", POSITIVE, Some("100")),
    ignored("task.scale-writers.enabled", "task_scale_writers_enabled", BOOLEAN, Some("true")),
    ignored(
        "task.scale-writers.max-writer-memory-percentage",
        "task_scale_writers_max_writer_memory_percentage",
        double(0.0, 100.0),
        Some("70.0"),
    ),
    ignored("writer-scaling-min-data-processed", "writer_scaling_min_data_processed", SIZE, Some("120MB")),
    ignored("max-memory-per-partition-writer", "max_memory_per_partition_writer", SIZE, Some("256MB"))
        .hidden(),
    ignored(
        "optimizer.push-table-write-through-union",
        "push_table_write_through_union",
        BOOLEAN,
        Some("true"),
    ),
    ignored("task.concurrency", "task_concurrency", POSITIVE, None),
    ignored("task.share-index-loading", "task_share_index_loading", BOOLEAN, Some("false")),
    ignored("query.max-cpu-time", "query_max_cpu_time", DURATION, Some("1000000000d")),
    ignored("query.max-scan-physical-bytes", "query_max_scan_physical_bytes", SIZE, None),
    ignored("query.max-write-physical-size", "query_max_write_physical_size", SIZE, None),
    ignored("optimizer.dictionary-aggregation", "dictionary_aggregation", BOOLEAN, Some("false")),
    ignored("task.initial-splits-per-node", "initial_splits_per_node", POSITIVE, None),
    ignored(
        "task.split-concurrency-adjustment-interval",
        "split_concurrency_adjustment_interval",
        DURATION,
        Some("100ms"),
    ),
    ignored("optimizer.optimize-metadata-queries", "optimize_metadata_queries", BOOLEAN, Some("false")),
    ignored(
        "optimizer.use-table-scan-node-partitioning",
        "use_table_scan_node_partitioning",
        BOOLEAN,
        Some("true"),
    )
    .aliases(&["optimizer.plan-with-table-node-partitioning"]),
    ignored(
        "optimizer.table-scan-node-partitioning-min-bucket-to-task-ratio",
        "table_scan_node_partitioning_min_bucket_to_task_ratio",
        double(0.0, f64::MAX),
        Some("0.5"),
    ),
    ignored("optimizer.max-reordered-joins", "max_reordered_joins", integer(2), Some("8")),
    ignored("colocated-joins-enabled", "colocated_join", BOOLEAN, Some("true")),
    ignored("spatial-joins-enabled", "spatial_join", BOOLEAN, Some("true")),
    ignored("spill-enabled", "spill_enabled", BOOLEAN, Some("false")),
    ignored(
        "aggregation-operator-unspill-memory-limit",
        "aggregation_operator_unspill_memory_limit",
        SIZE,
        Some("4MB"),
    ),
    ignored("iterative-optimizer-timeout", "iterative_optimizer_timeout", DURATION, None)
        .aliases(&["experimental.iterative-optimizer-timeout"]),
    ignored(
        "enable-forced-exchange-below-group-id",
        "enable_forced_exchange_below_group_id",
        BOOLEAN,
        Some("true"),
    )
    .hidden(),
    ignored(
        "optimizer.enable-intermediate-aggregations",
        "enable_intermediate_aggregations",
        BOOLEAN,
        Some("false"),
    ),
    ignored(
        "optimizer.push-aggregation-through-outer-join",
        "push_aggregation_through_outer_join",
        BOOLEAN,
        Some("true"),
    )
    .aliases(&["optimizer.push-aggregation-through-join"]),
    ignored(
        "optimizer.push-partial-aggregation-through-join",
        "push_partial_aggregation_through_join",
        BOOLEAN,
        Some("true"),
    ),
    ignored(
        "optimizer.pre-aggregate-case-aggregations.enabled",
        "pre_aggregate_case_aggregations_enabled",
        BOOLEAN,
        Some("true"),
    ),
    ignored("optimizer.force-single-node-output", "force_single_node_output", BOOLEAN, Some("false"))
        .hidden(),
    ignored(
        "filter-and-project-min-output-page-size",
        "filter_and_project_min_output_page_size",
        SIZE,
        Some("500kB"),
    ),
    ignored(
        "filter-and-project-min-output-page-row-count",
        "filter_and_project_min_output_page_row_count",
        COUNT,
        Some("256"),
    ),
    ignored("max-recursion-depth", "max_recursion_depth", COUNT, Some("10")),
    ignored(
        "optimizer.distinct-aggregations-strategy",
        "distinct_aggregations_strategy",
        Kind::Choice(&["AUTOMATIC", "MARK_DISTINCT", "SINGLE_STEP", "PRE_AGGREGATE", "SPLIT_TO_SUBQUERIES"]),
        None,
    ),
    ignored("optimizer.prefer-partial-aggregation", "prefer_partial_aggregation", BOOLEAN, Some("true")),
    ignored("optimizer.optimize-top-n-ranking", "optimize_top_n_ranking", BOOLEAN, Some("true"))
        .aliases(&["optimizer.optimize-top-n-row-number"]),
    ignored("analyzer.max-grouping-sets", "max_grouping_sets", COUNT, Some("2048")).hidden(),
    ignored("enable-stats-calculator", "enable_stats_calculator", BOOLEAN, Some("true"))
        .aliases(&["experimental.enable-stats-calculator"]),
    ignored(
        "statistics-precalculation-for-pushdown.enabled",
        "statistics_precalculation_for_pushdown_enabled",
        BOOLEAN,
        Some("true"),
    ),
    ignored(
        "collect-plan-statistics-for-all-queries",
        "collect_plan_statistics_for_all_queries",
        BOOLEAN,
        Some("false"),
    ),
    ignored("task.max-drivers-per-task", "max_drivers_per_task", POSITIVE, None),
    ignored(
        "optimizer.ignore-stats-calculator-failures",
        "ignore_stats_calculator_failures",
        BOOLEAN,
        Some("true"),
    ),
    ignored(
        "optimizer.default-filter-factor-enabled",
        "default_filter_factor_enabled",
        BOOLEAN,
        Some("false"),
    ),
    ignored(
        "optimizer.filter-conjunction-independence-factor",
        "filter_conjunction_independence_factor",
        RATIO,
        Some("0.75"),
    ),
    ignored(
        "optimizer.non-estimatable-predicate-approximation.enabled",
        "non_estimatable_predicate_approximation_enabled",
        BOOLEAN,
        Some("true"),
    ),
    ignored("optimizer.skip-redundant-sort", "skip_redundant_sort", BOOLEAN, Some("true")),
    ignored(
        "optimizer.complex-expression-pushdown.enabled",
        "complex_expression_pushdown",
        BOOLEAN,
        Some("true"),
    )
    .hidden(),
    ignored(
        "optimizer.predicate-pushdown-use-table-properties",
        "predicate_pushdown_use_table_properties",
        BOOLEAN,
        Some("true"),
    ),
    ignored("enable-dynamic-filtering", "enable_dynamic_filtering", BOOLEAN, Some("true")),
    ignored("enable-dynamic-row-filtering", "enable_dynamic_row_filtering", BOOLEAN, Some("true")),
    ignored(
        "dynamic-row-filtering.selectivity-threshold",
        "dynamic_row_filtering_selectivity_threshold",
        RATIO,
        Some("0.7"),
    ),
    ignored(
        "optimizer.ignore-downstream-preferences",
        "ignore_downstream_preferences",
        BOOLEAN,
        Some("false"),
    ),
    ignored(
        "optimizer.rewrite-filtering-semi-join-to-inner-join",
        "rewrite_filtering_semi_join_to_inner_join",
        BOOLEAN,
        Some("true"),
    ),
    ignored(
        "optimizer.optimize-duplicate-insensitive-joins",
        "optimize_duplicate_insensitive_joins",
        BOOLEAN,
        Some("true"),
    ),
    ignored(
        "optimizer.use-legacy-window-filter-pushdown",
        "use_legacy_window_filter_pushdown",
        BOOLEAN,
        Some("false"),
    ),
    ignored(
        "node-scheduler.max-unacknowledged-splits-per-task",
        "max_unacknowledged_splits_per_task",
        POSITIVE,
        Some("2000"),
    ),
    ignored("optimizer.merge-project-with-values", "merge_project_with_values", BOOLEAN, Some("true")),
    ignored("deprecated.legacy-catalog-roles", "legacy_catalog_roles", BOOLEAN, Some("false")).hidden(),
    ignored(
        "incremental-hash-array-load-factor.enabled",
        "incremental_hash_array_load_factor_enabled",
        BOOLEAN,
        Some("true"),
    ),
    ignored("task.max-partial-top-n-memory", "max_partial_top_n_memory", SIZE, Some("16MB")),
    ignored(
        "max-tasks-waiting-for-execution-per-query",
        "max_tasks_waiting_for_execution_per_query",
        POSITIVE,
        Some("10"),
    ),
    ignored(
        "max-tasks-waiting-for-node-per-query",
        "max_tasks_waiting_for_node_per_query",
        POSITIVE,
        Some("50"),
    )
    .aliases(&["max-tasks-waiting-for-node-per-stage"]),
    ignored("hide-inaccessible-columns", "hide_inaccessible_columns", BOOLEAN, Some("false")),
    ignored(
        "adaptive-partial-aggregation.enabled",
        "adaptive_partial_aggregation_enabled",
        BOOLEAN,
        Some("true"),
    ),
    ignored(
        "adaptive-partial-aggregation.unique-rows-ratio-threshold",
        "adaptive_partial_aggregation_unique_rows_ratio_threshold",
        double(0.0, f64::MAX),
        Some("0.8"),
    ),
    ignored(
        "query.remote-task.enable-adaptive-request-size",
        "remote_task_adaptive_update_request_size_enabled",
        BOOLEAN,
        Some("true"),
    ),
    ignored("query.remote-task.max-request-size", "remote_task_max_request_size", SIZE, Some("8MB")),
    ignored(
        "query.remote-task.request-size-headroom",
        "remote_task_request_size_headroom",
        SIZE,
        Some("2MB"),
    ),
    ignored(
        "query.remote-task.guaranteed-splits-per-task",
        "remote_task_guaranteed_splits_per_request",
        POSITIVE,
        Some("3"),
    ),
    ignored(
        "optimizer.join-partitioned-build-min-row-count",
        "join_partitioned_build_min_row_count",
        BIG_COUNT,
        Some("1000000"),
    ),
    ignored("optimizer.min-input-size-per-task", "min_input_size_per_task", SIZE, Some("5GB")),
    ignored("optimizer.min-input-rows-per-task", "min_input_rows_per_task", BIG_COUNT, Some("10000000")),
    ignored("optimizer.use-exact-partitioning", "use_exact_partitioning", BOOLEAN, Some("false")),
    ignored("optimizer.use-cost-based-partitioning", "use_cost_based_partitioning", BOOLEAN, Some("true")),
    ignored(
        "optimizer.push-filter-into-values-max-row-count",
        "push_filter_into_values_max_row_count",
        COUNT,
        Some("100"),
    ),
    ignored("distributed-sort", "distributed_sort", BOOLEAN, Some("true")),
    ignored("force-spilling-join-operator", "force_spilling_join", BOOLEAN, Some("false")),
    ignored(
        "experimental.columnar-filter-evaluation.enabled",
        "columnar_filter_evaluation_enabled",
        BOOLEAN,
        Some("true"),
    ),
    ignored(
        "driver.page-partitioning-buffer-pool-size",
        "page_partitioning_buffer_pool_size",
        COUNT,
        Some("8"),
    )
    .hidden(),
    ignored("optimizer.allow-unsafe-pushdown", "allow_unsafe_pushdown", BOOLEAN, Some("false")).hidden(),
    ignored("source-pages-validation-enabled", "output_pages_validation_enabled", BOOLEAN, Some("true"))
        .hidden(),
];
