//! Statements that the coordinator answers by itself.

mod describe;
mod explain;
mod prepared;
mod session;
mod show;

use std::sync::Arc;

use arrow::array::RecordBatch;
use base::{Error, ErrorCode, Result};
use config::SessionSettings;
use protocol::client::server_info::TRINO_VERSION;
use protocol::client::{ClientContext, SessionUpdate};
use sql::{OutputColumn, SessionContext, Statement};
use types::Type;

use crate::catalog::rows::{Cell, Column, ColumnKind, record_batch};
use crate::query::Query;
use crate::services::Services;

pub use explain::QUERY_PLAN;
pub use prepared::resolve;

/// What a statement runs in.
pub struct StatementContext {
    /// What names and functions mean.
    pub session: SessionContext,
    /// The session properties as they are in force.
    pub settings: SessionSettings,
    /// What the client told of its session.
    pub client: ClientContext,
    /// The name of the transaction that the statement starts, if it starts one.
    pub new_transaction_id: String,
}

/// What a statement gives.
#[derive(Debug, Default)]
pub struct StatementResult {
    /// The columns of the rows.
    pub columns: Vec<OutputColumn>,
    /// The rows.
    pub rows: Vec<RecordBatch>,
    /// What kind of statement it was, if it is not one for rows.
    pub update_type: Option<&'static str>,
    /// What the client is to change in its session.
    pub session_update: SessionUpdate,
}

impl StatementContext {
    /// What a query runs in.
    pub fn of(services: &Services, query: &Query) -> Result<Self> {
        let client = &query.client;
        let status = query.status();
        let settings = SessionSettings::resolve(&services.config, &client.system_properties)?;
        refuse_catalog_properties(services, client)?;
        let time_zone = settings.time_zone_id.clone().or(client.time_zone.clone()).unwrap_or("UTC".into());
        SessionContext::check_time_zone(&time_zone)?;
        let since_epoch =
            status.times.created.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(StatementContext {
            session: SessionContext {
                catalog: client.catalog.clone(),
                schema: client.schema.clone(),
                user: client.user.clone(),
                time_zone,
                start_time_millis: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
                version: TRINO_VERSION.to_string(),
            },
            settings,
            client: client.clone(),
            new_transaction_id: uuid(query.slug.secret("transaction")),
        })
    }
}

/// Bits in the form of a UUID.
fn uuid(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// No connector has session properties yet.
fn refuse_catalog_properties(services: &Services, client: &ClientContext) -> Result<()> {
    for (catalog, properties) in &client.catalog_properties {
        let text = match properties.keys().next() {
            _ if services.catalogs.get(catalog).is_none() => {
                format!("Session property catalog does not exist: {catalog}")
            }
            Some(property) => format!("Session property '{catalog}.{property}' does not exist"),
            None => continue,
        };
        return Err(Error::new(ErrorCode::INVALID_SESSION_PROPERTY, text));
    }
    Ok(())
}

impl StatementResult {
    /// Rows of texts, counts and truths.
    pub fn table(columns: &[Column], rows: Vec<Vec<Cell>>) -> Result<Self> {
        let batch = record_batch(columns, rows)?;
        let columns = columns
            .iter()
            .map(|(name, kind)| OutputColumn {
                name: (*name).to_string(),
                column_type: match kind {
                    ColumnKind::Bigint => Type::Bigint,
                    ColumnKind::Boolean => Type::Boolean,
                    ColumnKind::Text => Type::VARCHAR,
                    ColumnKind::Instant => Type::TimestampWithTimeZone { precision: 3 },
                    ColumnKind::Texts => Type::Array(Box::new(Type::VARCHAR)),
                },
            })
            .collect();
        Ok(StatementResult { columns, rows: vec![batch], ..StatementResult::default() })
    }

    /// One row of one text.
    pub fn text(column: &'static str, text: String) -> Result<Self> {
        StatementResult::table(&[(column, ColumnKind::Text)], vec![vec![Cell::Text(text)]])
    }

    /// No rows, but changes of the session.
    pub fn update(statement: &Statement, session_update: SessionUpdate) -> Self {
        StatementResult { update_type: statement.update_type(), session_update, ..StatementResult::default() }
    }
}

/// Answers a statement that changes nothing. It may be answered again.
pub async fn execute(
    services: &Arc<Services>,
    context: &StatementContext,
    statement: &Statement,
) -> Result<StatementResult> {
    match statement {
        Statement::ShowCatalogs { like } => show::catalogs(services, like.as_ref()),
        Statement::ShowSchemas { catalog, like, location } => {
            show::schemas(services, context, catalog.as_deref(), like.as_ref(), *location).await
        }
        Statement::ShowTables { schema, like, location } => {
            show::tables(services, context, schema.as_ref(), like.as_ref(), *location).await
        }
        Statement::ShowColumns { table, like, location } => {
            show::columns(services, context, table, like.as_ref(), *location).await
        }
        Statement::ShowSession { like } => show::session(services, context, like.as_ref()),
        Statement::ShowFunctions { like, .. } => show::functions(services, like.as_ref()),
        Statement::ShowCreateTable { table, location } => {
            show::create_table(services, context, table, *location).await
        }
        Statement::ShowCreateSchema { schema, .. } => show::create_schema(services, context, schema).await,
        Statement::Explain(explain) => explain::explain(services, context, explain).await,
        Statement::Use { .. }
        | Statement::SetSession { .. }
        | Statement::ResetSession { .. }
        | Statement::SetTimeZone { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit
        | Statement::Rollback => session::execute(services, context, statement).await,
        Statement::Prepare { .. } | Statement::Deallocate { .. } => prepared::execute(context, statement),
        Statement::DescribeInput { name, location } => describe::input(context, name, *location),
        Statement::DescribeOutput { name, location } => {
            describe::output(services, context, name, *location).await
        }
        Statement::CreateSchema { .. }
        | Statement::DropSchema { .. }
        | Statement::CreateTable { .. }
        | Statement::DropTable { .. }
        | Statement::Query(_)
        | Statement::Execute { .. }
        | Statement::ExecuteImmediate { .. } => {
            Err(Error::internal("the statement is not one that the coordinator answers by itself"))
        }
    }
}
