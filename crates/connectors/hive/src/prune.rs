//! Which row groups a predicate rules out, by the statistics in the footer.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{Field, SchemaRef};
use connector::Scan;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::utils::{collect_columns, conjunction_opt, split_conjunction};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::PhysicalExpr;

use crate::footer_statistics::FooterStatistics;
use crate::text::TextRule;

/// Lists in `IN` longer than this are not compared with statistics.
const IN_LIST_MAX_VALUES: usize = 32;

/// The part of a scan's predicate that may be held against values as they stand in files.
///
/// Values of `char` lose their blanks after they are read, so what is said of them is left out.
pub(crate) fn file_predicate(scan: &Scan) -> Option<Arc<dyn PhysicalExpr>> {
    let rules = TextRule::of_columns(&scan.schema);
    let is_trimmed = |index: usize| rules.get(index).copied().flatten().is_some_and(TextRule::is_trimmed);
    let parts = split_conjunction(scan.predicate.as_ref()?).into_iter();
    let usable = parts.filter(|part| !collect_columns(part).iter().any(|column| is_trimmed(column.index())));
    conjunction_opt(usable.cloned())
}

/// Rules out row groups for one scan.
#[derive(Clone, Debug)]
pub(crate) struct Pruner {
    schema: SchemaRef,
    predicate: Arc<PruningPredicate>,
}

impl Pruner {
    /// The pruner of a scan. None: its predicate says nothing that statistics could answer.
    pub(crate) fn of(scan: &Scan) -> Option<Pruner> {
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&scan.schema))
            .with_max_in_list_size(IN_LIST_MAX_VALUES)
            .try_build(file_predicate(scan)?)
            .ok()?;
        let predicate = Arc::new(predicate);
        (!predicate.always_true()).then(|| Pruner { schema: Arc::clone(&scan.schema), predicate })
    }

    /// Of each row group: whether rows that the predicate accepts may be in it.
    pub(crate) fn keep(&self, footer: &FooterStatistics) -> Vec<bool> {
        let statistics = RowGroups { schema: &self.schema, footer };
        // What cannot be judged is read.
        let all = || vec![true; footer.row_groups().len()];
        self.predicate.prune(&statistics).unwrap_or_else(|_| all())
    }
}

struct RowGroups<'a> {
    schema: &'a SchemaRef,
    footer: &'a FooterStatistics,
}

impl RowGroups<'_> {
    fn field(&self, column: &Column) -> Option<&Field> {
        self.schema.field_with_name(&column.name).ok()
    }
}

impl PruningStatistics for RowGroups<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.footer.mins(self.field(column)?)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.footer.maxes(self.field(column)?)
    }

    fn num_containers(&self) -> usize {
        self.footer.row_groups().len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts = self.footer.null_counts(self.field(column)?)?;
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.footer.row_counts()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
