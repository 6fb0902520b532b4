//! What a client tells of itself and its session, in the headers of a request.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base::{DataSize, Duration};
use types::ClientCapabilities;

use super::headers::{HeaderPrefix, request as name};
use super::prepared::{decode_statement, encode_statement};
use super::roles::SelectedRole;
use super::url;

/// Credentials that start so are the engine's own.
const INTERNAL_CREDENTIAL_PREFIX: &str = "internal$";

/// The request cannot be served as it is: HTTP 400, with this text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest(pub String);

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRequest {}

/// What the client said of transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientTransaction {
    /// Nothing: it does not support them.
    #[default]
    Unsupported,
    /// It supports them and is in none.
    None,
    /// It is in this one.
    Id(String),
}

/// What the client expects the query to need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceEstimates {
    /// `EXECUTION_TIME`
    pub execution_time: Option<Duration>,
    /// `CPU_TIME`
    pub cpu_time: Option<Duration>,
    /// `PEAK_MEMORY`
    pub peak_memory: Option<DataSize>,
}

/// Everything that the headers of a request tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientContext {
    /// Whose protocol the client speaks. Answers use the same.
    pub prefix: HeaderPrefix,
    /// The user of the session.
    pub user: String,
    /// The user before `SET SESSION AUTHORIZATION`.
    pub original_user: Option<String>,
    /// The roles of the original user, by catalog; those of no catalog are under `system`.
    pub original_roles: BTreeMap<String, SelectedRole>,
    /// The program.
    pub source: Option<String>,
    /// Free text.
    pub client_info: Option<String>,
    /// Free words.
    pub client_tags: BTreeSet<String>,
    /// What the client understands.
    pub capabilities: ClientCapabilities,
    /// What the client calls this request.
    pub trace_token: Option<String>,
    /// Its language, as in BCP 47.
    pub language: Option<String>,
    /// The catalog of names without one, in lower case.
    pub catalog: Option<String>,
    /// The schema of names without one, in lower case.
    pub schema: Option<String>,
    /// Where functions are looked for.
    pub path: Option<String>,
    /// The zone of the session, as the client wrote it.
    pub time_zone: Option<String>,
    /// Session properties. They are judged when the query starts.
    pub system_properties: BTreeMap<String, String>,
    /// Session properties of catalogs, by catalog.
    pub catalog_properties: BTreeMap<String, BTreeMap<String, String>>,
    /// The chosen roles, by catalog; those of no catalog are under `system`.
    pub roles: BTreeMap<String, SelectedRole>,
    /// The prepared statements, by name.
    pub prepared_statements: BTreeMap<String, String>,
    /// The transaction.
    pub transaction: ClientTransaction,
    /// What the query will need.
    pub resource_estimates: ResourceEstimates,
    /// Credentials for connectors. Never logged.
    pub extra_credentials: BTreeMap<String, String>,
    /// The encodings of spooled results that the client takes, best first.
    pub query_data_encodings: Vec<String>,
}

impl ClientContext {
    /// Reads the headers of a request, in their order. Header names may have any case.
    ///
    /// `authenticated_user` stands in where the client names no user; `alternate` is the name of a second protocol
    /// that is served too.
    ///
    /// # Errors
    ///
    /// Text for HTTP 400.
    pub fn from_headers<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        authenticated_user: Option<&str>,
        alternate: Option<&str>,
    ) -> Result<ClientContext, BadRequest> {
        let headers: Vec<_> = headers.into_iter().collect();
        let prefix = detect_prefix(&headers, alternate)?;
        let headers = Headers { prefix: &prefix, headers: &headers };
        let user = headers.text(name::USER).or_else(|| authenticated_user.map(str::to_owned));
        let catalog = headers.text(name::CATALOG).map(|text| text.to_lowercase());
        let schema = headers.text(name::SCHEMA).map(|text| text.to_lowercase());
        if schema.is_some() && catalog.is_none() {
            return Err(BadRequest("Schema is set but catalog is not".into()));
        }
        let (system_properties, catalog_properties) = session_properties(&headers)?;
        Ok(ClientContext {
            user: user.ok_or_else(|| BadRequest("User must be set".into()))?,
            original_user: headers.text(name::ORIGINAL_USER),
            original_roles: roles(&headers, name::ORIGINAL_ROLES)?,
            source: headers.text(name::SOURCE),
            client_info: headers.text(name::CLIENT_INFO),
            client_tags: headers.words(name::CLIENT_TAGS).map(str::to_owned).collect(),
            capabilities: headers.words(name::CLIENT_CAPABILITIES).collect(),
            trace_token: headers.text(name::TRACE_TOKEN),
            language: headers.text(name::LANGUAGE),
            catalog,
            schema,
            path: headers.text(name::PATH),
            time_zone: headers.text(name::TIME_ZONE),
            system_properties,
            catalog_properties,
            roles: roles(&headers, name::ROLE)?,
            prepared_statements: prepared_statements(&headers)?,
            transaction: match headers.text(name::TRANSACTION_ID) {
                None => ClientTransaction::Unsupported,
                Some(id) if id.eq_ignore_ascii_case("NONE") => ClientTransaction::None,
                Some(id) => ClientTransaction::Id(id),
            },
            resource_estimates: resource_estimates(&headers)?,
            extra_credentials: extra_credentials(&headers)?,
            query_data_encodings: headers.list(name::QUERY_DATA_ENCODING).map(str::to_owned).collect(),
            prefix,
        })
    }

    /// The headers that tell the same, as a client sends them.
    pub fn to_headers(&self) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        let mut add = |name: &str, value: String| headers.push((self.prefix.header(name), value));
        let joined = |words: &mut dyn Iterator<Item = &str>| words.collect::<Vec<_>>().join(",");
        add(name::USER, self.user.clone());
        for (name, text) in [
            (name::ORIGINAL_USER, &self.original_user),
            (name::SOURCE, &self.source),
            (name::CLIENT_INFO, &self.client_info),
            (name::TRACE_TOKEN, &self.trace_token),
            (name::LANGUAGE, &self.language),
            (name::CATALOG, &self.catalog),
            (name::SCHEMA, &self.schema),
            (name::PATH, &self.path),
            (name::TIME_ZONE, &self.time_zone),
        ] {
            if let Some(text) = text {
                add(name, text.clone());
            }
        }
        for (name, list) in [
            (name::CLIENT_TAGS, joined(&mut self.client_tags.iter().map(String::as_str))),
            (name::CLIENT_CAPABILITIES, joined(&mut self.capabilities.names())),
            (name::QUERY_DATA_ENCODING, self.query_data_encodings.join(",")),
        ] {
            if !list.is_empty() {
                add(name, list);
            }
        }
        let mut add_pair =
            |name: &str, key: &str, value: &str| add(name, format!("{key}={}", url::encode(value)));
        for (property, value) in &self.system_properties {
            add_pair(name::SESSION, property, value);
        }
        for (catalog, properties) in &self.catalog_properties {
            for (property, value) in properties {
                add_pair(name::SESSION, &format!("{catalog}.{property}"), value);
            }
        }
        for (catalog, role) in &self.roles {
            add_pair(name::ROLE, catalog, &role.to_string());
        }
        for (catalog, role) in &self.original_roles {
            add_pair(name::ORIGINAL_ROLES, catalog, &role.to_string());
        }
        for (statement, sql) in &self.prepared_statements {
            add_pair(name::PREPARED_STATEMENT, &url::encode(statement), &encode_statement(sql));
        }
        for (credential, value) in &self.extra_credentials {
            add_pair(name::EXTRA_CREDENTIAL, credential, value);
        }
        let ResourceEstimates { execution_time, cpu_time, peak_memory } = &self.resource_estimates;
        for (resource, estimate) in [
            ("EXECUTION_TIME", execution_time.map(|time| time.to_string())),
            ("CPU_TIME", cpu_time.map(|time| time.to_string())),
            ("PEAK_MEMORY", peak_memory.map(|size| size.to_string())),
        ] {
            if let Some(estimate) = estimate {
                add_pair(name::RESOURCE_ESTIMATE, resource, &estimate);
            }
        }
        match &self.transaction {
            ClientTransaction::Unsupported => {}
            ClientTransaction::None => add(name::TRANSACTION_ID, "NONE".into()),
            ClientTransaction::Id(id) => add(name::TRANSACTION_ID, id.clone()),
        }
        headers
    }
}

/// The headers of a request that have the prefix.
struct Headers<'a> {
    prefix: &'a HeaderPrefix,
    headers: &'a [(&'a str, &'a str)],
}

impl<'a> Headers<'a> {
    /// The values of a header, in their order.
    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let matches = move |header: &str| {
            self.prefix.strip(header).is_some_and(|stripped| stripped.eq_ignore_ascii_case(name))
        };
        self.headers.iter().filter(move |(header, _)| matches(header)).map(|(_, value)| *value)
    }

    /// The text of the first such header. An empty one counts as absent.
    fn text(&self, name: &str) -> Option<String> {
        self.values(name).next().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The words of the first such header.
    fn words(&self, name: &str) -> impl Iterator<Item = &'a str> {
        split_list(self.values(name).next().unwrap_or_default())
    }

    /// The items of all such headers.
    fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values(name).flat_map(split_list)
    }

    /// The items `name=value` of all such headers, values decoded.
    fn pairs(&self, name: &'static str) -> impl Iterator<Item = Result<(String, String), BadRequest>> {
        self.list(name).map(move |item| {
            let pair = item.split_once('=').filter(|(_, value)| !value.contains('='));
            let (key, value) = pair.ok_or_else(|| self.invalid(name))?;
            let value = url::decode(value.trim()).ok_or_else(|| self.invalid(name))?;
            Ok((key.trim().to_owned(), value))
        })
    }

    fn invalid(&self, name: &str) -> BadRequest {
        BadRequest(format!("Invalid {} header", self.prefix.header(name)))
    }
}

fn split_list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The protocol is that whose user header is there.
fn detect_prefix(headers: &[(&str, &str)], alternate: Option<&str>) -> Result<HeaderPrefix, BadRequest> {
    let trino = HeaderPrefix::default();
    let Some(alternate) = alternate.filter(|alternate| !alternate.eq_ignore_ascii_case("Trino")) else {
        return Ok(trino);
    };
    let has_user = |prefix: &HeaderPrefix| Headers { prefix, headers }.values(name::USER).next().is_some();
    let other = HeaderPrefix::new(alternate);
    match (has_user(&trino), has_user(&other)) {
        (true, true) => Err(BadRequest(format!("Both Trino and {alternate} headers detected"))),
        (false, true) => Ok(other),
        (_, false) => Ok(trino),
    }
}

type Properties = BTreeMap<String, String>;

/// Those without a catalog, and those of catalogs.
fn session_properties(
    headers: &Headers<'_>,
) -> Result<(Properties, BTreeMap<String, Properties>), BadRequest> {
    let mut system = Properties::new();
    let mut catalogs = BTreeMap::<String, Properties>::new();
    for pair in headers.pairs(name::SESSION) {
        let (property, value) = pair?;
        match property.rsplit_once('.') {
            None if property.is_empty() => return Err(headers.invalid(name::SESSION)),
            None => {
                system.insert(property, value);
            }
            Some((catalog, property)) if !catalog.is_empty() && !property.is_empty() => {
                catalogs.entry(catalog.to_owned()).or_default().insert(property.to_owned(), value);
            }
            Some(_) => return Err(headers.invalid(name::SESSION)),
        }
    }
    Ok((system, catalogs))
}

fn roles(headers: &Headers<'_>, header: &'static str) -> Result<BTreeMap<String, SelectedRole>, BadRequest> {
    let role = |(catalog, role): (String, String)| {
        let role = role.parse().map_err(|_| headers.invalid(header))?;
        if catalog.is_empty() { Err(headers.invalid(header)) } else { Ok((catalog, role)) }
    };
    headers.pairs(header).map(|pair| pair.and_then(role)).collect()
}

fn prepared_statements(headers: &Headers<'_>) -> Result<BTreeMap<String, String>, BadRequest> {
    let invalid = || headers.invalid(name::PREPARED_STATEMENT);
    let statement = |(name, sql): (String, String)| {
        let name = url::decode(&name).filter(|name| !name.is_empty()).ok_or_else(invalid)?;
        Ok((name, decode_statement(sql).ok_or_else(invalid)?))
    };
    headers.pairs(name::PREPARED_STATEMENT).map(|pair| pair.and_then(statement)).collect()
}

fn extra_credentials(headers: &Headers<'_>) -> Result<BTreeMap<String, String>, BadRequest> {
    let credential = |(name, value): (String, String)| {
        let forbidden = name.is_empty() || name.starts_with(INTERNAL_CREDENTIAL_PREFIX);
        if forbidden {
            return Err(BadRequest(format!("Invalid extra credential name: {name}")));
        }
        Ok((name, value))
    };
    headers.pairs(name::EXTRA_CREDENTIAL).map(|pair| pair.and_then(credential)).collect()
}

fn resource_estimates(headers: &Headers<'_>) -> Result<ResourceEstimates, BadRequest> {
    let invalid = |_| headers.invalid(name::RESOURCE_ESTIMATE);
    let mut estimates = ResourceEstimates::default();
    for pair in headers.pairs(name::RESOURCE_ESTIMATE) {
        let (resource, value) = pair?;
        match resource.to_ascii_uppercase().as_str() {
            "EXECUTION_TIME" => estimates.execution_time = Some(value.parse().map_err(invalid)?),
            "CPU_TIME" => estimates.cpu_time = Some(value.parse().map_err(invalid)?),
            "PEAK_MEMORY" => estimates.peak_memory = Some(value.parse().map_err(invalid)?),
            _ => return Err(BadRequest(format!("Unsupported resource name {resource}"))),
        }
    }
    Ok(estimates)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
