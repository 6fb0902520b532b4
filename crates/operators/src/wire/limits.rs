//! Limits beyond four billion rows, which DataFusion's messages would cut off without a word.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};

use super::messages::WideLimitMessage;

/// Stands for a limit while a plan is encoded. It is never run.
#[derive(Debug)]
pub(super) struct WideLimit {
    pub message: WideLimitMessage,
    input: Arc<dyn ExecutionPlan>,
}

/// The plan with its wide limits replaced by what can travel.
pub(super) fn replace_wide_limits(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    Arc::clone(plan)
        .transform_up(|node| {
            let wide = wide_limit(&node)?;
            Ok(match wide {
                Some(wide) => Transformed::yes(Arc::new(wide) as Arc<dyn ExecutionPlan>),
                None => Transformed::no(node),
            })
        })
        .data()
}

fn wide_limit(node: &Arc<dyn ExecutionPlan>) -> Result<Option<WideLimit>> {
    let is_wide = |count: usize| u32::try_from(count).is_err();
    if let Some(limit) = node.downcast_ref::<GlobalLimitExec>() {
        if !is_wide(limit.skip()) && !limit.fetch().is_some_and(is_wide) {
            return Ok(None);
        }
        let fetch = limit.fetch().map(|fetch| fetch as u64);
        let message = WideLimitMessage { skip: limit.skip() as u64, fetch, global: true };
        return Ok(Some(WideLimit { message, input: Arc::clone(limit.input()) }));
    }
    if let Some(limit) = node.downcast_ref::<LocalLimitExec>() {
        if !is_wide(limit.fetch()) {
            return Ok(None);
        }
        let message = WideLimitMessage { skip: 0, fetch: Some(limit.fetch() as u64), global: false };
        return Ok(Some(WideLimit { message, input: Arc::clone(limit.input()) }));
    }
    if let Some(filter) = node.downcast_ref::<FilterExec>()
        && let Some(fetch) = filter.fetch().filter(|fetch| is_wide(*fetch))
        && let Some(unlimited) = filter.with_fetch(None)
    {
        let message = WideLimitMessage { skip: 0, fetch: Some(fetch as u64), global: false };
        return Ok(Some(WideLimit { message, input: unlimited }));
    }
    Ok(None)
}

/// The limit that a message describes.
pub(super) fn limit_from(
    message: &WideLimitMessage,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let count = |count: u64| {
        usize::try_from(count).map_err(|_| DataFusionError::Internal(format!("{count} rows do not fit")))
    };
    let fetch = message.fetch.map(count).transpose()?;
    match fetch {
        Some(fetch) if !message.global => Ok(Arc::new(LocalLimitExec::new(input, fetch))),
        _ => Ok(Arc::new(GlobalLimitExec::new(input, count(message.skip)?, fetch))),
    }
}

impl DisplayAs for WideLimit {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WideLimit")
    }
}

impl ExecutionPlan for WideLimit {
    fn name(&self) -> &str {
        "WideLimit"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(WideLimit { message: self.message, input: children.swap_remove(0) }))
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(WideLimit { message: self.message, input: children.swap_remove(0) }))
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Err(DataFusionError::Internal("a limit ran in the form in which it travels".into()))
    }
}
