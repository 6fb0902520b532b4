//! What a statement changes in the session of its client. Clients keep their sessions themselves: the server
//! tells them by headers, and repeats them on every page.

use std::collections::{BTreeMap, BTreeSet};

use super::headers::{HeaderPrefix, response as name};
use super::prepared::{decode_statement, encode_statement};
use super::request::{ClientContext, ClientTransaction};
use super::roles::SelectedRole;
use super::url;

/// The changes that a statement makes to the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionUpdate {
    /// `USE`
    pub set_catalog: Option<String>,
    /// `USE`
    pub set_schema: Option<String>,
    /// `SET PATH`
    pub set_path: Option<String>,
    /// `SET SESSION`; a property of a catalog is named `catalog.property`.
    pub set_session: BTreeMap<String, String>,
    /// `RESET SESSION`
    pub clear_session: BTreeSet<String>,
    /// `SET ROLE`, by catalog; of no catalog: `system`.
    pub set_roles: BTreeMap<String, SelectedRole>,
    /// `SET SESSION AUTHORIZATION`: the roles of the user before.
    pub set_original_roles: BTreeMap<String, SelectedRole>,
    /// `PREPARE`, by name.
    pub added_prepare: BTreeMap<String, String>,
    /// `DEALLOCATE PREPARE`
    pub deallocated_prepare: BTreeSet<String>,
    /// `START TRANSACTION`
    pub started_transaction_id: Option<String>,
    /// `COMMIT`, `ROLLBACK`
    pub clear_transaction_id: bool,
    /// `SET SESSION AUTHORIZATION`
    pub set_authorization_user: Option<String>,
    /// `RESET SESSION AUTHORIZATION`
    pub reset_authorization_user: bool,
    /// How the result is encoded, if it is spooled.
    pub query_data_encoding: Option<String>,
}

impl SessionUpdate {
    /// The headers of a response. Values are encoded: some clients join repeated headers and split them at commas.
    pub fn to_headers(&self, prefix: &HeaderPrefix) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        let mut add = |name: &str, value: String| headers.push((prefix.header(name), value));
        for (name, text) in [
            (name::SET_CATALOG, &self.set_catalog),
            (name::SET_SCHEMA, &self.set_schema),
            (name::SET_PATH, &self.set_path),
            (name::STARTED_TRANSACTION_ID, &self.started_transaction_id),
            (name::SET_AUTHORIZATION_USER, &self.set_authorization_user),
            (name::QUERY_DATA_ENCODING, &self.query_data_encoding),
        ] {
            if let Some(text) = text {
                add(name, text.clone());
            }
        }
        for (name, set) in [
            (name::CLEAR_TRANSACTION_ID, self.clear_transaction_id),
            (name::RESET_AUTHORIZATION_USER, self.reset_authorization_user),
        ] {
            if set {
                add(name, true.to_string());
            }
        }
        for (property, value) in &self.set_session {
            add(name::SET_SESSION, format!("{property}={}", url::encode(value)));
        }
        for property in &self.clear_session {
            add(name::CLEAR_SESSION, property.clone());
        }
        for (name, roles) in
            [(name::SET_ROLE, &self.set_roles), (name::SET_ORIGINAL_ROLES, &self.set_original_roles)]
        {
            for (catalog, role) in roles {
                add(name, format!("{catalog}={}", url::encode(&role.to_string())));
            }
        }
        for (statement, sql) in &self.added_prepare {
            let value = url::encode(&encode_statement(sql));
            add(name::ADDED_PREPARE, format!("{}={value}", url::encode(statement)));
        }
        for statement in &self.deallocated_prepare {
            add(name::DEALLOCATED_PREPARE, url::encode(statement));
        }
        headers
    }

    /// Reads the headers of a response. What cannot be read is left out: a client can do nothing about it.
    pub fn from_headers<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        prefix: &HeaderPrefix,
    ) -> SessionUpdate {
        let mut update = SessionUpdate::default();
        for (header, value) in headers {
            let Some(header) = prefix.strip(header) else {
                continue;
            };
            let is = |name: &str| header.eq_ignore_ascii_case(name);
            let pair = || {
                let (key, value) = value.split_once('=')?;
                Some((key.trim().to_owned(), url::decode(value.trim())?))
            };
            let role = || pair().and_then(|(catalog, role)| Some((catalog, role.parse().ok()?)));
            let text = || Some(value.to_owned());
            if is(name::SET_CATALOG) {
                update.set_catalog = text();
            } else if is(name::SET_SCHEMA) {
                update.set_schema = text();
            } else if is(name::SET_PATH) {
                update.set_path = text();
            } else if is(name::STARTED_TRANSACTION_ID) {
                update.started_transaction_id = text();
            } else if is(name::SET_AUTHORIZATION_USER) {
                update.set_authorization_user = text();
            } else if is(name::QUERY_DATA_ENCODING) {
                update.query_data_encoding = text();
            } else if is(name::CLEAR_TRANSACTION_ID) {
                update.clear_transaction_id = value.eq_ignore_ascii_case("true");
            } else if is(name::RESET_AUTHORIZATION_USER) {
                update.reset_authorization_user = value.eq_ignore_ascii_case("true");
            } else if is(name::SET_SESSION) {
                update.set_session.extend(pair());
            } else if is(name::CLEAR_SESSION) {
                update.clear_session.extend(text());
            } else if is(name::SET_ROLE) {
                update.set_roles.extend(role());
            } else if is(name::SET_ORIGINAL_ROLES) {
                update.set_original_roles.extend(role());
            } else if is(name::ADDED_PREPARE) {
                let statement =
                    pair().and_then(|(name, sql)| Some((url::decode(&name)?, decode_statement(sql)?)));
                update.added_prepare.extend(statement);
            } else if is(name::DEALLOCATED_PREPARE) {
                update.deallocated_prepare.extend(url::decode(value));
            }
        }
        update
    }
}

impl ClientContext {
    /// Takes over what a statement changed in the session, as a client does.
    pub fn apply(&mut self, update: &SessionUpdate) {
        let set = |target: &mut Option<String>, value: &Option<String>| {
            if value.is_some() {
                target.clone_from(value);
            }
        };
        set(&mut self.catalog, &update.set_catalog);
        set(&mut self.schema, &update.set_schema);
        set(&mut self.path, &update.set_path);
        for (property, value) in &update.set_session {
            let (properties, property) = self.properties_of(property);
            properties.insert(property, value.clone());
        }
        for property in &update.clear_session {
            let (properties, property) = self.properties_of(property);
            properties.remove(&property);
        }
        self.roles.extend(update.set_roles.clone());
        self.prepared_statements.extend(update.added_prepare.clone());
        for statement in &update.deallocated_prepare {
            self.prepared_statements.remove(statement);
        }
        if let Some(id) = &update.started_transaction_id {
            self.transaction = ClientTransaction::Id(id.clone());
        }
        if update.clear_transaction_id {
            self.transaction = ClientTransaction::None;
        }
        if let Some(user) = &update.set_authorization_user {
            let before = std::mem::replace(&mut self.user, user.clone());
            self.original_user.get_or_insert(before);
            self.original_roles.extend(update.set_original_roles.clone());
            self.roles.clear();
        }
        if update.reset_authorization_user {
            self.user = self.original_user.take().unwrap_or_else(|| self.user.clone());
            self.roles = std::mem::take(&mut self.original_roles);
        }
    }

    /// Where a property of that name is kept, and its name there.
    fn properties_of(&mut self, property: &str) -> (&mut BTreeMap<String, String>, String) {
        match property.rsplit_once('.') {
            None => (&mut self.system_properties, property.to_owned()),
            Some((catalog, property)) => {
                (self.catalog_properties.entry(catalog.to_owned()).or_default(), property.to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(String, String)]) -> SessionUpdate {
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        SessionUpdate::from_headers(pairs, &HeaderPrefix::default())
    }

    #[test]
    fn updates_come_back_from_their_headers() {
        let update = SessionUpdate {
            set_catalog: Some("hive".into()),
            set_schema: Some("sf1".into()),
            set_path: Some("a.b,c.d".into()),
            set_session: BTreeMap::from([("a".into(), "x, y=z".into()), ("hive.b".into(), "".into())]),
            clear_session: BTreeSet::from(["c".into(), "hive.d".into()]),
            set_roles: BTreeMap::from([("system".into(), SelectedRole::Role("admin".into()))]),
            set_original_roles: BTreeMap::from([("system".into(), SelectedRole::None)]),
            added_prepare: BTreeMap::from([
                ("s 1".into(), "SELECT 1".into()),
                ("s2".into(), "y".repeat(4000)),
            ]),
            deallocated_prepare: BTreeSet::from(["old one".into()]),
            started_transaction_id: Some("id".into()),
            clear_transaction_id: true,
            set_authorization_user: Some("bob".into()),
            reset_authorization_user: true,
            query_data_encoding: Some("json".into()),
        };
        assert_eq!(read(&update.to_headers(&HeaderPrefix::default())), update);
    }

    #[test]
    fn headers_are_those_of_the_protocol() {
        let update = SessionUpdate {
            set_session: BTreeMap::from([("a".into(), "x, y".into())]),
            set_roles: BTreeMap::from([("system".into(), SelectedRole::Role("admin".into()))]),
            ..Default::default()
        };
        assert_eq!(
            update.to_headers(&HeaderPrefix::default()),
            [
                ("X-Trino-Set-Session".to_owned(), "a=x%2C+y".to_owned()),
                ("X-Trino-Set-Role".to_owned(), "system=ROLE%7Badmin%7D".to_owned()),
            ]
        );
        assert_eq!(SessionUpdate::default().to_headers(&HeaderPrefix::default()), []);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let headers = [("X-Trino-Set-Session", "no pair"), ("X-Trino-Set-Role", "a=b"), ("Set-Catalog", "c")];
        assert_eq!(SessionUpdate::from_headers(headers, &HeaderPrefix::default()), SessionUpdate::default());
    }

    #[test]
    fn a_client_takes_updates_over() {
        let mut context = ClientContext { user: "alice".into(), ..Default::default() };
        context.apply(&SessionUpdate {
            set_catalog: Some("hive".into()),
            set_session: BTreeMap::from([("a".into(), "1".into()), ("hive.b".into(), "2".into())]),
            started_transaction_id: Some("id".into()),
            set_authorization_user: Some("bob".into()),
            ..Default::default()
        });
        assert_eq!((context.user.as_str(), context.original_user.as_deref()), ("bob", Some("alice")));
        assert_eq!(context.catalog_properties["hive"]["b"], "2");
        context.apply(&SessionUpdate {
            clear_session: BTreeSet::from(["a".into(), "hive.b".into()]),
            clear_transaction_id: true,
            reset_authorization_user: true,
            ..Default::default()
        });
        assert_eq!(context.user, "alice");
        assert_eq!(context.catalog.as_deref(), Some("hive"));
        assert!(context.system_properties.is_empty() && context.catalog_properties["hive"].is_empty());
        assert_eq!(context.transaction, ClientTransaction::None);
    }
}
