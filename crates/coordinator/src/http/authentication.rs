//! Who a client says it is. No proof is asked for, so none is taken.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Refusal;

/// The user of `Authorization: Basic …`, if the client names one so.
///
/// # Errors
/// 401 if a password comes with it, which nobody checks, or if it cannot be read.
pub fn basic_user(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let malformed = || Refusal::unauthorized("Malformed credentials");
    let (scheme, credentials) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        // What other schemes say is not for an authenticator that is not there.
        return Ok(None);
    }
    let decoded = STANDARD.decode(credentials.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or_else(malformed)?;
    match decoded.split_once(':') {
        Some((_, password)) if !password.is_empty() => {
            Err(Refusal::unauthorized("Password not allowed for insecure authentication"))
        }
        Some((user, _)) if !user.is_empty() => Ok(Some(user.to_owned())),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(credentials: &str) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, credentials.parse().unwrap());
        basic_user(&headers).map_err(|refusal| refusal.1)
    }

    #[test]
    fn a_name_is_taken_and_a_password_is_not() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(user(&basic("alice:")), Ok(Some("alice".into())));
        assert_eq!(user("Bearer token"), Ok(None));
        assert_eq!(
            user(&basic("alice:secret")),
            Err("Password not allowed for insecure authentication".into())
        );
        for malformed in ["Basic", "Basic %%%", &basic("alice"), &basic(":"), "Basic /w=="] {
            assert_eq!(user(malformed), Err("Malformed credentials".into()), "{malformed}");
        }
    }
}
