//! The names of headers, without the prefix that says whose protocol it is.

use std::fmt;

/// `X-Trino-`, or another one if old clients are served too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPrefix(String);

impl HeaderPrefix {
    /// The prefix of a protocol of that name.
    pub fn new(protocol: &str) -> Self {
        HeaderPrefix(format!("X-{protocol}-"))
    }

    /// The full name of a header.
    pub fn header(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }

    /// The name without the prefix, if the header has it.
    pub fn strip<'a>(&self, header: &'a str) -> Option<&'a str> {
        let (prefix, name) = header.split_at_checked(self.0.len())?;
        prefix.eq_ignore_ascii_case(&self.0).then_some(name)
    }
}

impl Default for HeaderPrefix {
    fn default() -> Self {
        HeaderPrefix::new("Trino")
    }
}

impl fmt::Display for HeaderPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Headers of requests.
#[allow(missing_docs, reason = "the names are those of the protocol")]
pub mod request {
    pub const USER: &str = "User";
    pub const ORIGINAL_USER: &str = "Original-User";
    pub const ORIGINAL_ROLES: &str = "Original-Roles";
    pub const SOURCE: &str = "Source";
    pub const CLIENT_INFO: &str = "Client-Info";
    pub const CLIENT_TAGS: &str = "Client-Tags";
    pub const CLIENT_CAPABILITIES: &str = "Client-Capabilities";
    pub const TRACE_TOKEN: &str = "Trace-Token";
    pub const LANGUAGE: &str = "Language";
    pub const CATALOG: &str = "Catalog";
    pub const SCHEMA: &str = "Schema";
    pub const PATH: &str = "Path";
    pub const TIME_ZONE: &str = "Time-Zone";
    pub const SESSION: &str = "Session";
    pub const ROLE: &str = "Role";
    pub const PREPARED_STATEMENT: &str = "Prepared-Statement";
    pub const TRANSACTION_ID: &str = "Transaction-Id";
    pub const RESOURCE_ESTIMATE: &str = "Resource-Estimate";
    pub const EXTRA_CREDENTIAL: &str = "Extra-Credential";
    pub const QUERY_DATA_ENCODING: &str = "Query-Data-Encoding";
}

/// Headers of responses.
#[allow(missing_docs, reason = "the names are those of the protocol")]
pub mod response {
    pub const SET_CATALOG: &str = "Set-Catalog";
    pub const SET_SCHEMA: &str = "Set-Schema";
    pub const SET_PATH: &str = "Set-Path";
    pub const SET_SESSION: &str = "Set-Session";
    pub const CLEAR_SESSION: &str = "Clear-Session";
    pub const SET_ROLE: &str = "Set-Role";
    pub const SET_ORIGINAL_ROLES: &str = "Set-Original-Roles";
    pub const ADDED_PREPARE: &str = "Added-Prepare";
    pub const DEALLOCATED_PREPARE: &str = "Deallocated-Prepare";
    pub const STARTED_TRANSACTION_ID: &str = "Started-Transaction-Id";
    pub const CLEAR_TRANSACTION_ID: &str = "Clear-Transaction-Id";
    pub const SET_AUTHORIZATION_USER: &str = "Set-Authorization-User";
    pub const RESET_AUTHORIZATION_USER: &str = "Reset-Authorization-User";
    pub const QUERY_DATA_ENCODING: &str = "Query-Data-Encoding";
}
