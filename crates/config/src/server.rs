//! The configuration of a server, typed.

use std::path::PathBuf;

use base::{DataSize, Duration};

use crate::catalog::CatalogConfig;
use crate::direct_exchange::DirectExchangeConfig;
use crate::failure_injection::{FailureInjection, parse_failure_injections};
use crate::kind::MemoryShare;
use crate::logging::LogConfig;
use crate::problem::Warning;
use crate::secret::Secret;
use crate::values::Values;

/// What is tried again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryPolicy {
    /// Nothing.
    None,
    /// The whole query.
    Query,
    /// Single tasks.
    Task,
}

impl RetryPolicy {
    /// The name, as in Trino.
    pub fn as_str(self) -> &'static str {
        match self {
            RetryPolicy::None => "NONE",
            RetryPolicy::Query => "QUERY",
            RetryPolicy::Task => "TASK",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let policies = [RetryPolicy::None, RetryPolicy::Query, RetryPolicy::Task];
        policies.into_iter().find(|policy| policy.as_str().eq_ignore_ascii_case(name.trim()))
    }

    pub(crate) fn of(name: &str) -> Self {
        match name {
            "TASK" => RetryPolicy::Task,
            "QUERY" => RetryPolicy::Query,
            _ => RetryPolicy::None,
        }
    }
}

/// How exchange data is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CompressionCodec {
    /// Not at all.
    None,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl CompressionCodec {
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "LZ4" => CompressionCodec::Lz4,
            "ZSTD" => CompressionCodec::Zstd,
            _ => CompressionCodec::None,
        }
    }
}

/// Who a node is and where it listens.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// `node.environment`: the name of the cluster.
    pub environment: String,
    /// `node.id`: the name of this node.
    pub id: String,
    /// `node.data-dir`: the directory for what the node writes on local disk.
    pub data_dir: PathBuf,
    /// `node.internal-address`: the host name or address at which other nodes reach this one.
    pub internal_address: Option<String>,
    /// `node.external-address`: the host name or address at which clients reach it.
    pub external_address: Option<String>,
    /// `node.bind-ip`: the address to listen on. None: all.
    pub bind_ip: Option<String>,
    /// `coordinator`: whether this node is the coordinator.
    pub coordinator: bool,
    /// `node-scheduler.include-coordinator`: whether the coordinator runs tasks, too. False on workers.
    pub include_coordinator: bool,
    /// `coordinator.state-directory`: where coordinators keep what must outlive them. None: with the exchange.
    pub state_directory: Option<String>,
    /// `coordinator.standby`: whether this coordinator waits until the one that leads is gone.
    pub standby: bool,
    /// `coordinator.lease-duration`: how long the one that leads may give no sign of itself.
    pub lease_duration: Duration,
    /// `http-server.http.port`: the port to listen on. 0: any free one.
    pub http_port: u16,
    /// `http-server.max-connections`: how many connections may be open to the port. None: as many as the files that the
    /// process may have open allow.
    pub http_connections_max: Option<u32>,
    /// `http-server.process-forwarded`: whether `X-Forwarded-…` headers say how a client reached the server.
    pub process_forwarded: bool,
    /// `discovery.uri`: the address of the coordinator. Set on every worker.
    pub discovery_uri: Option<String>,
    /// `internal-communication.shared-secret`: what nodes prove to each other to know.
    pub shared_secret: Option<Secret>,
    /// `failure-detector.heartbeat-timeout`: how long a worker may be silent before it is taken for lost.
    pub heartbeat_timeout: Duration,
    /// `shutdown.grace-period`: how long a worker that drains or shuts down lets attempts run on.
    pub shutdown_grace_period: Duration,
}

/// What is tried again, how often, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryConfig {
    /// `retry-policy`.
    pub policy: RetryPolicy,
    /// `retry-policy.allowed`: what a session may choose.
    pub allowed: Vec<RetryPolicy>,
    /// `query-retry-attempts`.
    pub query_retry_attempts: u32,
    /// `task-retry-attempts-per-task`.
    pub task_retry_attempts_per_task: u32,
    /// `max-failed-tasks`. None: no limit.
    pub max_failed_tasks: Option<u32>,
    /// `fault-tolerant-execution-speculative-execution-enabled`.
    pub speculative_execution_enabled: bool,
    /// `fault-tolerant-execution-speculative-execution-max-task-fraction`.
    pub speculative_execution_task_fraction_max: f64,
    /// `fault-tolerant-execution-speculative-execution-min-task-age`.
    pub speculative_execution_task_age_min: Duration,
    /// `fault-tolerant-execution-speculative-execution-min-slowness`.
    pub speculative_execution_slowness_min: f64,
    /// `retry-initial-delay`.
    pub initial_delay: Duration,
    /// `retry-max-delay`.
    pub max_delay: Duration,
    /// `retry-delay-scale-factor`.
    pub delay_scale_factor: f64,
}

/// How tasks run on a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskConfig {
    /// `task.max-worker-threads`: how many attempts run at a time.
    pub max_worker_threads: u32,
    /// `task.no-progress-timeout`: how long an attempt may make no progress.
    pub no_progress_timeout: Duration,
    /// `spiller-spill-path`: the directories to spill to. At least one.
    pub spill_paths: Vec<PathBuf>,
    /// `failure-injection.tasks`: attempts that tests make fail.
    pub failure_injections: Vec<FailureInjection>,
}

/// Memory of nodes and of queries.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryConfig {
    /// `memory.limit-per-node`, else `-Xmx` of `jvm.config`. None: to be taken from the machine or container.
    pub limit_per_node: Option<DataSize>,
    /// `memory.heap-headroom-per-node`: what is kept free of it.
    pub heap_headroom_per_node: MemoryShare,
    /// `query.max-memory`. Not applied under `TASK`.
    pub query_max_memory: DataSize,
    /// `query.max-total-memory`. Not applied under `TASK`.
    pub query_max_total_memory: DataSize,
    /// `query.max-memory-per-node`. Not applied under `TASK`.
    pub query_max_memory_per_node: MemoryShare,
}

impl MemoryConfig {
    /// What tasks may use of a node's memory: the limit less the headroom.
    pub fn pool(&self, limit_per_node: DataSize) -> DataSize {
        DataSize(limit_per_node.0.saturating_sub(self.heap_headroom_per_node.of(limit_per_node).0))
    }

    /// What a query may use of the pool of a node, if the limit for queries is that one.
    pub fn query_share_of_pool(&self, query_max_memory_per_node: MemoryShare, pool: DataSize) -> DataSize {
        let limit_per_node = match self.heap_headroom_per_node {
            MemoryShare::Size(headroom) => DataSize(pool.0.saturating_add(headroom.0)),
            MemoryShare::Share(share) if share < 1.0 => DataSize((pool.0 as f64 / (1.0 - share)) as u64),
            MemoryShare::Share(_) => pool,
        };
        DataSize(query_max_memory_per_node.of(limit_per_node).0.min(pool.0))
    }
}

/// What `exchange-manager.properties` says.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeManagerConfig {
    /// `exchange-manager.name`: `filesystem` or `hdfs`.
    pub name: String,
    /// `exchange.base-directories`: paths or URIs, all of one scheme. At least one.
    pub base_directories: Vec<String>,
    /// `exchange.source-concurrent-readers`: how many objects a task reads at a time.
    pub source_concurrent_readers: u32,
    /// `exchange.sink-memory-max`: how much memory the sink of a task uses before it spills.
    pub sink_memory_max: DataSize,
    /// `exchange.inline-output-max-size`: up to which size output travels inside its commit record.
    pub inline_output_max_size: DataSize,
    /// `exchange.fsync`: whether data on a local directory is to survive a power cut.
    pub fsync: bool,
}

/// Life and limits of queries.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryConfig {
    /// `query.client.timeout`.
    pub client_timeout: Duration,
    /// `query.first-answer-wait`.
    pub first_answer_wait: Duration,
    /// `query.max-execution-time`.
    pub max_execution_time: Duration,
    /// `query.max-run-time`.
    pub max_run_time: Duration,
    /// `query.max-planning-time`.
    pub max_planning_time: Duration,
    /// `query.max-history`.
    pub max_history: u32,
    /// `query.min-expire-age`.
    pub min_expire_age: Duration,
    /// `query.max-length`, in characters.
    pub max_length: u32,
    /// `query.max-stage-count`.
    pub max_stage_count: u32,
    /// `query.max-concurrent-queries`.
    pub max_concurrent_queries: u32,
    /// `query.max-queued-queries`.
    pub max_queued_queries: u32,
    /// `query.schedule-split-batch-size`, in splits.
    pub schedule_split_batch_size: u32,
    /// `query-manager.required-workers`.
    pub required_workers: u32,
    /// `query-manager.required-workers-max-wait`.
    pub required_workers_max_wait: Duration,
    /// `node-scheduler.allowed-no-matching-node-period`.
    pub allowed_no_matching_node_period: Duration,
    /// `exchange.compression-codec`.
    pub exchange_compression_codec: CompressionCodec,
}

/// How tasks are sized under `retry-policy=TASK`. The fields are named after their properties, without
/// `fault-tolerant-execution-`.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultToleranceConfig {
    /// `standard-split-size`.
    pub standard_split_size: DataSize,
    /// `max-task-split-count`.
    pub max_task_split_count: u32,
    /// `arbitrary-distribution-compute-task-target-size-growth-period`, in tasks.
    pub arbitrary_task_target_size_growth_period: u32,
    /// `arbitrary-distribution-compute-task-target-size-growth-factor`.
    pub arbitrary_task_target_size_growth_factor: f64,
    /// `arbitrary-distribution-compute-task-target-size-min`.
    pub arbitrary_task_target_size_min: DataSize,
    /// `arbitrary-distribution-compute-task-target-size-max`.
    pub arbitrary_task_target_size_max: DataSize,
    /// `hash-distribution-compute-task-target-size`.
    pub hash_task_target_size: DataSize,
    /// `hash-distribution-compute-task-to-node-min-ratio`.
    pub hash_task_to_node_min_ratio: f64,
    /// `max-partition-count`.
    pub max_partition_count: u32,
    /// `min-partition-count`.
    pub min_partition_count: u32,
    /// `task-memory`. None: a worker's memory divided by the tasks it runs at a time.
    pub task_memory: Option<DataSize>,
    /// `task-memory-growth-factor`.
    pub task_memory_growth_factor: f64,
    /// `task-memory-estimation-quantile`.
    pub task_memory_estimation_quantile: f64,
    /// `memory-requirement-increase-on-worker-crash-enabled`.
    pub memory_requirement_increase_on_worker_crash: bool,
}

/// Defaults of sessions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SqlConfig {
    /// `sql.default-catalog`.
    pub default_catalog: Option<String>,
    /// `sql.default-schema`.
    pub default_schema: Option<String>,
    /// `sql.forced-session-time-zone`.
    pub forced_session_time_zone: Option<String>,
}

/// The whole configuration of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// Who the node is and where it listens.
    pub node: NodeConfig,
    /// Life and limits of queries.
    pub query: QueryConfig,
    /// What is tried again.
    pub retry: RetryConfig,
    /// How tasks are sized.
    pub fault_tolerance: FaultToleranceConfig,
    /// How tasks run.
    pub task: TaskConfig,
    /// Memory.
    pub memory: MemoryConfig,
    /// What stages that run at the same time stream to each other.
    pub direct_exchange: DirectExchangeConfig,
    /// The exchange manager, if there is one.
    pub exchange_manager: Option<ExchangeManagerConfig>,
    /// Defaults of sessions.
    pub sql: SqlConfig,
    /// The catalogs, in the order of their names.
    pub catalogs: Vec<CatalogConfig>,
    /// The levels of loggers.
    pub log: LogConfig,
    /// What the user should know. To be logged at start.
    pub warnings: Vec<Warning>,
    /// What all of the above was made of; session defaults come from here.
    pub(crate) values: Values,
}

/// What is known of the machine and the directory.
pub(crate) struct Place {
    pub(crate) data_dir: PathBuf,
    pub(crate) host_name: Option<String>,
    pub(crate) jvm_limit: Option<DataSize>,
    pub(crate) has_exchange: bool,
}

impl ServerConfig {
    /// Whether an exchange manager is there for `retry-policy=TASK`; the coordinator checks it for every query, since a
    /// session may choose the policy.
    ///
    /// # Errors
    /// `EXCHANGE_MANAGER_NOT_CONFIGURED`, with Trino's text.
    pub fn require_exchange_manager(&self) -> Result<&ExchangeManagerConfig, base::Error> {
        self.exchange_manager.as_ref().ok_or_else(base::Error::exchange_manager_not_configured)
    }

    pub(crate) fn build(
        values: Values,
        place: Place,
        catalogs: Vec<CatalogConfig>,
        log: LogConfig,
        warnings: Vec<Warning>,
    ) -> Self {
        let node = NodeConfig::of(&values, &place);
        ServerConfig {
            query: QueryConfig::of(&values),
            retry: RetryConfig::of(&values),
            fault_tolerance: FaultToleranceConfig::of(&values),
            task: TaskConfig::of(&values, &node),
            memory: MemoryConfig::of(&values, place.jvm_limit),
            direct_exchange: DirectExchangeConfig::of(&values),
            exchange_manager: place.has_exchange.then(|| ExchangeManagerConfig::of(&values)),
            sql: SqlConfig {
                default_catalog: values.text("sql.default-catalog"),
                default_schema: values.text("sql.default-schema"),
                forced_session_time_zone: values.text("sql.forced-session-time-zone"),
            },
            node,
            catalogs,
            log,
            warnings,
            values,
        }
    }
}

impl NodeConfig {
    fn of(values: &Values, place: &Place) -> Self {
        let coordinator = values.boolean("coordinator");
        let http_port = u16::try_from(values.count("http-server.http.port")).expect("the table limits ports");
        let id = values.text("node.id").unwrap_or_else(|| {
            let host = place.host_name.as_deref().unwrap_or("node");
            let host: String =
                host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            format!("{}-{http_port}", host.trim_start_matches('-'))
        });
        let internal_address = values.text("node.internal-address");
        NodeConfig {
            environment: values.text("node.environment").unwrap_or_default(),
            id,
            data_dir: values.text("node.data-dir").map_or_else(|| place.data_dir.clone(), PathBuf::from),
            external_address: values.text("node.external-address").or_else(|| internal_address.clone()),
            internal_address,
            bind_ip: values.text("node.bind-ip"),
            coordinator,
            include_coordinator: coordinator && values.boolean("node-scheduler.include-coordinator"),
            state_directory: values.text("coordinator.state-directory"),
            standby: values.boolean("coordinator.standby"),
            lease_duration: values.duration("coordinator.lease-duration"),
            http_port,
            http_connections_max: values.optional_count("http-server.max-connections"),
            process_forwarded: values.boolean("http-server.process-forwarded"),
            discovery_uri: values.text("discovery.uri"),
            shared_secret: values.secret("internal-communication.shared-secret"),
            heartbeat_timeout: values.duration("failure-detector.heartbeat-timeout"),
            shutdown_grace_period: values.duration("shutdown.grace-period"),
        }
    }
}

/// Whether slow attempts get rivals.
pub(crate) const SPECULATIVE_EXECUTION: &str = "fault-tolerant-execution-speculative-execution-enabled";

/// Which share of the tasks of a stage may have rivals at once.
pub(crate) const SPECULATIVE_EXECUTION_FRACTION: &str =
    "fault-tolerant-execution-speculative-execution-max-task-fraction";

/// How long an attempt must have run before it gets a rival.
pub(crate) const SPECULATIVE_EXECUTION_AGE: &str =
    "fault-tolerant-execution-speculative-execution-min-task-age";

/// How many times as long as others an attempt must have run before it gets a rival.
pub(crate) const SPECULATIVE_EXECUTION_SLOWNESS: &str =
    "fault-tolerant-execution-speculative-execution-min-slowness";

impl RetryConfig {
    fn of(values: &Values) -> Self {
        let allowed = values.list("retry-policy.allowed");
        RetryConfig {
            policy: RetryPolicy::of(values.choice("retry-policy")),
            allowed: allowed.iter().map(|policy| RetryPolicy::of(policy)).collect(),
            query_retry_attempts: values.count("query-retry-attempts"),
            task_retry_attempts_per_task: values.count("task-retry-attempts-per-task"),
            max_failed_tasks: values.optional_count("max-failed-tasks"),
            speculative_execution_enabled: values.boolean(SPECULATIVE_EXECUTION),
            speculative_execution_task_fraction_max: values.double(SPECULATIVE_EXECUTION_FRACTION),
            speculative_execution_task_age_min: values.duration(SPECULATIVE_EXECUTION_AGE),
            speculative_execution_slowness_min: values.double(SPECULATIVE_EXECUTION_SLOWNESS),
            initial_delay: values.duration("retry-initial-delay"),
            max_delay: values.duration("retry-max-delay"),
            delay_scale_factor: values.double("retry-delay-scale-factor"),
        }
    }
}

impl TaskConfig {
    fn of(values: &Values, node: &NodeConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let spill_paths: Vec<_> = values.list("spiller-spill-path").into_iter().map(PathBuf::from).collect();
        let injections = values.text("failure-injection.tasks").unwrap_or_default();
        TaskConfig {
            max_worker_threads: values.threads("task.max-worker-threads", cores).unwrap_or(cores),
            no_progress_timeout: values.duration("task.no-progress-timeout"),
            spill_paths: if spill_paths.is_empty() { vec![node.data_dir.join("spill")] } else { spill_paths },
            failure_injections: parse_failure_injections(&injections)
                .expect("its kind is checked when it is set"),
        }
    }
}

impl MemoryConfig {
    pub(crate) fn of(values: &Values, jvm_limit: Option<DataSize>) -> Self {
        let query_max_memory = values.size("query.max-memory");
        let twice = DataSize(query_max_memory.0.saturating_mul(2));
        MemoryConfig {
            limit_per_node: values.optional_size("memory.limit-per-node").or(jvm_limit),
            heap_headroom_per_node: values.memory_share("memory.heap-headroom-per-node"),
            query_max_memory,
            query_max_total_memory: values.optional_size("query.max-total-memory").unwrap_or(twice),
            query_max_memory_per_node: values.memory_share("query.max-memory-per-node"),
        }
    }
}

impl ExchangeManagerConfig {
    fn of(values: &Values) -> Self {
        ExchangeManagerConfig {
            name: values.choice("exchange-manager.name").to_owned(),
            base_directories: values.list("exchange.base-directories"),
            source_concurrent_readers: values.count("exchange.source-concurrent-readers"),
            sink_memory_max: values.size("exchange.sink-memory-max"),
            inline_output_max_size: values.size("exchange.inline-output-max-size"),
            fsync: values.boolean("exchange.fsync"),
        }
    }
}

impl QueryConfig {
    fn of(values: &Values) -> Self {
        QueryConfig {
            client_timeout: values.duration("query.client.timeout"),
            first_answer_wait: values.duration("query.first-answer-wait"),
            max_execution_time: values.duration("query.max-execution-time"),
            max_run_time: values.duration("query.max-run-time"),
            max_planning_time: values.duration("query.max-planning-time"),
            max_history: values.count("query.max-history"),
            min_expire_age: values.duration("query.min-expire-age"),
            max_length: values.count("query.max-length"),
            max_stage_count: values.count("query.max-stage-count"),
            max_concurrent_queries: values.count("query.max-concurrent-queries"),
            max_queued_queries: values.count("query.max-queued-queries"),
            schedule_split_batch_size: values.count("query.schedule-split-batch-size"),
            required_workers: values.count("query-manager.required-workers"),
            required_workers_max_wait: values.duration("query-manager.required-workers-max-wait"),
            allowed_no_matching_node_period: values
                .duration("node-scheduler.allowed-no-matching-node-period"),
            exchange_compression_codec: CompressionCodec::of(values.choice("exchange.compression-codec")),
        }
    }
}

/// Prefix of the properties that size tasks.
macro_rules! fte {
    ($name:literal) => {
        concat!("fault-tolerant-execution-", $name)
    };
}
pub(crate) use fte;

impl FaultToleranceConfig {
    pub(crate) fn of(values: &Values) -> Self {
        FaultToleranceConfig {
            standard_split_size: values.size(fte!("standard-split-size")),
            max_task_split_count: values.count(fte!("max-task-split-count")),
            arbitrary_task_target_size_growth_period: values
                .count(fte!("arbitrary-distribution-compute-task-target-size-growth-period")),
            arbitrary_task_target_size_growth_factor: values
                .double(fte!("arbitrary-distribution-compute-task-target-size-growth-factor")),
            arbitrary_task_target_size_min: values
                .size(fte!("arbitrary-distribution-compute-task-target-size-min")),
            arbitrary_task_target_size_max: values
                .size(fte!("arbitrary-distribution-compute-task-target-size-max")),
            hash_task_target_size: values.size(fte!("hash-distribution-compute-task-target-size")),
            hash_task_to_node_min_ratio: values
                .double(fte!("hash-distribution-compute-task-to-node-min-ratio")),
            max_partition_count: values.count(fte!("max-partition-count")),
            min_partition_count: values.count(fte!("min-partition-count")),
            task_memory: values.optional_size(fte!("task-memory")),
            task_memory_growth_factor: values.double(fte!("task-memory-growth-factor")),
            task_memory_estimation_quantile: values.double(fte!("task-memory-estimation-quantile")),
            memory_requirement_increase_on_worker_crash: values
                .boolean(fte!("memory-requirement-increase-on-worker-crash-enabled")),
        }
    }
}
