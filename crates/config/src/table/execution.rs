//! Properties of retry, tasks and memory.

use base::{DataSize, Duration};

use crate::kind::{Choice, Kind};
use crate::property::{Property, Topic};

use super::kinds::{
    BOOLEAN, COUNT, DURATION, POSITIVE, RATIO, SIZE, double, duration_from, integer_between, size_from,
};

const POLICIES: Choice = &["NONE", "QUERY", "TASK"];
/// The most retries of a task, as in Trino.
const TASK_RETRIES_MAX: i64 = 126;
/// The most partitions of an exchange, as in Trino.
const PARTITIONS_MAX: i64 = 1000;

/// The properties.
pub(super) const PROPERTIES: &[Property] = &[
    Property::new(
        Topic::Retry,
        "retry-policy",
        Kind::Choice(POLICIES),
        "NONE",
        "What is tried again after a failure: nothing, the whole query, or single tasks. `TASK` needs an exchange \
         manager; `QUERY` only for results that are larger than `exchange.deduplication-buffer-size`.",
    )
    .session("retry_policy")
    .coordinator_only(),
    Property::new(
        Topic::Retry,
        "retry-policy.allowed",
        Kind::ChoiceList(POLICIES),
        "NONE,QUERY,TASK",
        "The policies that a session may choose.",
    )
    .coordinator_only(),
    Property::new(
        Topic::Retry,
        "query-retry-attempts",
        COUNT,
        "4",
        "Under `QUERY`, how many times a query is tried again before it fails.",
    )
    .session("query_retry_attempts")
    .coordinator_only(),
    Property::new(
        Topic::Retry,
        "task-retry-attempts-per-task",
        integer_between(0, TASK_RETRIES_MAX),
        "4",
        "Under `TASK`, how many times a task is tried again before its query fails.",
    )
    .session("task_retry_attempts_per_task")
    .coordinator_only(),
    Property::unset(
        Topic::Retry,
        "max-failed-tasks",
        COUNT,
        "Under `TASK`, how many attempts of a whole query may fail before it is given up with the last cause. Lost \
         workers are not failures.",
    )
    .session("max_failed_tasks")
    .coordinator_only()
    .extension(),
    Property::new(
        Topic::Retry,
        "retry-initial-delay",
        DURATION,
        "10s",
        "How long to wait before the first retry. Under `TASK`, only the failed task and its node wait.",
    )
    .session("retry_initial_delay")
    .coordinator_only(),
    Property::new(Topic::Retry, "retry-max-delay", DURATION, "1m", "How long to wait before a retry at most.")
        .session("retry_max_delay")
        .coordinator_only(),
    Property::new(
        Topic::Retry,
        "retry-delay-scale-factor",
        double(1.0, f64::MAX),
        "2.0",
        "The factor by which the wait grows with each failure.",
    )
    .session("retry_delay_scale_factor")
    .coordinator_only(),
    Property::new(
        Topic::Retry,
        "fault-tolerant-execution-speculative-execution-enabled",
        BOOLEAN,
        "true",
        "Under `TASK`, whether an attempt that is much slower than the finished ones of its stage gets a rival on \
         another worker. The first to finish counts.",
    )
    .session("speculative_execution_enabled")
    .coordinator_only()
    .extension(),
    Property::new(
        Topic::Retry,
        "fault-tolerant-execution-speculative-execution-max-task-fraction",
        double(0.0, 1.0),
        "0.1",
        "Which share of the tasks of a stage may have rivals at once. One task of each stage may in any case, and so \
         may every task on a worker that is known to be slow.",
    )
    .session("speculative_execution_max_task_fraction")
    .coordinator_only()
    .extension(),
    Property::new(
        Topic::Retry,
        "fault-tolerant-execution-speculative-execution-min-task-age",
        DURATION,
        "200ms",
        "How long an attempt must have run before it gets a rival. A quarter of that is enough on a worker that is \
         known to be slow.",
    )
    .session("speculative_execution_min_task_age")
    .coordinator_only()
    .extension(),
    Property::new(
        Topic::Retry,
        "fault-tolerant-execution-speculative-execution-min-slowness",
        double(1.0, f64::MAX),
        "2.0",
        "How many times as long as the median of the finished ones of its stage an attempt must have run before it \
         gets a rival. It takes none of that on a worker that is known to be slow.",
    )
    .session("speculative_execution_min_slowness")
    .coordinator_only()
    .extension(),
    Property::new(
        Topic::TaskSizing,
        "fault-tolerant-execution-standard-split-size",
        size_from(DataSize::megabytes(1)),
        "64MB",
        "The size of an ordinary split of a table.",
    )
    .session("fault_tolerant_execution_standard_split_size")
    .coordinator_only(),
    Property::new(
        Topic::TaskSizing,
        "fault-tolerant-execution-max-task-split-count",
        POSITIVE,
        "2048",
        "How many splits a task may have, whatever their size.",
    )
    .session("fault_tolerant_execution_max_task_split_count")
    .coordinator_only(),
    Property::new(
        Topic::TaskSizing,
        "fault-tolerant-execution-arbitrary-distribution-compute-task-target-size-growth-period",
        POSITIVE,
        "64",
        "How many tasks a stage that reads tables makes before the size it aims at grows.",
    )
    .session("fault_tolerant_execution_arbitrary_distribution_compute_task_target_size_growth_period")
    .coordinator_only(),
    Property::new(
        Topic::TaskSizing,
        "fault-tolerant-execution-arbitrary-distribution-compute-task-target-size-growth-factor",
        double(1.0, f64::MAX),
        "1.26",
        "The factor by which it grows.",
    )
    .session("fault_tolerant_execution_arbitrary_distribution_compute_task_target_size_growth_factor")
    .coordinator_only(),
    Property::new(
        Topic::TaskSizing,
        "fault-tolerant-execution-arbitrary-distribution-compute-task-target-size-min",
        SIZE,
        "512MB",
        "The input size that the first tasks of such a stage aim at.",
    )
    .session("fault_tolerant_execution_arbitrary_distribution_compute_task_target_size_min")
    .coordinator_only(),
    Property::new(
        Topic::TaskSizing,
        "fault-tolerant-execution-arbitrary-distribution-compute-task-target-size-max",
        SIZE,
        "50GB",
        "The input size beyond which it does not grow.",
    )
    .session("fault_tolerant_execution_arbitrary_distribution_compute_task_target_size_max")
    .coordinator_only(),
    Property::new(
        Topic::TaskSizing,
        "fault-tolerant-execution-hash-distribution-compute-task-target-size",
        SIZE,
        "512MB",
        "The input size that tasks of joins and aggregations aim at.",
    )
    .session("fault_tolerant_execution_hash_distribution_compute_task_target_size")
    .coordinator_only(),
    Property::new(
        Topic::TaskSizing,
        "fault-tolerant-execution-hash-distribution-compute-task-to-node-min-ratio",
        double(0.0, f64::MAX),
        "2.0",
        "How many tasks such a stage has at least for each node, as far as there are partitions.",
    )
    .session("fault_tolerant_execution_hash_distribution_compute_task_to_node_min_ratio")
    .coordinator_only(),
    Property::new(
        Topic::TaskSizing,
        "fault-tolerant-execution-max-partition-count",
        integer_between(1, PARTITIONS_MAX),
        "50",
        "How many partitions the output of a stage has at most.",
    )
    .session("fault_tolerant_execution_max_partition_count")
    .aliases(&["fault-tolerant-execution-partition-count"])
    .coordinator_only(),
    Property::new(
        Topic::TaskSizing,
        "fault-tolerant-execution-min-partition-count",
        integer_between(1, PARTITIONS_MAX),
        "4",
        "How many partitions it has at least.",
    )
    .session("fault_tolerant_execution_min_partition_count")
    .coordinator_only(),
    Property::unset(
        Topic::Task,
        "task.max-worker-threads",
        Kind::Threads,
        "How many tasks a worker runs at a time.",
    )
    .computed("the number of cores")
    .worker_only(),
    Property::new(
        Topic::Task,
        "task.no-progress-timeout",
        duration_from(Duration::seconds(1)),
        "5m",
        "How long an attempt may make no progress before it is ended and counted as failed.",
    )
    .worker_only()
    .extension(),
    Property::unset(
        Topic::Task,
        "spiller-spill-path",
        Kind::PathList,
        "The directories that operators and exchange sinks spill to.",
    )
    .computed("`spill` in `node.data-dir`")
    .worker_only(),
    Property::new(
        Topic::Exchange,
        "exchange.compression-codec",
        Kind::Choice(&["NONE", "LZ4", "ZSTD"]),
        "NONE",
        "How exchange data is compressed.",
    )
    .session("exchange_compression_codec")
    .under_task("LZ4"),
    Property::unset(
        Topic::Memory,
        "memory.limit-per-node",
        size_from(DataSize::megabytes(64)),
        "How much memory the server may use. Stronger than `-Xmx` in `jvm.config`.",
    )
    .computed("`-Xmx` of `jvm.config`, else 80 % of the memory of the machine or container")
    .extension(),
    Property::new(
        Topic::Memory,
        "memory.heap-headroom-per-node",
        Kind::MemoryShare,
        "30%",
        "How much of that memory is kept free for what is not accounted for.",
    ),
    Property::unset(
        Topic::Memory,
        "fault-tolerant-execution-task-memory",
        size_from(DataSize::megabytes(1)),
        "Under `TASK`, the memory that the first attempts of a stage get.",
    )
    .computed("a worker's memory divided by the tasks it runs at a time")
    .session("fault_tolerant_execution_task_memory")
    .coordinator_only(),
    Property::new(
        Topic::Memory,
        "fault-tolerant-execution-task-memory-growth-factor",
        double(1.0, f64::MAX),
        "3.0",
        "The factor by which the memory of a task grows after it did not suffice.",
    )
    .session("fault_tolerant_execution_task_memory_growth_factor")
    .coordinator_only(),
    Property::new(
        Topic::Memory,
        "fault-tolerant-execution-task-memory-estimation-quantile",
        RATIO,
        "0.9",
        "Which quantile of the memory of finished tasks of a stage the next ones get.",
    )
    .session("fault_tolerant_execution_task_memory_estimation_quantile")
    .coordinator_only(),
    Property::new(
        Topic::Memory,
        "fault-tolerant-execution-memory-requirement-increase-on-worker-crash-enabled",
        BOOLEAN,
        "true",
        "Whether a task whose worker vanished gets more memory, too: it may have been the cause.",
    )
    .aliases(&["fault-tolerant-execution.memory-requirement-increase-on-worker-crash-enabled"])
    .coordinator_only(),
    Property::new(
        Topic::Memory,
        "query.max-memory",
        SIZE,
        "20GB",
        "How much memory a query may use on all nodes. Not applied under `TASK`.",
    )
    .session("query_max_memory"),
    Property::unset(
        Topic::Memory,
        "query.max-total-memory",
        SIZE,
        "The same, with memory that is given back on demand. Not applied under `TASK`.",
    )
    .computed("twice `query.max-memory`")
    .session("query_max_total_memory"),
    Property::new(
        Topic::Memory,
        "query.max-memory-per-node",
        Kind::MemoryShare,
        "30%",
        "How much memory a query may use on one node. Not applied under `TASK`.",
    )
    .session("query_max_memory_per_node"),
    Property::unset(
        Topic::Testing,
        "failure-injection.tasks",
        Kind::FailureInjections,
        "For tests: attempts that fail, such as `stage=1,partition=0,attempts=0-1,class=INTERNAL`.",
    )
    .worker_only()
    .extension(),
];
