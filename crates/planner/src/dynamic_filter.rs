//! Where dynamic filters stand in a plan.
//!
//! A join marks its build side, and the place far below its probe side where rows are dropped that no row of the build
//! side can match. When the plan is [cut](crate::cut), the marks become the operators that sum up keys and drop rows;
//! where the build side is not spread for the join, there is nothing to sum up, and the marks vanish.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{JoinSide, JoinType, Result};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};
use operators::SplitScanExec;

use crate::estimate::plain_column;

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The keys of its rows are summed up.
    Source,
    /// Rows whose keys are not there are dropped.
    Filter,
}

/// Marks rows as one end of a dynamic filter. It does nothing.
#[derive(Clone, Debug)]
pub(crate) struct DynamicFilterMark {
    pub(crate) role: Role,
    /// Source and filters of one join have the same number.
    pub(crate) number: usize,
    /// The keys, in the same order at both ends.
    pub(crate) keys: Vec<Column>,
    pub(crate) input: Arc<dyn ExecutionPlan>,
}

impl DynamicFilterMark {
    /// The keys as expressions.
    pub(crate) fn key_exprs(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.keys.iter().map(|key| Arc::new(key.clone()) as Arc<dyn PhysicalExpr>).collect()
    }
}

impl DisplayAs for DynamicFilterMark {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamicFilterMark: {:?} {}", self.role, self.number)
    }
}

impl ExecutionPlan for DynamicFilterMark {
    fn name(&self) -> &str {
        "DynamicFilterMark"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.with_new_children(children)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(DynamicFilterMark { input: children.swap_remove(0), ..self.as_ref().clone() }))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for key in self.key_exprs() {
            if visit(&key)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Err(DataFusionError::Internal("a mark ran that was not cut away".into()))
    }
}

/// Whether rows of the right side that match no row of the left one make no difference to a join.
pub(crate) fn may_filter_right(join_type: JoinType) -> bool {
    match join_type {
        JoinType::Inner
        | JoinType::Left
        | JoinType::LeftSemi
        | JoinType::LeftAnti
        | JoinType::LeftMark
        | JoinType::RightSemi => true,
        JoinType::Right | JoinType::Full | JoinType::RightAnti | JoinType::RightMark => false,
    }
}

/// The columns that the keys of both sides of a join are. None if one of them is no plain column.
pub(crate) fn key_columns(join: &HashJoinExec) -> Option<Vec<(usize, usize)>> {
    join.on().iter().map(|(left, right)| plain_column(left).zip(plain_column(right))).collect()
}

/// The rows with the mark of a source of a filter by these columns.
pub(crate) fn source(input: Arc<dyn ExecutionPlan>, number: usize, keys: &[usize]) -> Arc<dyn ExecutionPlan> {
    marked(input, Role::Source, number, keys)
}

/// The rows with the mark of a filter by these columns, as far below as they can be filtered.
pub(crate) fn filtered(
    node: Arc<dyn ExecutionPlan>,
    number: usize,
    keys: &[usize],
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(below) = below(&node, keys) else {
        return Ok(marked(node, Role::Filter, number, keys));
    };
    let mut children: Vec<Arc<dyn ExecutionPlan>> = node.children().into_iter().cloned().collect();
    for (child, keys) in below {
        children[child] = filtered(Arc::clone(&children[child]), number, &keys)?;
    }
    node.with_new_children(children)
}

fn marked(input: Arc<dyn ExecutionPlan>, role: Role, number: usize, keys: &[usize]) -> Arc<dyn ExecutionPlan> {
    let schema = input.schema();
    let keys = keys.iter().map(|key| Column::new(schema.field(*key).name(), *key)).collect();
    Arc::new(DynamicFilterMark { role, number, keys, input })
}

/// The inputs of an operator whose rows may be filtered in the place of its own, and by which columns. None if there
/// are none, or it would gain nothing.
fn below(node: &Arc<dyn ExecutionPlan>, keys: &[usize]) -> Option<Vec<(usize, Vec<usize>)>> {
    // What the operators over a scan leave out need not be looked up.
    if is_scan(node) {
        return None;
    }
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let column = |key: &usize| plain_column(&projection.expr().get(*key)?.expr);
        return Some(vec![(0, keys.iter().map(column).collect::<Option<_>>()?)]);
    }
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        return Some(vec![(0, chosen(keys, filter.projection().as_deref())?)]);
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return below_join(join, &chosen(keys, join.projection.as_deref())?);
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        let groups = aggregate.group_expr();
        if groups.has_grouping_set() || aggregate.limit_options().is_some() {
            return None;
        }
        let groups = groups.input_exprs();
        let column = |key: &usize| plain_column(groups.get(*key)?);
        return Some(vec![(0, keys.iter().map(column).collect::<Option<_>>()?)]);
    }
    if node.is::<UnionExec>() {
        return Some((0..node.children().len()).map(|child| (child, keys.to_vec())).collect());
    }
    let passes_on = node.is::<RepartitionExec>() || node.is::<DynamicFilterMark>();
    passes_on.then(|| vec![(0, keys.to_vec())])
}

fn chosen(keys: &[usize], projection: Option<&[usize]>) -> Option<Vec<usize>> {
    match projection {
        None => Some(keys.to_vec()),
        Some(projection) => keys.iter().map(|key| projection.get(*key).copied()).collect(),
    }
}

/// The side of a join that has all the keys, if its rows come out of the join unchanged or not at all.
fn below_join(join: &HashJoinExec, keys: &[usize]) -> Option<Vec<(usize, Vec<usize>)>> {
    let left_columns = join.left().schema().fields().len();
    let side = |key: &usize| match join.join_type() {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            (*key < left_columns).then_some((JoinSide::Left, *key))
        }
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
            (*key < join.right().schema().fields().len()).then_some((JoinSide::Right, *key))
        }
        _ if *key < left_columns => Some((JoinSide::Left, *key)),
        _ => Some((JoinSide::Right, *key - left_columns)),
    };
    let sides: Vec<(JoinSide, usize)> = keys.iter().map(side).collect::<Option<_>>()?;
    let first = sides.first()?.0;
    if sides.iter().any(|(side, _)| *side != first) {
        return None;
    }
    let keeps = match join.join_type() {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => first == JoinSide::Left,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
            first == JoinSide::Right
        }
        JoinType::Full => false,
    };
    // Whether a NULL is among the rows decides about others.
    let child = usize::from(first == JoinSide::Right);
    (keeps && !join.null_aware).then(|| vec![(child, sides.into_iter().map(|(_, key)| key).collect())])
}

/// Whether an operator gives rows of one table as they are read.
fn is_scan(node: &Arc<dyn ExecutionPlan>) -> bool {
    let over = node.is::<FilterExec>() || node.is::<ProjectionExec>();
    node.is::<SplitScanExec>() || over && node.children().first().is_some_and(|input| is_scan(input))
}
