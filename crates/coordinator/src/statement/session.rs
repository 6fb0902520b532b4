//! `USE`, `SET SESSION`, `RESET SESSION`, `SET TIME ZONE`, transactions: what the client is to change.

use std::sync::Arc;

use base::{Error, ErrorCode, Result};
use config::SessionPropertyTable;
use protocol::client::{ClientTransaction, SessionUpdate};
use sql::{Metadata, SchemaName, SessionContext, Statement};

use super::{StatementContext, StatementResult};
use crate::catalog::catalog_not_found;
use crate::services::Services;

const TIME_ZONE_PROPERTY: &str = "time_zone_id";

/// Tells the client what to change.
pub async fn execute(
    services: &Arc<Services>,
    context: &StatementContext,
    statement: &Statement,
) -> Result<StatementResult> {
    let mut update = SessionUpdate::default();
    match statement {
        Statement::Use { catalog, schema, location } => {
            let name = catalog.clone().or_else(|| context.session.catalog.clone()).ok_or_else(|| {
                let text = "Catalog must be specified when session catalog is not set";
                Error::new(ErrorCode::MISSING_CATALOG_NAME, text).at(*location)
            })?;
            if !services.metadata.catalog_exists(&name) {
                return Err(catalog_not_found(&name).at(*location));
            }
            let full = SchemaName { catalog: name, schema: schema.clone() };
            if !services.metadata.schema_exists(&full).await? {
                let text = format!("Schema does not exist: {full}");
                return Err(Error::new(ErrorCode::SCHEMA_NOT_FOUND, text).at(*location));
            }
            update.set_catalog = Some(full.catalog);
            update.set_schema = Some(full.schema);
        }
        Statement::SetSession { name, value } => {
            let property = name.to_string();
            let value = value.evaluate(services.analyzer.functions(), &context.session)?;
            let value = value.ok_or_else(|| {
                Error::new(ErrorCode::INVALID_SESSION_PROPERTY, "Session property value must not be null")
            })?;
            let value = SessionPropertyTable::new(&services.config)
                .validate(&property, &value)
                .map_err(|error| error.at(name.location))?;
            if property == TIME_ZONE_PROPERTY {
                SessionContext::check_time_zone(&value).map_err(|error| error.at(name.location))?;
            }
            update.set_session.insert(property, value);
        }
        Statement::ResetSession { name } => {
            let property = name.to_string();
            if SessionPropertyTable::new(&services.config).get(&property).is_none() {
                let text = format!("Session property '{property}' does not exist");
                return Err(Error::new(ErrorCode::INVALID_SESSION_PROPERTY, text).at(name.location));
            }
            update.clear_session.insert(property);
        }
        Statement::SetTimeZone { zone } => match zone {
            None => {
                update.clear_session.insert(TIME_ZONE_PROPERTY.into());
            }
            Some(zone) => {
                let zone =
                    zone.evaluate(services.analyzer.functions(), &context.session)?.unwrap_or_default();
                let zone = SessionPropertyTable::new(&services.config).validate(TIME_ZONE_PROPERTY, &zone)?;
                SessionContext::check_time_zone(&zone)?;
                update.set_session.insert(TIME_ZONE_PROPERTY.into(), zone);
            }
        },
        Statement::StartTransaction { .. } => match context.client.transaction {
            ClientTransaction::Unsupported => {
                let text = "Client does not support transactions";
                return Err(Error::new(ErrorCode::INCOMPATIBLE_CLIENT, text));
            }
            ClientTransaction::Id(_) => {
                return Err(Error::not_supported("Nested transactions not supported"));
            }
            ClientTransaction::None => {
                update.started_transaction_id = Some(context.new_transaction_id.clone());
            }
        },
        Statement::Commit | Statement::Rollback => {
            if !matches!(context.client.transaction, ClientTransaction::Id(_)) {
                return Err(Error::new(ErrorCode::NOT_IN_TRANSACTION, "No transaction in progress"));
            }
            update.clear_transaction_id = true;
        }
        _ => return Err(Error::internal("the statement is not about the session")),
    }
    Ok(StatementResult::update(statement, update))
}
