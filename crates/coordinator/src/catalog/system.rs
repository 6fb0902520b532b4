//! The catalog `system`: the cluster's own state as tables.

use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use base::{Error, NodeId, Result};
use connector::snapshot::SnapshotTables;
use connector::{Catalogs, TableHandle, TableMetadata};
use protocol::client::server_info::TRINO_VERSION;
use scheduler::NodeState;

use super::information_schema;
use super::rows::{Cell, Column, ColumnKind, record_batch, table_metadata};
use super::tasks::{TASK_COLUMNS, task_rows};
use crate::dispatch::{DispatchState, Dispatcher};
use crate::node::NodeDescription;
use crate::query::{Query, QueryRegistry};

/// The name of the catalog.
pub const SYSTEM_CATALOG: &str = "system";

/// What the tables are read from, once the coordinator has it.
pub struct SystemSources {
    /// The catalogs, `system` among them.
    pub catalogs: Arc<Catalogs>,
    /// The names of the connectors by catalog.
    pub connector_names: Vec<(String, String)>,
    /// The queries.
    pub queries: Arc<QueryRegistry>,
    /// The way to the scheduler.
    pub dispatcher: Dispatcher,
    /// The coordinator itself.
    pub node: Arc<NodeDescription>,
}

/// The tables of the catalog `system`, and of `information_schema` everywhere.
///
/// They are made before what they are read from, because the catalogs that they list are among that.
#[derive(Default)]
pub struct SystemTables {
    sources: OnceLock<SystemSources>,
}

impl std::fmt::Debug for SystemTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemTables")
    }
}

const TABLES: &[(&str, &str, &[Column])] = &[
    (
        "metadata",
        "catalogs",
        &[
            ("catalog_name", ColumnKind::Text),
            ("connector_id", ColumnKind::Text),
            ("connector_name", ColumnKind::Text),
            ("state", ColumnKind::Text),
        ],
    ),
    (
        "metadata",
        "materialized_views",
        &[
            ("catalog_name", ColumnKind::Text),
            ("schema_name", ColumnKind::Text),
            ("name", ColumnKind::Text),
            ("storage_catalog", ColumnKind::Text),
            ("storage_schema", ColumnKind::Text),
            ("storage_table", ColumnKind::Text),
            ("freshness", ColumnKind::Text),
            ("last_fresh_time", ColumnKind::Instant),
            ("comment", ColumnKind::Text),
            ("definition", ColumnKind::Text),
        ],
    ),
    (
        "metadata",
        "table_comments",
        &[
            ("catalog_name", ColumnKind::Text),
            ("schema_name", ColumnKind::Text),
            ("table_name", ColumnKind::Text),
            ("comment", ColumnKind::Text),
        ],
    ),
    ("jdbc", "catalogs", &[("table_cat", ColumnKind::Text)]),
    ("jdbc", "schemas", &[("table_schem", ColumnKind::Text), ("table_catalog", ColumnKind::Text)]),
    (
        "runtime",
        "nodes",
        &[
            ("node_id", ColumnKind::Text),
            ("http_uri", ColumnKind::Text),
            ("node_version", ColumnKind::Text),
            ("coordinator", ColumnKind::Boolean),
            ("state", ColumnKind::Text),
        ],
    ),
    (
        "runtime",
        "queries",
        &[
            ("query_id", ColumnKind::Text),
            ("state", ColumnKind::Text),
            ("user", ColumnKind::Text),
            ("source", ColumnKind::Text),
            ("query", ColumnKind::Text),
            ("resource_group_id", ColumnKind::Texts),
            ("queued_time_ms", ColumnKind::Bigint),
            ("analysis_time_ms", ColumnKind::Bigint),
            ("planning_time_ms", ColumnKind::Bigint),
            ("created", ColumnKind::Instant),
            ("started", ColumnKind::Instant),
            ("last_heartbeat", ColumnKind::Instant),
            ("end", ColumnKind::Instant),
            ("error_type", ColumnKind::Text),
            ("error_code", ColumnKind::Text),
        ],
    ),
    ("runtime", "tasks", TASK_COLUMNS),
];

impl SystemTables {
    /// What the tables are read from is there now.
    pub fn connect(&self, sources: SystemSources) {
        // The coordinator calls this once, before it serves anybody.
        let _ = self.sources.set(sources);
    }

    fn sources(&self) -> Result<&SystemSources> {
        self.sources.get().ok_or_else(|| Error::internal("the coordinator is starting"))
    }
}

#[async_trait]
impl SnapshotTables for SystemTables {
    fn schemas(&self) -> Vec<String> {
        let mut schemas: Vec<String> = TABLES.iter().map(|(schema, ..)| (*schema).to_string()).collect();
        schemas.dedup();
        schemas
    }

    fn tables(&self, schema: &str) -> Vec<String> {
        let of_schema = TABLES.iter().filter(|(known, ..)| *known == schema);
        of_schema.map(|(_, table, _)| (*table).to_string()).collect()
    }

    fn table(&self, schema: &str, table: &str) -> Option<TableMetadata> {
        let (schema, table, columns) =
            TABLES.iter().find(|(its_schema, its_name, _)| *its_schema == schema && *its_name == table)?;
        Some(table_metadata(format!("{schema}.{table}"), columns))
    }

    async fn rows(&self, table: &TableHandle) -> Result<RecordBatch> {
        let sources = self.sources()?;
        if let Some(rows) = information_schema::rows(&sources.catalogs, table).await {
            return rows;
        }
        let (schema, name, columns) = TABLES
            .iter()
            .find(|(schema, name, _)| table.0 == format!("{schema}.{name}"))
            .ok_or_else(|| Error::internal("a system table that is none"))?;
        let rows = match (*schema, *name) {
            ("metadata", "catalogs") => catalogs(sources),
            ("metadata", "table_comments") => table_comments(sources).await?,
            ("jdbc", "catalogs") => sources.catalogs.names().map(|name| vec![name.into()]).collect(),
            ("jdbc", "schemas") => jdbc_schemas(sources).await?,
            ("runtime", "nodes") => nodes(sources).await?,
            ("runtime", "queries") => sources.queries.all().iter().map(|query| query_row(query)).collect(),
            ("runtime", "tasks") => sources.dispatcher.inspect(task_rows).await?,
            _ => Vec::new(),
        };
        record_batch(columns, rows)
    }
}

fn catalogs(sources: &SystemSources) -> Vec<Vec<Cell>> {
    let row = |(catalog, connector): &(String, String)| {
        vec![catalog.clone().into(), catalog.clone().into(), connector.clone().into(), "AVAILABLE".into()]
    };
    sources.connector_names.iter().map(row).collect()
}

async fn jdbc_schemas(sources: &SystemSources) -> Result<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    for catalog in sources.catalogs.names() {
        for schema in information_schema::schemas(&sources.catalogs, catalog).await? {
            rows.push(vec![schema.into(), catalog.into()]);
        }
    }
    Ok(rows)
}

async fn table_comments(sources: &SystemSources) -> Result<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    for catalog in sources.catalogs.names() {
        let connector = sources.catalogs.require(catalog)?;
        for schema in connector.schemas().await? {
            for table in connector.tables(&schema).await? {
                let Some(metadata) = connector.table(&schema, &table).await? else {
                    continue;
                };
                let comment = metadata.comment.into();
                rows.push(vec![catalog.into(), schema.clone().into(), table.into(), comment]);
            }
        }
    }
    Ok(rows)
}

async fn nodes(sources: &SystemSources) -> Result<Vec<Vec<Cell>>> {
    let node = &sources.node;
    let mut rows = vec![vec![
        node.node_id.as_str().into(),
        node.http_uri.clone().into(),
        TRINO_VERSION.into(),
        Cell::Boolean(true),
        "active".into(),
    ]];
    let coordinator = node.node_id.clone();
    rows.extend(sources.dispatcher.inspect(move |state| worker_rows(state, &coordinator)).await?);
    Ok(rows)
}

/// The workers. A coordinator that runs tasks too is one node, not two.
fn worker_rows(state: &DispatchState, coordinator: &NodeId) -> Vec<Vec<Cell>> {
    let states: std::collections::BTreeMap<_, _> =
        state.core().nodes().map(|node| (node.node.clone(), node.state)).collect();
    let workers = state.nodes().filter(|(node, _)| *node != coordinator);
    let rows = workers.map(|(node, connected)| {
        let state = match states.get(node) {
            Some(Some(NodeState::Active)) => "active",
            Some(Some(NodeState::Draining)) => "draining",
            Some(Some(NodeState::Drained)) => "drained",
            Some(Some(NodeState::ShuttingDown)) => "shutting_down",
            Some(None) | None => "inactive",
        };
        vec![
            node.as_str().into(),
            connected.description.http_uri.clone().into(),
            TRINO_VERSION.into(),
            Cell::Boolean(false),
            state.into(),
        ]
    });
    rows.collect()
}

fn query_row(query: &Query) -> Vec<Cell> {
    let status = query.status();
    let times = &status.times;
    let stats = query.statement_stats();
    let error = status.error.as_ref().map(base::Error::code);
    vec![
        query.id.to_string().into(),
        status.state.as_str().into(),
        query.client.user.clone().into(),
        query.client.source.clone().into(),
        query.text.clone().into(),
        Cell::Texts(vec!["global".into()]),
        Cell::count(stats.queued_time_millis),
        Cell::count(stats.analysis_time_millis),
        Cell::count(stats.planning_time_millis),
        times.created.into(),
        times.created.into(),
        times.heard.into(),
        times.ended.into(),
        error.map(|code| code.error_type.as_str()).into(),
        error.map(|code| code.name).into(),
    ]
}
