//! The encoding of values in headers: that of HTML forms, where a blank is a plus.

/// Encodes a value.
pub(super) fn encode(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// Decodes a value. None if an escape is not one.
pub(super) fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (hex_digit(rest.next()?)?, hex_digit(rest.next()?)?);
                high << 4 | low
            }
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex_digit(digit: u8) -> Option<u8> {
    // A hexadecimal digit is below 16.
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip() {
        for value in ["", "a b", "a+b=c,d&e%", "é🦀\n\"", "*-._"] {
            let encoded = encode(value);
            assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+%*-._".contains(&byte)));
            assert_eq!(decode(&encoded).as_deref(), Some(value));
        }
    }

    #[test]
    fn broken_escapes_are_refused() {
        for value in ["%", "%2", "%zz", "a%+1"] {
            assert_eq!(decode(value), None, "{value}");
        }
        assert_eq!(decode("%ff").as_deref(), Some("\u{fffd}"));
    }
}
