//! Options of the direct exchange, as the properties of `etc/config.properties` set them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::codec::ExchangeCompression;
use crate::memory::MemoryCharge;

/// The options of one sink.
#[derive(Clone, Debug)]
pub struct DirectSinkOptions {
    /// `exchange.compression-codec`: how frames are compressed.
    pub compression: ExchangeCompression,
    /// How many bytes of values are collected into one frame, while memory allows.
    pub frame_bytes_target: u64,
    /// How many bytes one row, and so one frame, may have.
    pub frame_bytes_max: u64,
    /// `sink.max-buffer-size`: how many bytes an output may hold whose partitions are read by one consumer each.
    pub buffer_bytes_max: u64,
    /// `sink.max-broadcast-buffer-size`: how many bytes an output may hold that all consumers read.
    pub broadcast_buffer_bytes_max: u64,
    /// How long a consumer waits for full frames before it gets what there is. Grows with the number of partitions.
    pub frame_delay: Duration,
    /// Whom the memory is charged to. Where it refuses, the producer waits as if the buffer were full.
    pub memory: Option<Arc<dyn MemoryCharge>>,
}

impl Default for DirectSinkOptions {
    fn default() -> Self {
        DirectSinkOptions {
            compression: ExchangeCompression::default(),
            frame_bytes_target: 1 << 20,
            frame_bytes_max: 16 << 20,
            buffer_bytes_max: 32 << 20,
            broadcast_buffer_bytes_max: 200 << 20,
            frame_delay: Duration::from_millis(5),
            memory: None,
        }
    }
}

/// `exchange.data-integrity-verification`: what happens where the checksum of a frame does not match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataIntegrity {
    /// Reading fails.
    #[default]
    Abort,
    /// The frame is asked for again.
    Retry,
    /// Checksums are not looked at.
    None,
}

impl DataIntegrity {
    const ALL: [DataIntegrity; 3] = [DataIntegrity::Abort, DataIntegrity::Retry, DataIntegrity::None];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            DataIntegrity::Abort => "ABORT",
            DataIntegrity::Retry => "RETRY",
            DataIntegrity::None => "NONE",
        }
    }
}

impl fmt::Display for DataIntegrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no way to verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDataIntegrityError(pub String);

impl fmt::Display for ParseDataIntegrityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not one of ABORT, RETRY, NONE", self.0)
    }
}

impl std::error::Error for ParseDataIntegrityError {}

impl FromStr for DataIntegrity {
    type Err = ParseDataIntegrityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = DataIntegrity::ALL.into_iter().find(|way| way.as_str().eq_ignore_ascii_case(text.trim()));
        named.ok_or_else(|| ParseDataIntegrityError(text.to_string()))
    }
}

/// The options of one reader.
#[derive(Clone, Debug)]
pub struct DirectReadOptions {
    /// `exchange.max-buffer-size`: how many bytes of frames are asked for or wait to be read.
    pub buffer_bytes_max: u64,
    /// `exchange.max-response-size`: how many bytes one answer may have.
    pub response_bytes_max: u64,
    /// How long a producer may let a request wait that it cannot answer yet.
    pub wait_max: Duration,
    /// `exchange.max-error-duration`: how long a producer may be out of reach.
    pub error_duration_max: Duration,
    /// How long a producer may take to start.
    pub start_wait_max: Duration,
    /// How long a reader whose producer failed or is gone waits for the one who runs it to end it, before it fails
    /// itself. Zero: it fails at once, with the producer's failure.
    pub verdict_wait_max: Duration,
    /// `exchange.data-integrity-verification`: what happens where a checksum does not match.
    pub integrity: DataIntegrity,
    /// How many bytes of values one frame may have.
    pub frame_bytes_max: u64,
    /// Whom the memory is charged to.
    pub memory: Option<Arc<dyn MemoryCharge>>,
    /// Where requests run: not on threads that compute.
    pub runtime: Handle,
}

impl DirectReadOptions {
    /// The defaults, with requests on that runtime.
    pub fn new(runtime: Handle) -> Self {
        DirectReadOptions {
            buffer_bytes_max: 32 << 20,
            response_bytes_max: 16 << 20,
            wait_max: Duration::from_secs(1),
            error_duration_max: Duration::from_secs(60),
            start_wait_max: Duration::from_secs(60),
            verdict_wait_max: Duration::ZERO,
            integrity: DataIntegrity::default(),
            frame_bytes_max: 16 << 20,
            memory: None,
            runtime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_configuration() {
        for way in DataIntegrity::ALL {
            assert_eq!(way.to_string().to_lowercase().parse(), Ok(way));
        }
        assert_eq!(DataIntegrity::default(), DataIntegrity::Abort);
        assert!("maybe".parse::<DataIntegrity>().is_err());
    }
}
