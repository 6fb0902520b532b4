//! How many groups there are.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::physical_plan::PhysicalExpr;

use super::{ColumnEstimate, Estimate, plain_column};

/// The groups of rows by some expressions; what is in the schema after these is computed of each group.
pub(crate) fn grouped(rows: &Estimate, keys: &[Arc<dyn PhysicalExpr>], schema: &Schema) -> Estimate {
    if keys.is_empty() {
        return Estimate::of_rows(1.0, schema);
    }
    let column = |key: &Arc<dyn PhysicalExpr>| rows.columns.get(plain_column(key)?).cloned();
    let keys: Vec<Option<ColumnEstimate>> = keys.iter().map(column).collect();
    let values = |key: &Option<ColumnEstimate>| match key {
        Some(column) => column.distinct + if column.nulls > 0.0 { 1.0 } else { 0.0 },
        // Fewer than there are rows, or nobody would group by it.
        None => rows.rows.sqrt(),
    };
    let count = keys.iter().map(values).product::<f64>().clamp(1.0, rows.rows);
    let columns = schema.fields().iter().enumerate().map(|(at, field)| match keys.get(at) {
        Some(Some(column)) => ColumnEstimate { distinct: column.distinct.min(count), ..column.clone() },
        _ => ColumnEstimate::unknown(field.data_type(), count),
    });
    Estimate { rows: count, columns: columns.collect() }
}
