//! A connector's table in the form in which DataFusion plans it.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use connector::{
    ColumnStatistics as ConnectorColumnStatistics, Connector, Scan, TableMetadata, TableStatistics,
};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, Result, ScalarValue, Statistics};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::utils::conjunction_opt;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use crate::{OneTask, SplitScanExec};

/// A connector's table as DataFusion's planner sees it. Its scan is a [`SplitScanExec`].
#[derive(Debug)]
pub struct ConnectorTable {
    catalog: String,
    name: String,
    connector: Arc<dyn Connector>,
    metadata: TableMetadata,
    schema: SchemaRef,
    statistics: Statistics,
}

impl ConnectorTable {
    /// A table of a catalog. `name` is `schema.table`, for people.
    pub fn new(
        catalog: impl Into<String>,
        name: impl Into<String>,
        connector: Arc<dyn Connector>,
        metadata: TableMetadata,
        statistics: &TableStatistics,
    ) -> Self {
        let schema = metadata.arrow_schema();
        ConnectorTable {
            catalog: catalog.into(),
            name: name.into(),
            connector,
            statistics: datafusion_statistics(statistics, &schema),
            schema,
            metadata,
        }
    }

    /// Looks a table up in its connector. None if there is no such table.
    pub async fn load(
        catalog: &str,
        connector: &Arc<dyn Connector>,
        schema: &str,
        table: &str,
    ) -> base::Result<Option<Self>> {
        let Some(metadata) = connector.table(schema, table).await? else {
            return Ok(None);
        };
        let statistics = connector.statistics(&metadata.handle).await?;
        let name = format!("{schema}.{table}");
        Ok(Some(ConnectorTable::new(catalog, name, Arc::clone(connector), metadata, &statistics)))
    }

    /// The catalog.
    pub fn catalog(&self) -> &str {
        &self.catalog
    }

    /// `schema.table`, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the connector said of it.
    pub fn metadata(&self) -> &TableMetadata {
        &self.metadata
    }
}

#[async_trait]
impl TableProvider for ConnectorTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.statistics.clone())
    }

    /// The connector may use any filter that a row of the table decides alone; none is taken off the plan, since a
    /// connector need not apply what it is given.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| {
            if is_scannable(filter) {
                TableProviderFilterPushDown::Inexact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let scan = Scan {
            table: self.metadata.handle.clone(),
            predicate: scan_predicate(session, filters, &schema)?,
            schema: Arc::clone(&schema),
            limit: limit.map(|limit| limit as u64),
        };
        let mut statistics = self.statistics.clone().project(projection);
        if projection.is_some() {
            // The connector's size is that of all columns.
            statistics.total_byte_size = projected_bytes(&statistics, &schema);
        }
        let one_task = OneTask::is_set(session.config());
        let parallel = !one_task && self.connector.is_parallel(&self.metadata.handle);
        let node = SplitScanExec::new(&self.catalog, &self.name, scan, parallel, Arc::new(statistics));
        Ok(Arc::new(node))
    }
}

/// Whether a row of the table decides the filter alone, and always in the same way.
fn is_scannable(filter: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    let depends_on_more = filter.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(_, _)
                | Expr::Placeholder(_)
        ))
    });
    !filter.is_volatile() && !depends_on_more.unwrap_or(true)
}

/// The filters as one predicate over the columns of the scan.
fn scan_predicate(
    session: &dyn Session,
    filters: &[Expr],
    schema: &Schema,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let df_schema = DFSchema::try_from(schema.clone())?;
    let has_columns =
        |filter: &&Expr| filter.column_refs().iter().all(|column| schema.index_of(&column.name).is_ok());
    let predicates: Result<Vec<_>> = filters
        .iter()
        .filter(|filter| is_scannable(filter))
        .filter(has_columns)
        .map(|filter| session.create_physical_expr(filter.clone(), &df_schema))
        .collect();
    Ok(conjunction_opt(predicates?))
}

/// A connector's statistics are estimates, whatever they are.
fn datafusion_statistics(statistics: &TableStatistics, schema: &Schema) -> Statistics {
    let rows = count(statistics.row_count);
    let column = |at: usize| match statistics.columns.get(at) {
        Some(known) => column_statistics(known, schema.field(at).data_type().primitive_width(), &rows),
        None => ColumnStatistics::new_unknown(),
    };
    Statistics {
        num_rows: rows,
        total_byte_size: count(statistics.total_bytes),
        column_statistics: (0..schema.fields().len()).map(column).collect(),
    }
}

fn column_statistics(
    known: &ConnectorColumnStatistics,
    width_bytes: Option<usize>,
    rows: &Precision<usize>,
) -> ColumnStatistics {
    let value = |value: &Option<ScalarValue>| match value {
        Some(value) => Precision::Inexact(value.clone()),
        None => Precision::Absent,
    };
    ColumnStatistics {
        null_count: count(known.null_count),
        min_value: value(&known.min),
        max_value: value(&known.max),
        sum_value: Precision::Absent,
        distinct_count: count(known.distinct_count),
        byte_size: match (width_bytes, rows.get_value()) {
            (Some(width), Some(rows)) => Precision::Inexact(width.saturating_mul(*rows)),
            _ => Precision::Absent,
        },
    }
}

fn count(count: Option<u64>) -> Precision<usize> {
    match count.and_then(|count| usize::try_from(count).ok()) {
        Some(count) => Precision::Inexact(count),
        None => Precision::Absent,
    }
}

/// What a value of a type without a fixed width is taken to have, in bytes.
const VARIABLE_WIDTH_BYTES: usize = 24;

fn projected_bytes(statistics: &Statistics, schema: &Schema) -> Precision<usize> {
    let Some(rows) = statistics.num_rows.get_value() else {
        return Precision::Absent;
    };
    let row_bytes: usize = schema
        .fields()
        .iter()
        .map(|field| field.data_type().primitive_width().unwrap_or(VARIABLE_WIDTH_BYTES))
        .sum();
    Precision::Inexact(row_bytes.saturating_mul(*rows))
}
