//! Strings and bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

/// Writes a JSON string.
pub(super) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    write_escaped(text, out);
    out.push('"');
}

/// Writes the inside of a JSON string: quotes, backslashes and control characters escaped, everything else as it is.
pub(super) fn write_escaped(text: &str, out: &mut String) {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        // Every byte that is escaped is a whole character.
        out.push_str(&text[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            _ => {
                out.push_str("\\u00");
                write_hex(byte, HEX_UPPER, out);
            }
        }
    }
    out.push_str(&text[from..]);
}

/// Writes a JSON string that is filled up with blanks to so many code points.
pub(super) fn write_padded(text: &str, length: usize, out: &mut String) {
    out.push('"');
    write_escaped(text, out);
    let missing = length.saturating_sub(text.chars().count());
    out.extend(std::iter::repeat_n(' ', missing));
    out.push('"');
}

/// Writes bytes as a JSON string in base64 with padding.
pub(super) fn write_base64(bytes: &[u8], out: &mut String) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

/// Writes a UUID as a JSON string, in lower case.
pub(super) fn write_uuid(bytes: &[u8], out: &mut String) {
    out.push('"');
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        write_hex(*byte, HEX_LOWER, out);
    }
    out.push('"');
}

fn write_hex(byte: u8, digits: &[u8; 16], out: &mut String) {
    out.push(char::from(digits[usize::from(byte >> 4)]));
    out.push(char::from(digits[usize::from(byte & 15)]));
}
