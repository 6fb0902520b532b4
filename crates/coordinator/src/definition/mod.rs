//! `CREATE` and `DROP`: what a statement changes in a catalog, once, although the coordinator may die over it.
//!
//! What is to be changed is decided and recorded, the *intent*; then it is done; then the outcome is recorded, and only
//! then told. A coordinator that finds an intent without an outcome does not decide again: it does what is recorded,
//! and the catalog knows by the name of the statement what of it was done before. So the outcome is that of a single
//! run, as far as the catalog can tell its own from another's.

mod decide;
mod intent;

use std::sync::Arc;

use base::{Error, ErrorCode, QueryId, Result};
use connector::{Catalogs, Connector, Identity, NewSchema, NewTable};
use exchange::ObjectKey;
use scheduler::Record;
use sql::Statement;

pub use decide::is_definition;
pub use intent::Intent;

use crate::services::Services;
use crate::statement::StatementContext;

/// What a statement changes in a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A schema is created.
    CreateSchema {
        /// The catalog.
        catalog: String,
        /// The schema.
        schema: NewSchema,
        /// Whether one that somebody else creates meanwhile will do.
        if_not_exists: bool,
    },
    /// A schema is dropped.
    DropSchema {
        /// The catalog.
        catalog: String,
        /// The schema.
        schema: String,
        /// What tells it from others of its name.
        identity: Option<Identity>,
        /// The tables that are dropped before, each with what tells it from others of its name.
        tables: Vec<(String, Option<Identity>)>,
        /// Whether it may be dropped by somebody else meanwhile.
        if_exists: bool,
    },
    /// A table is created.
    CreateTable {
        /// The catalog.
        catalog: String,
        /// The table.
        table: NewTable,
    },
    /// A table is dropped.
    DropTable {
        /// The catalog.
        catalog: String,
        /// The schema.
        schema: String,
        /// The table.
        table: String,
        /// What tells it from others of its name.
        identity: Option<Identity>,
        /// Whether it may be dropped by somebody else meanwhile.
        if_exists: bool,
    },
}

/// Does what a statement says, and records the outcome.
///
/// # Errors
/// If it cannot be done. That is not recorded here.
pub async fn run(
    services: &Services,
    context: &StatementContext,
    query: QueryId,
    statement: &Statement,
) -> Result<()> {
    match intent(services, context, query, statement).await? {
        Some(intent) => carry_out(services, query, &intent).await,
        None => record_done(services, query).await,
    }
}

/// Does what is recorded, maybe for the second time, and records the outcome.
///
/// # Errors
/// If it cannot be done. That is not recorded here.
pub async fn carry_out(services: &Services, query: QueryId, intent: &Intent) -> Result<()> {
    // An older coordinator that stood still meanwhile leaves it to those after it.
    services.state.leadership().confirm().await?;
    let is_again = intent.epoch != services.state.leadership().epoch();
    intent.change.apply(&services.catalogs, is_again).await?;
    record_done(services, query).await
}

/// What is to be changed, recorded. The record that is there counts. None: nothing.
async fn intent(
    services: &Services,
    context: &StatementContext,
    query: QueryId,
    statement: &Statement,
) -> Result<Option<Intent>> {
    let key = ObjectKey::Intent(query);
    let found = match decide::decide(services, context, query, statement).await {
        Ok(Some(change)) => {
            let intent = Intent { epoch: services.state.leadership().epoch(), change };
            services.state.create(key, intent.encode()).await?
        }
        // Another coordinator may have done it in the meantime, and what it did stand in the way.
        undecided => match services.state.read(key).await? {
            Some(found) => found,
            None => return undecided.map(|_| None),
        },
    };
    Intent::decode(query, &found).map(Some)
}

/// It is done. Fails if somebody has ended the query before.
async fn record_done(services: &Services, query: QueryId) -> Result<()> {
    let done = Record::Done { outcome: Ok(()) };
    match services.state.create_record(query, &done, Vec::new()).await? {
        (Record::Done { outcome }, _) => outcome,
        (Record::Tasks { .. } | Record::Rollback { .. }, _) => {
            Err(Error::internal("the outcome of a statement is another record"))
        }
    }
}

impl Change {
    /// Makes the change. `is_again`: it may have been made, wholly or in part, by a coordinator that died.
    async fn apply(&self, catalogs: &Catalogs, is_again: bool) -> Result<()> {
        let connector = catalogs.require(self.catalog())?;
        match self {
            Change::CreateSchema { schema, if_not_exists, .. } => {
                let created = connector.create_schema(schema.clone()).await;
                unless(created, ErrorCode::SCHEMA_ALREADY_EXISTS, *if_not_exists)
            }
            Change::CreateTable { table, .. } => connector.create_table(table.clone()).await,
            Change::DropSchema { schema, identity, tables, if_exists, .. } => {
                for (table, identity) in tables {
                    // Whoever dropped it, it is gone.
                    drop_table(connector, schema, table, identity.as_ref(), true).await?;
                }
                let dropped = connector.drop_schema(schema, identity.as_ref()).await;
                unless(dropped, ErrorCode::SCHEMA_NOT_FOUND, is_again || *if_exists)
            }
            Change::DropTable { schema, table, identity, if_exists, .. } => {
                drop_table(connector, schema, table, identity.as_ref(), is_again || *if_exists).await
            }
        }
    }

    fn catalog(&self) -> &str {
        match self {
            Change::CreateSchema { catalog, .. }
            | Change::DropSchema { catalog, .. }
            | Change::CreateTable { catalog, .. }
            | Change::DropTable { catalog, .. } => catalog,
        }
    }
}

async fn drop_table(
    connector: &Arc<dyn Connector>,
    schema: &str,
    table: &str,
    identity: Option<&Identity>,
    may_be_gone: bool,
) -> Result<()> {
    unless(connector.drop_table(schema, table, identity).await, ErrorCode::TABLE_NOT_FOUND, may_be_gone)
}

/// The outcome, or success if it is an error of that code, which is allowed.
fn unless(outcome: Result<()>, code: ErrorCode, is_allowed: bool) -> Result<()> {
    match outcome {
        Err(error) if is_allowed && error.code() == code => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests;
