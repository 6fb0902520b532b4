//! Which statements one task answers sooner than several that must hand each other rows.

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{LogicalPlan, TableScan};

use crate::estimate::logical::estimate;
use crate::options::SingleTask;

/// More than so many bytes of tables are shared by tasks, however few rows they are.
const BYTES_MAX: f64 = (4 << 20) as f64;
/// No join may give so many times as many rows as the tables may have.
const GROWTH_MAX: f64 = 16.0;

/// Whether one task is to run all of an optimised plan.
pub(crate) fn fits_one_task(plan: &LogicalPlan, wanted: SingleTask) -> Result<bool> {
    let rows_max = match wanted {
        SingleTask::Never => return Ok(false),
        SingleTask::Always => return Ok(true),
        SingleTask::UpTo { rows } => rows as f64,
    };
    let (mut rows, mut bytes, mut fits) = (0.0, 0.0, true);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => match size_of(scan) {
                Some(size) => {
                    rows += size.0;
                    bytes += size.1;
                }
                None => fits = false,
            },
            LogicalPlan::Join(_) => {
                fits &= estimate(node).is_some_and(|joined| joined.rows <= GROWTH_MAX * rows_max);
            }
            // Nobody knows how many rows they make.
            LogicalPlan::Unnest(_) | LogicalPlan::RecursiveQuery(_) | LogicalPlan::Extension(_) => {
                fits = false
            }
            _ => {}
        }
        Ok(if fits { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(fits && rows <= rows_max && bytes <= BYTES_MAX)
}

/// The rows of a table, and the bytes of the columns that are read. A filter does not make less of them to read.
fn size_of(scan: &TableScan) -> Option<(f64, f64)> {
    let statistics = source_as_provider(&scan.source).ok()?.statistics()?;
    let rows = *statistics.num_rows.get_value()? as f64;
    let unfiltered = TableScan { filters: Vec::new(), fetch: None, ..scan.clone() };
    let row_bytes = estimate(&LogicalPlan::TableScan(unfiltered))?.row_bytes();
    Some((rows, rows * row_bytes))
}
