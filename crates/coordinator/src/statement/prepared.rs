//! `PREPARE`, `EXECUTE`, `DEALLOCATE PREPARE`. The client keeps the statements; nothing is kept here.

use base::{Error, ErrorCode, ErrorLocation, Result};
use sql::Statement;

use super::{StatementContext, StatementResult};
use protocol::client::SessionUpdate;

/// The statement of a text, with `EXECUTE` replaced by what it executes.
pub fn resolve(context: &StatementContext, text: &str) -> Result<Statement> {
    match sql::parse(text)? {
        Statement::Execute { name, parameters, location } => {
            sql::parse_with_parameters(find(context, &name, location)?, &parameters)
        }
        Statement::ExecuteImmediate { statement } => Ok(*statement),
        other => Ok(other),
    }
}

/// The text of a prepared statement.
pub fn find<'a>(context: &'a StatementContext, name: &str, location: ErrorLocation) -> Result<&'a str> {
    context.client.prepared_statements.get(name).map(String::as_str).ok_or_else(|| {
        Error::new(ErrorCode::NOT_FOUND, format!("Prepared statement not found: {name}")).at(location)
    })
}

/// Tells the client what to keep and what to drop.
pub fn execute(context: &StatementContext, statement: &Statement) -> Result<StatementResult> {
    let mut update = SessionUpdate::default();
    match statement {
        Statement::Prepare { name, text, .. } => {
            update.added_prepare.insert(name.clone(), text.clone());
        }
        Statement::Deallocate { name, location } => {
            find(context, name, *location)?;
            update.deallocated_prepare.insert(name.clone());
        }
        _ => return Err(Error::internal("the statement is not about prepared statements")),
    }
    Ok(StatementResult::update(statement, update))
}
