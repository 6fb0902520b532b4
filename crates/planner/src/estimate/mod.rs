//! How many rows an operator will give, and what is known of their values: guesses, from the statistics of tables.
//!
//! A plan is walked in its [logical] or its [physical] form; both end in the same rules about
//! [predicates](predicate), [joins](join) and [groups](group). Where a table's rows are not known, nothing is.

mod column;
mod group;
mod join;
pub(crate) mod logical;
pub(crate) mod physical;
pub(crate) mod predicate;

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::Statistics;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::PhysicalExpr;

pub(crate) use column::ColumnEstimate;
pub(crate) use group::{Computed, grouped};
pub(crate) use join::{
    ANTI_MIN, KeyColumns, UNKNOWN_MATCH, common_domain, joined, keys_divisor, match_fraction,
};

/// The rows of an operator.
#[derive(Clone, Debug)]
pub(crate) struct Estimate {
    /// How many there are; at least one, so that products of guesses stay comparable.
    pub(crate) rows: f64,
    /// Of each column, in the order of the schema.
    pub(crate) columns: Vec<ColumnEstimate>,
}

impl Estimate {
    /// What statistics say. None if they do not say how many rows there are.
    pub(crate) fn from_statistics(statistics: &Statistics, schema: &Schema) -> Option<Self> {
        let rows = (*statistics.num_rows.get_value()? as f64).max(1.0);
        let columns = schema.fields().iter().enumerate().map(|(at, field)| {
            match statistics.column_statistics.get(at) {
                Some(known) => ColumnEstimate::from_statistics(known, field, rows),
                None => ColumnEstimate::unknown(field.data_type(), rows),
            }
        });
        Some(Estimate { rows, columns: columns.collect() })
    }

    /// So many rows, of which nothing else is known.
    pub(crate) fn of_rows(rows: f64, schema: &Schema) -> Self {
        let rows = rows.max(1.0);
        let columns =
            schema.fields().iter().map(|field| ColumnEstimate::unknown(field.data_type(), rows)).collect();
        Estimate { rows, columns }
    }

    /// The size of all rows in bytes.
    pub(crate) fn bytes(&self) -> f64 {
        self.rows * self.row_bytes()
    }

    /// The size of a row in bytes.
    pub(crate) fn row_bytes(&self) -> f64 {
        self.columns.iter().map(|column| column.width_bytes).sum::<f64>().max(1.0)
    }

    /// This part of the rows, whatever their values.
    pub(crate) fn part(mut self, fraction: f64) -> Self {
        let rows = (self.rows * fraction.clamp(0.0, 1.0)).max(1.0);
        let kept = rows / self.rows;
        for column in &mut self.columns {
            column.thin_out(self.rows, kept);
        }
        self.rows = rows;
        self
    }

    /// No more rows than these.
    pub(crate) fn at_most(self, rows: f64) -> Self {
        let fraction = rows / self.rows;
        if fraction < 1.0 { self.part(fraction) } else { self }
    }

    /// Columns computed from the rows.
    pub(crate) fn projected(&self, exprs: &[Arc<dyn PhysicalExpr>], schema: &Schema) -> Self {
        let columns = exprs.iter().zip(schema.fields()).map(|(expr, field)| {
            if let Some(column) = plain_column(expr).and_then(|index| self.columns.get(index)) {
                return column.clone();
            }
            let unknown = ColumnEstimate::unknown(field.data_type(), self.rows);
            if expr.is::<Literal>() {
                ColumnEstimate { distinct: 1.0, domain: 1.0, ..unknown }
            } else {
                unknown
            }
        });
        Estimate { rows: self.rows, columns: columns.collect() }
    }

    /// Some of the columns, by their places.
    pub(crate) fn with_columns(&self, indexes: impl IntoIterator<Item = usize>) -> Self {
        let columns = indexes.into_iter().filter_map(|index| self.columns.get(index).cloned()).collect();
        Estimate { rows: self.rows, columns }
    }
}

/// The column that an expression is, if it is nothing else.
pub(crate) fn plain_column(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}
