//! From a logical plan to fragments.

use std::borrow::Cow;
use std::sync::Arc;

use base::Result;
use connector::error::from_datafusion;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use operators::{OneTask, on_large_stack, session_state_builder};

use crate::FragmentedPlan;
use crate::arithmetic::TrinoArithmetic;
use crate::cut::cut_plan;
use crate::joins::JoinSides;
use crate::null_aware::{PlainAntiJoins, with_planned_not_in};
use crate::one_task::fits_one_task;
use crate::options::{JoinReordering, PlannerOptions, SingleTask, fragment_options, session_config};
use crate::reorder::ReorderJoins;
use crate::share::share_fragments;
use crate::subquery::{with_counted_exists, with_nullable_subqueries};
use crate::validate::validate;

/// The rule of DataFusion's that gives joins their sides and modes; ours stands in its place.
const JOIN_SELECTION: &str = "join_selection";

/// Plans one statement. `now()` is the time at which the planner was made.
#[derive(Debug)]
pub struct Planner {
    state: SessionState,
    /// Rules that run once, after DataFusion's.
    late_rules: Optimizer,
    share_fragments: bool,
    single_task: SingleTask,
}

impl Planner {
    /// A planner with these options.
    pub fn new(options: &PlannerOptions) -> Self {
        let mut rules = PhysicalOptimizer::new().rules;
        let sides = JoinSides::new(options);
        match rules.iter_mut().find(|rule| rule.name() == JOIN_SELECTION) {
            Some(rule) => *rule = Arc::new(sides),
            None => rules.insert(0, Arc::new(sides)),
        }
        let mut state = session_state_builder(session_config(options), Arc::new(RuntimeEnv::default()))
            .with_physical_optimizer_rules(rules)
            .with_analyzer_rule(Arc::new(TrinoArithmetic))
            .build();
        state.mark_start_execution();
        let mut late_rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![Arc::new(PlainAntiJoins)];
        if options.join_reordering == JoinReordering::Automatic {
            late_rules.push(Arc::new(ReorderJoins { broadcast_bytes_max: options.broadcast_bytes_max }));
        }
        late_rules.push(Arc::new(OptimizeProjections::new()));
        Planner {
            state,
            late_rules: Optimizer::with_rules(late_rules),
            share_fragments: options.share_fragments,
            single_task: options.single_task,
        }
    }

    /// The functions, options and rules with which logical plans must be made.
    pub fn session_state(&self) -> &SessionState {
        &self.state
    }

    /// The logical plan after analysis and optimisation, for `EXPLAIN (TYPE LOGICAL)`.
    pub fn optimize(&self, logical: &LogicalPlan) -> Result<LogicalPlan> {
        self.optimized(logical).map_err(|error| from_datafusion(&error))
    }

    fn optimized(&self, logical: &LogicalPlan) -> datafusion::error::Result<LogicalPlan> {
        let logical = with_counted_exists(logical.clone())
            .and_then(with_planned_not_in)
            .and_then(with_nullable_subqueries)?;
        let optimized = self.state.optimize(&logical)?;
        if !has_join(&optimized)? {
            return Ok(optimized);
        }
        let options = Arc::new(self.state.config().options().as_ref().clone());
        let context = OptimizerContext::new_with_config_options(options).with_max_passes(1);
        self.late_rules.optimize(optimized, &context, |_, _| {})
    }

    /// The optimised physical plan, not yet cut.
    pub async fn physical_plan(&self, logical: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let optimized = self.optimize(logical)?;
        let planner = self.state.query_planner();
        let fits = fits_one_task(&optimized, self.single_task).map_err(|error| from_datafusion(&error))?;
        let state = if fits { Cow::Owned(for_one_task(&self.state)) } else { Cow::Borrowed(&self.state) };
        Box::pin(planner.create_physical_plan(&optimized, state.as_ref()))
            .await
            .map_err(|error| from_datafusion(&error))
    }

    /// Optimises, plans, cuts and validates.
    pub async fn plan(&self, logical: &LogicalPlan) -> Result<FragmentedPlan> {
        let physical = self.physical_plan(logical).await?;
        let options = fragment_options(self.state.config());
        let plan = on_large_stack(|| cut_plan(&physical, &options).map_err(|error| from_datafusion(&error)))?;
        let plan = if self.share_fragments { share_fragments(plan)? } else { plan };
        validate(&plan)?;
        Ok(plan)
    }
}

/// The same state, under which plans are for one task.
fn for_one_task(state: &SessionState) -> SessionState {
    let mut state = state.clone();
    let config = state.config_mut();
    *config = OneTask::config(config.clone());
    state
}

/// Whether there is a join in the plan or in a subquery of it.
fn has_join(plan: &LogicalPlan) -> datafusion::error::Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Join(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
