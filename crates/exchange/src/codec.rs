//! Compression of frames.

use std::fmt;
use std::str::FromStr;

/// How frames are compressed, as the property `exchange.compression-codec` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExchangeCompression {
    /// Not at all.
    None,
    /// LZ4 blocks: cheap, and the default.
    #[default]
    Lz4,
    /// Zstandard: smaller, and several times the work.
    Zstd,
}

impl ExchangeCompression {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            ExchangeCompression::None => "NONE",
            ExchangeCompression::Lz4 => "LZ4",
            ExchangeCompression::Zstd => "ZSTD",
        }
    }
}

impl fmt::Display for ExchangeCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseCompressionError(pub String);

impl fmt::Display for ParseCompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not one of NONE, LZ4, ZSTD", self.0)
    }
}

impl std::error::Error for ParseCompressionError {}

impl FromStr for ExchangeCompression {
    type Err = ParseCompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [ExchangeCompression::None, ExchangeCompression::Lz4, ExchangeCompression::Zstd];
        let named = all.into_iter().find(|codec| codec.as_str().eq_ignore_ascii_case(text.trim()));
        named.ok_or_else(|| ParseCompressionError(text.to_string()))
    }
}

/// The level of Zstandard: the fastest, because exchanged data is read once.
const ZSTD_LEVEL: i32 = 1;

/// Compressed bytes are kept when they are at most this part of the original, in percent.
const KEEP_PERCENT_MAX: usize = 90;

/// Compresses one frame after the other.
pub(crate) struct Compressor {
    codec: ExchangeCompression,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    /// Room for the largest result so far, so that it is not allocated for every frame.
    scratch: Vec<u8>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("codec", &self.codec).finish_non_exhaustive()
    }
}

impl Compressor {
    pub(crate) fn new(codec: ExchangeCompression) -> Self {
        let zstd = match codec {
            ExchangeCompression::Zstd => zstd::bulk::Compressor::new(ZSTD_LEVEL).ok(),
            ExchangeCompression::None | ExchangeCompression::Lz4 => None,
        };
        Compressor { codec, zstd, scratch: Vec::new() }
    }

    /// The compressed bytes, after a head that is as it is, and by which codec they are compressed: by none where that
    /// saves nothing.
    pub(crate) fn compress(&mut self, raw: &[u8], head: &[&[u8]]) -> (ExchangeCompression, Vec<u8>) {
        let written = match (self.codec, &mut self.zstd) {
            (ExchangeCompression::Lz4, _) => {
                let room = room(&mut self.scratch, lz4_flex::block::get_maximum_output_size(raw.len()));
                lz4_flex::block::compress_into(raw, room).ok()
            }
            (ExchangeCompression::Zstd, Some(zstd)) => {
                let room = room(&mut self.scratch, zstd::zstd_safe::compress_bound(raw.len()));
                zstd.compress_to_buffer(raw, room).ok()
            }
            _ => None,
        };
        let (codec, bytes) = match written {
            Some(length) if length * 100 <= raw.len() * KEEP_PERCENT_MAX => {
                (self.codec, &self.scratch[..length])
            }
            _ => (ExchangeCompression::None, raw),
        };
        let head_length: usize = head.iter().map(|part| part.len()).sum();
        let mut content = Vec::with_capacity(head_length + bytes.len());
        head.iter().for_each(|part| content.extend_from_slice(part));
        content.extend_from_slice(bytes);
        (codec, content)
    }
}

fn room(scratch: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if scratch.len() < bytes {
        scratch.resize(bytes, 0);
    }
    &mut scratch[..bytes]
}

/// Fills `raw` exactly, or tells that the bytes are not what they should be.
pub(crate) fn decompress(codec: ExchangeCompression, stored: &[u8], raw: &mut [u8]) -> Result<(), ()> {
    let length = match codec {
        ExchangeCompression::None if stored.len() == raw.len() => {
            raw.copy_from_slice(stored);
            stored.len()
        }
        ExchangeCompression::None => return Err(()),
        ExchangeCompression::Lz4 => lz4_flex::block::decompress_into(stored, raw).map_err(drop)?,
        ExchangeCompression::Zstd => zstd::bulk::decompress_to_buffer(stored, raw).map_err(drop)?,
    };
    if length == raw.len() { Ok(()) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_and_noise_is_kept_as_it_is() {
        let text: Vec<u8> = (0..50_000u32).map(|at| (at % 97) as u8).collect();
        let noise: Vec<u8> =
            (0..9_000u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        for codec in [ExchangeCompression::None, ExchangeCompression::Lz4, ExchangeCompression::Zstd] {
            let mut compressor = Compressor::new(codec);
            for raw in [&text[..], &[], &noise[..]] {
                let (used, stored) = compressor.compress(raw, &[b"on", b"e"]);
                assert_eq!(stored[..3], *b"one");
                let mut back = vec![0; raw.len()];
                decompress(used, &stored[3..], &mut back).unwrap();
                assert_eq!(back, raw);
                assert!(used == codec || stored.len() == raw.len() + 3);
                assert!(decompress(used, &stored[3..], &mut vec![0; raw.len() + 1]).is_err());
            }
        }
    }

    #[test]
    fn names_are_those_of_the_configuration() {
        assert_eq!("zstd".parse(), Ok(ExchangeCompression::Zstd));
        assert_eq!(ExchangeCompression::default().to_string(), "LZ4");
        assert!("gzip".parse::<ExchangeCompression>().is_err());
    }
}
