//! What DataFusion's SQL planner is given to know.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use base::{Error, ErrorCode};
use connector::error::into_datafusion;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::{Result, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::planner::{NullOrdering, ParserOptions};

use crate::{Functions, QualifiedName, SessionContext, TableName};

/// How SQL is read: with Trino's literals and order of NULLs.
pub(crate) fn parser_options() -> ParserOptions {
    ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_map_string_types_to_utf8view(false)
        .with_collect_spans(true)
        .with_default_null_ordering(NullOrdering::NullsLast)
}

/// Functions and the tables of one query.
pub(crate) struct PlanningContext<'a> {
    functions: &'a Functions,
    session: &'a SessionContext,
    tables: HashMap<TableName, Arc<dyn TableSource>>,
    options: ConfigOptions,
}

impl<'a> PlanningContext<'a> {
    pub(crate) fn new(
        functions: &'a Functions,
        session: &'a SessionContext,
        tables: HashMap<TableName, Arc<dyn TableSource>>,
    ) -> Self {
        PlanningContext { functions, session, tables, options: config_options() }
    }

    pub(crate) fn without_tables(functions: &'a Functions, session: &'a SessionContext) -> Self {
        PlanningContext::new(functions, session, HashMap::new())
    }
}

/// The options of planning that change what a statement means.
pub(crate) fn config_options() -> ConfigOptions {
    let mut options = ConfigOptions::new();
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    options.sql_parser.default_null_ordering = String::from("nulls_last");
    options
}

impl ContextProvider for PlanningContext<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let parts: Vec<String> = [name.catalog(), name.schema(), Some(name.table())]
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect();
        let start = crate::lexer::START;
        let full_name = TableName::resolve(&QualifiedName { parts, location: start }, self.session, start)
            .map_err(into_datafusion)?;
        self.tables.get(&full_name).cloned().ok_or_else(|| {
            let text = format!("Table '{full_name}' does not exist");
            into_datafusion(Error::new(ErrorCode::TABLE_NOT_FOUND, text))
        })
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.functions.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar.get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order.get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window.get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.functions.higher_order.keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window.keys().cloned().collect()
    }
}
