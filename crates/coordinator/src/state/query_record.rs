//! The record of an accepted statement: all that another coordinator needs to run it as it would have been run.

use std::time::{Duration, SystemTime};

use base::{Error, ErrorCode, QueryId, Result};
use bytes::Bytes;
use exchange::ObjectKey;
use protocol::client::ClientContext;
use protocol::state::{self, wire};

use crate::slug::Slug;

/// An accepted statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryRecord {
    /// The statement.
    pub text: String,
    /// What the client told of itself and its session.
    pub client: ClientContext,
    /// The key of the secrets in the query's addresses.
    pub slug_key: [u8; Slug::KEY_LENGTH],
    /// When it was accepted: the time of `now()` in it.
    pub created: SystemTime,
}

impl QueryRecord {
    /// The record as it is stored.
    pub fn encode(&self) -> Bytes {
        let headers = self.client.to_headers().into_iter();
        let since = self.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        state::encode(&wire::QueryRecord {
            text: self.text.clone(),
            headers: headers.map(|(name, value)| wire::Header { name, value }).collect(),
            slug_key: Bytes::copy_from_slice(&self.slug_key),
            created_nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        })
    }

    /// Reads the record of a query. Fails with `EXCHANGE_DATA_LOST` if it is damaged.
    pub fn decode(query: QueryId, stored: &[u8]) -> Result<Self> {
        let key = ObjectKey::Query(query).to_string();
        let unreadable = |what: &str| {
            Error::new(ErrorCode::EXCHANGE_DATA_LOST, format!("The record {key} is unreadable: {what}"))
        };
        let message: wire::QueryRecord = state::decode(&key, stored)?;
        let headers = message.headers.iter().map(|header| (header.name.as_str(), header.value.as_str()));
        Ok(QueryRecord {
            client: ClientContext::from_headers(headers, None, None).map_err(|error| unreadable(&error.0))?,
            slug_key: message.slug_key[..]
                .try_into()
                .map_err(|_| unreadable("its key has another length"))?,
            created: SystemTime::UNIX_EPOCH + Duration::from_nanos(message.created_nanos),
            text: message.text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::client::{ClientCapabilities, ClientTransaction};

    #[test]
    fn a_statement_comes_back_with_its_whole_session() {
        let mut client = ClientContext {
            user: "anna".into(),
            source: Some("a test, with = and %".into()),
            capabilities: ClientCapabilities::ALL,
            catalog: Some("tpch".into()),
            schema: Some("sf1".into()),
            time_zone: Some("Europe/Vienna".into()),
            transaction: ClientTransaction::None,
            ..ClientContext::default()
        };
        client.system_properties.insert("retry_policy".into(), "TASK".into());
        client.prepared_statements.insert("first one".into(), "SELECT ? + 'ä=,\n'".into());
        client.catalog_properties.entry("hive".into()).or_default().insert("a".into(), "b c".into());
        client.client_tags.insert("tag".into());
        let record = QueryRecord {
            text: "EXECUTE \"first one\" USING 1".into(),
            client,
            slug_key: *Slug::random().key(),
            created: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
        };
        let query = "20261120_061411_00007_abcde".parse().unwrap();
        assert_eq!(QueryRecord::decode(query, &record.encode()).unwrap(), record);
        assert!(QueryRecord::decode(query, &record.encode()[1..]).is_err());
    }
}
