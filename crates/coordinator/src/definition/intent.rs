//! The record of what a statement is about to change in a catalog.

use base::{Epoch, Error, ErrorCode, QueryId, Result};
use bytes::Bytes;
use connector::{ColumnMetadata, Identity, NewSchema, NewTable};
use exchange::ObjectKey;
use protocol::state::wire::intent_record as of;
use protocol::state::{self, wire};

use super::Change;

/// What a statement is about to change in a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The life of the coordinator that decided it. No other one can be sure of not being the second to do it.
    pub epoch: Epoch,
    /// The change.
    pub change: Change,
}

impl Intent {
    /// The record as it is stored.
    pub fn encode(&self) -> Bytes {
        let (catalog, change) = match &self.change {
            Change::CreateSchema { catalog, schema, if_not_exists } => {
                let change = wire::CreateSchema {
                    schema: schema.name.clone(),
                    properties: properties_to_wire(&schema.properties),
                    if_not_exists: *if_not_exists,
                };
                (catalog, of::Change::CreateSchema(change))
            }
            Change::DropSchema { catalog, schema, identity, tables, if_exists } => {
                let table = |(table, identity): &(String, Option<Identity>)| dropped(schema, table, identity);
                let change = wire::DropSchema {
                    schema: Some(dropped(schema, "", identity)),
                    tables: tables.iter().map(table).collect(),
                    if_exists: *if_exists,
                };
                (catalog, of::Change::DropSchema(change))
            }
            Change::CreateTable { catalog, table } => {
                let change = wire::CreateTable {
                    schema: table.schema.clone(),
                    table: table.name.clone(),
                    columns: table.columns.iter().map(column_to_wire).collect(),
                    comment: table.comment.clone(),
                    properties: properties_to_wire(&table.properties),
                    if_not_exists: table.if_not_exists,
                };
                (catalog, of::Change::CreateTable(change))
            }
            Change::DropTable { catalog, schema, table, identity, if_exists } => {
                let table = Some(dropped(schema, table, identity));
                (catalog, of::Change::DropTable(wire::DropTable { table, if_exists: *if_exists }))
            }
        };
        state::encode(&wire::IntentRecord {
            epoch: self.epoch.0,
            catalog: catalog.clone(),
            change: Some(change),
        })
    }

    /// Reads the record of a query. Fails with `EXCHANGE_DATA_LOST` if it is damaged.
    pub fn decode(query: QueryId, stored: &[u8]) -> Result<Self> {
        let key = ObjectKey::Intent(query).to_string();
        let unreadable = |what: &str| {
            Error::new(ErrorCode::EXCHANGE_DATA_LOST, format!("The record {key} is unreadable: {what}"))
        };
        let message: wire::IntentRecord = state::decode(&key, stored)?;
        let catalog = message.catalog;
        let nothing = || unreadable("it drops nothing");
        let change = match message.change.ok_or_else(|| unreadable("it changes nothing"))? {
            of::Change::CreateSchema(wire::CreateSchema { schema, properties, if_not_exists }) => {
                let properties = properties_from_wire(properties);
                let schema = NewSchema { name: schema, properties, creator: Some(query) };
                Change::CreateSchema { catalog, schema, if_not_exists }
            }
            of::Change::DropSchema(wire::DropSchema { schema, tables, if_exists }) => {
                let schema = schema.ok_or_else(nothing)?;
                let table = |table: wire::DroppedObject| (table.table, table.identity.map(Identity));
                Change::DropSchema {
                    catalog,
                    schema: schema.schema,
                    identity: schema.identity.map(Identity),
                    tables: tables.into_iter().map(table).collect(),
                    if_exists,
                }
            }
            of::Change::CreateTable(table) => {
                let column =
                    |column| column_from_wire(column).ok_or_else(|| unreadable("it has no such type"));
                let table = NewTable {
                    schema: table.schema,
                    name: table.table,
                    columns: table.columns.into_iter().map(column).collect::<Result<_>>()?,
                    comment: table.comment,
                    properties: properties_from_wire(table.properties),
                    if_not_exists: table.if_not_exists,
                    creator: Some(query),
                };
                Change::CreateTable { catalog, table }
            }
            of::Change::DropTable(wire::DropTable { table, if_exists }) => {
                let wire::DroppedObject { schema, table, identity } = table.ok_or_else(nothing)?;
                Change::DropTable { catalog, schema, table, identity: identity.map(Identity), if_exists }
            }
        };
        Ok(Intent { epoch: Epoch(message.epoch), change })
    }
}

fn dropped(schema: &str, table: &str, identity: &Option<Identity>) -> wire::DroppedObject {
    wire::DroppedObject {
        schema: schema.to_owned(),
        table: table.to_owned(),
        identity: identity.as_ref().map(|identity| identity.0.clone()),
    }
}

fn column_to_wire(column: &ColumnMetadata) -> wire::NewColumn {
    wire::NewColumn {
        name: column.name.clone(),
        column_type: column.column_type.to_string(),
        nullable: column.nullable,
        comment: column.comment.clone(),
    }
}

fn column_from_wire(column: wire::NewColumn) -> Option<ColumnMetadata> {
    let wire::NewColumn { name, column_type, nullable, comment } = column;
    Some(ColumnMetadata { name, column_type: column_type.parse().ok()?, nullable, comment })
}

fn properties_to_wire(properties: &[(String, String)]) -> Vec<wire::Property> {
    let property =
        |(name, value): &(String, String)| wire::Property { name: name.clone(), value: value.clone() };
    properties.iter().map(property).collect()
}

fn properties_from_wire(properties: Vec<wire::Property>) -> Vec<(String, String)> {
    properties.into_iter().map(|property| (property.name, property.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_back_as_it_was() {
        let query: QueryId = "20261120_061411_00007_abcde".parse().unwrap();
        let catalog = || String::from("hive");
        let properties = vec![(String::from("format"), String::from("'PARQUET'"))];
        let identity = Some(Identity("20261120_061411_00001_abcde".into()));
        let column = |name: &str, text: &str, comment: Option<&str>| ColumnMetadata {
            name: name.into(),
            column_type: text.parse().unwrap(),
            nullable: comment.is_none(),
            comment: comment.map(str::to_owned),
        };
        let table = NewTable {
            schema: "s".into(),
            name: "t".into(),
            columns: vec![
                column("a", "row(x decimal(38,10), y array(varchar(7)))", None),
                column("b", "timestamp(3) with time zone", Some("")),
            ],
            comment: Some("a comment".into()),
            properties: properties.clone(),
            if_not_exists: true,
            creator: Some(query),
        };
        let schema = NewSchema { name: "s".into(), properties, creator: Some(query) };
        let changes = [
            Change::CreateSchema { catalog: catalog(), schema, if_not_exists: true },
            Change::DropSchema {
                catalog: catalog(),
                schema: "s".into(),
                identity: None,
                tables: vec![("t".into(), identity.clone()), ("u".into(), None)],
                if_exists: true,
            },
            Change::CreateTable { catalog: catalog(), table },
            Change::DropTable {
                catalog: catalog(),
                schema: "s".into(),
                table: "t".into(),
                identity,
                if_exists: false,
            },
        ];
        for change in changes {
            let intent = Intent { epoch: Epoch(7), change };
            let stored = intent.encode();
            assert_eq!(Intent::decode(query, &stored).unwrap(), intent);
            assert_ne!(Intent { epoch: Epoch(8), ..intent }.encode(), stored);
            assert!(Intent::decode(query, &stored[1..]).is_err());
        }
    }
}
