//! From a logical plan to fragments joined by exchanges.
//!
//! DataFusion optimises the logical plan. Then `NOT IN` becomes an anti join that several tasks can share
//! (`null_aware`), joins are put in the order that costs least by our own estimates (`reorder`, `estimate`), and large
//! inputs are filtered by the keys of small ones (`key_filter`). DataFusion makes one physical plan with
//! [pinned options](options), in which joins get their sides (`joins`). That is then [cut](cut) wherever an operator
//! requires a distribution that its input does not have; fragments that are alike become one (`share`), and every
//! fragment is [validated](validate). Each task runs its fragment with exactly one partition.

#![forbid(unsafe_code)]

mod arithmetic;
mod class;
pub mod cut;
mod determinism;
mod estimate;
pub mod explain;
mod fragments;
mod joins;
mod key_filter;
mod null_aware;
mod one_task;
pub mod options;
mod planner;
mod reorder;
mod share;
mod stack;
mod subquery;
pub mod validate;

pub use fragments::{FragmentedPlan, PlannedFragment, PlannedInput, PlannedScan};
pub use options::{JoinDistribution, JoinReordering, PlannerOptions, SingleTask};
pub use planner::Planner;
