//! From an analysed query to what the scheduler and the workers need.

use std::sync::Arc;
use std::thread;

use arrow::datatypes::SchemaRef;
use base::{Error, ErrorCode, QueryId, Result};
use bytes::Bytes;
use config::{JoinDistributionType, JoinReorderingStrategy, RetryPolicy, SessionSettings};
use connector::SplitOptions;
use operators::encode_fragment;
use planner::{FragmentedPlan, JoinDistribution, JoinReordering, Planner, PlannerOptions};
use scheduler::{QueryOptions, QueryShape};
use sql::AnalyzedQuery;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::dispatch::{RootOutput, ScanDescription, StageDescription, Submission};
use crate::services::Services;
use crate::statement::StatementContext;

/// The stack of a planning thread. Memory is taken as it is used.
const PLANNING_STACK_BYTES: usize = 256 << 20;

/// A query that can be handed to the scheduler.
pub struct PlannedQuery {
    /// The schema of the result.
    pub output_schema: SchemaRef,
    /// The fragments.
    pub plan: FragmentedPlan,
    stages: Vec<StageDescription>,
    shape: QueryShape,
    options: QueryOptions,
    split_options: SplitOptions,
}

impl PlannedQuery {
    /// The plan as `EXPLAIN` shows it.
    pub fn explain(&self) -> String {
        planner::explain::distributed(&self.plan)
    }

    /// What is handed to the scheduler.
    pub fn into_submission(self, query: QueryId, root: Arc<RootOutput>) -> Submission {
        Submission {
            query,
            shape: self.shape,
            options: self.options,
            stages: self.stages,
            split_options: self.split_options,
            root,
        }
    }
}

/// Plans a query.
pub async fn plan(
    services: &Arc<Services>,
    context: &StatementContext,
    analyzed: AnalyzedQuery,
) -> Result<PlannedQuery> {
    let settings = &context.settings;
    if settings.retry_policy == RetryPolicy::Task {
        services.config.require_exchange_manager()?;
    }
    let options = planner_options(context);
    let plan =
        on_planning_thread(move || async move { Planner::new(&options).plan(&analyzed.plan).await }).await?;
    let count_max = settings.query_max_stage_count as usize;
    if plan.fragments.len() > count_max {
        let count = plan.fragments.len();
        let text =
            format!("Number of stages in the query ({count}) exceeds the allowed maximum ({count_max}).");
        return Err(Error::new(ErrorCode::QUERY_HAS_TOO_MANY_STAGES, text));
    }
    let stages = plan
        .fragments
        .iter()
        .map(|fragment| {
            let scans = fragment
                .scans
                .iter()
                .map(|scan| {
                    let connector = Arc::clone(services.catalogs.require(&scan.catalog)?);
                    Ok(ScanDescription { connector, scan: scan.scan.clone() })
                })
                .collect::<Result<_>>()?;
            Ok(StageDescription { fragment: Bytes::from(encode_fragment(&fragment.fragment)?), scans })
        })
        .collect::<Result<Vec<_>>>()?;
    let slots = services
        .dispatcher
        .inspect(|state| {
            let active = state.core().nodes().filter(|node| node.state.is_some());
            active.map(|node| node.capacity.slots as usize).collect::<Vec<_>>()
        })
        .await?;
    Ok(PlannedQuery {
        output_schema: plan.output_schema.clone(),
        shape: plan.shape(),
        stages,
        options: query_options(settings),
        split_options: SplitOptions {
            target_size_bytes: settings.fault_tolerance.standard_split_size.0,
            node_count: slots.len().max(1),
            slot_count: slots.iter().sum::<usize>().max(1),
        },
        plan,
    })
}

/// The logical plan as `EXPLAIN (TYPE LOGICAL)` shows it.
pub async fn explain_logical(context: &StatementContext, analyzed: AnalyzedQuery) -> Result<String> {
    let options = planner_options(context);
    let optimized =
        on_planning_thread(move || async move { Planner::new(&options).optimize(&analyzed.plan) }).await?;
    Ok(planner::explain::logical(&optimized))
}

/// Plans on a thread of its own: planning recurses as deep as the statement is nested, and it computes long enough
/// that requests should not wait behind it.
async fn on_planning_thread<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (answer, answered) = oneshot::channel();
    let runtime = Handle::current();
    thread::Builder::new()
        .name("planning".into())
        .stack_size(PLANNING_STACK_BYTES)
        .spawn(move || {
            // Whoever asked may have gone away; then nobody misses the plan.
            let _ = answer.send(runtime.block_on(work()));
        })
        .map_err(|error| Error::internal("no thread to plan on").caused_by(error))?;
    answered.await.map_err(|_| Error::internal("planning ended in a panic"))?
}

fn planner_options(context: &StatementContext) -> PlannerOptions {
    let settings = &context.settings;
    PlannerOptions {
        partitions: settings.fault_tolerance.max_partition_count,
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
        ..PlannerOptions::default()
    }
}

fn query_options(settings: &SessionSettings) -> QueryOptions {
    let sizes = &settings.fault_tolerance;
    QueryOptions {
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
        ..QueryOptions::default()
    }
}
