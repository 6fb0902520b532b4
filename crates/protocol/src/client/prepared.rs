//! Prepared statements in headers: long ones are compressed.

use std::io::Read;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What a compressed statement starts with.
const ZSTD_PREFIX: &str = "$zstd:";
/// From this length on compression is tried, in characters.
const COMPRESSION_LENGTH_MIN: usize = 2048;
/// It is used if it saves so much, in characters.
const COMPRESSION_GAIN_MIN: usize = 512;
/// How long a statement may be, in bytes.
const STATEMENT_BYTES_MAX: u64 = 16 << 20;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The statement in the form that the value of a header has before URL encoding.
pub fn encode_statement(sql: &str) -> String {
    if sql.len() >= COMPRESSION_LENGTH_MIN
        && let Ok(compressed) = zstd::bulk::compress(sql.as_bytes(), zstd::DEFAULT_COMPRESSION_LEVEL)
    {
        let encoded = BASE64.encode(compressed);
        if ZSTD_PREFIX.len() + encoded.len() + COMPRESSION_GAIN_MIN <= sql.len() {
            return format!("{ZSTD_PREFIX}{encoded}");
        }
    }
    sql.to_owned()
}

/// Reads what [`encode_statement`] writes. None if it is broken or larger than any statement may be.
pub fn decode_statement(text: String) -> Option<String> {
    let Some(encoded) = text.strip_prefix(ZSTD_PREFIX) else {
        return Some(text);
    };
    let compressed = BASE64.decode(encoded).ok()?;
    let mut decoder = zstd::stream::read::Decoder::new(compressed.as_slice()).ok()?;
    let mut sql = String::new();
    decoder.by_ref().take(STATEMENT_BYTES_MAX).read_to_string(&mut sql).ok()?;
    // The limit must not cut a statement into another one.
    let complete = decoder.read(&mut [0]).ok()? == 0;
    complete.then_some(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_statements_are_compressed() {
        let short = "SELECT 1".to_owned();
        assert_eq!(encode_statement(&short), short);
        let long = format!("SELECT {}1", "1 + ".repeat(1000));
        let encoded = encode_statement(&long);
        assert!(encoded.starts_with(ZSTD_PREFIX) && encoded.len() < 200, "{encoded}");
        assert_eq!(decode_statement(encoded.clone()).as_deref(), Some(long.as_str()));
        assert_eq!(
            decode_statement(encoded.trim_end_matches('=').to_owned()).as_deref(),
            Some(long.as_str())
        );
    }

    #[test]
    fn broken_and_endless_statements_are_refused() {
        for broken in ["$zstd:", "$zstd:!!!", "$zstd:AAAA"] {
            assert_eq!(decode_statement(broken.to_owned()), None, "{broken}");
        }
        let bytes = " ".repeat(usize::try_from(STATEMENT_BYTES_MAX).unwrap() + 1);
        let bomb =
            format!("{ZSTD_PREFIX}{}", BASE64.encode(zstd::bulk::compress(bytes.as_bytes(), 1).unwrap()));
        assert_eq!(decode_statement(bomb), None);
    }
}
