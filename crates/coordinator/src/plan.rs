//! From an analysed query to what the scheduler and the workers need.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Error, ErrorCode, QueryId, Result};
use bytes::Bytes;
use config::{JoinDistributionType, JoinReorderingStrategy, RetryPolicy, SessionSettings};
use connector::{Scan, SplitOptions};
use datafusion::physical_plan::ExecutionPlan;
use operators::{SplitScanExec, decode_fragment, encode_fragment, on_large_stack};
use planner::{
    FragmentedPlan, JoinDistribution, JoinReordering, PlannedFragment, Planner, PlannerOptions, SingleTask,
};
use scheduler::{NodeState, QueryOptions};
use sql::AnalyzedQuery;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::dispatch::{
    DispatchState, PipelineOptions, QueryMemoryLimits, RootOutput, ScanDescription, StageDescription,
    Submission,
};
use crate::services::Services;
use crate::state::PlanRecord;
use crate::statement::StatementContext;

/// A query that can be handed to the scheduler.
pub struct PlannedQuery {
    /// The fragments.
    pub plan: FragmentedPlan,
    /// What of it is recorded and run.
    pub record: PlanRecord,
}

impl PlannedQuery {
    /// The plan as `EXPLAIN` shows it.
    pub fn explain(&self) -> String {
        planner::explain::distributed(&self.plan)
    }
}

/// What is handed to the scheduler of a recorded plan. The fragments are read if nobody has planned them here.
pub fn submission(
    services: &Services,
    settings: &SessionSettings,
    query: QueryId,
    record: &PlanRecord,
    plan: Option<&FragmentedPlan>,
    root: Arc<RootOutput>,
) -> Result<Submission> {
    let describe = |(at, fragment): (usize, &Bytes)| {
        let scans = match plan {
            Some(plan) => planned_scans(&plan.fragments[at]),
            None => recorded_scans(fragment)?,
        };
        let scans = scans.into_iter().map(|(catalog, scan)| {
            let connector = Arc::clone(services.catalogs.require(&catalog)?);
            Ok(ScanDescription { connector, scan })
        });
        Ok(StageDescription { fragment: fragment.clone(), scans: scans.collect::<Result<_>>()? })
    };
    Ok(Submission {
        query,
        epoch: record.epoch,
        shape: record.shape.clone(),
        options: query_options(settings),
        stages: record.fragments.iter().enumerate().map(describe).collect::<Result<_>>()?,
        split_options: record.split_options.clone(),
        pipeline: pipeline_options(services, settings),
        root,
    })
}

/// What only queries have whose stages run at the same time.
fn pipeline_options(services: &Services, settings: &SessionSettings) -> Option<PipelineOptions> {
    let retry_policy = retry_policy(settings);
    let config = &services.config;
    retry_policy.is_pipelined().then(|| PipelineOptions {
        retry_policy,
        result_bytes_max: config.direct_exchange.deduplication_buffer_size.0,
        has_exchange_manager: config.exchange_manager.is_some(),
        memory: config.memory.clone(),
        query_memory_per_node: settings.query_max_memory_per_node,
        // A session may ask for less, not for more.
        query_memory: QueryMemoryLimits {
            user: settings.query_max_memory.min(config.memory.query_max_memory),
            total: settings.query_max_total_memory.min(config.memory.query_max_total_memory),
        },
    })
}

fn retry_policy(settings: &SessionSettings) -> scheduler::RetryPolicy {
    match settings.retry_policy {
        RetryPolicy::None => scheduler::RetryPolicy::None,
        RetryPolicy::Query => scheduler::RetryPolicy::Query,
        RetryPolicy::Task => scheduler::RetryPolicy::Task,
    }
}

fn planned_scans(fragment: &PlannedFragment) -> Vec<(String, Scan)> {
    fragment.scans.iter().map(|scan| (scan.catalog.clone(), scan.scan.clone())).collect()
}

/// The scans of an encoded fragment by number, each with its catalog.
fn recorded_scans(fragment: &[u8]) -> Result<Vec<(String, Scan)>> {
    on_large_stack(|| Ok(scans(&decode_fragment(fragment)?.plan)))
}

/// The scans of a plan by number, each with its catalog.
fn scans(plan: &Arc<dyn ExecutionPlan>) -> Vec<(String, Scan)> {
    let mut found = BTreeMap::new();
    let mut open = vec![plan];
    while let Some(node) = open.pop() {
        if let Some(scan) = node.downcast_ref::<SplitScanExec>()
            && let Some(number) = scan.number()
        {
            found.insert(number, (scan.catalog().to_owned(), scan.scan().clone()));
        }
        open.extend(node.children());
    }
    found.into_values().collect()
}

/// Plans a query. To be called [`on_planning_thread`].
pub async fn plan(
    services: &Arc<Services>,
    context: &StatementContext,
    analyzed: AnalyzedQuery,
) -> Result<PlannedQuery> {
    let settings = &context.settings;
    if settings.retry_policy == RetryPolicy::Task {
        services.config.require_exchange_manager()?;
    }
    let slots = slots(services).await?;
    let options = planner_options(context, slots.iter().sum());
    let columns = analyzed.output.clone();
    let plan = Planner::new(&options).plan(&analyzed.plan).await?;
    let count_max = settings.query_max_stage_count as usize;
    if plan.fragments.len() > count_max {
        let count = plan.fragments.len();
        let text =
            format!("Number of stages in the query ({count}) exceeds the allowed maximum ({count_max}).");
        return Err(Error::new(ErrorCode::QUERY_HAS_TOO_MANY_STAGES, text));
    }
    let encode = |fragment: &PlannedFragment| Ok(Bytes::from(encode_fragment(&fragment.fragment)?));
    let fragments = plan.fragments.iter().map(encode).collect::<Result<Vec<_>>>()?;
    let record = PlanRecord {
        fragments,
        shape: plan.shape(),
        split_options: SplitOptions {
            target_size_bytes: settings.fault_tolerance.standard_split_size.0,
            node_count: slots.len().max(1),
            slot_count: slots.iter().sum::<u32>().max(1) as usize,
        },
        columns,
        schema: Arc::clone(&plan.output_schema),
        outline: None,
        epoch: services.state.leadership().epoch(),
    };
    Ok(PlannedQuery { plan, record })
}

/// How many tasks each worker runs at a time that takes some.
async fn slots(services: &Services) -> Result<Vec<u32>> {
    let look = |state: &DispatchState| {
        let active = state.core().nodes().filter(|node| node.state == Some(NodeState::Active));
        active.map(|node| node.capacity.slots).collect()
    };
    services.dispatcher.inspect(look).await
}

/// The logical plan as `EXPLAIN (TYPE LOGICAL)` shows it. To be called [`on_planning_thread`].
pub async fn explain_logical(
    services: &Services,
    context: &StatementContext,
    analyzed: AnalyzedQuery,
) -> Result<String> {
    let options = planner_options(context, slots(services).await?.iter().sum());
    Ok(planner::explain::logical(&Planner::new(&options).optimize(&analyzed.plan)?))
}

/// Reads and plans a statement on a thread that is for nothing else meanwhile: that recurses as deep as the statement is
/// nested, and it computes long enough that requests should not wait behind it.
pub async fn on_planning_thread<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let runtime = Handle::current();
    // A runtime whose threads have enough stack anyway is not given another one.
    let planned = spawn_blocking(move || on_large_stack(|| runtime.block_on(work()))).await;
    planned.map_err(|_| Error::internal("planning ended in a panic"))?
}

/// `slots`: how many tasks all workers together run at a time.
fn planner_options(context: &StatementContext, slots: u32) -> PlannerOptions {
    let settings = &context.settings;
    PlannerOptions {
        partitions: match settings.retry_policy {
            RetryPolicy::Task => settings.fault_tolerance.max_partition_count,
            // Each is a task of its own, and all run at once.
            RetryPolicy::None | RetryPolicy::Query => slots.clamp(1, settings.max_hash_partition_count),
        },
        time_zone: context.session.time_zone.clone(),
        broadcast_bytes_max: usize::try_from(settings.join_max_broadcast_table_size.0).unwrap_or(usize::MAX),
        join_distribution: match settings.join_distribution_type {
            JoinDistributionType::Automatic => JoinDistribution::Automatic,
            JoinDistributionType::Partitioned => JoinDistribution::Partitioned,
            JoinDistributionType::Broadcast => JoinDistribution::Broadcast,
        },
        join_reordering: match settings.join_reordering_strategy {
            JoinReorderingStrategy::None => JoinReordering::None,
            JoinReorderingStrategy::EliminateCrossJoins => JoinReordering::EliminateCrossJoins,
            JoinReorderingStrategy::Automatic => JoinReordering::Automatic,
        },
        // Where rows are not kept, consumers of one fragment could wait for each other.
        share_fragments: settings.retry_policy == RetryPolicy::Task,
        single_task: match (settings.retry_policy, settings.single_task_max_row_count) {
            // No more could run at once.
            (RetryPolicy::None | RetryPolicy::Query, _) if slots == 1 => SingleTask::Always,
            (_, 0) => SingleTask::Never,
            (_, rows) => SingleTask::UpTo { rows },
        },
        ..PlannerOptions::default()
    }
}

fn query_options(settings: &SessionSettings) -> QueryOptions {
    let sizes = &settings.fault_tolerance;
    QueryOptions {
        retry_policy: retry_policy(settings),
        query_retry_attempts: settings.query_retry_attempts,
        is_durable: settings.retry_policy == RetryPolicy::Task,
        task_retry_attempts_per_task: settings.task_retry_attempts_per_task,
        failed_tasks_max: settings.max_failed_tasks,
        retry_initial_delay: settings.retry_initial_delay.as_millis(),
        retry_max_delay: settings.retry_max_delay.as_millis(),
        retry_delay_scale_factor: settings.retry_delay_scale_factor,
        task_memory_bytes: sizes.task_memory.map(|size| size.0),
        task_memory_growth_factor: sizes.task_memory_growth_factor,
        task_memory_estimation_quantile: sizes.task_memory_estimation_quantile,
        memory_grows_on_worker_crash: sizes.memory_requirement_increase_on_worker_crash,
        task_split_count_max: sizes.max_task_split_count,
        arbitrary_task_target_bytes_min: sizes.arbitrary_task_target_size_min.0,
        arbitrary_task_target_bytes_max: sizes.arbitrary_task_target_size_max.0,
        arbitrary_task_target_growth_period: sizes.arbitrary_task_target_size_growth_period,
        arbitrary_task_target_growth_factor: sizes.arbitrary_task_target_size_growth_factor,
        hash_task_target_bytes: sizes.hash_task_target_size.0,
        task_to_slot_ratio_min: sizes.hash_task_to_node_min_ratio,
        rivals_enabled: settings.speculative_execution_enabled,
        rival_share_max: settings.speculative_execution_task_fraction_max,
        rival_age_min: settings.speculative_execution_task_age_min.as_millis(),
        rival_slowness_min: settings.speculative_execution_slowness_min,
        ..QueryOptions::default()
    }
}
