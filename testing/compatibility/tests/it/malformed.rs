//! Requests that are wrong: each gets a clear answer in time, and the server goes on serving.

mod bodies;
mod connections;
mod headers;
mod paths;
mod statements;

use super::cluster::Cluster;
use super::http::{Request, Response};
use super::statement::{Outcome, follow, next_path, run};

/// Where the planner that is used for now tells Trino's errors apart less finely than Trino.
pub const ANY_USER_ERROR: &str = "any user error";

/// A request, and what it must get.
pub struct Case {
    name: String,
    request: Request,
    expected: Expected,
}

/// What a request must get.
#[derive(Clone, Debug)]
pub enum Expected {
    /// One of these statuses, and a text that has this in it.
    Refused(&'static [u16], &'static str),
    /// A query that fails with an error of that name, whose text has this in it.
    Failed(&'static str, &'static str),
    /// A query that succeeds: what looks wrong is not.
    Served,
}

impl Case {
    fn new(name: impl Into<String>, request: Request, expected: Expected) -> Self {
        Case { name: name.into(), request, expected }
    }

    /// What is wrong with the server's answer.
    fn problem(&self, authority: &str) -> Option<String> {
        let judged = self.request.try_send(authority).and_then(|response| match self.expected {
            Expected::Refused(statuses, text) => refused(&response, statuses, text),
            Expected::Failed(error, text) => failed(&follow(authority, &response)?, error, text),
            Expected::Served => served(&follow(authority, &response)?),
        });
        judged.err().map(|problem| format!("{}: {problem}", self.name))
    }
}

fn refused(response: &Response, statuses: &[u16], text: &str) -> Result<(), String> {
    let found = response.text();
    if !statuses.contains(&response.status) {
        return Err(format!("status {} instead of {statuses:?}: {found}", response.status));
    }
    // An answer without a body explains itself by its status alone: that of 405, or of the HTTP library.
    if found.contains(text) {
        Ok(())
    } else {
        Err(format!("status {} without {text:?}: {found:?}", response.status))
    }
}

fn failed(outcome: &Outcome, error: &str, text: &str) -> Result<(), String> {
    let is_right = match error {
        ANY_USER_ERROR => outcome.error["errorType"] == "USER_ERROR",
        name => outcome.error_name() == name,
    };
    if !is_right {
        return Err(format!(
            "error {:?} instead of {error}: {}",
            outcome.error_name(),
            outcome.error_message()
        ));
    }
    if outcome.error_message().contains(text) {
        Ok(())
    } else {
        Err(format!("{error} without {text:?}: {}", outcome.error_message()))
    }
}

fn served(outcome: &Outcome) -> Result<(), String> {
    match outcome.error_name() {
        "" => Ok(()),
        name => Err(format!("failed with {name}: {}", outcome.error_message())),
    }
}

/// What the addresses of real queries look like.
pub struct Addresses {
    /// The path of the first page of a query that runs.
    running_page: String,
    /// The path of the page of a short query, with its capsule.
    short_page: String,
    /// The id of the query that runs.
    running: String,
    /// The id of a query that has ended.
    finished: String,
}

impl Addresses {
    fn new(authority: &str) -> Self {
        let start = |sql: &str| Request::statement(sql).send(authority);
        let next = |page: &Response| next_path(&page.json()).expect("an accepted query goes on");
        let id = |page: &Response| page.json()["id"].as_str().expect("a query has an id").to_owned();
        let running = start("SELECT orderkey FROM tpch.tiny.lineitem");
        let short = start("SHOW SCHEMAS FROM tpch");
        assert!(next(&short).contains("?capsule="), "a short query is recorded: {}", next(&short));
        follow(authority, &short).expect("it is served");
        Addresses {
            running_page: next(&running),
            short_page: next(&short),
            running: id(&running),
            finished: id(&short),
        }
    }
}

/// Runs cases; after every few of them the server still has to serve. Says what was wrong.
fn check(authority: &str, cases: &[Case]) -> Vec<String> {
    const BATCH: usize = 10;
    let mut problems = Vec::new();
    for batch in cases.chunks(BATCH) {
        problems.extend(batch.iter().filter_map(|case| case.problem(authority)));
        let names: Vec<&str> = batch.iter().map(|case| case.name.as_str()).collect();
        problems.extend(serves(authority).err().map(|problem| format!("after {names:?}: {problem}")));
    }
    problems
}

/// Whether the server serves.
fn serves(authority: &str) -> Result<(), String> {
    let outcome = run(authority, "SELECT 1")?;
    if outcome.rows == [serde_json::json!([1])] { Ok(()) } else { Err(format!("SELECT 1 gave {outcome:?}")) }
}

#[test]
fn malformed_requests_get_clear_errors_and_the_server_goes_on() {
    let cluster = Cluster::start(&[]);
    let authority = cluster.authority();
    let addresses = Addresses::new(authority);
    let mut cases = bodies::cases();
    cases.extend(headers::cases());
    cases.extend(paths::cases(&addresses));
    cases.extend(statements::cases());
    let mut problems = check(authority, &cases);
    let connections = connections::cases();
    problems.extend(connections.iter().filter_map(|connection| connection.problem(authority)));
    problems.extend(serves(authority).err());
    let count = cases.len() + connections.len();
    println!("{count} malformed requests");
    assert!(count >= 100, "only {count} malformed requests");
    assert!(problems.is_empty(), "{} of {count} wrong:\n{}", problems.len(), problems.join("\n"));
}
