//! Limits and sizes. The names follow Trino's properties.

use base::Millis;

/// How many times the output of one task may be recomputed, unless options say otherwise.
pub const GENERATIONS_MAX: u32 = 16;

/// So many attempts of a stage must have committed before an attempt of it is called slow. Half of the tasks are enough
/// if it has few of them.
pub const RIVAL_SIBLINGS_MIN: u32 = 3;

/// An attempt on a slow node gets a rival when it has run for this part of [`QueryOptions::rival_age_min`].
pub const SLOW_NODE_AGE_DIVISOR: u64 = 4;

/// How long the tasks of a query wait for a node that is not slow, while only slow ones have room.
pub const SLOW_NODE_WAIT_MAX: Millis = Millis(1_000);

/// `retry-policy`: what is retried together.
///
/// Stages that are joined by pipelined edges form a region, and a region runs, fails and is retried as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RetryPolicy {
    /// All edges are pipelined, that to the client too: the query is one region, and is not retried.
    None,
    /// All edges between stages are pipelined: the query is one region, which is retried until it has an answer.
    Query,
    /// All edges are spooled: each task is retried alone.
    #[default]
    Task,
}

impl RetryPolicy {
    /// Whether stages run at the same time and stream their rows to each other.
    pub fn is_pipelined(self) -> bool {
        self != RetryPolicy::Task
    }
}

/// Limits and sizes of one query.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QueryOptions {
    /// `retry-policy`: what is retried together.
    pub retry_policy: RetryPolicy,
    /// `query-retry-attempts`: how many times a query may be tried again as a whole.
    pub query_retry_attempts: u32,
    /// `task-retry-attempts-per-task`: how many times a task may be tried again.
    pub task_retry_attempts_per_task: u32,
    /// `max-failed-tasks`: how many attempts of the whole query may fail before it is given up. None: no limit.
    pub failed_tasks_max: Option<u32>,
    /// `retry-initial-delay`: how long a task waits after its first failure.
    pub retry_initial_delay: Millis,
    /// `retry-max-delay`: how long it waits at most.
    pub retry_max_delay: Millis,
    /// `retry-delay-scale-factor`: how the wait grows with each failure.
    pub retry_delay_scale_factor: f64,
    /// `fault-tolerant-execution-task-memory`: the first lease of a task, in bytes. None: a worker's memory
    /// shared by its slots.
    pub task_memory_bytes: Option<u64>,
    /// `fault-tolerant-execution-task-memory-growth-factor`: how a lease grows when it was too small.
    pub task_memory_growth_factor: f64,
    /// `fault-tolerant-execution-task-memory-estimation-quantile`: which quantile of the peaks of finished tasks
    /// estimates the next ones.
    pub task_memory_estimation_quantile: f64,
    /// `fault-tolerant-execution.memory-requirement-increase-on-worker-crash-enabled`: whether a lost worker
    /// counts as a lease too small.
    pub memory_grows_on_worker_crash: bool,
    /// `fault-tolerant-execution-max-task-split-count`: the most splits of a task.
    pub task_split_count_max: u32,
    /// `fault-tolerant-execution-arbitrary-distribution-compute-task-target-size-min`, in bytes.
    pub arbitrary_task_target_bytes_min: u64,
    /// `fault-tolerant-execution-arbitrary-distribution-compute-task-target-size-max`, in bytes.
    pub arbitrary_task_target_bytes_max: u64,
    /// `fault-tolerant-execution-arbitrary-distribution-compute-task-target-size-growth-period`, in tasks.
    pub arbitrary_task_target_growth_period: u32,
    /// `fault-tolerant-execution-arbitrary-distribution-compute-task-target-size-growth-factor`.
    pub arbitrary_task_target_growth_factor: f64,
    /// `fault-tolerant-execution-hash-distribution-compute-task-target-size`, in bytes.
    pub hash_task_target_bytes: u64,
    /// `fault-tolerant-execution-hash-distribution-compute-task-to-node-min-ratio`: at least so many tasks for
    /// each slot of the cluster, as far as there are partitions. Holds for arbitrary distribution too.
    pub task_to_slot_ratio_min: f64,
    /// `max-tasks-waiting-for-execution-per-query`: no more splits are asked for while so many tasks wait.
    pub tasks_waiting_for_execution_max: u32,
    /// `max-tasks-waiting-for-node-per-query`: how many waiting tasks of the query are looked at when a node has
    /// room; those behind them wait even if they are smaller.
    pub tasks_waiting_for_node_max: u32,
    /// How many times the output of one task may be recomputed because it was lost.
    pub generations_max: u32,
    /// Whether decisions are recorded before they take effect, so that the query outlives the coordinator.
    pub is_durable: bool,
    /// `fault-tolerant-execution-speculative-execution-enabled`: whether an attempt that is much slower than its
    /// siblings gets a rival on another node.
    pub rivals_enabled: bool,
    /// `fault-tolerant-execution-speculative-execution-min-slowness`: an attempt gets a rival when it has run so many
    /// times as long as the median of its stage's committed attempts. On a slow node it does not take that.
    pub rival_slowness_min: f64,
    /// `fault-tolerant-execution-speculative-execution-min-task-age`: an attempt gets a rival when it has run for so
    /// long. On a slow node it takes only a part of that: [`SLOW_NODE_AGE_DIVISOR`].
    pub rival_age_min: Millis,
    /// `fault-tolerant-execution-speculative-execution-max-task-fraction`: the rivals that a stage may have at once, as
    /// a share of its tasks. It may always have one, and one for each attempt on a slow node.
    pub rival_share_max: f64,
}

impl Default for QueryOptions {
    fn default() -> Self {
        QueryOptions {
            retry_policy: RetryPolicy::Task,
            query_retry_attempts: 4,
            task_retry_attempts_per_task: 4,
            failed_tasks_max: None,
            retry_initial_delay: Millis(10_000),
            retry_max_delay: Millis(60_000),
            retry_delay_scale_factor: 2.0,
            task_memory_bytes: None,
            task_memory_growth_factor: 3.0,
            task_memory_estimation_quantile: 0.9,
            memory_grows_on_worker_crash: true,
            task_split_count_max: 2048,
            arbitrary_task_target_bytes_min: 512 << 20,
            arbitrary_task_target_bytes_max: 50 << 30,
            arbitrary_task_target_growth_period: 64,
            arbitrary_task_target_growth_factor: 1.26,
            hash_task_target_bytes: 512 << 20,
            task_to_slot_ratio_min: 2.0,
            tasks_waiting_for_execution_max: 10,
            tasks_waiting_for_node_max: 50,
            generations_max: GENERATIONS_MAX,
            is_durable: true,
            rivals_enabled: true,
            rival_slowness_min: 2.0,
            rival_age_min: Millis(200),
            rival_share_max: 0.1,
        }
    }
}

/// Limits of the cluster.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CoreOptions {
    /// `failure-detector.heartbeat-timeout`: a worker silent for so long is lost.
    pub heartbeat_timeout: Millis,
    /// A worker silent for so long is taken for slow: several times [`RunnerOptions::report_interval`].
    pub quiet_period: Millis,
    /// `node-scheduler.allowed-no-matching-node-period`: how long queries wait for any worker to be there.
    pub no_node_period_max: Millis,
    /// `query-manager.required-workers`: how many active workers there must be before a query starts.
    pub required_workers: u32,
    /// `query-manager.required-workers-max-wait`: how long a query waits for them.
    pub required_workers_wait_max: Millis,
    /// The most splits asked for at once: `query.schedule-split-batch-size`.
    pub split_batch_count_max: u32,
    /// How long tasks of a recovered query are not placed, so that workers can say what they run.
    pub takeover_period: Millis,
}

impl Default for CoreOptions {
    fn default() -> Self {
        CoreOptions {
            heartbeat_timeout: Millis(5_000),
            quiet_period: Millis(1_500),
            no_node_period_max: Millis(120_000),
            required_workers: 1,
            required_workers_wait_max: Millis(300_000),
            split_batch_count_max: 1000,
            takeover_period: Millis(1_000),
        }
    }
}

/// Limits of the worker's half.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnerOptions {
    /// A worker to which nothing happens reports so often.
    pub report_interval: Millis,
    /// `shutdown.grace-period`: how long running attempts may go on when the worker drains, before they are
    /// stopped and handed back.
    pub drain_grace: Millis,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        RunnerOptions { report_interval: Millis(500), drain_grace: Millis(120_000) }
    }
}
