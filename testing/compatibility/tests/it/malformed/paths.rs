//! Addresses that lead nowhere, and methods that are not served there.

use super::{Addresses, Case, Expected};
use crate::http::Request;

const NOT_FOUND: Expected = Expected::Refused(&[404], "ot found");
const NO_METHOD: Expected = Expected::Refused(&[405], "");
/// A query that does not exist may be gone, or never have been.
const NO_QUERY: Expected = Expected::Refused(&[404, 410], "uery not found");
const SLUG: &str = "y0123456789abcdef0123456789abcdef01234567";

pub fn cases(addresses: &Addresses) -> Vec<Case> {
    let mut cases = unknown();
    cases.extend(methods(addresses));
    cases.extend(pages(addresses));
    cases.extend(queries(addresses));
    cases.extend(states());
    cases
}

fn case(method: &str, target: &str, expected: Expected) -> Case {
    Case::new(format!("path: {method} {target}"), Request::new(method, target), expected)
}

fn unknown() -> Vec<Case> {
    let targets = [
        "/",
        "/nope",
        "/v1",
        "/v1/",
        "/v2/statement",
        "/v1/statement/",
        "/v1/Statement",
        "//v1/statement",
        "/v1/statement/queued",
        "/v1/statement/executing/a/b",
        "/v1/statement/a/b/c/1",
        "/v1/spooled/download/x",
        "/v1/info/nope",
        "/v1/task/x",
        "/v1/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
    ];
    targets.iter().map(|target| case("GET", target, NOT_FOUND)).collect()
}

fn methods(addresses: &Addresses) -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("GET", "/v1/statement"),
        ("PUT", "/v1/statement"),
        ("DELETE", "/v1/statement"),
        ("PATCH", "/v1/statement"),
        ("BREW", "/v1/statement"),
        ("POST", "/v1/info"),
        ("DELETE", "/v1/info/state"),
        ("POST", "/v1/query"),
        ("POST", "/v1/status"),
    ]
    .into_iter()
    .map(|(method, target)| case(method, target, NO_METHOD))
    .collect();
    cases.extend(["POST", "PUT"].map(|method| case(method, &addresses.running_page, NO_METHOD)));
    cases
}

/// An address of a page with one of its parts replaced: 0 is the query, 1 the slug, 2 the token.
fn replaced(path: &str, part: usize, by: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    let first = parts.len() - 3;
    parts[first + part] = by;
    parts.join("/")
}

fn pages(addresses: &Addresses) -> Vec<Case> {
    let mut cases = Vec::new();
    let path = &addresses.running_page;
    for method in ["GET", "DELETE"] {
        for query in
            ["nope", "20200101_000000_00000_aaaaa", "20201399_999999_00000_aaaaa", &addresses.finished]
        {
            cases.push(case(method, &replaced(path, 0, query), NOT_FOUND));
        }
        for slug in ["y", "x", "yzz", SLUG, "%00", "y%F0%9F%A6%80"] {
            cases.push(case(method, &replaced(path, 1, slug), NOT_FOUND));
        }
        for token in ["1", "7", "18446744073709551615"] {
            cases.push(case(method, &replaced(path, 2, token), NOT_FOUND));
        }
        for token in ["-1", "one", "1.5", "18446744073709551616", "%31%"] {
            cases.push(case(method, &replaced(path, 2, token), Expected::Refused(&[400, 404], "")));
        }
    }
    cases.push(case("GET", &path.replace("/executing/", "/queued/"), NOT_FOUND));
    cases.extend(capsules(&addresses.short_page));
    let invalid = replaced(path, 1, SLUG);
    cases.push(case("HEAD", &invalid, Expected::Refused(&[404], "")));
    let partial = invalid.replace("/executing/", "/executing/partialCancel/");
    cases.push(case("DELETE", &replaced(&partial, 0, &format!("{}/0", addresses.running)), NOT_FOUND));
    cases
}

/// A capsule opens for nobody but the next coordinator.
fn capsules(page: &str) -> Vec<Case> {
    let (path, capsule) = page.split_once("?capsule=").expect("the address of a short query has a capsule");
    let sealed = |path: &str, capsule: &str| format!("{path}?capsule={capsule}");
    let mut targets =
        vec![sealed(&replaced(path, 1, SLUG), capsule), sealed(&replaced(path, 2, "1"), capsule)];
    for query in ["nope", "20200101_000000_00000_aaaaa"] {
        targets.push(sealed(&replaced(path, 0, query), capsule));
        let (half, longer) = (&capsule[..capsule.len() / 2], capsule.repeat(8));
        targets.extend(["", "x", "%00", half, &longer].map(|other| sealed(&replaced(path, 0, query), other)));
    }
    let methods = ["GET", "HEAD", "DELETE"];
    let cases = targets.iter().flat_map(|target| {
        methods.map(|method| match method {
            "HEAD" => case(method, target, Expected::Refused(&[404], "")),
            _ => case(method, target, NOT_FOUND),
        })
    });
    cases.collect()
}

fn queries(addresses: &Addresses) -> Vec<Case> {
    let mut cases = Vec::new();
    for query in ["nope", "20200101_000000_00000_aaaaa", "..%2F..%2Fetc%2Fpasswd", "%00", "a%20b"] {
        let path = format!("/v1/query/{query}");
        cases.push(case("GET", &path, NO_QUERY));
        cases.push(case("PUT", &format!("{path}/killed"), NO_QUERY));
    }
    cases.push(case("GET", "/v1/query/%ff", Expected::Refused(&[400], "")));
    let finished = format!("/v1/query/{}", addresses.finished);
    for end in ["killed", "preempted"] {
        cases.push(case("PUT", &format!("{finished}/{end}"), Expected::Refused(&[409], "already finished")));
    }
    cases
}

/// `PUT /v1/info/state`
fn states() -> Vec<Case> {
    let put = |body: &str| Request::new("PUT", "/v1/info/state").body(body);
    let json = |body: &str| put(body).header("Content-Type", "application/json");
    let refused = |text| Expected::Refused(&[400, 415, 422], text);
    vec![
        Case::new("state: no content type", put("\"ACTIVE\""), refused("ontent")),
        Case::new("state: nothing", json(""), refused("")),
        Case::new("state: not JSON", json("SHUTTING_DOWN"), refused("JSON")),
        Case::new("state: a number", json("1"), refused("string")),
        Case::new("state: an object", json("{\"state\":\"ACTIVE\"}"), refused("string")),
        Case::new(
            "state: none such",
            json("\"DANCING\""),
            Expected::Refused(&[400], "Invalid state transition to DANCING"),
        ),
        Case::new(
            "state: in lower case",
            json("\"active\""),
            Expected::Refused(&[400], "Invalid state transition to active"),
        ),
        Case::new(
            "state: of workers only",
            json("\"SHUTTING_DOWN\""),
            Expected::Refused(&[400], "coordinator"),
        ),
        Case::new(
            "state: of workers only, too",
            json("\"DRAINING\""),
            Expected::Refused(&[400], "coordinator"),
        ),
    ]
}
