//! HTTP to the byte: requests that no library would send, and answers as they came.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take. Longer is a hang.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The prefix of the protocol's headers.
pub const PREFIX: &str = "X-Trino-";

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    has_host: bool,
    has_length: bool,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status. 0: there was no answer, the connection was closed.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers or body, except those that HTTP needs.
    pub fn new(method: &str, target: &str) -> Self {
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            has_host: true,
            has_length: true,
        }
    }

    /// A `GET`.
    pub fn get(target: &str) -> Self {
        Request::new("GET", target)
    }

    /// A statement, by a user.
    pub fn statement(sql: impl AsRef<[u8]>) -> Self {
        Request::new("POST", "/v1/statement").body(sql).protocol("User", "compatibility")
    }

    /// With a body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// With a header, besides others of that name.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With a header of the protocol, besides others of that name.
    pub fn protocol(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.header(&format!("{PREFIX}{name}"), value)
    }

    /// Without a header that it has.
    pub fn without(mut self, name: &str) -> Self {
        let full = format!("{PREFIX}{name}");
        self.headers.retain(|(known, _)| *known != full && known != name);
        self.has_host &= name != "Host";
        self.has_length &= name != "Content-Length";
        self
    }

    /// The bytes that go over the wire.
    pub fn to_bytes(&self, authority: &str) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.target).into_bytes();
        let mut add = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        if self.has_host {
            add("Host", authority.as_bytes());
        }
        if self.has_length && (!self.body.is_empty() || self.method == "POST" || self.method == "PUT") {
            add("Content-Length", self.body.len().to_string().as_bytes());
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it, and reads the answer.
    ///
    /// # Errors
    /// That there is none in time.
    pub fn try_send(&self, authority: &str) -> Result<Response, String> {
        let answer = exchange(authority, &self.to_bytes(authority), false, self.method == "HEAD");
        answer.map_err(|problem| format!("{} {}: {problem}", self.method, self.target))
    }

    /// The same, for requests that nothing is wrong with.
    pub fn send(&self, authority: &str) -> Response {
        self.try_send(authority).unwrap_or_else(|problem| panic!("{problem}"))
    }
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The values of a header.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let matching = self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str())
    }
}

/// Sends bytes, says that no more will come if `half_close`, and reads what is answered until the server closes or the
/// answer is complete.
///
/// # Errors
/// That the server neither answered nor closed the connection in time, or answered what is not HTTP.
pub fn exchange(authority: &str, bytes: &[u8], half_close: bool, is_head: bool) -> Result<Response, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(authority).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
    // A server may refuse a request, and close, before all of it was sent.
    let sent = stream.write_all(bytes);
    if half_close && sent.is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let mut part = vec![0; 64 << 10];
    loop {
        if let Some(response) = parse(&answer, is_head, false)? {
            return Ok(response);
        }
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => {
                return Err(format!("no answer within {} s: {error}", ANSWER_TIMEOUT.as_secs()));
            }
        }
    }
    Ok(parse(&answer, is_head, true)?.unwrap_or_default())
}

/// The answer in these bytes, if it is complete.
fn parse(bytes: &[u8], is_head: bool, at_end: bool) -> Result<Option<Response>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    let status = status.and_then(|status| status.parse().ok()).ok_or_else(|| format!("not HTTP: {first}"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status, headers, body: Vec::new() };
    let body = &bytes[end + 4..];
    let length = response.values("content-length").next().and_then(|length| length.parse::<usize>().ok());
    let is_chunked =
        response.values("transfer-encoding").any(|encoding| encoding.eq_ignore_ascii_case("chunked"));
    response.body = match length {
        _ if is_head || status == 204 || status == 304 => Vec::new(),
        Some(length) if body.len() >= length => body[..length].to_vec(),
        None if is_chunked => match unchunked(body) {
            Some(body) => body,
            None => return Ok(None),
        },
        None if at_end => body.to_vec(),
        _ => return Ok(None),
    };
    Ok(Some(response))
}

/// The body of an answer in chunks, if it is complete.
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = find(bytes, b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
