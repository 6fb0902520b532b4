//! Statements, page by page, every page judged as strictly as the Java client does.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{Request, Response};
use super::strict_decoder;

/// How long a statement of these tests may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// What became of a statement.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The rows.
    pub rows: Vec<Value>,
    /// The error, null if there is none.
    pub error: Value,
}

impl Outcome {
    /// The name of the error; empty if there is none.
    pub fn error_name(&self) -> &str {
        self.error["errorName"].as_str().unwrap_or_default()
    }

    /// The text of the error; empty if there is none.
    pub fn error_message(&self) -> &str {
        self.error["message"].as_str().unwrap_or_default()
    }
}

/// The path of the next page.
pub fn next_path(page: &Value) -> Option<String> {
    let uri = page["nextUri"].as_str()?;
    let path = uri.split_once("://")?.1.split_once('/')?.1;
    Some(format!("/{path}"))
}

/// Follows a statement from its first page to its end.
///
/// # Errors
/// What is wrong with a page, or that there is no end.
pub fn follow(authority: &str, first: &Response) -> Result<Outcome, String> {
    let deadline = Instant::now() + STATEMENT_TIMEOUT;
    let mut outcome = Outcome::default();
    let mut response = first.clone();
    loop {
        if response.status != 200 {
            return Err(format!("a page has status {}: {}", response.status, response.text()));
        }
        let page = response.json();
        strict_decoder::check(&page)?;
        if let Some(rows) = page["data"].as_array() {
            outcome.rows.extend(rows.iter().cloned());
        }
        if let Some(error) = page.get("error") {
            outcome.error = error.clone();
        }
        let Some(next) = next_path(&page) else {
            return Ok(outcome);
        };
        if Instant::now() > deadline {
            return Err(format!("no end after {} s", STATEMENT_TIMEOUT.as_secs()));
        }
        response = Request::get(&next).try_send(authority)?;
    }
}

/// Runs a statement to its end.
///
/// # Errors
/// That it was refused, or what is wrong with a page.
pub fn run(authority: &str, sql: &str) -> Result<Outcome, String> {
    follow(authority, &Request::statement(sql).try_send(authority)?)
}
