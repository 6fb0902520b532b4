//! From a logical plan to fragments.

use std::sync::Arc;

use base::Result;
use connector::error::from_datafusion;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use operators::{on_large_stack, session_state_builder};

use crate::FragmentedPlan;
use crate::arithmetic::TrinoArithmetic;
use crate::cut::cut_plan;
use crate::joins::SpreadableJoins;
use crate::options::{PlannerOptions, fragment_options, session_config};
use crate::subquery::{with_counted_exists, with_nullable_subqueries};
use crate::validate::validate;

/// After this rule of DataFusion's, joins have their sides and modes.
const JOIN_SELECTION: &str = "join_selection";

/// Plans one statement. `now()` is the time at which the planner was made.
#[derive(Debug)]
pub struct Planner {
    state: SessionState,
}

impl Planner {
    /// A planner with these options.
    pub fn new(options: &PlannerOptions) -> Self {
        let mut rules = PhysicalOptimizer::new().rules;
        let after =
            rules.iter().position(|rule| rule.name() == JOIN_SELECTION).map_or(rules.len(), |at| at + 1);
        rules.insert(after, Arc::new(SpreadableJoins));
        let mut state = session_state_builder(session_config(options), Arc::new(RuntimeEnv::default()))
            .with_physical_optimizer_rules(rules)
            .with_analyzer_rule(Arc::new(TrinoArithmetic))
            .build();
        state.mark_start_execution();
        Planner { state }
    }

    /// The functions, options and rules with which logical plans must be made.
    pub fn session_state(&self) -> &SessionState {
        &self.state
    }

    /// The logical plan after analysis and optimisation, for `EXPLAIN (TYPE LOGICAL)`.
    pub fn optimize(&self, logical: &LogicalPlan) -> Result<LogicalPlan> {
        self.state.optimize(logical).map_err(|error| from_datafusion(&error))
    }

    /// The optimised physical plan, not yet cut.
    pub async fn physical_plan(&self, logical: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let logical = with_counted_exists(logical.clone())
            .and_then(with_nullable_subqueries)
            .map_err(|error| from_datafusion(&error))?;
        Box::pin(self.state.create_physical_plan(&logical)).await.map_err(|error| from_datafusion(&error))
    }

    /// Optimises, plans, cuts and validates.
    pub async fn plan(&self, logical: &LogicalPlan) -> Result<FragmentedPlan> {
        let physical = self.physical_plan(logical).await?;
        let options = fragment_options(self.state.config());
        let plan = on_large_stack("cut-plan", || {
            cut_plan(&physical, &options).map_err(|error| from_datafusion(&error))
        })?;
        validate(&plan)?;
        Ok(plan)
    }
}
