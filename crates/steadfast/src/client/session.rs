//! The session of a client: what it sends with every statement, and what answers change in it.

use std::collections::BTreeMap;

use protocol::client::headers;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// The session of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSession {
    /// The user.
    pub user: String,
    /// The name of the program that asks.
    pub source: String,
    /// The catalog of names without one.
    pub catalog: Option<String>,
    /// The schema of names without one.
    pub schema: Option<String>,
    /// Session properties that are set.
    pub properties: BTreeMap<String, String>,
    /// Prepared statements, each encoded as it travels.
    prepared: BTreeMap<String, String>,
    /// The transaction, if one is open.
    transaction: Option<String>,
}

/// What this client understands.
const CAPABILITIES: &str = "PATH,PARAMETRIC_DATETIME,SESSION_AUTHORIZATION";

fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn decode(text: &str) -> String {
    let form = format!("v={text}");
    form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

impl ClientSession {
    /// What is sent with every statement.
    pub fn headers(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        let mut add = |name: &str, value: &str| {
            let name = HeaderName::try_from(headers::trino(name));
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                map.append(name, value);
            }
        };
        add("User", &self.user);
        add("Source", &self.source);
        add("Client-Capabilities", CAPABILITIES);
        add("Transaction-Id", self.transaction.as_deref().unwrap_or("NONE"));
        if let Some(catalog) = &self.catalog {
            add("Catalog", catalog);
        }
        if let Some(schema) = &self.schema {
            add("Schema", schema);
        }
        for (name, value) in &self.properties {
            add("Session", &format!("{name}={}", encode(value)));
        }
        for (name, text) in &self.prepared {
            add("Prepared-Statement", &format!("{name}={text}"));
        }
        map
    }

    /// Takes over what an answer changes.
    pub fn apply(&mut self, answer: &HeaderMap) {
        let all = |name: &str| -> Vec<String> {
            let values = answer.get_all(headers::trino(name)).into_iter();
            values.filter_map(|value| value.to_str().ok()).map(str::to_string).collect()
        };
        if let Some(catalog) = all("Set-Catalog").pop() {
            self.catalog = Some(catalog);
        }
        if let Some(schema) = all("Set-Schema").pop() {
            self.schema = Some(schema);
        }
        for property in all("Set-Session") {
            if let Some((name, value)) = property.split_once('=') {
                self.properties.insert(name.to_string(), decode(value));
            }
        }
        for name in all("Clear-Session") {
            self.properties.remove(&name);
        }
        for prepared in all("Added-Prepare") {
            if let Some((name, text)) = prepared.split_once('=') {
                self.prepared.insert(name.to_string(), text.to_string());
            }
        }
        for name in all("Deallocated-Prepare") {
            self.prepared.remove(&name);
        }
        if let Some(id) = all("Started-Transaction-Id").pop() {
            self.transaction = Some(id);
        }
        if !all("Clear-Transaction-Id").is_empty() {
            self.transaction = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_change_what_is_sent_next() {
        let mut session = ClientSession { user: "ada".into(), ..ClientSession::default() };
        let mut answer = HeaderMap::new();
        for (name, value) in [
            ("x-trino-set-catalog", "tpch"),
            ("x-trino-set-schema", "tiny"),
            ("x-trino-set-session", "query_max_run_time=1h+%2B"),
            ("x-trino-added-prepare", "one=SELECT+1"),
        ] {
            answer.append(name, HeaderValue::from_static(value));
        }
        session.apply(&answer);
        assert_eq!(session.catalog.as_deref(), Some("tpch"));
        assert_eq!(session.properties["query_max_run_time"], "1h +");
        let sent = session.headers();
        assert_eq!(sent["x-trino-schema"], "tiny");
        assert_eq!(sent["x-trino-prepared-statement"], "one=SELECT+1");
        assert_eq!(sent["x-trino-session"], "query_max_run_time=1h+%2B");
        let mut answer = HeaderMap::new();
        answer.append("x-trino-clear-session", HeaderValue::from_static("query_max_run_time"));
        answer.append("x-trino-deallocated-prepare", HeaderValue::from_static("one"));
        session.apply(&answer);
        assert!(session.properties.is_empty() && session.prepared.is_empty());
    }
}
