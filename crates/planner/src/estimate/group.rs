//! How many groups there are.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::physical_plan::PhysicalExpr;

use super::{ColumnEstimate, Estimate, plain_column};

/// What is computed of the rows of a group.
#[derive(Clone, Debug)]
pub(crate) enum Computed {
    /// How many rows it has.
    Count,
    /// The sum of a column.
    Sum(usize),
    /// Whatever else.
    Other,
}

impl Computed {
    /// What a function computes of columns.
    pub(crate) fn of(function: &str, arguments: &[Option<usize>]) -> Self {
        match (function, arguments) {
            ("count", _) => Computed::Count,
            ("sum", [Some(column)]) => Computed::Sum(*column),
            _ => Computed::Other,
        }
    }

    /// How its values lie in groups of so many rows on average, if they are many enough to lie like a bell. The
    /// sizes of groups are taken to vary as those of things that happen by chance do: by the root of their mean.
    fn bell(&self, rows: &Estimate, group_rows: f64) -> Option<(f64, f64)> {
        let (mean, variance) = match self {
            Computed::Count => (1.0, 0.0),
            Computed::Sum(column) => {
                let (min, max) = rows.columns.get(*column)?.range?;
                ((min + max) / 2.0, (max - min).powi(2) / 12.0)
            }
            Computed::Other => return None,
        };
        let deviation = (group_rows * (variance + mean * mean)).sqrt();
        (deviation > 0.0).then_some((mean * group_rows, deviation))
    }
}

/// The groups of rows by some expressions; what is in the schema after these is computed of each group.
pub(crate) fn grouped(
    rows: &Estimate,
    keys: &[Arc<dyn PhysicalExpr>],
    computed: &[Computed],
    schema: &Schema,
) -> Estimate {
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
        _ => {
            let computed = at.checked_sub(keys.len()).and_then(|at| computed.get(at));
            let bell = computed.and_then(|computed| computed.bell(rows, rows.rows / count));
            ColumnEstimate { bell, ..ColumnEstimate::unknown(field.data_type(), count) }
        }
    });
    Estimate { rows: count, columns: columns.collect() }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::{col, lit};
    use datafusion::physical_expr::expressions;

    use super::*;
    use crate::estimate::logical::with_condition;

    #[test]
    fn few_sums_are_far_from_their_mean() {
        let schema = Schema::new(vec![
            Field::new("key", DataType::Int64, false),
            Field::new("value", DataType::Int64, false),
        ]);
        let mut rows = Estimate::of_rows(4_000_000.0, &schema);
        rows.columns[0].distinct = 1_000_000.0;
        rows.columns[1].range = Some((1.0, 50.0));
        let keys = [expressions::col("key", &schema).unwrap()];
        let groups = grouped(&rows, &keys, &[Computed::of("sum", &[Some(1)])], &schema);
        assert_eq!(groups.rows, 1_000_000.0);
        let schema = DFSchema::try_from(schema).unwrap();
        let kept = |sum: i64| with_condition(groups.clone(), &col("value").gt(lit(sum)), &schema).rows;
        assert!((kept(102) - 500_000.0).abs() < 1.0, "{}", kept(102));
        assert!(kept(300) < 5_000.0 && kept(300) > 100.0, "{}", kept(300));
        assert!(kept(0) > 900_000.0);
    }
}
