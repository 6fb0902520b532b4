//! Properties of Trino's fault-tolerant execution that have no effect here.

use crate::property::Property;

use super::ignored::ignored;
use super::kinds::{BOOLEAN, COUNT, POSITIVE, SIZE, double, integer_between};

/// The properties.
pub(super) const PROPERTIES: &[Property] = &[
    ignored(
        "fault-tolerant-execution-arbitrary-distribution-write-task-target-size-growth-period",
        "fault_tolerant_execution_arbitrary_distribution_write_task_target_size_growth_period",
        COUNT,
        Some("64"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-arbitrary-distribution-write-task-target-size-growth-factor",
        "fault_tolerant_execution_arbitrary_distribution_write_task_target_size_growth_factor",
        double(1.0, f64::MAX),
        Some("1.26"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-arbitrary-distribution-write-task-target-size-min",
        "fault_tolerant_execution_arbitrary_distribution_write_task_target_size_min",
        SIZE,
        Some("4GB"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-arbitrary-distribution-write-task-target-size-max",
        "fault_tolerant_execution_arbitrary_distribution_write_task_target_size_max",
        SIZE,
        Some("50GB"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-hash-distribution-write-task-target-size",
        "fault_tolerant_execution_hash_distribution_write_task_target_size",
        SIZE,
        Some("4GB"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-hash-distribution-write-task-target-max-count",
        "fault_tolerant_execution_hash_distribution_write_task_target_max_count",
        POSITIVE,
        Some("2000"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-hash-distribution-write-task-to-node-min-ratio",
        "fault_tolerant_execution_hash_distribution_write_task_to_node_min_ratio",
        double(0.0, f64::MAX),
        Some("2.0"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-coordinator-task-memory",
        "fault_tolerant_execution_coordinator_task_memory",
        SIZE,
        Some("2GB"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-min-partition-count-for-write",
        "fault_tolerant_execution_min_partition_count_for_write",
        integer_between(1, 1000),
        Some("50"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-runtime-adaptive-partitioning-enabled",
        "fault_tolerant_execution_runtime_adaptive_partitioning_enabled",
        BOOLEAN,
        Some("false"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-runtime-adaptive-partitioning-partition-count",
        "fault_tolerant_execution_runtime_adaptive_partitioning_partition_count",
        integer_between(1, 1000),
        Some("1000"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-runtime-adaptive-partitioning-max-task-size",
        "fault_tolerant_execution_runtime_adaptive_partitioning_max_task_size",
        SIZE,
        Some("12GB"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-min-source-stage-progress",
        "fault_tolerant_execution_min_source_stage_progress",
        double(0.0, f64::MAX),
        Some("0.2"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-small-stage-estimation-enabled",
        "fault_tolerant_execution_small_stage_estimation_enabled",
        BOOLEAN,
        Some("true"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-small-stage-estimation-threshold",
        "fault_tolerant_execution_small_stage_estimation_threshold",
        SIZE,
        Some("20GB"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-small-stage-source-size-multiplier",
        "fault_tolerant_execution_small_stage_source_size_multiplier",
        double(1.0, f64::MAX),
        Some("1.2"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-small-stage-require-no-more-partitions",
        "fault_tolerant_execution_small_stage_require_no_more_partitions",
        BOOLEAN,
        Some("false"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-stage-estimation-for-eager-parent-enabled",
        "fault_tolerant_execution_stage_estimation_for_eager_parent_enabled",
        BOOLEAN,
        Some("true"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-adaptive-query-planning-enabled",
        "fault_tolerant_execution_adaptive_query_planning_enabled",
        BOOLEAN,
        Some("true"),
    ),
    ignored(
        "fault-tolerant-execution-adaptive-join-reordering-enabled",
        "fault_tolerant_execution_adaptive_join_reordering_enabled",
        BOOLEAN,
        Some("false"),
    ),
    ignored(
        "fault-tolerant-execution-adaptive-join-reordering-size-difference-ratio",
        "fault_tolerant_execution_adaptive_join_reordering_size_difference_ratio",
        double(1.0, f64::MAX),
        Some("1.5"),
    )
    .hidden(),
    ignored(
        "fault-tolerant-execution-adaptive-join-reordering-min-size-threshold",
        "fault_tolerant_execution_adaptive_join_reordering_min_size_threshold",
        SIZE,
        Some("5GB"),
    )
    .hidden(),
];
