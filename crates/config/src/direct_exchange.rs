//! The configuration of the direct exchange: what stages that run at the same time stream to each other.

use base::{DataSize, Duration};

use crate::server::CompressionCodec;
use crate::values::Values;

/// `exchange.data-integrity-verification`: what happens when data that tasks send each other is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataIntegrityVerification {
    /// The query fails.
    Abort,
    /// The data is sent again.
    Retry,
    /// It is not looked at.
    None,
}

impl DataIntegrityVerification {
    /// The name, as in Trino.
    pub fn as_str(self) -> &'static str {
        match self {
            DataIntegrityVerification::Abort => "ABORT",
            DataIntegrityVerification::Retry => "RETRY",
            DataIntegrityVerification::None => "NONE",
        }
    }

    fn of(name: &str) -> Self {
        match name {
            "NONE" => DataIntegrityVerification::None,
            "RETRY" => DataIntegrityVerification::Retry,
            _ => DataIntegrityVerification::Abort,
        }
    }
}

/// How much is kept and waited for on the way from task to task.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectExchangeConfig {
    /// `exchange.compression-codec`, if it is set: what is not stored is not compressed by default.
    pub compression_codec: CompressionCodec,
    /// `exchange.deduplication-buffer-size`: how much of a result is kept in memory under `QUERY`.
    pub deduplication_buffer_size: DataSize,
    /// `exchange.max-buffer-size`: how much a task keeps of what it reads.
    pub max_buffer_size: DataSize,
    /// `exchange.max-response-size`: how much one answer may have.
    pub max_response_size: DataSize,
    /// `exchange.max-error-duration`: how long a task may be out of reach.
    pub max_error_duration: Duration,
    /// `exchange.data-integrity-verification`.
    pub data_integrity_verification: DataIntegrityVerification,
    /// `sink.max-buffer-size`: how much a task keeps of what it has written.
    pub sink_max_buffer_size: DataSize,
    /// `sink.max-broadcast-buffer-size`: the same, of what every consumer reads.
    pub sink_max_broadcast_buffer_size: DataSize,
}

impl DirectExchangeConfig {
    pub(crate) fn of(values: &Values) -> Self {
        let integrity = values.choice("exchange.data-integrity-verification");
        let codec = values.choice_under_any_policy("exchange.compression-codec");
        DirectExchangeConfig {
            compression_codec: CompressionCodec::of(codec),
            deduplication_buffer_size: values.size("exchange.deduplication-buffer-size"),
            max_buffer_size: values.size("exchange.max-buffer-size"),
            max_response_size: values.size("exchange.max-response-size"),
            max_error_duration: values.duration("exchange.max-error-duration"),
            data_integrity_verification: DataIntegrityVerification::of(integrity),
            sink_max_buffer_size: values.size("sink.max-buffer-size"),
            sink_max_broadcast_buffer_size: values.size("sink.max-broadcast-buffer-size"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Source;
    use crate::server::ServerConfig;

    #[test]
    fn what_is_streamed_is_compressed_only_if_that_is_asked_for() {
        let task = || (Source::Config, "retry-policy", "TASK");
        let codec = |name| (Source::Config, "exchange.compression-codec", name);
        let environment = || (Source::Node, "node.environment", "test");
        let config = ServerConfig::from_properties([environment(), task()]).unwrap();
        assert_eq!(config.query.exchange_compression_codec, CompressionCodec::Lz4);
        assert_eq!(config.direct_exchange.compression_codec, CompressionCodec::None);
        let config = ServerConfig::from_properties([environment(), task(), codec("ZSTD")]).unwrap();
        assert_eq!(config.query.exchange_compression_codec, CompressionCodec::Zstd);
        assert_eq!(config.direct_exchange.compression_codec, CompressionCodec::Zstd);
    }
}
