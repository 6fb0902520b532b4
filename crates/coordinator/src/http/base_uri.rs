//! The address under which a client reached the coordinator: the start of every address it is given.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::{HttpState, Refusal};

/// The address under which the client of this request reached the coordinator, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUri(pub String);

impl BaseUri {
    fn of(headers: &HeaderMap, authority: Option<&str>, process_forwarded: bool) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let forwarded = |name: &str| {
            let first = text(name).filter(|_| process_forwarded)?.split(',').next()?.trim();
            (!first.is_empty()).then_some(first)
        };
        let host = text(header::HOST.as_str()).or(authority);
        let scheme = forwarded("x-forwarded-proto").unwrap_or("http");
        let mut uri = format!("{scheme}://{}", forwarded("x-forwarded-host").or(host)?);
        if let (Some(port), Some(host)) = (forwarded("x-forwarded-port"), forwarded("x-forwarded-host"))
            && !host.contains(':')
        {
            uri.push(':');
            uri.push_str(port);
        }
        if let Some(prefix) = forwarded("x-forwarded-prefix") {
            uri.push('/');
            uri.push_str(prefix.trim_matches('/'));
        }
        Some(BaseUri(uri.trim_end_matches('/').to_string()))
    }
}

impl FromRequestParts<HttpState> for BaseUri {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Self::Rejection> {
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        BaseUri::of(&parts.headers, authority, state.node.process_forwarded)
            .ok_or_else(|| Refusal::bad_request("the request has no Host header"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(headers: &[(&'static str, &'static str)], process_forwarded: bool) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        BaseUri::of(&map, None, process_forwarded).map(|uri| uri.0)
    }

    #[test]
    fn forwarded_headers_count_only_when_they_are_trusted() {
        let headers = [
            ("host", "10.0.0.1:8080"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "sql.example.com"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-prefix", "/engine/"),
        ];
        assert_eq!(uri(&headers, false).as_deref(), Some("http://10.0.0.1:8080"));
        assert_eq!(uri(&headers, true).as_deref(), Some("https://sql.example.com:8443/engine"));
        assert_eq!(uri(&[], true), None);
    }
}
