//! `USE`, `SET SESSION`, `RESET SESSION`, `SET TIME ZONE`, transactions: what the client is to change.

use std::sync::Arc;

use base::{Error, ErrorCode, Result};
use config::SessionPropertyTable;
use rand::Rng;
use sql::{Metadata, SchemaName, Statement};

use super::{StatementContext, StatementResult};
use crate::catalog::catalog_not_found;
use crate::query::SessionChange;
use crate::services::Services;

const TIME_ZONE_PROPERTY: &str = "time_zone_id";

/// Tells the client what to change.
pub async fn execute(
    services: &Arc<Services>,
    context: &StatementContext,
    statement: &Statement,
) -> Result<StatementResult> {
    let changes = match statement {
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
            vec![SessionChange::Catalog(full.catalog), SessionChange::Schema(full.schema)]
        }
        Statement::SetSession { name, value } => {
            let property = name.to_string();
            let value = services.analyzer.evaluate(value, &context.session)?;
            let value = value.ok_or_else(|| {
                Error::new(ErrorCode::INVALID_SESSION_PROPERTY, "Session property value must not be null")
            })?;
            let value = SessionPropertyTable::new(&services.config)
                .validate(&property, &value)
                .map_err(|error| error.at(name.location))?;
            vec![SessionChange::Set(property, value)]
        }
        Statement::ResetSession { name } => {
            let property = name.to_string();
            if !SessionPropertyTable::new(&services.config).contains(&property) {
                let text = format!("Session property '{property}' does not exist");
                return Err(Error::new(ErrorCode::INVALID_SESSION_PROPERTY, text).at(name.location));
            }
            vec![SessionChange::Reset(property)]
        }
        Statement::SetTimeZone { zone } => match zone {
            None => vec![SessionChange::Reset(TIME_ZONE_PROPERTY.into())],
            Some(zone) => {
                let zone = services.analyzer.evaluate(zone, &context.session)?.unwrap_or_default();
                let zone = SessionPropertyTable::new(&services.config).validate(TIME_ZONE_PROPERTY, &zone)?;
                vec![SessionChange::Set(TIME_ZONE_PROPERTY.into(), zone)]
            }
        },
        Statement::StartTransaction { .. } => {
            if !context.knows_transactions {
                let text = "Client does not support transactions";
                return Err(Error::new(ErrorCode::INCOMPATIBLE_CLIENT, text));
            }
            if context.transaction.is_some() {
                let text = "Nested transactions not supported";
                return Err(Error::not_supported(text));
            }
            vec![SessionChange::StartTransaction(random_id())]
        }
        Statement::Commit | Statement::Rollback => {
            if context.transaction.is_none() {
                return Err(Error::new(ErrorCode::NOT_IN_TRANSACTION, "No transaction in progress"));
            }
            vec![SessionChange::EndTransaction]
        }
        _ => return Err(Error::internal("the statement is not about the session")),
    };
    Ok(StatementResult::update(statement, changes))
}

/// A random id in the form of a UUID.
fn random_id() -> String {
    let bits: u128 = rand::rng().random();
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
