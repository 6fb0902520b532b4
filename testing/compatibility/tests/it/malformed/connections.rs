//! Connections that end too early, or speak something else. Every one is answered or closed in time.

use crate::http::{Request, exchange};

/// Bytes, and what may be answered. Every one of them is followed by the end of what the client sends.
pub struct Connection {
    name: &'static str,
    bytes: Vec<u8>,
    /// The statuses that may be answered; 0: the connection is closed without an answer.
    statuses: &'static [u16],
}

impl Connection {
    /// What is wrong with the server's answer.
    pub fn problem(&self, authority: &str) -> Option<String> {
        let problem = match exchange(authority, &self.bytes, true, false) {
            Ok(response) if self.statuses.contains(&response.status) => return None,
            Ok(response) => {
                format!("status {} instead of {:?}: {}", response.status, self.statuses, response.text())
            }
            Err(problem) => problem,
        };
        Some(format!("connection: {}: {problem}", self.name))
    }
}

pub fn cases() -> Vec<Connection> {
    let whole = Request::statement("SELECT 1").to_bytes("localhost");
    let cut = |count: usize| whole[..whole.len() - count].to_vec();
    let case = |name, bytes: &[u8], statuses| Connection { name, bytes: bytes.to_vec(), statuses };
    let closed_or_refused: &[u16] = &[0, 400];
    vec![
        case("nothing", b"", &[0]),
        case("an empty line", b"\r\n", closed_or_refused),
        case("half of a request line", b"POST /v1/sta", closed_or_refused),
        case("half of the headers", b"POST /v1/statement HTTP/1.1\r\nHost: localhost\r\nX-Tri", closed_or_refused),
        case("half of a body", &cut(4), closed_or_refused),
        case("a body that never begins", &cut(8), closed_or_refused),
        case("half of a chunk", b"POST /v1/statement HTTP/1.1\r\nHost: a\r\nX-Trino-User: u\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nSEL", closed_or_refused),
        case("a whole request, half closed", &whole, &[0, 200]),
        case("no HTTP", b"hello?\r\n\r\n", closed_or_refused),
        case("a version that is none", b"GET /v1/info HTTP/9.9\r\nHost: a\r\n\r\n", closed_or_refused),
        case("HTTP/1.0 without a host", b"GET /v1/info HTTP/1.0\r\n\r\n", &[200]),
        case("HTTP/0.9", b"GET /v1/info\r\n\r\n", closed_or_refused),
        case("a request line without a path", b"GET HTTP/1.1\r\n\r\n", closed_or_refused),
        case("a path with a control character", b"GET /v1/\x01 HTTP/1.1\r\nHost: a\r\n\r\n", closed_or_refused),
        case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", closed_or_refused),
        case("zeros", &[0; 4096], closed_or_refused),
        case("HTTP/2, then nothing", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", closed_or_refused),
        case("a line without an end", &[b'a'; 1 << 20], &[0, 400, 414, 431]),
    ]
}
